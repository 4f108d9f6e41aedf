"""Reports, their forms, and the engine that counts."""

import ast
import json
import os
import pickle
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from data_checks.behaviour_checks import BehaviourRules, SplitProtocol, behaviour_subjects
from data_checks.log_checks import LogRules, log_subjects
from data_checks.reports import CheckFailed, CheckReport
from data_checks.results import RuleResult, format_row
from data_checks.rules import Among, Given, Holds, NotAbove, Rule, Same, Subject, Within
from data_checks.tree_checks import TreeArrays, check_tree, tree_subjects
from data_checks.validation import check_subjects

ROOT = Path(__file__).resolve().parents[2]


def one_rule(frame: pd.DataFrame, rule: Rule) -> RuleResult:
    frame = frame.assign(line=np.arange(1, len(frame) + 1))
    return check_subjects("log", [Subject("rows", (rule,), lambda: frame, key="line")]).rules[0]


FRAME = pd.DataFrame(
    {
        "number": pd.array([1, 5, None], dtype="Int64"),
        "other": pd.array([1, 4, 2], dtype="Int64"),
        "twin": pd.array([1, 5, 7], dtype="Int64"),
        "real": [0.5, float("nan"), 2.0],
        "text": pd.Series(["a", "", None], dtype="str"),
        "code": pd.Categorical(["a", "b", None]),
        "is_fine": [True, False, True],
    }
)


@pytest.mark.parametrize(
    ("condition", "bad_lines"),
    [
        (Given("other"), []),
        (Given("number"), [3]),
        (Given("real"), [2]),
        (Given("text"), [2, 3]),
        (Given("code"), [3]),
        (Within("number"), []),
        (Within("number", 1, 5), []),
        (Within("number", 2), [1]),
        (Within("number", maximum=4), [2]),
        (Within("real", 1.0), [1]),
        (Among("code", ("a", "b")), []),
        (Among("code", ("a",)), [2]),
        (Among("text", ("a", "")), []),
        (Holds("is_fine"), [2]),
        (Same("number", "twin"), []),
        (Same("number", "other"), [2]),
        (NotAbove("other", "number"), []),
        (NotAbove("number", "other"), [2]),
    ],
)
def test_each_condition_passes_and_fails_where_it_should(condition: Within, bad_lines: list[int]) -> None:
    result = one_rule(FRAME, Rule("a_rule", condition, "a demand", "a reason"))
    assert result.is_passed is (not bad_lines)
    assert [row["line"] for row in result.examples] == bad_lines
    assert (result.checked_rows, result.violating_rows, result.share) == (3, len(bad_lines), len(bad_lines) / 3)


def test_a_tolerated_share_decides() -> None:
    frame = pd.DataFrame({"value": [1] * 3 + [0]})
    quarter = one_rule(frame, Rule("a", Within("value", 1), "value must be 1", "", allowed_share=0.25))
    less = one_rule(frame, Rule("a", Within("value", 1), "value must be 1", "", allowed_share=0.24))
    assert (quarter.is_passed, less.is_passed) == (True, False)
    assert "1 of 4 rows break this (25.000%)" in less.message
    with pytest.raises(ValueError, match=r"allowed_share of rule a is 2"):
        Rule("a", Within("value"), "", "", allowed_share=2)


def test_only_the_first_ten_offending_rows_are_shown_in_order() -> None:
    frame = pd.DataFrame({"value": np.arange(30)[::-1]})
    result = one_rule(frame, Rule("a", Within("value", 25), "value must be 25 or more", ""))
    assert [row["line"] for row in result.examples] == list(range(6, 16))
    assert result.violating_rows == 25


def test_a_rule_that_cannot_be_counted_is_an_error_and_no_verdict() -> None:
    with pytest.raises(RuntimeError, match="a_typo could not be counted"):
        one_rule(FRAME, Rule("a_typo", Within("text", 1), "", ""))


@pytest.fixture(scope="module")
def report() -> CheckReport:
    return check_tree(np.array([3, 3, 5]), 2, 5 - 1, items=np.array([0, 1, 7]))


def test_json_is_complete_and_the_same_each_time(report: CheckReport) -> None:
    content = json.loads(report.to_json())
    assert (content["suite"], content["is_passed"], content["num_failures"]) == ("tree", False, 3)
    assert [rule["name"] for rule in content["rules"]] == [rule.name for rule in report.rules]
    assert report.to_json() == check_tree(np.array([3, 3, 5]), 2, 4, items=np.array([0, 1, 7])).to_json()


def test_frame_has_one_row_a_rule(report: CheckReport) -> None:
    frame = report.to_frame()
    assert list(frame["rule"]) == [rule.name for rule in report.rules]
    assert set(frame.loc[frame["violating"] > 0, "verdict"]) == {"failed"}


def test_message_of_a_failed_check_names_rule_count_share_and_rows() -> None:
    bad = RuleResult("times", True, False, 200, 12, 0.06, "time must be 0; 12 of 200 rows break this (6 %)", ({"user": 3, "line": 17},))
    soft = RuleResult("copies", False, False, 200, 1, 0.005, "no copies", ({"user": None, "line": 4},))
    report = CheckReport("log", (soft, bad), ("later",))
    with pytest.raises(CheckFailed) as caught:
        report.raise_if_failed()
    lines = str(caught.value).splitlines()
    assert lines[0] == "log check failed: 1 hard and 1 soft of 2 rules broken"
    assert lines[1:3] == ["  [hard] times: time must be 0; 12 of 200 rows break this (6 %)", "      line 17: user=3"]
    assert lines[3] == "      ... and 11 more"
    assert lines[5] == "      line 4: user=(empty)"
    assert lines[-1].endswith("later")
    assert pickle.loads(pickle.dumps(caught.value)).report == report


def test_format_row_without_a_line() -> None:
    assert format_row({"user": 1, "time": 2}) == "user=1, time=2"


def test_an_unknown_rule_is_refused(report: CheckReport) -> None:
    with pytest.raises(ValueError, match="no rule 'speed' was checked"):
        report.rule("speed")


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_stands_alone_and_escapes_data() -> None:
    rule = RuleResult("user_given", True, False, 2, 1, 0.5, "message <b>", ({"line": 2, "user": "<script>alert(1)</script>"},))
    text = CheckReport("log", (rule,)).to_html()
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert page.links == []
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "prefers-color-scheme: dark" in text
    assert "http" not in text
    assert "@import" not in text


def test_data_docs_are_written_and_the_same_each_time(report: CheckReport, tmp_path: Path) -> None:
    first, second = report.write_data_docs(tmp_path / "a"), report.write_data_docs(tmp_path / "b")
    assert first == tmp_path / "a" / "index.html"
    pages = sorted(path.relative_to(tmp_path / "a") for path in first.parent.rglob("*.html"))
    assert len(pages) == 1 + 2 * 4
    assert all((tmp_path / "a" / page).read_bytes() == (second.parent / page).read_bytes() for page in pages)
    assert any("one_item_per_leaf" in (tmp_path / "a" / page).read_text(encoding="utf-8") for page in pages)


def test_data_docs_need_a_fresh_report(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="carries no validation results"):
        CheckReport("log", ()).write_data_docs(tmp_path)


def test_nothing_is_sent_anywhere() -> None:
    assert os.environ["GX_ANALYTICS_ENABLED"].lower() == "false"


def test_reports_and_rules_import_without_great_expectations() -> None:
    for name in ("results", "reports", "report_pages", "rules", "log_frames", "behaviour_frames", "tree_frames"):
        tree = ast.parse((ROOT / "data_checks" / f"{name}.py").read_text(encoding="utf-8"))
        imported = [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
        imported += [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
        assert not [module for module in imported if module.startswith(("great_expectations", "data_checks.validation"))], name
    assert "data_checks" in sys.modules


def all_rules() -> dict[tuple[str, str], bool]:
    """Every rule there is with whether it is hard under the default settings."""
    none: Any = SimpleNamespace(items=np.arange(0), offsets=np.arange(1), times=np.arange(0), num_items=1)
    dropping = LogRules(earliest_time=0, latest_time=1, out_of_range="drop")
    types: dict[str, Any] = {"behaviour_types": ("a",), "known_behaviour_types": ("a",)}
    log = LogRules(earliest_time=0, latest_time=1, **types, previous_rows=1, previous_latest_time=1)
    tree = TreeArrays(leaf_of_item=np.arange(1), height=1, paths=["0"])
    subjects = [("log", log_subjects(Path(), dropping)), ("log", log_subjects(Path(), log)), ("tree", tree_subjects(tree, 1))]
    subjects += [("behaviours", behaviour_subjects(none, none, BehaviourRules(protocol=protocol))) for protocol in get_args(SplitProtocol)]
    return {(suite, rule.name): rule.is_hard for suite, some in subjects for subject in some for rule in subject.rules}


def test_the_table_in_the_docs_lists_every_rule() -> None:
    text = (ROOT / "docs" / "data_checks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (hard|soft)", text, flags=re.MULTILINE)
    assert {(suite, rule): kind == "hard" for rule, suite, kind in rows} == all_rules()
    assert len(rows) == len(all_rules())


def test_defaults_are_the_documented_ones() -> None:
    assert (LogRules().minimum_users, LogRules().minimum_items, LogRules().out_of_range) == (3, 2, "fail")
    assert BehaviourRules() == BehaviourRules(minimum_user_behaviours=1, protocol="users")

"""The slow obvious twin of the engine: every rule is asked of every row in plain Python."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import pandas as pd
import pytest

from data_checks import verdicts
from data_checks.blocks import Blocks, Rows
from data_checks.reports import CheckReport
from data_checks.results import RuleResult
from data_checks.rules import Among, Condition, Given, Holds, NotAbove, Rule, Same, Subject, Within, columns_of
from data_checks.streaming import count_blocks, is_tolerated

PlainCheck = Callable[[str, Iterable[Subject]], CheckReport]


def plain(value: Any) -> Any:
    return None if pd.isna(value) else value.item() if hasattr(value, "item") else value


def shown(value: Any) -> Any:
    return str(value) if value in (float("inf"), -float("inf")) else value


def is_met(condition: Condition, row: dict[str, Any]) -> bool:
    value, other = row[condition.column], row[columns_of(condition)[-1]]
    is_empty = value is None or other is None
    match condition:
        case Given():
            return not is_empty and str(value).strip() != ""
        case Within(_, low, high):
            return is_empty or ((low is None or value >= low) and (high is None or value <= high))
        case Among(_, allowed):
            return is_empty or value in allowed
        case Holds():
            return bool(value)
        case Same():
            return is_empty or value == other
        case NotAbove():
            return is_empty or value <= other


def frame_of(rows: Rows) -> pd.DataFrame:
    return pd.concat(list(rows.make()), ignore_index=True) if isinstance(rows, Blocks) else rows


def result_of(rule: Rule, subject: Subject, rows: list[dict[str, Any]]) -> RuleResult:
    bad = [row for row in rows if not is_met(rule.condition, row)]
    share = len(bad) / len(rows) if rows else 0.0
    names = dict.fromkeys([subject.key, *subject.shown, *columns_of(rule.condition)])
    examples = tuple(
        {name: str(row[name]) if row[name] in (float("inf"), -float("inf")) else row[name] for name in names} for row in bad[:10]
    )
    is_passed = share <= rule.allowed_share
    return RuleResult(rule.name, rule.is_hard, is_passed, len(rows), len(bad), share, "", examples, subject.unit, rule.why)


def check_streamed(suite: str, subjects: Iterable[Subject]) -> CheckReport:
    results: list[RuleResult] = []
    skipped: list[str] = []
    is_open = True
    for subject in subjects:
        if not is_open:
            skipped += [rule.name for rule in subject.rules]
            continue
        rows = subject.make_rows()
        tallies = count_blocks(subject, rows if isinstance(rows, Blocks) else Blocks(1, lambda rows=rows: iter([rows]))).tallies
        pairs = list(zip(subject.rules, tallies, strict=True))
        results += (found := [verdicts.result_of(rule, subject, tally, is_passed=is_tolerated(rule, tally)) for rule, tally in pairs])
        is_open = not (subject.is_gate and any(result.verdict == "failed" for result in found))
    return CheckReport(suite, tuple(results), tuple(skipped))


def check(suite: str, subjects: Iterable[Subject]) -> CheckReport:
    results: list[RuleResult] = []
    skipped: list[str] = []
    is_open = True
    for subject in subjects:
        if not is_open:
            skipped += [rule.name for rule in subject.rules]
            continue
        records = frame_of(subject.make_rows()).astype(object).to_dict("records")
        rows = [{str(name): plain(value) for name, value in row.items()} for row in records]
        found = [result_of(rule, subject, rows) for rule in subject.rules]
        results += found
        is_open = not (subject.is_gate and any(result.verdict == "failed" for result in found))
    return CheckReport(suite, tuple(results), tuple(skipped))


@pytest.fixture(scope="session")
def plain_check() -> PlainCheck:
    """Check subjects without Great Expectations; everything but the messages must be the same."""
    return check


@pytest.fixture(scope="session")
def streamed_check() -> PlainCheck:
    """Check subjects by the streamed count alone, those in one frame as one block."""
    return check_streamed


@pytest.fixture(scope="session")
def assert_same() -> Callable[[CheckReport, CheckReport], None]:
    """Fail unless both reports agree in all but the wording."""

    def compare(counted: CheckReport, expected: CheckReport) -> None:
        assert counted.skipped_rules == expected.skipped_rules
        for one, other in zip(counted.rules, expected.rules, strict=True):
            assert asdict(one) | {"message": ""} == asdict(other)

    return compare

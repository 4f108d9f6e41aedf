"""Tables in blocks: how they are cut, sampled, counted, and what the report says of it."""

from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_checks import streaming
from data_checks.behaviour_checks import BehaviourRules, behaviour_subjects, check_behaviours
from data_checks.behaviour_frames import behaviour_rows
from data_checks.blocks import BLOCK_ROWS, LARGEST_FRAME, SAMPLED_BLOCKS, Blocks, block_rows, cut_rows, slices
from data_checks.equal_rows import FirstRows, shared_values
from data_checks.reports import CheckReport
from data_checks.results import GREAT_EXPECTATIONS, STREAMED
from data_checks.rules import Rule, Subject, Within
from data_checks.streaming import count_blocks, is_tolerated
from data_checks.tree_checks import TreeArrays, tree_subjects
from data_checks.validation import check_subjects
from data_checks.verdicts import Tally

RULE = Rule("small", Within("value", maximum=4), "value must be at most 4", "a reason")


def table(num_rows: int, length: int) -> Blocks:
    frame = pd.DataFrame({"value": np.arange(num_rows) % 7, "line": np.arange(1, num_rows + 1)})
    cut = cut_rows(frame, length)
    assert isinstance(cut, Blocks)
    return cut


def subject(rows: Any) -> Subject:
    return Subject("rows", (RULE, replace(RULE, name="mostly small", allowed_share=0.3)), lambda: rows, key="line")


def test_documented_sizes() -> None:
    assert (LARGEST_FRAME, BLOCK_ROWS, SAMPLED_BLOCKS) == (5_000_000, 262_144, 8)
    assert block_rows(LARGEST_FRAME) == BLOCK_ROWS
    with pytest.raises(ValueError, match="largest_frame is -1"):
        block_rows(-1)


def test_a_frame_is_cut_only_above_the_limit_and_without_loss() -> None:
    frame = pd.DataFrame({"value": range(10)})
    assert cut_rows(frame, 10) is frame
    cut = cut_rows(frame, 4)
    assert isinstance(cut, Blocks)
    assert cut.num_blocks == len(list(cut.make())) == 3
    assert pd.concat(list(cut.make())).equals(frame)
    assert slices(0, 3) == []


@pytest.mark.parametrize(
    ("number", "chosen"), [(1, {0}), (3, {0, 1, 2}), (15, {0, 2, 4, 6, 8, 10, 12, 14}), (400, {0, 57, 114, 171, 228, 285, 342, 399})]
)
def test_the_sample_is_fixed_and_spread_over_the_table(number: int, chosen: set[int]) -> None:
    assert Blocks(number, lambda: iter(())).sampled() == chosen


@settings(max_examples=60)
@given(st.integers(2, 60), st.integers(1, 20))
def test_counts_add_up_whatever_the_cut(num_rows: int, length: int) -> None:
    blocks = table(num_rows, min(length, num_rows - 1))
    bad = [line for line in range(1, num_rows + 1) if (line - 1) % 7 > 4]
    counted = count_blocks(subject(blocks), blocks)
    for tally in counted.tallies:
        assert (tally.checked, tally.violating) == (num_rows, len(bad))
        assert [row["line"] for row in tally.examples] == bad[:10]
    lines = counted.sample["line"].tolist()
    assert lines == sorted(lines)
    assert counted.sampled_violating[0] == len(set(lines) & set(bad))


def test_only_one_block_is_made_ahead_of_the_count() -> None:
    alive: list[int] = []

    def make() -> Any:
        for number in range(30):
            alive.append(number)
            yield pd.DataFrame({"value": np.zeros(3), "line": np.arange(3)})
            alive.remove(number)
            assert not alive

    assert count_blocks(subject(None), Blocks(30, make)).tallies[0].checked == 90


def test_blocks_that_do_not_come_as_announced_are_an_error() -> None:
    blocks = table(10, 4)
    with pytest.raises(RuntimeError, match="3 blocks came, 4 were announced"):
        count_blocks(subject(None), replace(blocks, num_blocks=4))


@pytest.mark.parametrize("violating", range(11))
def test_a_share_is_tolerated_as_great_expectations_does(violating: int) -> None:
    frame = pd.DataFrame({"value": [9] * violating + [0] * (10 - violating), "line": range(10)})
    for share in (0.0, 0.3, 0.5, 0.7, 1.0):
        rule = replace(RULE, allowed_share=share)
        judged = check_subjects("log", [Subject("rows", (rule,), lambda: frame, key="line")]).rules[0]
        assert is_tolerated(rule, Tally(10, violating)) is judged.is_passed
    assert is_tolerated(RULE, Tally(0, 0))


@pytest.fixture(scope="module")
def streamed() -> CheckReport:
    return check_subjects("log", [subject(table(100, 5))])


def test_every_rule_says_who_counted_what(streamed: CheckReport) -> None:
    small, mostly = streamed.rules
    assert (small.engine, small.checked_rows, small.violating_rows, small.is_passed) == (STREAMED, 100, 28, False)
    assert mostly.is_passed
    assert small.sampled_rows == 8 * 5
    lines = [line for number in Blocks(20, lambda: iter(())).sampled() for line in range(5 * number, 5 * number + 5)]
    assert small.sampled_violating_rows == sum(line % 7 > 4 for line in lines)
    assert streamed.validations[0].results[0].result["element_count"] == 40
    whole = check_subjects("log", [subject(pd.concat(list(table(100, 5).make())))]).rules[0]
    assert (whole.engine, whole.sampled_rows, whole.sampled_violating_rows) == (GREAT_EXPECTATIONS, None, None)
    assert asdict(small) | {"engine": whole.engine, "sampled_rows": None, "sampled_violating_rows": None} == asdict(whole)


def test_every_form_of_the_report_says_it_plainly(streamed: CheckReport, tmp_path: Path) -> None:
    sentence = "2 rules about rows counted on all 100 by streamed counts; Great Expectations ran on a sample of 40"
    assert streamed.to_text().splitlines()[1] == f"  {sentence}"
    assert sentence in streamed.to_html()
    assert "streamed counts, every row; Great Expectations on a sample of 40: " in streamed.to_html()
    assert streamed.to_json().count('"engine": "streamed"') == 2
    assert streamed.to_frame()[["engine", "sampled"]].to_numpy().tolist() == [["streamed", 40]] * 2
    index = streamed.write_data_docs(tmp_path)
    assert "log rows, sample of 40 rows" in index.read_text(encoding="utf-8")


def test_engines_that_disagree_are_an_error_and_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "is_met", lambda condition, frame: np.ones(len(frame), dtype=bool))
    with pytest.raises(RuntimeError, match=r"small: on the same 40 rows Great Expectations counts \d+, the stream 0"):
        check_subjects("log", [subject(table(100, 5))])


@settings(max_examples=80)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40), st.integers(1, 4), st.integers(1, 9))
def test_first_rows_match_a_slow_twin(rows: list[tuple[int, int]], values: int, length: int) -> None:
    keys = np.array(rows, dtype=np.uint64).reshape(-1, 2)
    prints = keys.sum(axis=1) % np.uint64(values) << np.uint64(62)  # different rows often have the same
    first_rows = FirstRows(shared_values(prints.copy()), width=2)
    found: list[int] = []
    for part in slices(len(rows), length):
        lines = np.arange(part.start, part.stop) + 1
        found += first_rows.lines_of_first(prints[part], lambda some, part=part: keys[part][some], lines).tolist()
    assert found == [rows.index(row) + 1 if row in rows[:number] else 0 for number, row in enumerate(rows)]


@given(st.lists(st.integers(0, 6)))
def test_shared_values_are_those_that_occur_twice(values: list[int]) -> None:
    array = np.array(values, dtype=np.uint64)
    assert shared_values(array).tolist() == sorted({value for value in values if values.count(value) > 1})


def prepared(lengths: list[int], seed: int) -> tuple[SimpleNamespace, SimpleNamespace]:
    """Behaviours with flaws sown by chance, and a split over the first users."""
    rng, total = np.random.default_rng(seed), sum(lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    arrays = SimpleNamespace(items=rng.integers(-1, 7, total), offsets=offsets, times=np.sort(rng.integers(0, 9, total)), num_items=6)
    arrays.times[rng.integers(0, total, 3)] = 4
    users = [np.array(some) for some in ([0, 1], [1, 9])]
    parts = [SimpleNamespace(users=some, history_lengths=np.array([2, 0]), truth_lengths=np.array([1, 5])) for some in users]
    return arrays, SimpleNamespace(train_lengths=np.array(lengths) - (rng.random(len(lengths)) < 0.1), validation=parts[0], test=parts[1])


SHORT = st.lists(st.integers(0, 5), min_size=2, max_size=12).filter(lambda lengths: sum(lengths) > 0)


@settings(max_examples=40)
@given(SHORT, st.integers(0, 999), st.integers(1, 9))
def test_behaviours_in_blocks_are_the_frame_in_pieces(lengths: list[int], seed: int, largest_frame: int) -> None:
    behaviours, _ = prepared(lengths, seed)
    whole = behaviour_rows(behaviours, 10**6)
    blocks = behaviour_rows(behaviours, largest_frame)
    assert isinstance(whole, pd.DataFrame)
    assert whole["user"].tolist() == [user for user, length in enumerate(lengths) for _ in range(length)]
    before = [-1 if row in behaviours.offsets else row - 1 for row in range(sum(lengths))]
    assert whole["previous_time"].tolist() == [behaviours.times[row if one < 0 else one] for row, one in enumerate(before)]
    if isinstance(blocks, Blocks):
        assert pd.concat(list(blocks.make()), ignore_index=True).equals(whole)
        assert max(map(len, blocks.make())) <= largest_frame < len(whole)
    else:
        assert len(whole) <= largest_frame


@settings(max_examples=25)
@given(lengths=SHORT, seed=st.integers(0, 999), largest_frame=st.integers(1, 6), protocol=st.sampled_from(["users", "time"]))
def test_behaviours_streamed_are_counted_the_same(  # noqa: PLR0917
    plain_check: Any, streamed_check: Any, assert_same: Any, lengths: list[int], seed: int, largest_frame: int, protocol: Any
) -> None:
    rules = BehaviourRules(minimum_user_behaviours=2 if seed % 2 else 1, protocol=protocol)
    streamed = streamed_check("behaviours", behaviour_subjects(*prepared(lengths, seed), rules, largest_frame=largest_frame))
    assert_same(streamed, plain_check("behaviours", behaviour_subjects(*prepared(lengths, seed), rules)))


def test_behaviours_give_the_same_report_to_the_letter() -> None:
    arrays = prepared([4, 3, 5, 4, 4, 4, 4, 4, 4, 4], 0)
    arrays[1].train_lengths[:] = 3
    whole, streamed = (check_behaviours(*arrays, BehaviourRules(), largest_frame=limit) for limit in (100, 3))
    same = {"engine": GREAT_EXPECTATIONS, "sampled_rows": None, "sampled_violating_rows": None}
    assert [asdict(rule) | same for rule in streamed.rules] == [asdict(rule) for rule in whole.rules]
    assert {rule.name for rule in whole.failures} >= {"times_never_fall", "items_in_vocabulary"}
    assert {rule.engine for rule in streamed.rules if rule.unit in ("users", "behaviours", "evaluation users")} >= {STREAMED}


@settings(max_examples=25)
@given(num_items=st.integers(2, 20), seed=st.integers(0, 999), largest_frame=st.integers(1, 7))
def test_trees_streamed_are_counted_the_same(
    plain_check: Any, streamed_check: Any, assert_same: Any, num_items: int, seed: int, largest_frame: int
) -> None:
    rng, height = np.random.default_rng(seed), 5
    leaves = rng.permutation(32)[:num_items] + 31
    leaves[rng.integers(num_items)] = rng.integers(-1, 64)
    masks = [rng.integers((1 << level) - 1, (1 << level + 1) - 1, level + 2) for level in range(height + 1)] if seed % 2 else None
    tree = TreeArrays(leaf_of_item=leaves, height=height, items=rng.integers(-1, num_items + 1, num_items), used_nodes=masks)
    streamed = streamed_check("tree", tree_subjects(tree, num_items, largest_frame=largest_frame))
    assert_same(streamed, plain_check("tree", tree_subjects(tree, num_items)))

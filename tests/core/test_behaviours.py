"""Flat histories: slices, doors, what training and evaluation may see."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core import behaviours as behaviours_module
from jtm_core.behaviours import (
    Behaviours,
    EvaluationUsers,
    Ragged,
    Split,
    TrainingHistories,
    evaluation_histories,
    evaluation_truths,
    take_slices,
    training_histories,
)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def three_users() -> Behaviours:
    """Users with histories [0 1 2 3], [] and [4 5 4 6 7]."""
    return Behaviours(ints(0, 1, 2, 3, 4, 5, 4, 6, 7), ints(0, 4, 4, 9), np.arange(9), num_items=8)


def rows_of(ragged: Ragged) -> list[list[int]]:
    return [ragged.row(index).tolist() for index in range(len(ragged))]


def test_histories_are_slices() -> None:
    behaviours = three_users()
    assert behaviours.num_users == 3
    assert [behaviours.history(user).tolist() for user in range(3)] == [[0, 1, 2, 3], [], [4, 5, 4, 6, 7]]


@settings(max_examples=80)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5)), max_size=8), st.sampled_from([1, 3, 1 << 22]))
def test_slices_equal_a_loop(slices: list[tuple[int, int]], at_a_time: int) -> None:
    values = np.random.default_rng(0).integers(0, 100, 25)
    starts, lengths = (np.array([pair[side] for pair in slices], dtype=np.int64) for side in (0, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(behaviours_module, "_VALUES_AT_A_TIME", at_a_time)
        taken = take_slices(values, starts, lengths)
    assert rows_of(taken) == [values[start : start + length].tolist() for start, length in slices]
    assert taken.offsets.dtype == np.int64


def test_training_never_sees_a_held_out_behaviour() -> None:
    judges = EvaluationUsers(ints(2), ints(2), ints(3))
    split = Split(train_lengths=ints(3, 0, 0), validation=judges, test=judges)
    assert rows_of(training_histories(three_users(), split)) == [[0, 1, 2], [], []]


@settings(max_examples=80)
@given(
    st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=5),
    st.sampled_from([0.01, 0.2, 0.5, 0.75, 0.999]),
    st.integers(0, 3),
)
def test_the_newest_of_what_trains_are_the_targets(times: list[list[int]], share: float, num_untaught: int) -> None:
    """The k-th newest of n training behaviours and all as new as it may be targets, k the share of n; what is held out does not count."""
    times = [sorted(row) for row in times]
    taught = [row[: max(len(row) - num_untaught, 0)] for row in times]
    values, offsets = np.arange(sum(map(len, times))), np.concatenate([[0], np.cumsum([len(row) for row in times])])
    behaviours = Behaviours(values, offsets, ints(*(time for row in times for time in row)), max(len(values), 1))
    nobody = EvaluationUsers(ints(), ints(), ints())
    found = training_histories(behaviours, Split(ints(*map(len, taught)), nobody, nobody), share)

    newest = sorted((time for row in taught for time in row), reverse=True)
    count = -math.floor(-round(len(newest) * share, 6))
    expected = [[time for time in row if time >= newest[count - 1]] for row in taught]
    assert [behaviours.times[row].tolist() for row in rows_of(found.targets())] == expected
    assert rows_of(found) == [list(range(start, start + len(row))) for start, row in zip(offsets, taught, strict=False)]


def test_all_that_trains_are_targets_by_default() -> None:
    judges = EvaluationUsers(ints(2), ints(2), ints(3))
    histories = training_histories(three_users(), Split(train_lengths=ints(3, 0, 0), validation=judges, test=judges))
    assert histories.context_lengths.tolist() == [0, 0, 0]


@pytest.mark.parametrize("context", [[4, 0], [-1, 0], [1]])
def test_context_beyond_a_row_is_refused(context: list[int]) -> None:
    with pytest.raises(ValueError, match="context_lengths must be one for each of 2 rows, between 0 and the row's length"):
        TrainingHistories(ints(1, 2, 3), ints(0, 3, 3), ints(*context))


def test_known_part_and_truth_meet_and_do_not_overlap() -> None:
    judges = EvaluationUsers(ints(2, 0), ints(3, 1), ints(2, 2))
    assert rows_of(evaluation_histories(three_users(), judges)) == [[4, 5, 4], [0]]
    assert rows_of(evaluation_histories(three_users(), judges, max_length=2)) == [[5, 4], [0]]
    assert rows_of(evaluation_truths(three_users(), judges)) == [[6, 7], [1, 2]]


@pytest.mark.parametrize(
    ("items", "offsets", "times", "message"),
    [
        (ints(0, 1), ints(0, 1), ints(0, 1), "offsets must rise from 0 to the 2 behaviours there are"),
        (ints(0, 1), ints(1, 2), ints(0, 1), "offsets must rise from 0"),
        (ints(0, 1), ints(0, 2, 1, 2), ints(0, 1), "offsets must rise from 0"),
        (ints(0, 1), ints(), ints(0, 1), "offsets must rise from 0"),
        (ints(0, 1), ints(0, 2), ints(0), "1 times for 2 items; there must be one each"),
        (ints(0, 5), ints(0, 2), ints(0, 1), r"item ids span 0 .. 5; allowed are 0 .. 4"),
        (ints(-1, 1), ints(0, 2), ints(0, 1), r"item ids span -1 .. 1; allowed are 0 .. 4"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(items: np.ndarray, offsets: np.ndarray, times: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Behaviours(items, offsets, times, num_items=5)


def test_evaluation_users_need_something_known_and_something_to_predict() -> None:
    with pytest.raises(ValueError, match="equally long"):
        EvaluationUsers(ints(1, 2), ints(1), ints(1, 1))
    for lengths in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="at least 1 known behaviour and 1 to predict"):
            EvaluationUsers(ints(1), ints(lengths[0]), ints(lengths[1]))
    assert len(EvaluationUsers(ints(), ints(), ints())) == 0


def test_no_users_are_no_error() -> None:
    behaviours = Behaviours(ints(), ints(0), ints(), num_items=0)
    assert behaviours.num_users == 0

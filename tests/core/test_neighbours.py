"""Items near a history: a worked example, a slow twin, and what a user counts itself."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from jtm_core import neighbours
from jtm_core.behaviours import Ragged
from jtm_core.config import ModelConfig
from jtm_core.experiment import counted_neighbours
from jtm_core.neighbours import LONGEST_HISTORY, REACH, Neighbours
from jtm_core.windows import Reading

NUM_ITEMS = 30
NEAR = ModelConfig(neighbour_windows=(3, 4))


def counted(histories: Ragged, num_items: int = NUM_ITEMS) -> Neighbours:
    found = counted_neighbours(lambda: histories, num_items, NEAR)
    assert found is not None
    return found


def rows_of(*rows: list[int]) -> Ragged:
    return Ragged(np.array([item for row in rows for item in row]), np.cumsum([0, *map(len, rows)]))


def random_rows(rng: np.random.Generator, longest: int = 9, num_rows: int = 20) -> Ragged:
    """Long rows are of few items for most of their length, so that others fall out of reach."""
    lengths = rng.integers(0, longest + 1, num_rows)
    values = rng.integers(0, NUM_ITEMS, lengths.sum())
    if longest > REACH:
        values = np.where(rng.random(len(values)) < 0.95, values % 4, values)
    return Ragged(values, np.concatenate([[0], np.cumsum(lengths)]))


def slow_near(histories: Ragged, row: int, cut: int, count: int, without: bool) -> NDArray[np.int64]:
    """Cosines of sets of users, summed over the last distinct items, by looking at every pair."""
    users = [set(histories.row(user).tolist()) for user in range(len(histories)) if not (without and user == row)]
    known = histories.row(row)[:cut].tolist()
    scores = np.zeros(NUM_ITEMS)
    for item in set(known[-REACH:]):
        for other in set(range(NUM_ITEMS)) - set(known):
            both = sum(item in items and other in items for items in users)
            if both:
                product = sum(item in items for items in users) * sum(other in items for items in users)
                scores[other] += np.rint(both / np.sqrt(product) * 2**40) / 2**40
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > 0][:count]
    return np.append(order, np.full(count - len(order), -1))


def test_the_nearest_share_most_users_for_their_number() -> None:
    """Of the users of 0 all have 3 and two have 1, which nobody else has; 2 has as many of them and four more."""
    table = counted(rows_of([0, 1, 3], [0, 1, 3, 2], [0, 3, 2], [2], [2, 4], [4], [2], [2]), 5)
    near = table.near(np.array([0, 3, 0]), (np.array([0, 1, 2, 2]), np.array([1, 1, 2, 3])), 3)
    assert near.tolist() == [[3, 1, 2], [-1, -1, -1], [-1, -1, -1], [3, 1, 2]]
    assert table.users.tolist() == [3, 2, 6, 3, 2]
    assert copy.deepcopy(table) is table


def test_what_a_user_counts_itself_is_taken_out() -> None:
    """Items 0 and 1 met in the first row alone; 0 and 2 in another one too."""
    histories = rows_of([0, 1, 2], [0, 2], [1, 3])
    table, first = counted(histories), (np.array([0]), np.array([1]))
    assert table.near(histories.values, first, 3).tolist() == [[2, 1, -1]]
    assert table.near(histories.values, first, 3, np.array([3])).tolist() == [[2, -1, -1]]


def test_an_empty_row_that_begins_where_the_next_does_is_another_user() -> None:
    histories = rows_of([], [0, 1], [0, 2])
    near = counted(histories).near(histories.values, (np.array([0, 0]), np.array([0, 1])), 2, np.array([0, 2]))
    assert near.tolist() == [[-1, -1], [2, -1]]


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.integers(1, 8), st.sampled_from([1, 3, 256]), st.booleans(), st.booleans())
def test_lists_are_those_of_sets_of_users(
    seed: int, without: bool, count: int, per_chunk: int, is_long: bool, are_neighbours: bool
) -> None:
    """Also where histories of one user follow each other, and lists are made from one another."""
    rng = np.random.default_rng(seed)
    histories = random_rows(rng, 2 * REACH + 50 if is_long else 9, 12 if is_long else 20)
    table, lengths = counted(histories), np.diff(histories.offsets)
    rows = rng.integers(0, len(histories), 15)
    rows = np.sort(rows % 3) if are_neighbours else rows
    cuts = np.array([rng.integers(0, lengths[row] + 1) for row in rows])
    starts, ends = histories.offsets[rows], histories.offsets[rows + 1] if without else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_HISTORIES_PER_CHUNK", per_chunk)
        found = table.near(histories.values, (starts, starts + cuts), count, ends)
    for near, row, cut in zip(found, rows.tolist(), cuts.tolist(), strict=True):
        assert near.tolist() == slow_near(histories, row, cut, count, without).tolist()


def test_the_order_of_a_history_says_nothing_within_reach_and_what_lies_beyond_it_is_not_looked_at() -> None:
    rng = np.random.default_rng(0)
    table = counted(random_rows(rng))
    history = rng.integers(0, NUM_ITEMS, 7)
    shuffled = rng.permutation(history)
    edge = (np.array([0]), np.array([7]))
    assert table.near(history, edge, 9).tolist() == table.near(shuffled, edge, 9).tolist()
    long = np.concatenate([[0], np.full(REACH, 1)])
    reached, alone = (
        table.near(long, (np.array([0]), np.array([len(long)])), NUM_ITEMS),
        table.near(long, (np.array([1]), np.array([2])), NUM_ITEMS),
    )
    assert (alone[0] == 0).any()
    assert reached[0][reached[0] >= 0].tolist() == [item for item in alone[0] if item > 0]


def test_of_very_long_histories_the_end_is_counted_and_only_that_is_taken_out() -> None:
    row = [0, *([1] * (LONGEST_HISTORY - 1)), 2, 1]
    histories = rows_of(row, [0, 2], [1, 2])
    table = counted(histories)
    assert table.users.tolist()[:3] == [1, 2, 3]
    near = table.near(histories.values, (np.array([0]), np.array([1])), 2, np.array([len(row)]))
    assert near.tolist() == [[2, -1]]  # the row counts no 0, so nothing of 0 and 2 is its own


def test_reading_near_items_takes_something_they_come_from() -> None:
    with pytest.raises(ValueError, match=r"neighbour_windows is \(3, 4\), and no neighbours were given"):
        Reading((2, 1), (3, 4))
    histories = rows_of([0, 1, 2], [], [0, 2], [1, 3])
    reading = Reading((2, 1), (1, 2), counted(histories))
    starts, cuts = np.array([0, 3]), np.array([1, 4])
    assert reading.near(histories.values, starts, cuts).tolist() == [[2, 1, -1], [2, 1, -1]]
    assert reading.of_training(histories.offsets).near(histories.values, starts, cuts).tolist() == [[2, -1, -1], [2, 1, -1]]
    assert reading.sizes_of(2) == [1, 1, 1, 2]
    assert reading.near_edges.tolist() == [0, 1, 3]
    assert Reading((2, 1)).near(histories.values, starts, cuts).shape == (2, 0)

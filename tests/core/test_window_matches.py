"""Matches of windows and nodes: a worked example, and a slow twin however the rows are cut."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core import history_matches
from jtm_core.features import last_sizes
from jtm_core.history_matches import Told, find_matches, note_histories
from jtm_core.model import window_matches as network_matches
from jtm_core.window_matches import Histories, Matches, add_lifts, make_lift

LEAVES = np.array([3, 4, 5, 6, 3, 5])
"""Codes of six items in a tree of height 2, more than one at some leaves."""


def noted(items: list[int], bounds: list[list[int]], near: list[list[int]], near_edges: list[int]) -> Histories:
    near_items = np.array(near, dtype=np.int32).reshape(len(bounds), -1)
    return note_histories(Told(np.array(items), np.array(bounds), near_items, np.array(near_edges), LEAVES))


def test_a_match_is_the_root_of_the_share_of_the_window_and_of_a_leaf_stands_twice() -> None:
    """Items 0 and 1 lie under node 1, items 2 and 3 under node 2; levels are the leaves, their parents, and one that nothing matches."""
    histories, steps = noted([0, 2, 0, 0, 3], [[0, 0, 2, 5], [1, 1, 1, 2]], [[], []], [0]), np.array([0, 1, -1])
    users, codes = np.array([0, 0, 1, 0, 2, 3, 4, 5], dtype=np.int32), np.array([3, 4, 5, 6, 1, 2, 3, 5])
    shares = np.array([[0, 1 / 2, 2 / 3], [0, 0, 1], [0, 0, 1 / 3], [0, 1 / 2, 2 / 3], [0, 0, 1]])
    found = find_matches(histories, steps, users, codes)
    assert found.rows.tolist() == [0, 2, 3, 4, 5]
    is_leaf = np.array([[1], [1], [1], [0], [0]])
    np.testing.assert_allclose(found.inputs, np.sqrt(np.concatenate([shares, shares * is_leaf], axis=1)), rtol=1e-6)
    part = found.part(2, 4)
    assert part.rows.tolist() == [0, 1]
    assert part.inputs.tolist() == found.inputs[1:3].tolist()
    nothing = find_matches(histories, steps, users[:0], codes[:0])
    assert nothing.inputs.shape == (0, 6)


def test_windows_may_be_cut_to_the_longest_history() -> None:
    """What nobody has need not be looked at, and changes nothing."""
    rng, sizes = np.random.default_rng(0), (6, 3, 2)
    behaviours, present, nodes = (
        rng.integers(0, 4, (5, 11)),
        np.arange(11) >= np.array([[4], [6], [10], [11], [7]]),
        rng.integers(0, 4, (5, 3)),
    )
    whole, cut = (
        network_matches(
            *map(torch.from_numpy, (behaviours[:, low:], present[:, low:], nodes)), last_sizes(sizes, 11 - low), torch.tensor(True)
        )
        for low in (0, 4)
    )
    assert whole.shape == (5, 3, 6)
    assert whole.any()
    assert torch.equal(whole, cut)


def test_lifts_are_sums_in_the_inputs_order_rounded_after_each_step() -> None:
    """No product is fused with the addition behind it, whoever has the code compiled."""
    rng = np.random.default_rng(0)
    inputs, weights = rng.random((50, 6), dtype=np.float32), rng.standard_normal((6, 40), dtype=np.float32)
    expected = np.zeros((50, 40), dtype=np.float32)
    for window in range(6):
        expected += inputs[:, window, None] * weights[window]
    lifts, first = np.empty_like(expected), np.ones_like(expected)
    for pair in range(50):
        make_lift(inputs[pair], weights, lifts[pair])
    add_lifts(Matches(np.arange(50), inputs), 0, weights, first)
    np.testing.assert_array_equal(lifts, expected)
    np.testing.assert_array_equal(first, 1 + expected)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(1, 70), st.booleans())
def test_pairs_are_matched_as_by_looking_at_each(seed: int, num_rows: int, rows_per_part: int, is_long: bool) -> None:
    rng = np.random.default_rng(seed)
    near_edges, steps = [[0], [0, 2, 3]][int(rng.integers(2))], np.array([[1, 0], [-1, 0], [2, 1]][int(rng.integers(3))])
    num_users, windows, most = 4, 2 + len(near_edges) - 1, 90 if is_long else 13
    items, near = rng.integers(0, len(LEAVES), most), rng.integers(-1, len(LEAVES), (num_users, near_edges[-1]))
    bounds = np.sort(rng.integers(0, most + 1, (num_users, 3)), axis=1)
    users = rng.integers(0, len(steps) * num_users, num_rows).astype(np.int32)
    levels = 2 - steps[users // num_users] % 3
    codes = (1 << levels) - 1 + rng.integers(0, 1 << levels)
    expected = np.zeros((num_rows, 2 * windows))
    for row, (user, node) in enumerate(zip(users.tolist(), codes.tolist(), strict=True)):
        level, number = divmod(user, num_users)
        told = [items[low:high] for low, high in pairwise(bounds[number])] + [near[number, low:high] for low, high in pairwise(near_edges)]
        for window, inside in enumerate(part[part >= 0] for part in told):
            above = ((LEAVES[inside] + 1) >> max(steps[level], 0)) - 1
            expected[row, window] = np.sqrt(np.mean(above == node)) if len(inside) and steps[level] >= 0 else 0
        expected[row, windows:] = expected[row, :windows] if steps[level] == 0 else 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history_matches, "_MOST_ROWS_PER_PART", rows_per_part)
        patch.setattr(history_matches, "_USERS_PER_PART", int(rng.integers(1, 6)))
        found = find_matches(noted(items.tolist(), bounds.tolist(), near.tolist(), near_edges), steps, users, codes)
    assert found.rows.tolist() == np.flatnonzero(expected.any(axis=1)).tolist()
    np.testing.assert_allclose(found.inputs, expected[found.rows], rtol=1e-6)

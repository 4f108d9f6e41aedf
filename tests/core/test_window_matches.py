"""Matches of windows and nodes: a worked example, and a slow twin however the rows are cut."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core import window_matches
from jtm_core.features import last_sizes
from jtm_core.model import window_matches as network_matches
from jtm_core.window_matches import Matches, Told, add_lifts, find_matches, make_lift

NOTHING_NEAR = np.zeros((1, 0), dtype=np.int64)


def test_a_match_is_the_root_of_the_share_of_the_window_and_of_a_leaf_stands_twice() -> None:
    behaviours, bounds = np.array([[5, 7, 5, 5, 9]]), np.array([[0, 0, 2, 5], [1, 1, 1, 2]])
    pairs = np.array([0, 0, 1, 0], dtype=np.int32), np.array([5, 8, 7, 9])
    expected = np.sqrt([[0, 1 / 2, 2 / 3], [0, 0, 1], [0, 0, 1 / 3]])
    for leaf_level, again in ((0, expected), (-1, np.zeros((3, 3)))):
        found = find_matches(Told(behaviours, bounds, NOTHING_NEAR, np.array([0])), *pairs, leaf_level)
        assert found.rows.tolist() == [0, 2, 3]
        np.testing.assert_allclose(found.inputs, np.concatenate([expected, again], axis=1), rtol=1e-6)
        part = found.part(2, 4)
        assert part.rows.tolist() == [0, 1]
        assert part.inputs.tolist() == found.inputs[1:].tolist()


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
@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(1, 70))
def test_pairs_are_matched_as_by_looking_at_each(seed: int, num_rows: int, rows_per_part: int) -> None:
    rng = np.random.default_rng(seed)
    levels, samples, near_edges = 3, 4, np.array([[0], [0, 2, 3]][int(rng.integers(2))])
    windows, behaviours = 2 + len(near_edges) - 1, rng.integers(0, 5, (levels, 12))
    near = rng.integers(-1, 5, (levels, samples, near_edges[-1]))
    bounds = np.sort(rng.integers(0, 13, (samples, 3)), axis=1)
    users, nodes = rng.integers(0, levels * samples, num_rows).astype(np.int32), rng.integers(0, 6, num_rows)
    expected, leaf_level = np.zeros((num_rows, 2 * windows)), int(rng.integers(-1, levels))
    for row, (user, node) in enumerate(zip(users.tolist(), nodes.tolist(), strict=True)):
        level, sample = divmod(user, samples)
        told = [behaviours[level, low:high] for low, high in pairwise(bounds[sample])]
        told += [near[level, sample, low:high] for low, high in pairwise(near_edges)]
        for window, inside in enumerate(part[part >= 0] for part in told):
            expected[row, window] = np.sqrt(np.mean(inside == node)) if len(inside) else 0
        expected[row, windows:] = expected[row, :windows] if level == leaf_level else 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_matches, "_ROWS_PER_PART", rows_per_part)
        found = find_matches(Told(behaviours, bounds, near.reshape(levels, -1), near_edges), users, nodes, leaf_level)
    assert found.rows.tolist() == np.flatnonzero(expected.any(axis=1)).tolist()
    np.testing.assert_allclose(found.inputs, expected[found.rows], rtol=1e-6)

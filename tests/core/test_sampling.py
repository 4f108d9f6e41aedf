"""Negatives: how many, which, and how evenly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_worlds import small_world

from jtm_core.sampling import NegativeSampler, draw_without_replacement, negatives_per_level
from jtm_core.seeding import generator


@given(st.integers(1, 300), st.lists(st.integers(1, 200), min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_no_level_asks_for_more_nodes_than_it_has(total: int, num_used: list[int]) -> None:
    counts = negatives_per_level(total, num_used)
    assert all(min(1, used - 1) <= count <= max(used - 1, 0) for count, used in zip(counts, num_used, strict=True))
    if sum(used - 1 for used in num_used) >= total >= len(num_used):
        assert sum(counts) == total


def test_most_negatives_lie_near_the_leaves() -> None:
    counts = negatives_per_level(100, [2**level for level in range(1, 22)])
    assert counts[-1] == max(counts)
    assert counts[-1] + counts[-2] > 50


def test_draws_are_distinct_and_even() -> None:
    draws = draw_without_replacement(generator(1, "test"), 6, (6000, 3))
    assert all(len(set(row)) == 3 for row in draws.tolist())
    assert np.abs(np.bincount(draws.ravel(), minlength=6) / 3000 - 1).max() < 0.1


def test_asking_for_too_many_is_refused() -> None:
    with pytest.raises(ValueError, match="7 distinct numbers below 6"):
        draw_without_replacement(generator(1, "test"), 6, (1, 7))


def test_only_used_nodes_are_drawn() -> None:
    world = small_world(num_items=21)
    sampler = NegativeSampler(world.tree, 2, 40)
    for level, codes in zip(sampler.levels, sampler.draw(generator(1, "test"), 20), strict=True):
        assert set(codes.ravel()) <= set(world.tree.used_nodes(level))

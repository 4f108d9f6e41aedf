"""Negatives: how many, which, and how evenly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_worlds import small_world

from jtm_core.sampling import NegativeSampler, PopularitySampler, draw_without_replacement, negatives_per_level
from jtm_core.seeding import generator
from jtm_core.tree import TreeIndex


@given(st.integers(1, 300), st.lists(st.integers(1, 200), min_size=1, max_size=12))
@settings(max_examples=100)
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


def popularity_sampler(counts: list[int], total: int = 12) -> PopularitySampler:
    """Six items on the leaves 7 .. 12 of a tree of height 3, in their order; the last two leaves are empty."""
    return PopularitySampler(TreeIndex(np.arange(7, 13), 3), 1, total, np.array(counts))


def test_nodes_are_drawn_by_the_behaviours_under_them_one_added_to_each_item() -> None:
    sampler = popularity_sampler([0, 5, 2, 2, 9, 0])  # with one added 1, 6, 3, 3, 10, 1
    draws = sampler.draw(generator(1, "test"), 20_000)
    expected = {1: {1: 13, 2: 11}, 2: {3: 7, 4: 6, 5: 11}, 3: {7: 1, 8: 6, 9: 3, 10: 3, 11: 10, 12: 1}}
    for level, codes in zip(sampler.levels, draws, strict=True):
        found = np.bincount(codes.ravel(), minlength=15) / codes.size
        assert found[list(expected[level])] == pytest.approx(np.array(list(expected[level].values())) / 24, abs=0.01)
        assert found.sum() == pytest.approx(found[list(expected[level])].sum())


def test_offsets_say_how_much_likelier_a_node_is_than_by_an_even_draw() -> None:
    offsets = popularity_sampler([0, 5, 2, 2, 9, 0]).offsets
    assert offsets is not None
    assert offsets[[1, 2]] == pytest.approx(np.log([13 / 24 * 2, 11 / 24 * 2]))
    assert offsets[[3, 4, 5]] == pytest.approx(np.log([7 / 24 * 3, 6 / 24 * 3, 11 / 24 * 3]))
    assert offsets[7:13] == pytest.approx(np.log(np.array([1, 6, 3, 3, 10, 1]) / 24 * 6))
    equal = popularity_sampler([3] * 6).offsets
    assert equal is not None
    assert equal[7:13] == pytest.approx(0, abs=1e-6)


def test_offsets_leave_the_best_logits_those_of_an_even_draw() -> None:
    """The loss over all nodes of a level, each as often as it is drawn, is least where logits are log(p / (k q)) of an even q."""
    sampler = popularity_sampler([0, 5, 2, 2, 9, 0])
    assert sampler.offsets is not None
    truth, even = np.array([0.3, 0.05, 0.05, 0.1, 0.4, 0.1]), np.full(6, 1 / 6)
    drawn = even * np.exp(sampler.offsets[7:13])
    logits = np.log(truth / (4 * even))
    shown = 1 / (1 + np.exp(-(logits - sampler.offsets[7:13])))
    slope = truth * (shown - 1) + 4 * drawn * shown
    assert slope == pytest.approx(0, abs=1e-7)

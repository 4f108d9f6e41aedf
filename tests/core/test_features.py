"""Windows, samples and their order."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_worlds import all_samples, small_world

from jtm_core.behaviours import Ragged, TrainingHistories
from jtm_core.features import disordered, draw_samples, make_horizon, sample_order, window_bounds
from jtm_core.seeding import generator


@given(st.integers(0, 5), st.integers(0, 20), st.lists(st.integers(1, 4), min_size=1, max_size=5))
@settings(max_examples=60)
def test_windows_are_the_last_behaviours_newest_last(start: int, length: int, sizes: list[int]) -> None:
    cut = start + length
    bounds = window_bounds(np.array([start]), np.array([cut]), tuple(sizes))[0]
    got = [list(range(low, high)) for low, high in pairwise(bounds)]
    rest, expected = list(range(start, cut)), []
    for size in reversed(sizes):
        expected.insert(0, rest[-size:])
        rest = rest[:-size]
    assert got == expected


def test_next_item_samples_are_every_behaviour_with_enough_before_it() -> None:
    histories = TrainingHistories.without_context(Ragged(np.array([5, 6, 7, 8, 9]), np.array([0, 4, 5])))
    samples = all_samples(histories, 0.0, 2, seed=0)
    assert samples.targets.tolist() == [7, 8]
    assert samples.cuts.tolist() == [2, 3]
    assert samples.starts.tolist() == [0, 0]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_context_is_history_and_no_target(share: float) -> None:
    """Two rows of 6 and 4 behaviours, whose first 4 and 1 are context: the samples of the others, over the same histories as ever."""
    rows = Ragged(np.arange(10), np.array([0, 6, 10]))
    order = sample_order(TrainingHistories(rows.values, rows.offsets, np.array([4, 1])), 2, None)
    samples = draw_samples(rows, order, 0, order.num_samples, make_horizon(share, generator(1, "horizon")))
    assert samples.targets.tolist() == [4, 5, 8, 9]
    assert samples.starts.tolist() == [0, 0, 6, 6]
    lowest = samples.starts + 2 if share else samples.targets
    assert ((lowest <= samples.cuts) & (samples.cuts <= samples.targets)).all()


def test_a_horizon_reaches_into_the_context() -> None:
    histories = TrainingHistories(np.arange(6), np.array([0, 6]), np.array([5]))
    cuts = {int(all_samples(histories, 1.0, 2, seed, 0).cuts[0]) for seed in range(200)}
    assert cuts == {2, 3, 4, 5}


def test_nothing_but_context_teaches_nothing() -> None:
    histories = TrainingHistories(np.arange(6), np.array([0, 6]), np.array([6]))
    with pytest.raises(
        ValueError, match="no behaviour has the 2 behaviours before it that minimum_history asks for, of the 0 that are no context"
    ):
        sample_order(histories, 2, None)


def test_a_random_horizon_never_shows_the_target_and_reaches_every_cut() -> None:
    histories = TrainingHistories.without_context(Ragged(np.arange(6), np.array([0, 6])))
    drawn = [all_samples(histories, 1.0, 2, seed, 0) for seed in range(200)]
    for samples in drawn:
        assert (samples.cuts <= samples.targets).all()
        assert (samples.cuts >= 2).all()
    assert {int(samples.cuts[-1]) for samples in drawn} == {2, 3, 4, 5}


@pytest.mark.parametrize(("share", "reached"), [(0.2, {5}), (0.5, {4, 5}), (0.75, {3, 4, 5}), (1.0, {2, 3, 4, 5})])
def test_a_horizon_reaches_its_share_of_the_behaviours_before_the_target(share: float, reached: set[int]) -> None:
    """The last target has 5 behaviours before it, of which 3 may be cut off: 0, 1, 2 or all of them by the share."""
    histories = TrainingHistories.without_context(Ragged(np.arange(6), np.array([0, 6])))
    drawn = [all_samples(histories, share, 2, seed, 0) for seed in range(200)]
    assert {int(samples.cuts[-1]) for samples in drawn} == reached
    assert all((samples.cuts <= samples.targets).all() and (samples.cuts >= 2).all() for samples in drawn)


def test_an_order_holds_every_sample_once_and_users_together() -> None:
    histories = small_world().histories
    order = sample_order(histories, 1, generator(3, "order"))
    samples = draw_samples(histories, order, 0, order.num_samples, None)
    assert sorted(samples.cuts.tolist()) == all_samples(histories, 0.0, 1, 0).cuts.tolist()
    assert (samples.starts[1:] != samples.starts[:-1]).sum() == len(order.users) - 1


def test_batches_of_an_order_join_to_the_whole() -> None:
    histories = small_world().histories
    order = sample_order(histories, 1, generator(3, "order"))
    whole = draw_samples(histories, order, 0, order.num_samples, None)
    parts = [draw_samples(histories, order, low, min(low + 7, order.num_samples), None) for low in range(0, order.num_samples, 7)]
    assert np.array_equal(np.concatenate([part.targets for part in parts]), whole.targets)


def test_disordered_rows_are_sorted_by_position_plus_noise() -> None:
    histories, noise = small_world(num_users=30).histories, 0.6
    draws = generator(4, "noise").random(len(histories.values), dtype=np.float32)
    rows = [histories.row(user) for user in range(len(histories))]
    keys = [
        np.arange(len(row)) + draws[start : start + len(row)] * noise * len(row)
        for row, start in zip(rows, histories.offsets, strict=False)
    ]
    expected = np.concatenate([row[np.argsort(key, kind="stable")] for row, key in zip(rows, keys, strict=True)])
    found = disordered(histories, noise, generator(4, "noise"))
    assert np.array_equal(found.values, expected)
    assert np.array_equal(found.offsets, histories.offsets)
    assert not np.array_equal(found.values, histories.values)


def test_noise_leaves_as_much_context() -> None:
    histories = TrainingHistories(np.arange(50), np.array([0, 40, 50]), np.array([30, 3]))
    assert disordered(histories, 0.5, generator(1, "noise")).context_lengths.tolist() == [30, 3]


def test_without_noise_the_order_stays() -> None:
    histories = small_world().histories
    assert np.array_equal(disordered(histories, 0.0, generator(1, "noise")).values, histories.values)


def test_noise_moves_no_behaviour_further_than_its_share_of_the_history() -> None:
    histories = TrainingHistories.without_context(Ragged(np.arange(50), np.array([0, 40, 50])))
    found = disordered(histories, 0.1, generator(2, "noise"))
    first, second = found.row(0), found.row(1)
    assert np.abs(first - np.arange(40)).max() <= 4
    assert np.array_equal(second, np.arange(40, 50))

"""Targets one by one: what metrics say of users, said of what each was asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtm_core.behaviours import Ragged
from jtm_core.found_targets import NOT_LISTED, Targets, target_ranks, targets_of
from jtm_core.metrics import metrics_at
from jtm_core.seeding import generator


@given(st.integers(1, 6), st.integers(1, 12), st.sampled_from(["multiset", "set"]), st.integers(0, 1000))
def test_recalls_are_those_of_the_metrics(num_users, num_items, truth, seed):
    rng = generator(seed, "lists")
    lengths = rng.integers(1, 9, num_users)
    truths = Ragged(rng.integers(0, num_items, lengths.sum()), np.concatenate([[0], np.cumsum(lengths)]))
    recommended = np.stack([rng.permutation(num_items + 3) for _ in range(num_users)])
    recommended[rng.random(recommended.shape) < 0.3] = -1
    targets = targets_of(truths, truth)
    ranks = target_ranks(recommended, targets)
    cutoffs = range(1, recommended.shape[1] + 1)
    metrics = metrics_at(recommended, truths, truths, cutoffs, truth)
    for cutoff in cutoffs:
        assert np.bincount(targets.users, targets.shares * (ranks < cutoff)) == pytest.approx(metrics[f"recall_at_{cutoff}"])


def test_targets_are_pairs_each_once_and_shares_sum_to_one():
    targets = targets_of(Ragged(np.array([5, 2, 5, 5, 2]), np.array([0, 4, 5])))
    assert list(zip(targets.users.tolist(), targets.items.tolist(), targets.shares.tolist(), strict=True)) == [
        (0, 2, 0.25),
        (0, 5, 0.75),
        (1, 2, 1.0),
    ]
    assert targets_of(Ragged(np.array([5, 2, 5, 5]), np.array([0, 4])), "set").shares.tolist() == [0.5, 0.5]


def test_what_is_on_no_list_has_a_rank_behind_every_cut_off():
    targets = Targets(np.array([0, 0, 1]), np.array([3, 8, 3]), np.array([0.5, 0.5, 1.0]), 2)
    assert target_ranks(np.array([[8, 1, -1], [-1, -1, -1]]), targets).tolist() == [NOT_LISTED, 0, NOT_LISTED]


@pytest.mark.parametrize("offsets", [[0], [0, 2, 2]])
def test_a_user_without_ground_truth_is_refused(offsets):
    with pytest.raises(ValueError, match="have no ground truth"):
        targets_of(Ragged(np.arange(offsets[-1]), np.array(offsets)))


@pytest.mark.parametrize("shape", [(2,), (3, 4), (2, 0)])
def test_lists_of_other_users_or_without_places_are_refused(shape):
    targets = Targets(np.array([0, 1]), np.array([3, 8]), np.array([1.0, 1.0]), 2)
    with pytest.raises(ValueError, match="2 rows, one a user"):
        target_ranks(np.zeros(shape, dtype=np.int64), targets)

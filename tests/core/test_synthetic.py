"""Synthetic worlds: the truth is far above popularity in one, nothing is above it in the other."""

import numpy as np
import pytest

from jtm_core.baselines.item_cf import ItemCF
from jtm_core.baselines.popularity import Popularity
from jtm_core.behaviours import EvaluationUsers, Ragged, evaluation_histories, evaluation_truths, take_slices
from jtm_core.cooccurrence import cooccurrence_vectors
from jtm_core.metrics import mean_metrics, metrics_at
from jtm_core.seeding import generator
from jtm_core.synthetic import World, noise_world, planted_world, true_lists, true_recall
from jtm_core.tree import tree_from_order
from jtm_core.two_means import two_means_order


def halves(world: World) -> tuple[EvaluationUsers, Ragged]:
    """Every fourth user judges, by the second half; the others teach."""
    lengths = np.diff(world.behaviours.offsets)
    users = np.arange(0, world.behaviours.num_users, 4)
    teach = np.where(np.arange(len(lengths)) % 4 > 0, lengths, 0)
    judges = EvaluationUsers(users, lengths[users] // 2, lengths[users] - lengths[users] // 2)
    return judges, take_slices(world.behaviours.items, world.behaviours.offsets[:-1], teach)


def recall(world: World, users: EvaluationUsers, lists: np.ndarray, cutoff: int) -> float:
    truths, histories = evaluation_truths(world.behaviours, users), evaluation_histories(world.behaviours, users)
    return mean_metrics(metrics_at(lists, truths, histories, [cutoff]))[f"recall_at_{cutoff}"]


def test_the_planted_world_can_be_learned_and_popularity_is_not_enough() -> None:
    world = planted_world(generator(1, "world"), num_users=800, num_items=256)
    users, histories = halves(world)
    known = evaluation_histories(world.behaviours, users)
    popular = recall(world, users, Popularity.fit(histories, 256).recommend(known, 20), 20)
    similar = recall(world, users, ItemCF.fit(histories, 256).recommend(known, 20), 20)
    best = true_recall(world, users, 20)
    assert best > 2.2 * popular
    assert best >= similar > 1.6 * popular


def test_true_recall_is_what_the_metrics_say() -> None:
    world = planted_world(generator(2, "world"), num_users=60, num_items=64, num_groups=4)
    users, _ = halves(world)
    assert true_recall(world, users, 7) == pytest.approx(recall(world, users, true_lists(world, users.users, 7), 7))


def test_nothing_passes_the_ceiling_of_the_noise_world() -> None:
    world = noise_world(generator(1, "world"), num_users=800, num_items=256)
    users, histories = halves(world)
    known = evaluation_histories(world.behaviours, users)
    ceiling = true_recall(world, users, 20)
    for lists in (Popularity.fit(histories, 256).recommend(known, 20), ItemCF.fit(histories, 256).recommend(known, 20)):
        assert recall(world, users, lists, 20) < ceiling + 0.01
    assert abs(ceiling - np.sort(world.popularity)[-20:].sum()) < 0.02


def test_users_stay_in_their_favourite_groups_and_groups_are_subtrees() -> None:
    world = planted_world(generator(3, "world"), num_users=300, num_items=300, num_groups=8, noise=0.0)
    users = np.repeat(np.arange(300), np.diff(world.behaviours.offsets))
    groups = world.groups[world.behaviours.items]
    assert (groups[:, None] == world.favourites[users]).any(axis=1).all()
    assert np.array_equal(world.tree.ancestors(3) - 7, world.groups)
    assert 0.75 < (world.categories == world.groups // 2).mean() < 0.95


def test_walks_have_momentum() -> None:
    world = planted_world(generator(3, "world"), num_users=300, num_items=256, num_groups=8, noise=0.0)
    near = world.tree.ancestors(5)[world.behaviours.items]
    inside = np.delete(near[1:] == near[:-1], world.behaviours.offsets[1:-1] - 1)
    assert inside.mean() > 0.6


def test_times_rise_within_a_user_and_seeds_decide_everything() -> None:
    one, same, other = (planted_world(generator(seed, "world"), 50, 64, 4) for seed in (1, 1, 2))
    steps = np.diff(one.behaviours.times)
    assert (np.delete(steps, one.behaviours.offsets[1:-1] - 1) > 0).all()
    assert np.array_equal(one.behaviours.items, same.behaviours.items)
    assert not np.array_equal(one.behaviours.items[:100], other.behaviours.items[:100])


def test_two_means_on_cooccurrence_recovers_the_groups_better_than_a_shuffle() -> None:
    world = planted_world(generator(1, "world"), num_users=600, num_items=128, num_groups=8)
    _, histories = halves(world)
    order = two_means_order(cooccurrence_vectors(histories, 128, 16, generator(1, "vectors")), generator(1, "plant"))

    def purity(items_in_order: np.ndarray) -> float:
        nodes = tree_from_order(items_in_order, 7).ancestors(3) - 7
        return float(sum(np.bincount(world.groups[nodes == node]).max() for node in range(8)) / 128)

    assert purity(order) > 0.6
    assert purity(generator(1, "shuffle").permutation(128)) < 0.45


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_groups": 6}, "num_groups is 6; allowed are powers of two"),
        ({"num_groups": 32, "num_items": 64}, r"from 2 to num_items / 4 = 16.0"),
        ({"num_users": 0}, "num_users is 0"),
        ({"noise": 1.5}, "noise 1.5; allowed are"),
    ],
)
def test_errors_say_what_came_and_what_is_allowed(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        planted_world(generator(1, "world"), **changes)  # type: ignore[arg-type]

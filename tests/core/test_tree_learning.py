"""Algorithm 2: weights against a slow twin, an objective that never falls, items that stay."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_worlds import SMALL_MODEL, SmallWorld, small_world

from jtm_core.config import TreeLearningConfig
from jtm_core.scoring import NodeTable, make_scorer, sample_windows
from jtm_core.tree import TreeIndex
from jtm_core.tree_learning import TreeLearner, reassign, target_samples


def learner(world: SmallWorld, config: TreeLearningConfig, first_level: int = 1) -> TreeLearner:
    samples = target_samples(world.histories, "next_item", 1, config.maximum_samples_per_item, 0, 1)
    return TreeLearner(world.network, world.tree, world.histories.values, samples, config, first_level)


@given(st.integers(0, 30), st.integers(1, 5), st.sampled_from(["greedy", "regret", "exact"]), st.integers(3, 40))
@settings(max_examples=25, deadline=None)
def test_the_objective_never_falls_and_the_tree_stays_a_tree(seed: int, gap: int, assignment: str, num_items: int) -> None:
    world = small_world(num_items=num_items, seed=seed)
    learned = learner(world, TreeLearningConfig(gap=gap, assignment=assignment)).learn()  # type: ignore[arg-type]
    assert learned.objective_after >= learned.objective_before
    for level in range(world.tree.height + 1):
        assert sorted(learned.tree.capacities(level)) == sorted(world.tree.capacities(level))
    assert learned.objective_after == pytest.approx(sum(segment.objective_after for segment in learned.segments))
    if not learned.is_new:
        assert np.array_equal(learned.tree.leaf_of_item, world.tree.leaf_of_item)


def test_the_objective_before_is_the_log_likelihood_of_the_old_paths() -> None:
    world = small_world()
    learned = learner(world, TreeLearningConfig(gap=2)).learn()
    samples = target_samples(world.histories, "next_item", 1, None, 0, 1).samples
    windows = sample_windows(world.histories.values, samples, SMALL_MODEL.window_sizes)
    scorer, total = make_scorer(world.network, world.tree), 0.0
    for place, target in enumerate(samples.targets):
        for level in range(1, world.tree.height + 1):
            code = world.tree.ancestors(level)[target]
            logit = scorer.score_level(windows.part(place, place + 1), level, np.array([code]))[0, 0]
            total += -np.log1p(np.exp(-float(logit)))
    assert learned.objective_before == pytest.approx(total, rel=1e-4)


def test_weights_are_sums_of_path_log_likelihoods() -> None:
    world = small_world(num_items=21)
    learn, tree = learner(world, TreeLearningConfig(gap=2)), world.tree
    weights = learn._weigh(NodeTable(world.network, tree), 2, 4, lambda share: None)
    samples = target_samples(world.histories, "next_item", 1, None, 0, 1).samples
    windows, scorer = sample_windows(world.histories.values, samples, SMALL_MODEL.window_sizes), make_scorer(world.network, tree)
    item = int(samples.targets[len(samples) // 2])
    parent = tree.ancestors(2)[item]
    for child in range(4):
        path = [2 * parent + 1 + child // 2, 4 * parent + 3 + child]
        own = [place for place, target in enumerate(samples.targets) if target == item]
        expected = sum(
            -np.log1p(np.exp(-float(scorer.score_level(windows.part(place, place + 1), level, np.array([code]))[0, 0])))
            for place in own
            for level, code in zip((3, 4), path, strict=True)
            if code in tree.used_nodes(level)
        )
        if path[1] in tree.used_nodes(4):
            assert weights[item, child] == pytest.approx(expected, rel=1e-4)


def test_reassignment_never_lowers_a_node_and_keeps_the_used_leaves() -> None:
    tree, rng = small_world(num_items=40).tree, np.random.default_rng(3)
    weights = rng.standard_normal((40, 4))

    def total(of: TreeIndex) -> float:
        children = of.ancestors(4) - (4 * of.ancestors(2) + 3)
        return float(np.take_along_axis(weights, children[:, None], axis=1).sum())

    for method in ("greedy", "regret", "exact"):
        new, (num_nodes, num_kept) = reassign(tree, weights, 2, 4, method)  # type: ignore[arg-type]
        assert total(new) >= total(tree)
        assert np.array_equal(new.ancestors(2), tree.ancestors(2))
        assert sorted(new.leaf_of_item) == sorted(tree.leaf_of_item)
        assert 0 <= num_kept <= num_nodes == 4


def test_equal_weights_move_nobody() -> None:
    tree = small_world(num_items=40).tree
    for method in ("greedy", "regret", "exact"):
        new, _ = reassign(tree, np.full((40, 8), -3.0), 0, 3, method)  # type: ignore[arg-type]
        assert np.array_equal(new.leaf_of_item, tree.leaf_of_item)


def test_levels_that_were_not_trained_add_nothing() -> None:
    world = small_world()
    learned = learner(world, TreeLearningConfig(gap=2), first_level=3).learn()
    assert learned.segments[0].objective_before == 0


def test_a_cap_keeps_that_many_samples_and_their_weight() -> None:
    histories = small_world(num_items=5, num_users=40).histories
    whole, capped = (target_samples(histories, "next_item", 1, maximum, 0, 1) for maximum in (None, 7))
    counts = np.bincount(whole.samples.targets)
    assert (counts > 7).all(), "every item must feel the cap"
    assert np.bincount(capped.samples.targets).tolist() == [7] * 5
    np.testing.assert_allclose(np.bincount(capped.samples.targets, weights=capped.factors), counts)
    assert (np.diff(capped.samples.targets) >= 0).all()


def test_learning_twice_gives_the_same_tree() -> None:
    world = small_world(num_items=40)
    config = dataclasses.replace(TreeLearningConfig(), gap=3)
    assert learner(world, config).learn().tree.fingerprint() == learner(world, config).learn().tree.fingerprint()

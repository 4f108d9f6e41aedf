"""Algorithm 2: weights against a slow twin, an objective that never falls, items that stay."""

import dataclasses
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_worlds import SMALL_MODEL, SmallWorld, small_world

from jtm_core.assignment import assign_many
from jtm_core.carry import carry_inner_vectors
from jtm_core.config import ModelConfig, TreeLearningConfig
from jtm_core.reassignment import Block, reassign
from jtm_core.scoring import NodeTable, make_scorer
from jtm_core.segments import SegmentWork, ShardSums, cut_pieces, segment_borders
from jtm_core.tree import TreeIndex, match_siblings, moved_shares
from jtm_core.tree_learning import TreeLearner, target_samples
from jtm_core.windows import sample_windows

MODELS = [SMALL_MODEL, dataclasses.replace(SMALL_MODEL, inner_product=True, window_matches=True)]


def learner(world: SmallWorld, config: TreeLearningConfig, first_level: int = 1) -> TreeLearner:
    samples = target_samples(world.histories, 0.0, 1, config.maximum_samples_per_item, 0, 1)
    return TreeLearner(world.network, world.tree, world.histories, samples, config, first_level)


@given(st.integers(0, 30), st.integers(1, 5), st.sampled_from(["greedy", "regret", "exact"]), st.integers(3, 40))
@settings(max_examples=25)
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
    samples = target_samples(world.histories, 0.0, 1, None, 0, 1).samples
    windows = sample_windows(world.histories.values, samples, world.network.reading)
    scorer, total = make_scorer(world.network, world.tree), 0.0
    for place, target in enumerate(samples.targets):
        for level in range(1, world.tree.height + 1):
            code = world.tree.ancestors(level)[target]
            logit = scorer.score_level(windows.part(place, place + 1), level, np.array([code]))[0, 0]
            total += -np.log1p(np.exp(-float(logit)))
    assert learned.objective_before == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_the_objective_after_is_the_log_likelihood_of_the_new_paths_with_carried_vectors(model: ModelConfig) -> None:
    world = small_world(config=model)
    learned = learner(world, TreeLearningConfig(gap=2)).learn()
    assert learned.is_new
    totals = objective_of_levels(world, learned.tree)
    assert learned.objective_after == pytest.approx(totals.sum(), rel=1e-5)
    assert learned.segments[-1].objective_after == pytest.approx(totals[learned.segments[-1].upper_level + 1 :].sum(), rel=1e-5)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), gap=st.integers(1, 7), matches=st.booleans())
def test_the_tree_that_is_returned_is_worth_what_is_told_of_it(seed: int, gap: int, matches: bool) -> None:
    """With matches a tree's worth hangs on the places of its nodes, so they must be those that were measured."""
    world = small_world(num_items=33, seed=seed, config=dataclasses.replace(SMALL_MODEL, window_matches=matches))
    learned = learner(world, TreeLearningConfig(gap=gap)).learn()
    assert learned.objective_before == pytest.approx(objective_of_levels(world, world.tree).sum(), rel=1e-5)
    assert learned.objective_after == pytest.approx(objective_of_levels(world, learned.tree).sum(), rel=1e-5)
    assert learned.objective_after >= learned.objective_before


def objective_of_levels(world: SmallWorld, tree: TreeIndex) -> np.ndarray:
    """By level, what the slow scorer says of the targets' paths in a tree with carried vectors, users being those of the old tree."""
    samples = target_samples(world.histories, 0.0, 1, None, 0, 1).samples
    windows = sample_windows(world.histories.values, samples, world.network.reading)
    carried = NodeTable(carry_inner_vectors(world.network, world.tree, tree, world.weights), tree)
    scorer, totals = make_scorer(world.network, world.tree, carried), np.zeros(tree.height + 1)
    for level in range(1, tree.height + 1):
        logits = scorer.score_level(windows, level, tree.ancestors(level)[samples.targets][:, None])
        totals[level] = -np.logaddexp(0, -logits.astype(np.float64)).sum()
    return totals


@pytest.mark.parametrize("sweeps", [1, 3, 5])
@pytest.mark.parametrize(
    ("gap", "seed", "most"),
    [(7, 2, 0), (7, 4, 1), (7, 3, 2), (7, 17, 3), (7, 20, 4), (7, 34, 5), (2, 12, 1), (3, 4, 2), (2, 5, 3), (2, 9, 4)],
)
def test_segments_are_learned_again_as_long_as_the_objective_rises(gap: int, seed: int, most: int, sweeps: int) -> None:
    world = small_world(num_items=33, seed=seed)
    learned = learner(world, TreeLearningConfig(gap=gap, sweeps=sweeps)).learn()
    trees = swept_trees(world, gap, sweeps)
    totals = [objective_of_levels(world, tree).sum() for tree in trees]
    rises = [later > earlier for earlier, later in pairwise(totals)]
    num_sweeps = rises.index(False) + 1 if False in rises else sweeps
    if totals[num_sweeps - 1] > objective_of_levels(world, world.tree).sum():
        assert learned.num_sweeps == num_sweeps == min(most, sweeps)
        assert np.array_equal(learned.tree.leaf_of_item, trees[num_sweeps - 1].leaf_of_item)
    else:
        assert learned.num_sweeps == most == 0
        assert not learned.is_new


def test_a_second_sweep_gains_more() -> None:
    once, twice = (learner(small_world(num_items=33, seed=17), TreeLearningConfig(sweeps=sweeps)).learn() for sweeps in (1, 2))
    assert (once.num_sweeps, twice.num_sweeps) == (1, 2)
    assert twice.objective_after > once.objective_after
    assert twice.objective_before == once.objective_before


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"sweeps": 0}, "sweeps is 0; allowed are 1 and more"),
        ({"maximum_samples_per_item": 0}, "maximum_samples_per_item must be 1 or more"),
        ({"gap": 13}, "gap is 13; allowed are 1 .. 12"),
    ],
)
def test_dials_out_of_range_are_refused(dials: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TreeLearningConfig(**dials)  # type: ignore[arg-type]


def test_progress_counts_sweeps_and_rises_within_each() -> None:
    told = list[tuple[int, float]]()
    learned = learner(small_world(num_items=33, seed=17), TreeLearningConfig(gap=3)).learn(lambda *done: told.append(done))
    assert told == sorted(told)
    assert all(0 < share <= 1 for _, share in told)
    last_of = dict(told)
    assert list(last_of) == list(range(1, len(last_of) + 1))
    assert set(last_of.values()) == {1.0}
    assert len(last_of) >= learned.num_sweeps > 0


def swept_trees(world: SmallWorld, gap: int, sweeps: int) -> list[TreeIndex]:
    """What the assignment makes, sweep after sweep, of the summed weights under the tree of the segment before, whatever they are worth."""
    learn, tree, trees = learner(world, TreeLearningConfig(gap=gap)), world.tree, list[TreeIndex]()
    samples = target_samples(world.histories, 0.0, 1, None, 0, 1).samples
    for _ in range(sweeps):
        for upper in range(0, tree.height, gap):
            lower = min(upper + gap, tree.height)
            work = SegmentWork("weigh", upper, lower, tree.leaf_of_item, False, 1 << 18)
            weights = np.zeros((tree.num_items, work.num_children), dtype=np.float32)
            pieces = cut_pieces(np.searchsorted(samples.targets, np.arange(tree.num_items + 1)), tree.leaf_of_item)
            weights[pieces.items] = all_sums(learn, work).weights
            tree = reassign(tree, upper, lower, "regret", lambda items, weights=weights: weights[items]).tree
        trees.append(tree)
    return trees


def test_swaps_of_siblings_are_no_moves() -> None:
    world = small_world(config=MODELS[1])
    learned = learner(world, TreeLearningConfig(gap=2)).learn()
    assert learned.is_new
    assert np.array_equal(learned.moved_shares, moved_shares(world.tree, match_siblings(world.tree, learned.tree)))
    assert np.array_equal(learned.raw_moved_shares, moved_shares(world.tree, learned.tree))
    assert 0 < learned.moved_shares[-1] <= learned.raw_moved_shares[-1]


def all_sums(learner: TreeLearner, work: SegmentWork) -> ShardSums:
    """The sums of all shards, last shard first, put in order."""
    shards = [learner.weigh(work, number) for number in reversed(range(learner.num_shards(work)))][::-1]
    return ShardSums(*(np.concatenate(arrays) for arrays in zip(*shards, strict=True)))


def test_weights_are_sums_of_path_log_likelihoods() -> None:
    world = small_world(num_items=21)
    learn, tree = learner(world, TreeLearningConfig(gap=2)), world.tree
    work = SegmentWork("weigh", 2, 4, tree.leaf_of_item, True, 1 << 18)
    samples = target_samples(world.histories, 0.0, 1, None, 0, 1).samples
    pieces = cut_pieces(np.searchsorted(samples.targets, np.arange(22)), tree.leaf_of_item)
    windows, scorer = sample_windows(world.histories.values, samples, world.network.reading), make_scorer(world.network, tree)
    item = int(samples.targets[len(samples) // 2])
    weights = all_sums(learn, work).weights[pieces.items == item][0]
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
            assert weights[child] == pytest.approx(expected, rel=1e-4)


def test_reassignment_never_lowers_a_node_and_keeps_the_used_leaves() -> None:
    tree, rng = small_world(num_items=40).tree, np.random.default_rng(3)
    weights = rng.standard_normal((40, 4))

    def total(of: TreeIndex) -> float:
        children = of.ancestors(4) - (4 * of.ancestors(2) + 3)
        return float(np.take_along_axis(weights, children[:, None], axis=1).sum())

    for method in ("greedy", "regret", "exact"):
        step = reassign(tree, 2, 4, method, lambda items: weights[items])  # type: ignore[arg-type]
        assert total(step.tree) >= total(tree)
        assert np.array_equal(step.tree.ancestors(2), tree.ancestors(2))
        assert sorted(step.tree.leaf_of_item) == sorted(tree.leaf_of_item)
        assert 0 <= step.num_kept <= step.num_nodes == len(step.gaps) == 4
        assert method != "exact" or step.gaps.max() == 0


def test_gaps_show_how_far_an_assignment_is_from_the_best_one() -> None:
    tree, weights = small_world(num_items=64).tree, -np.random.default_rng(5).pareto(1.0, (64, 16))
    greedy, exact = (reassign(tree, 0, 4, method, lambda items: weights[items]) for method in ("greedy", "exact"))  # type: ignore[arg-type]
    own = [np.take_along_axis(weights, (step.tree.ancestors(4) - 15)[:, None], axis=1).sum() for step in (greedy, exact)]
    assert greedy.gaps[0] == pytest.approx((own[1] - own[0]) / abs(own[1]))
    assert greedy.gaps[0] > 0


def test_equal_weights_move_nobody() -> None:
    tree = small_world(num_items=40).tree
    for method in ("greedy", "regret", "exact"):
        step = reassign(tree, 0, 3, method, lambda items: np.full((len(items), 8), -3.0))  # type: ignore[arg-type]
        assert np.array_equal(step.tree.leaf_of_item, tree.leaf_of_item)


@pytest.mark.parametrize("first_level", [1, 3, 5, 6])
@pytest.mark.parametrize("gap", [1, 2, 7])
def test_levels_that_were_not_trained_add_nothing(gap: int, first_level: int) -> None:
    world = small_world(num_items=33)
    learned = learner(world, TreeLearningConfig(gap=gap), first_level).learn()
    for told, tree in ((learned.objective_before, world.tree), (learned.objective_after, learned.tree)):
        assert told == pytest.approx(objective_of_levels(world, tree)[first_level:].sum(), rel=1e-5)


@pytest.mark.parametrize(
    ("gap", "first_level", "borders"), [(1, 4, [0, 4, 5, 6]), (2, 3, [0, 3, 5, 6]), (3, 2, [0, 3, 6]), (2, 6, [0, 2, 4, 6])]
)
def test_the_first_segment_reaches_down_to_the_first_trained_level(gap: int, first_level: int, borders: list[int]) -> None:
    learned = learner(small_world(num_items=33), TreeLearningConfig(gap=gap), first_level).learn()
    assert [(segment.upper_level, segment.lower_level) for segment in learned.segments] == list(pairwise(borders))


@pytest.mark.parametrize(("height", "first_level", "is_allowed"), [(20, 12, True), (20, 13, False), (14, 13, False), (13, 13, True)])
def test_a_first_segment_of_too_many_levels_is_refused(height: int, first_level: int, is_allowed: bool) -> None:
    if is_allowed:
        assert segment_borders(height, 7, first_level)[-1] == height
    else:
        with pytest.raises(ValueError, match=f"first trained level is 13, of a tree of height {height}; tree learning allows 1 .. 12"):
            segment_borders(height, 7, first_level)


def test_where_leaves_alone_were_trained_only_the_last_segment_is_weighed() -> None:
    """They weigh the same wherever they are."""
    learn, asked = learner(small_world(num_items=33), TreeLearningConfig(gap=2), first_level=6), list[tuple[str, int]]()

    def run(work: SegmentWork) -> Iterator[ShardSums]:
        asked.append((work.kind, work.upper_level))
        return (learn.weigh(work, number) for number in range(learn.num_shards(work)))

    learned = learn.learn(run=run)
    assert not learned.is_new
    assert {upper for kind, upper in asked if kind == "weigh"} == {4}


@pytest.mark.parametrize("gap", [1, 2, 3])
def test_items_leave_subtrees_whose_roots_were_not_trained(gap: int) -> None:
    world = small_world(num_items=33, num_users=60, seed=1)
    learned = learner(world, TreeLearningConfig(gap=gap), first_level=4).learn()
    assert learned.is_new
    assert learned.raw_moved_shares[1] > 0


def test_a_cap_keeps_that_many_samples_and_their_weight() -> None:
    histories = small_world(num_items=5, num_users=40).histories
    whole, capped = (target_samples(histories, 0.0, 1, maximum, 0, 1) for maximum in (None, 7))
    counts = np.bincount(whole.samples.targets)
    assert (counts > 7).all(), "every item must feel the cap"
    assert np.bincount(capped.samples.targets).tolist() == [7] * 5
    np.testing.assert_allclose(7 * capped.factors, counts)
    assert (np.diff(capped.samples.targets) >= 0).all()


def test_learning_twice_gives_the_same_tree() -> None:
    world = small_world(num_items=40)
    config = dataclasses.replace(TreeLearningConfig(), gap=3)
    assert learner(world, config).learn().tree.fingerprint() == learner(world, config).learn().tree.fingerprint()


@pytest.mark.parametrize("method", ["greedy", "regret"])
def test_nodes_keep_their_children_where_a_new_assignment_is_no_better(method: str) -> None:
    """Old children are the best there are, which a rule of thumb often misses; what weighs as much as before moves nothing."""
    rng, sizes = np.random.default_rng(5), np.array([40] * 30 + [1] * 2)
    parents, capacities = np.repeat(np.arange(len(sizes)), sizes), np.full((len(sizes), 8), 5)
    weights = rng.gamma(1, 1, (sizes.sum(), 8)) ** 2
    best = assign_many(weights, parents, capacities, np.full(len(parents), -1), "exact")
    raw = assign_many(weights, parents, capacities, best, method)

    def totals(children):
        return np.bincount(parents, weights=weights[np.arange(len(parents)), children])

    assert (totals(raw) < totals(best) - 1e-9).sum() >= 1, "or nothing had to be kept"
    block = Block(weights, np.concatenate([[0], np.cumsum(sizes)]), capacities, best)
    children, num_kept = block.assign(method)
    np.testing.assert_array_equal(children, best)
    assert num_kept == 30, "nodes with a single item have no choice"
    worse = np.where(parents < 30, np.arange(len(parents)) // 5 % 8, best)
    children, num_kept = Block(weights, block.first_rows, capacities, worse).assign(method)
    assert (totals(children) >= totals(worse)).all()
    assert num_kept == (totals(children) == totals(worse))[:30].sum() < 30
    even = Block(np.zeros_like(weights), block.first_rows, capacities, worse)
    assert even.assign(method)[1] == 30
    np.testing.assert_array_equal(even.assign(method)[0], worse)

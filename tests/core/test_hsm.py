"""HSM: path products that add up to 1, a slow twin of loss and search, steps without a choice."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_worlds import SMALL_MODEL, SmallWorld, small_world

from jtm_core.baselines.epochs import Oversight
from jtm_core.baselines.hsm import HierarchicalSoftmax, PathMaker, path_loss, train_hsm
from jtm_core.behaviours import Ragged, TrainingHistories
from jtm_core.codes import first_code
from jtm_core.config import ModelConfig, TrainingConfig
from jtm_core.features import Samples
from jtm_core.gradients import autograd_gradients
from jtm_core.scoring import make_scorer
from jtm_core.training import TrainingPlan
from jtm_core.tree import TreeIndex
from jtm_core.windows import Reading, windows_of

FLAT = ModelConfig(features="flat", window_sizes=(3, 2, 1, 1), embedding_width=8, hidden_widths=(16, 8, 4))
TRAINING = TrainingConfig(epochs=2, batch_samples=32, learning_rate=1e-2)
PLAN = TrainingPlan(first_level=0, num_epochs=2, seed=3, iteration=0)


def flat_world(num_items: int = 21, num_users: int = 12, inner_product: bool = False) -> SmallWorld:
    return small_world(num_items, num_users, config=replace(FLAT, inner_product=inner_product))


def slow_log_probability(world: SmallWorld, history: Ragged, item: int) -> float:
    """Down the path of one item, one softmax over the used children at a time."""
    scorer, tree = make_scorer(world.network, world.tree), world.tree
    windows, total = windows_of(history, Reading(FLAT.window_sizes)), 0.0
    for level in range(1, tree.height + 1):
        node = int(tree.ancestors(level)[item])
        family = [code for code in (node, ((node + 1) ^ 1) - 1) if code in tree.used_nodes(level)]
        logits = [float(scorer.score_level(windows, level, np.array([code]))[0, 0]) for code in family]
        total += logits[0] - np.logaddexp.reduce(logits)
    return total


@pytest.mark.parametrize("num_items", [2, 5, 21, 32])
@pytest.mark.parametrize("inner_product", [False, True])
def test_all_leaves_together_have_probability_one(num_items: int, inner_product: bool) -> None:
    world = flat_world(num_items, inner_product=inner_product)
    log_p = HierarchicalSoftmax(world.network, world.tree, 1).log_probabilities(world.histories)
    assert log_p.shape == (12, num_items)
    assert np.exp(log_p).sum(axis=1) == pytest.approx(np.ones(12), abs=1e-5)
    first = world.histories.rows(0, 1)
    assert log_p[0] == pytest.approx([slow_log_probability(world, first, item) for item in range(num_items)], abs=1e-4)


def test_a_beam_as_wide_as_the_tree_gives_the_whole_order() -> None:
    world = flat_world()
    system = HierarchicalSoftmax(world.network, world.tree, 21)
    log_p = system.log_probabilities(world.histories)
    lists = system.recommend(world.histories, 21)
    assert (np.sort(lists, axis=1) == np.arange(21)).all()
    assert (np.diff(np.take_along_axis(log_p, lists, axis=1), axis=1) <= 0).all()


def test_a_narrow_beam_equals_a_slow_walk() -> None:
    world, width = flat_world(60, 5), 4
    lists = HierarchicalSoftmax(world.network, world.tree, width).recommend(world.histories, 2 * width)
    log_p = np.exp(HierarchicalSoftmax(world.network, world.tree, width).log_probabilities(world.histories))
    tree = world.tree
    for user in range(5):
        kept = [0]
        for level in range(1, tree.height + 1):
            share = {int(code): log_p[user, tree.ancestors(level) == code].sum() for code in tree.used_nodes(level)}
            children = [child for node in kept for child in (2 * node + 1, 2 * node + 2) if child in share]
            kept = sorted(children, key=lambda code, share=share: -share[code])[: width if level < tree.height else None]
        expected = [int(np.flatnonzero(tree.leaf_of_item == code)[0]) for code in kept]
        assert lists[user][lists[user] >= 0].tolist() == expected


def test_the_loss_is_minus_log_p_of_the_targets() -> None:
    world = flat_world()
    starts, ends = world.histories.offsets[:-1], world.histories.offsets[1:]
    samples = Samples(starts, ends, np.arange(12))
    batch = PathMaker(world.tree, Reading(FLAT.window_sizes)).make(world.histories.values, samples)
    log_p = HierarchicalSoftmax(world.network, world.tree, 1).log_probabilities(world.histories)
    loss = autograd_gradients(world.network, batch, loss_of=path_loss).loss
    assert loss == pytest.approx(-log_p[np.arange(12), np.arange(12)].mean(), rel=1e-4)


def test_a_step_without_a_choice_is_certain_and_teaches_nothing() -> None:
    """Item 2 hangs alone below its parent, items 0 and 1 are siblings."""
    tree, world = TreeIndex(np.array([3, 4, 5]), height=2), flat_world(3, 4)
    history = Ragged(np.array([0, 1]), np.array([0, 2]))
    batch = PathMaker(tree, Reading(FLAT.window_sizes)).make(history.values, Samples(np.array([0]), np.array([2]), np.array([2])))
    assert sorted(batch.nodes.tolist()) == [1, 2]
    log_p = HierarchicalSoftmax(world.network, tree, 1).log_probabilities(history)
    scorer = make_scorer(world.network, tree)
    logits = scorer.score_level(windows_of(history, Reading(FLAT.window_sizes)), 1, np.array([1, 2]))[0]
    assert log_p[0, 2] == pytest.approx(logits[1] - np.logaddexp(*logits), abs=1e-5)


def test_what_every_user_does_becomes_likely_and_the_start_is_left_alone() -> None:
    world = flat_world(16, 30)
    rows = np.tile(np.array([3, 7, 9, 7, 9, 7, 9]), 30)
    histories = TrainingHistories.without_context(Ragged(rows, np.arange(31) * 7))
    before = {name: weights.clone() for name, weights in world.network.state_dict().items()}
    network, curve = train_hsm(world.network, world.tree, histories, TRAINING, PLAN)
    assert all(torch.equal(weights, before[name]) for name, weights in world.network.state_dict().items())
    old, new = (HierarchicalSoftmax(net, world.tree, 1).log_probabilities(histories.rows(0, 1))[0] for net in (world.network, network))
    assert new[[7, 9]].mean() > old[[7, 9]].mean() + 0.5
    assert curve.losses[1] < curve.losses[0]
    touched = np.unique(np.concatenate([[3, 7, 9], [int(world.tree.item_of_leaf()[sibling]) for sibling in siblings(world.tree, [7, 9])]]))
    moved = (network.vectors != before["vectors"]).any(dim=1).numpy()[first_code(world.tree.height) :]
    assert set(np.flatnonzero(moved).tolist()) <= set(touched.tolist())


def siblings(tree: TreeIndex, items: list[int]) -> np.ndarray:
    """Places among the leaves of the siblings of some items (all leaves are used)."""
    return ((tree.leaf_of_item[items] + 1) ^ 1) - 1 - first_code(tree.height)


def test_patience_ends_a_training_and_the_best_epoch_stays() -> None:
    world = flat_world()
    recalls = iter([0.2, 0.5, 0.4, 0.3, 0.9])
    snapshots = []

    def judge(network: torch.nn.Module) -> float:
        snapshots.append({name: weights.clone() for name, weights in network.state_dict().items()})
        return next(recalls)

    plan = TrainingPlan(first_level=0, num_epochs=9, seed=3, iteration=0)
    network, curve = train_hsm(world.network, world.tree, world.histories, TRAINING, plan, Oversight(judge))
    assert curve.recalls == (0.2, 0.5, 0.4, 0.3)
    assert len(curve.losses) == 4
    assert all(torch.equal(weights, snapshots[1][name]) for name, weights in network.state_dict().items())
    assert not torch.equal(snapshots[1]["vectors"], snapshots[3]["vectors"])


def test_bits_do_not_depend_on_the_number_of_threads() -> None:
    world, number, networks = flat_world(300, 60), torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            networks.append(train_hsm(world.network, world.tree, world.histories, TRAINING, PLAN)[0].state_dict())
            assert torch.get_num_threads() == threads, "what was set before is set again"
        finally:
            torch.set_num_threads(number)
    assert all(torch.equal(weights, networks[1][name]) for name, weights in networks[0].items())


def test_errors_say_what_came_and_what_is_allowed() -> None:
    world = small_world(config=SMALL_MODEL)
    with pytest.raises(ValueError, match="features are 'hierarchical', attention False; HSM has flat ones and none"):
        train_hsm(world.network, world.tree, world.histories, TRAINING, PLAN)
    with pytest.raises(ValueError, match="beam_width is 0; allowed are 1 and more"):
        HierarchicalSoftmax(world.network, world.tree, 0)
    with pytest.raises(ValueError, match="no behaviour has the 20 behaviours before it"):
        train_hsm(flat_world().network, flat_world().tree, world.histories, TrainingConfig(minimum_history=20), PLAN)

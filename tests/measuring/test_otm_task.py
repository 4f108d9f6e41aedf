"""OTM's synthetic task: known regrets, targets by hand, and the order of the systems on a small draw."""

import numpy as np
import pytest
import torch

from benchmarks import otm_task
from benchmarks.otm_task import BEAM, HEIGHT, NUM_ITEMS, LogitTable, System, make_task, path_products, regret
from jtm_core.beam import BeamSearch
from jtm_core.tree import TreeIndex
from jtm_core.windows import Windows


def test_regret_is_zero_for_the_best_lists_and_counts_what_is_missed() -> None:
    probabilities = np.float32([[0.9, 0.5, 0.1, 0.7], [0.2, 0.4, 0.6, 0.8]])
    assert regret(probabilities, np.array([[3, 0], [3, 2]])) == 0
    assert regret(probabilities, np.array([[0, 1], [3, 2]])) == pytest.approx((0.7 - 0.5) / 2 / 2)


def test_logits_are_looked_up_and_missing_nodes_come_last() -> None:
    task = make_task(1, 1)
    table = LogitTable(task.tree, np.arange(20, dtype=np.float32).reshape(2, 10))
    windows = Windows(np.empty(0, np.int64), np.zeros((2, 1), np.int64))
    assert table.score_level(windows, 2, np.array([3, 5])).tolist() == [[3, 5], [13, 15]]
    assert table.score_level(windows, 2, np.array([[3, -1], [-1, 6]])).tolist() == [[3, -np.inf], [-np.inf, 16]]


def test_a_path_s_product_is_that_of_its_nodes() -> None:
    logits = torch.linspace(-3, 3, (2 << HEIGHT) - 1)[None]
    code, total = (2 << HEIGHT) - 2, 0.0
    products = path_products(logits)
    while code:
        total += float(torch.nn.functional.logsigmoid(logits[0, code]))
        code = (code - 1) // 2
    assert float(products[0, -1]) == pytest.approx(total, rel=1e-5)
    assert float(products[0, 0]) == 0


def test_the_true_probabilities_as_logits_leave_no_regret() -> None:
    """The optimum of OTM, eq. 9: a node is worth the best leaf under it."""
    task = make_task(2, 1)
    logits = np.full((len(task.test.inputs), (2 << HEIGHT) - 1), -np.inf, dtype=np.float32)
    logits[:, task.tree.leaf_of_item] = task.test.probabilities
    for level in range(HEIGHT, 0, -1):
        first = (1 << level) - 1
        logits[:, first >> 1 : first] = logits[:, first : 2 * first + 1].reshape(len(logits), -1, 2).max(axis=2)
    windows = Windows(np.empty(0, np.int64), np.zeros((len(logits), 1), np.int64))
    found = BeamSearch(LogitTable(task.tree, logits), BEAM, 1).rank(windows, BEAM)
    assert regret(task.test.probabilities, found.items) == pytest.approx(0, abs=1e-6)


def test_training_on_the_beam_beats_an_untrained_scorer_and_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otm_task, "BATCH", 50)
    task = make_task(3, 1000)
    system = System("otm", task, 3)
    untrained = regret(task.test.probabilities, system.retrieve(task.test.inputs))
    system.train(2)
    items = system.retrieve(task.test.inputs)
    assert items.shape == (1000, BEAM)
    assert all(len(set(row)) == BEAM and min(row) >= 0 and max(row) < NUM_ITEMS for row in items[:20].tolist())
    assert regret(task.test.probabilities, items) < 0.5 * untrained


def test_near_the_cut_a_node_counts_the_more_and_leaves_are_drawn_besides() -> None:
    task = make_task(5, 60)
    logits = np.random.default_rng(5).normal(scale=2, size=(60, (2 << HEIGHT) - 1)).astype(np.float32)
    none = np.zeros(logits.shape, dtype=np.bool_)
    plain, near = (System(name, task, 5)._node_weights(logits, none) for name in ("otm", "otm_near_cut"))
    assert set(np.unique(plain)) == {0, 1}
    inner = (1 << HEIGHT) - 1
    assert np.array_equal(near[:, :inner] > 0, plain[:, :inner] > 0), "above the leaves the nodes are those of the beam"
    codes = np.flatnonzero(plain[0, inner >> 1 : inner]) + (inner >> 1)  # the last level above the leaves
    cut = np.sort(logits[0, codes])[-BEAM]
    np.testing.assert_allclose(near[0, codes], np.exp(-np.abs(logits[0, codes] - cut)), rtol=1e-5)
    assert (near[:, 1:63] == plain[:, 1:63]).all(), "levels that fit into the beam are not cut"
    others = (plain == 0)[:, task.tree.leaf_of_item]
    leaves = near[:, task.tree.leaf_of_item]
    assert (leaves[~others] == 1).all()
    assert leaves[others].mean() == pytest.approx(2 * BEAM / NUM_ITEMS, rel=0.05)


def path_sum(likes: np.ndarray, logs: np.ndarray, tree: TreeIndex) -> float:
    """Log-probabilities of the nodes above every liked item, one by one."""
    total = 0.0
    for item, leaf in enumerate(tree.leaf_of_item.tolist()):
        code = leaf
        while code:
            total += float(logs[likes[:, item], code].sum())
            code = (code - 1) // 2
    return total


def test_a_learned_tree_raises_the_likelihood_of_the_likes_and_less_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otm_task, "BATCH", 50)
    task = make_task(4, 800)
    fixed, learning = System("otm", task, 4), System("otm_learned_tree", task, 4)
    for system in (fixed, learning):
        system.train(2)
    assert torch.equal(fixed._weights, learning._weights)
    logs = torch.nn.functional.logsigmoid(learning._logits(task.training.inputs)).detach().numpy()
    learning.learn_tree()
    learned = learning._tree
    assert sorted(learned.leaf_of_item.tolist()) == sorted(task.tree.leaf_of_item.tolist())
    assert path_sum(task.training.likes, logs, learned) > path_sum(task.training.likes, logs, task.tree)
    for system in (fixed, learning):
        system.train(2)
    missed = [regret(task.test.probabilities, system.retrieve(task.test.inputs)) for system in (fixed, learning)]
    assert missed[1] < 0.85 * missed[0]

"""Product-DNN: slow twins of vectors and loss, the contract of every recommender, what it must and must not learn."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_worlds import SMALL_MODEL

from jtm_core.baselines import inner_products
from jtm_core.baselines.epochs import Oversight
from jtm_core.baselines.popularity import Popularity
from jtm_core.baselines.product_dnn import (
    ItemDraw,
    ProductDNN,
    ProductNetwork,
    new_product_network,
    sampled_softmax,
    train_product_dnn,
)
from jtm_core.baselines.protocol import Recommender
from jtm_core.behaviours import Ints, Ragged, TrainingHistories, evaluation_histories, evaluation_truths, training_histories
from jtm_core.config import ModelConfig, SplitConfig, TrainingConfig
from jtm_core.metrics import mean_metrics, metrics_at
from jtm_core.splitting import split_users
from jtm_core.synthetic import World, noise_world, planted_world
from jtm_core.training import TrainingPlan

NUM_ITEMS = 9
QUICK = TrainingConfig(epochs=1, batch_samples=16, negatives=4, negatives_block=8)


def ragged(rows: list[list[int]]) -> TrainingHistories:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return TrainingHistories.without_context(Ragged(np.array([value for row in rows for value in row], dtype=np.int64), offsets))


def network(num_items: int = NUM_ITEMS) -> ProductNetwork:
    return ProductNetwork(SMALL_MODEL, num_items, np.random.default_rng(3))


def slow_user_vector(net: ProductNetwork, history: list[int]) -> np.ndarray:
    """Windows cut off the end of a list one by one, means by hand, the tower in numpy."""
    vectors, sizes, parts, left = net.behaviours.weight.detach().numpy(), net.config.window_sizes, [], list(history)
    for size in reversed(sizes):
        window, left = left[max(0, len(left) - size) :], left[: max(0, len(left) - size)]
        parts.insert(0, np.mean([vectors[item] for item in window], axis=0) if window else np.zeros(net.config.embedding_width))
    value = np.concatenate(parts)
    for layer in net.tower:
        if isinstance(layer, torch.nn.Linear):
            value = layer.weight.detach().numpy() @ value + layer.bias.detach().numpy()
        else:
            value = np.where(value > 0, value, value * layer.weight.detach().numpy())
    return value


histories = st.lists(st.lists(st.integers(0, NUM_ITEMS - 1), min_size=1, max_size=12), min_size=1, max_size=6)


@settings(max_examples=30)
@given(histories)
def test_user_vectors_equal_the_slow_twin(rows: list[list[int]]) -> None:
    model = ProductDNN(network(), ())
    assert model.user_vectors(ragged(rows)) == pytest.approx(np.stack([slow_user_vector(model.network, row) for row in rows]), abs=1e-5)


@pytest.mark.parametrize(("num_samples", "num_blocks"), [(6, 2), (7, 2), (5, 5), (4, 1)])
def test_loss_equals_the_slow_twin(num_samples: int, num_blocks: int) -> None:
    rng, net = np.random.default_rng(0), network()
    users, targets = rng.standard_normal((num_samples, 8)).astype(np.float32), rng.integers(0, NUM_ITEMS, num_samples)
    negatives, log_shares = rng.integers(0, NUM_ITEMS, (num_blocks, 5)), np.log(rng.random(NUM_ITEMS)).astype(np.float32)
    items, size, losses = net.items.weight.detach().numpy(), -(-num_samples // num_blocks), []
    for s in range(num_samples):
        candidates = [targets[s], *(item for item in negatives[s // size] if item != targets[s])]
        logits = np.array([users[s] @ items[item] - log_shares[item] for item in candidates], dtype=np.float64)
        losses.append(np.log(np.exp(logits).sum()) - logits[0])
    tensors = [torch.from_numpy(array) for array in (users, targets, negatives, log_shares)]
    assert float(sampled_softmax(net, *tensors).detach()) == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize(("negative_draw", "shares"), [("popularity", [4 / 7, 2 / 7, 1 / 7]), ("even", [1 / 3, 1 / 3, 1 / 3])])
def test_negatives_follow_the_counts_or_are_even(negative_draw: Literal["even", "popularity"], shares: list[float]) -> None:
    law = ItemDraw.fit(ragged([[0, 0, 0, 1]]), 3, negative_draw)
    assert law.log_shares.exp().tolist() == pytest.approx(shares)
    drawn = law.draw(np.random.default_rng(0), (700, 100))
    assert np.bincount(drawn.ravel(), minlength=3) / 70_000 == pytest.approx(shares, abs=0.01)


def test_training_draws_as_its_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[torch.Tensor] = []
    draw = ItemDraw.draw

    def listen(law: ItemDraw, rng: np.random.Generator, shape: tuple[int, int]) -> Ints:
        used.append(law.log_shares)
        return draw(law, rng, shape)

    monkeypatch.setattr(ItemDraw, "draw", listen)
    for negative_draw in ("even", "popularity"):
        ProductDNN.fit(ragged([[0, 0, 1, 0, 0, 2]]), NUM_ITEMS, SMALL_MODEL, replace(QUICK, negative_draw=negative_draw), 1)
    even, popularity = used
    assert len(set(even.tolist())) == 1
    assert popularity[0] > popularity[1] == popularity[2] > popularity[3]


@settings(max_examples=30)
@given(histories, st.integers(1, NUM_ITEMS + 2))
def test_lists_are_the_largest_products_without_exactly_the_excluded(rows: list[list[int]], num_recommended: int) -> None:
    model, query = ProductDNN(network(), ()), ragged(rows)
    lists = model.recommend(query, num_recommended, excluded=query)
    products = model.user_vectors(query) @ model.item_vectors.T
    for user, history in enumerate(rows):
        allowed = [item for item in range(NUM_ITEMS) if item not in history]
        expected = sorted((products[user, item] for item in allowed), reverse=True)[:num_recommended]
        listed = lists[user][lists[user] >= 0]
        assert set(listed.tolist()) <= set(allowed)
        assert len(set(listed.tolist())) == len(expected)
        assert products[user, listed] == pytest.approx(expected, abs=1e-5)
        assert (lists[user][len(expected) :] == -1).all()


def test_equal_scores_go_to_the_lower_id() -> None:
    model = ProductDNN(network(), ())
    with torch.no_grad():
        model.network.items.weight[:] = model.network.items.weight[0].clone()
    assert model.recommend(ragged([[1, 2]]), NUM_ITEMS).tolist() == [list(range(NUM_ITEMS))]


def test_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = ragged([rng.integers(0, 30, 6).tolist() for _ in range(20)])
    model: Recommender = ProductDNN(network(30), ())
    whole, alone = model.recommend(rows, 8, rows), [model.recommend(ragged([rows.row(user).tolist()]), 8) for user in range(20)]
    monkeypatch.setattr(inner_products, "_USERS_PER_BLOCK", 7)
    assert (model.recommend(rows, 8, rows) == whole).all()
    assert (model.recommend(rows, 8) == np.concatenate(alone)).all()


def test_same_seed_same_bits_another_seed_others() -> None:
    rng = np.random.default_rng(0)
    rows = ragged([rng.integers(0, NUM_ITEMS, 12).tolist() for _ in range(20)])
    kept = rows.values.copy()
    models = [ProductDNN.fit(rows, NUM_ITEMS, SMALL_MODEL, QUICK, seed) for seed in (1, 1, 2)]
    vectors = [model.item_vectors for model in models]
    assert (vectors[0] == vectors[1]).all()
    assert models[0].losses == models[1].losses
    assert (vectors[0] != vectors[2]).any()
    assert (rows.values == kept).all()


def test_patience_ends_a_training_and_the_best_epoch_stays() -> None:
    rng = np.random.default_rng(0)
    rows = ragged([rng.integers(0, NUM_ITEMS, 12).tolist() for _ in range(20)])
    start, recalls, snapshots = new_product_network(SMALL_MODEL, NUM_ITEMS, 1), iter([0.1, 0.3, 0.3, 0.2, 0.9]), []
    kept = start.items.weight.detach().clone()

    def judge(network: ProductNetwork) -> float:
        snapshots.append(network.items.weight.detach().clone())
        return next(recalls)

    plan = TrainingPlan(first_level=0, num_epochs=9, seed=1, iteration=0)
    trained, curve = train_product_dnn(start, rows, QUICK, plan, Oversight(judge))
    assert curve.recalls == (0.1, 0.3, 0.3, 0.2)
    assert torch.equal(trained.items.weight, snapshots[1])
    assert not torch.equal(snapshots[1], snapshots[3])
    assert torch.equal(start.items.weight, kept), "the start is not changed"


def test_a_batch_moves_only_the_rows_it_touched() -> None:
    rows = ragged([[0, 1, 2]])
    before = new_product_network(SMALL_MODEL, 4000, 5)
    after = ProductDNN.fit(rows, 4000, SMALL_MODEL, QUICK, seed=5).network
    moved = (before.behaviours.weight != after.behaviours.weight).any(dim=1)
    assert not moved[3:].any()
    assert moved.any()
    assert 0 < int((before.items.weight != after.items.weight).any(dim=1).sum()) <= 2 + QUICK.negatives


def recalls(world: World, training: TrainingConfig) -> tuple[float, float]:
    """Recall@20 of product-DNN and of popularity."""
    split = split_users(world.behaviours, SplitConfig(num_test_users=100, num_validation_users=1), 1)
    rows, num_items = training_histories(world.behaviours, split), world.behaviours.num_items
    query, truths = evaluation_histories(world.behaviours, split.test), evaluation_truths(world.behaviours, split.test)
    models: list[Recommender] = [ProductDNN.fit(rows, num_items, ModelConfig(), training, 1), Popularity.fit(rows, num_items)]
    learned, popular = (mean_metrics(metrics_at(model.recommend(query, 20), truths, query, [20]))["recall_at_20"] for model in models)
    return learned, popular


def test_a_planted_world_is_learnt() -> None:
    world = planted_world(np.random.default_rng(2), num_users=1000, num_items=256)
    learned, popular = recalls(world, TrainingConfig(epochs=3, batch_samples=256, learning_rate=5e-3))
    assert learned > 2 * popular


def test_in_noise_nothing_beats_popularity_and_the_correction_recovers_it() -> None:
    """Negatives by popularity without ``log Q`` would leave all items alike; with it the popularity order is learnt."""
    world = noise_world(np.random.default_rng(2), num_users=1000, num_items=256)
    learned, popular = recalls(world, TrainingConfig(epochs=3, batch_samples=256, learning_rate=5e-3))
    assert 0.8 * popular < learned < 1.15 * popular
    assert popular > 2 * 20 / 256


def test_errors_say_what_came_and_what_is_allowed() -> None:
    with pytest.raises(ValueError, match="no behaviour has the 3 behaviours before it"):
        ProductDNN.fit(ragged([[0, 1, 2]]), 4, SMALL_MODEL, TrainingConfig(minimum_history=3), 1)
    with pytest.raises(ValueError, match="1 rows of excluded items for 2 users"):
        ProductDNN(network(), ()).recommend(ragged([[1], [2]]), 2, ragged([[1]]))

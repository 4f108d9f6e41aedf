"""The fused engine against autograd, and autograd against finite differences."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from small_worlds import NEAR, SMALL_MODEL, SmallWorld, all_samples, small_world

from jtm_core.batches import BatchMaker, TrainingBatch
from jtm_core.bfloat16 import has_bfloat16
from jtm_core.codes import first_code
from jtm_core.config import ModelConfig
from jtm_core.gradients import FusedGradients, autograd_gradients, make_gradients
from jtm_core.sampling import NegativeSampler, PopularitySampler
from jtm_core.scoring import make_scorer
from jtm_core.seeding import generator
from jtm_core.windows import sample_windows

INNER_PRODUCT: dict[str, Any] = {"inner_product": True}
MATCHES: dict[str, Any] = {"window_matches": True}
ODD_INNER_PRODUCT: dict[str, Any] = {"inner_product": True, "embedding_width": 5, "hidden_widths": (13, 8, 4)}
"""Widths that are no whole number of vectors."""


def make_batch(world: SmallWorld, block: int, seed: int = 0, draws: str = "even", first_level: int = 1) -> TrainingBatch:
    model, sampler = world.network.config, NegativeSampler(world.tree, first_level, 20)
    if draws == "popularity":
        sampler = PopularitySampler(world.tree, 1, 20, np.bincount(world.histories.values, minlength=world.tree.num_items))
    maker = BatchMaker(world.tree, sampler, model.features, world.network.reading.of_training(world.histories.offsets), block)
    samples = all_samples(world.histories, 1.0, 1, seed, 0)
    return maker.make(world.histories.values, samples, generator(seed, "negatives"))


@pytest.mark.parametrize("block", [1, 4, 64])
@pytest.mark.parametrize("features", ["hierarchical", "flat"])
@pytest.mark.parametrize("draws", ["even", "popularity"])
@pytest.mark.parametrize(
    "shape", [{}, INNER_PRODUCT, ODD_INNER_PRODUCT, MATCHES, ODD_INNER_PRODUCT | MATCHES, INNER_PRODUCT | NEAR], ids=str
)
def test_fused_gradients_equal_autograd(block: int, features: str, draws: str, shape: dict[str, Any]) -> None:
    world = small_world(config=dataclasses.replace(SMALL_MODEL, features=features, **shape))  # type: ignore[arg-type]
    batch = make_batch(world, block, draws=draws)
    assert batch.rows.offsets.any() == (draws == "popularity")
    slow, fast = autograd_gradients(world.network, batch), FusedGradients(world.network)(world.network, batch)
    assert fast.loss == pytest.approx(slow.loss, rel=1e-5)
    assert np.array_equal(fast.rows, slow.rows)
    torch.testing.assert_close(fast.row_gradients, slow.row_gradients, rtol=1e-3, atol=1e-5)
    for ours, theirs in zip(fast.dense, slow.dense, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_the_paper_s_widths_take_several_tiles() -> None:
    world = small_world(num_items=60, num_users=40, config=ModelConfig())
    batch = make_batch(world, 64)
    assert len(batch.rows.users) > 4 * 256
    slow, fast = autograd_gradients(world.network, batch), FusedGradients(world.network)(world.network, batch)
    torch.testing.assert_close(fast.row_gradients, slow.row_gradients, rtol=1e-3, atol=1e-5)


def test_fused_gradients_are_the_same_twice_over() -> None:
    world = small_world()
    engine, batch = FusedGradients(world.network), make_batch(world, 4)
    first, second = engine(world.network, batch), engine(world.network, batch)
    assert torch.equal(first.row_gradients, second.row_gradients)
    assert all(torch.equal(one, other) for one, other in zip(first.dense, second.dense, strict=True))


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("features", ["hierarchical", "flat"])
def test_the_loss_is_that_of_the_scorer_s_logits(attention: bool, features: str) -> None:
    """Training and search see the same inputs, matches too, by whichever path they are made."""
    inputs = {"attention": attention, "features": features, "inner_product": True} | NEAR
    world = small_world(config=dataclasses.replace(SMALL_MODEL, **inputs))  # type: ignore[arg-type]
    batch, samples, tree = make_batch(world, 4), all_samples(world.histories, 1.0, 1, 0, 0), world.tree
    windows = sample_windows(world.histories.values, samples, world.network.reading.of_training(world.histories.offsets))
    nodes, first = batch.nodes[batch.rows.nodes], first_code(tree.height)
    codes = np.where(nodes < first, nodes, tree.leaf_of_item[np.maximum(nodes - first, 0)])
    scorer, total = make_scorer(world.network, tree), 0.0
    for user, code, label in zip(batch.rows.users.tolist(), codes.tolist(), batch.rows.labels.tolist(), strict=True):
        level, sample = 1 + user // batch.num_samples, user % batch.num_samples
        logit = float(scorer.score_level(windows.part(sample, sample + 1), level, np.array([code]))[0, 0])
        total += (np.logaddexp(0, logit) - label * logit) if label >= 0 else 0
    assert autograd_gradients(world.network, batch).loss == pytest.approx(total / batch.num_samples, rel=1e-5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("inputs", [{}, MATCHES, NEAR], ids=str)
def test_the_leaf_level_alone_is_trained_with_attention(inputs: dict[str, Any]) -> None:
    """As DNN is: with flat features the behaviours' rows are a view that may not be written to."""
    world = small_world(config=dataclasses.replace(SMALL_MODEL, attention=True, features="flat", **inputs))
    gradients = autograd_gradients(world.network, make_batch(world, 4, first_level=world.tree.height))
    assert np.isfinite(gradients.loss)
    assert torch.any(gradients.row_gradients != 0)


@pytest.mark.parametrize("inputs", [{}, INNER_PRODUCT, MATCHES, NEAR], ids=str)
@pytest.mark.parametrize("attention", [False, True])
def test_gradients_are_the_slope_of_the_loss(attention: bool, inputs: dict[str, Any]) -> None:
    world = small_world(config=dataclasses.replace(SMALL_MODEL, attention=attention, **inputs))
    world.network.double()
    batch = make_batch(world, 4)
    gradients = autograd_gradients(world.network, batch)
    row, step = int(gradients.rows[3]), 1e-4
    losses = []
    for shift in (step, -2 * step):
        world.network.vectors.data[row, 2] += shift
        losses.append(autograd_gradients(world.network, batch).loss)
    assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(float(gradients.row_gradients[3, 2]), rel=1e-3, abs=1e-6)


def test_a_network_that_reads_matches_takes_no_pair_without() -> None:
    network = small_world(config=dataclasses.replace(SMALL_MODEL, window_matches=True)).network
    halves = network.user_half(torch.zeros(1, 4, 8)), network.node_half(torch.zeros(1, 8))
    with pytest.raises(ValueError, match="reads matches of windows and nodes, and none were given"):
        network.logits(*halves)


def test_a_negative_that_is_the_positive_does_not_count() -> None:
    world = small_world()
    batch = make_batch(world, 64)
    masked = batch.rows.labels < 0
    assert masked.any(), "with one draw for all samples some negatives are somebody's positive"
    positives = {int(batch.nodes[node]) for node in batch.rows.nodes[batch.rows.labels == 1]}
    assert {int(batch.nodes[node]) for node in batch.rows.nodes[masked]} <= positives
    changed = dataclasses.replace(batch, rows=batch.rows._replace(labels=np.where(masked, np.float32(0), batch.rows.labels)))
    engine = FusedGradients(world.network)
    assert engine(world.network, changed).loss > engine(world.network, batch).loss


@pytest.mark.skipif(not has_bfloat16(), reason="this CPU does not multiply bfloat16 numbers")
@pytest.mark.parametrize(("widths", "inner_product"), [((128, 64, 24), False), ((128, 64, 24), True), ((100, 50, 20), False)])
def test_bfloat16_gradients_point_where_float32_s_do(widths: tuple[int, int, int], inner_product: bool) -> None:
    """Also where a layer is no whole number of vectors."""
    world = small_world(num_items=60, num_users=40, config=ModelConfig(hidden_widths=widths, inner_product=inner_product))
    batch = make_batch(world, 64)
    plain, rough = (make_gradients(world.network, precision)(world.network, batch) for precision in ("float32", "bfloat16"))  # type: ignore[arg-type]
    assert rough.loss == pytest.approx(plain.loss, rel=5e-3)
    assert rough.loss != plain.loss
    assert np.array_equal(rough.rows, plain.rows)
    for ours, theirs in zip((rough.row_gradients, *rough.dense), (plain.row_gradients, *plain.dense), strict=True):
        assert ours.dtype == torch.float32
        assert float((ours - theirs).norm() / theirs.norm()) < 0.05


@pytest.mark.parametrize("attention", [False, True])
def test_autocast_keeps_weights_and_gradients_in_float32(attention: bool) -> None:
    world = small_world(config=dataclasses.replace(SMALL_MODEL, attention=attention))
    batch = make_batch(world, 4)
    plain, rough = autograd_gradients(world.network, batch), autograd_gradients(world.network, batch, "bfloat16")
    assert rough.loss == pytest.approx(plain.loss, rel=1e-2)
    assert rough.loss != plain.loss
    assert {gradient.dtype for gradient in (rough.row_gradients, *rough.dense)} == {torch.float32}


def test_the_engine_goes_by_the_network_and_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, attended = small_world(), small_world(config=dataclasses.replace(SMALL_MODEL, attention=True))
    assert isinstance(make_gradients(plain.network), FusedGradients)
    batch = make_batch(attended, 4)
    assert make_gradients(attended.network)(attended.network, batch).loss == autograd_gradients(attended.network, batch).loss
    with pytest.raises(ValueError, match="has attention; on a CPU only 'float32' is allowed"):
        make_gradients(attended.network, "bfloat16")
    monkeypatch.setattr("jtm_core.bfloat16.has_bfloat16", lambda: False)
    with pytest.raises(ValueError, match="has no AVX-512 BF16"):
        make_gradients(plain.network, "bfloat16")

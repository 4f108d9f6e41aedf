"""Sums over samples: the fused pass against any scorer, and bits that no cut changes."""

import dataclasses
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_worlds import NEAR, SMALL_MODEL, SmallWorld, all_samples, small_world

from jtm_core import segment_near
from jtm_core.behaviours import Ragged, TrainingHistories
from jtm_core.bfloat16 import has_bfloat16
from jtm_core.config import ModelConfig, TreeLearningConfig
from jtm_core.log_sigmoid import log_sigmoid
from jtm_core.reassignment import PieceReader
from jtm_core.segment_levels import carried_level, history_shape, moved_items, project_level
from jtm_core.segment_pass import FusedPass, Problem, ScorerPass
from jtm_core.segments import PIECE_SAMPLES, SegmentWork, ShardSums, cut_pieces, run_bounds
from jtm_core.threads import num_threads, set_num_threads
from jtm_core.tree import tree_from_order
from jtm_core.tree_learning import TreeLearner, target_samples

CONFIG = TreeLearningConfig(gap=2)
MATCHES: dict[str, Any] = {"window_matches": True}
LONG_WINDOWS: dict[str, Any] = {"window_matches": True, "window_sizes": (20, 20, 3, 2, 1, 1)}
"""The oldest lies before all histories, and is left out."""
PAIR_INPUTS: list[dict[str, Any]] = [
    {},
    {"inner_product": True},
    {"window_matches": True},
    {"inner_product": True, "window_matches": True},
    NEAR,
]


def learner(world: SmallWorld, maximum: int | None = None) -> TreeLearner:
    samples = target_samples(world.histories, 0.0, 1, maximum, 0, 1)
    return TreeLearner(world.network, world.tree, world.histories, samples, CONFIG, 1)


def popular_world(config: ModelConfig = SMALL_MODEL) -> SmallWorld:
    """One item has 2,700 samples and so three pieces; the others have a few."""
    world = small_world(num_items=21, num_users=30, config=config)
    values = np.concatenate([world.histories.values, np.full(2701, 4)])
    return dataclasses.replace(
        world, histories=TrainingHistories.without_context(Ragged(values, np.append(world.histories.offsets, len(values))))
    )


def all_sums(learner: TreeLearner, work: SegmentWork, order: np.random.Generator) -> ShardSums:
    """Every shard, done in a random order, laid in shard order."""
    shards = {int(number): learner.weigh(work, int(number)) for number in order.permutation(learner.num_shards(work))}
    return ShardSums(*(np.concatenate(arrays) for arrays in zip(*(shards[key] for key in sorted(shards)), strict=True)))


@given(
    st.integers(1, 4000),
    st.integers(0, 5),
    st.sampled_from([1, 2, 3]),
    st.sampled_from(["weigh", "measure"]),
    st.sampled_from([{}, MATCHES, NEAR]),
)
@settings(max_examples=30)
def test_bits_do_not_depend_on_shards_their_order_or_threads(
    per_shard: int, seed: int, threads: int, kind: str, inputs: dict[str, Any]
) -> None:
    world, before = popular_world(dataclasses.replace(SMALL_MODEL, **inputs)), num_threads()
    leaves = np.random.default_rng(seed).permutation(world.tree.leaf_of_item)
    whole = SegmentWork(kind, 1, 3, leaves, True, 1 << 20)  # type: ignore[arg-type]
    expected = learner(world).weigh(whole, 0)
    set_num_threads(threads)
    try:
        found = all_sums(learner(world), dataclasses.replace(whole, samples_per_shard=per_shard), np.random.default_rng(seed))
    finally:
        set_num_threads(before)
    for one, other in zip(found, expected, strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("features", ["hierarchical", "flat"])
@pytest.mark.parametrize(("upper", "lower"), [(0, 2), (1, 5), (3, 5)])
@pytest.mark.parametrize("kind", ["weigh", "measure"])
@pytest.mark.parametrize("inputs", [*PAIR_INPUTS, LONG_WINDOWS, LONG_WINDOWS | NEAR], ids=str)
def test_the_fused_pass_equals_any_scorer(kind: str, upper: int, lower: int, features: str, inputs: dict[str, Any]) -> None:
    config = dataclasses.replace(SMALL_MODEL, features=features, **inputs)  # type: ignore[arg-type]
    world = small_world(num_items=25, num_users=40, config=config)
    samples = target_samples(world.histories, 0.0, 1, None, 0, 1).samples
    shape = history_shape(config.window_sizes, samples)
    assert (len(shape.window_ends) - 1 < len(config.window_sizes)) == ("window_sizes" in inputs)
    problem = Problem(world.network, world.tree, world.histories.values, world.histories.offsets, samples, shape)
    for seed in (None, 3):
        leaves = world.tree.leaf_of_item if seed is None else np.random.default_rng(seed).permutation(world.tree.leaf_of_item)
        work = SegmentWork(kind, upper, lower, leaves, True, 100)  # type: ignore[arg-type]
        pieces = cut_pieces(np.searchsorted(samples.targets, np.arange(26)), leaves)
        used = [np.unique((leaves - 31) >> (5 - level)) for level in work.levels]
        fused, slow = (kind(problem, work).add_up(pieces, list(work.levels)) for kind in (FusedPass, ScorerPass))
        for level, nodes, one, other in zip(work.levels, used, fused, slow, strict=True):
            if kind == "weigh":
                parents = (leaves[pieces.items] - 31) >> (5 - upper)
                codes = (parents[:, None] << (level - upper)) + np.arange(one.shape[1] - 1)
                is_used = np.isin(codes, nodes)
                assert is_used.any()
                np.testing.assert_allclose(one[:, :-1][is_used], other[:, :-1][is_used], rtol=2e-5)
            np.testing.assert_allclose(one[:, -1], other[:, -1], rtol=2e-5)


@pytest.mark.parametrize("num_kept", [0, 7, 10_000])
def test_lists_of_near_items_are_made_once_as_far_as_memory_is_granted(num_kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    world = small_world(num_items=25, num_users=40, config=dataclasses.replace(SMALL_MODEL, **NEAR))
    samples = target_samples(world.histories, 0.0, 1, None, 0, 1).samples
    shape = history_shape(SMALL_MODEL.window_sizes, samples)
    work = SegmentWork("weigh", 1, 3, world.tree.leaf_of_item, True, 100)
    pieces = cut_pieces(np.searchsorted(samples.targets, np.arange(26)), world.tree.leaf_of_item)
    asked = world.network, world.tree, world.histories.values, world.histories.offsets, samples, shape
    expected = FusedPass(Problem(*asked), work).add_up(pieces, [2, 3])
    monkeypatch.setattr(segment_near, "KEPT_BYTES", 4 * sum(world.network.reading.neighbour_windows) * num_kept)
    problem = Problem(*asked)
    assert len(problem.near.lists) == min(num_kept, len(samples))
    for _ in range(2):
        for one, other in zip(FusedPass(problem, work).add_up(pieces, [2, 3]), expected, strict=True):
            assert one.tobytes() == other.tobytes()
        assert problem.near.is_listed.all()
    problem.near.lists[:] = -1  # so they are read
    again = FusedPass(problem, work).add_up(pieces, [2, 3])
    assert (again[0].tobytes() == expected[0].tobytes()) == (num_kept == 0)


@pytest.mark.parametrize("inputs", PAIR_INPUTS, ids=str)
@pytest.mark.parametrize("units", [16, 150])  # of the first layer: one vector of 16; eight, one more and six units beyond
def test_projected_and_pooled_user_halves_agree(units: int, inputs: dict[str, Any]) -> None:
    config = dataclasses.replace(SMALL_MODEL, hidden_widths=(units, 8, 4), **inputs)
    world = small_world(num_items=9, num_users=60, config=config)
    samples = target_samples(world.histories, 0.0, 1, None, 0, 1).samples
    shape = history_shape(SMALL_MODEL.window_sizes, samples)
    work = SegmentWork("measure", 0, 4, world.tree.leaf_of_item, False, 100)
    pieces, sums = cut_pieces(np.searchsorted(samples.targets, np.arange(10)), world.tree.leaf_of_item), []
    for mean_length, is_projected in ((0.0, True), (1e9, False)):
        forced = dataclasses.replace(shape, mean_length=mean_length)
        problem = Problem(world.network, world.tree, world.histories.values, world.histories.offsets, samples, forced)
        sums.append(np.concatenate(FusedPass(problem, work).add_up(pieces, [1, 2, 3, 4])))
        assert bool(len(problem.users[2].projected)) == is_projected
    np.testing.assert_allclose(*sums, rtol=2e-5)
    assert not len(project_level(np.zeros((1000, 8), np.float32), np.zeros((32, 16), np.float32), shape))


def test_log_sigmoid_is_exact_to_float32() -> None:
    logits = np.concatenate([np.linspace(-200, 200, 4001), np.linspace(-1, 1, 1001), [0.0, -1e30, 1e30]]).astype(np.float32)
    out = np.empty_like(logits)
    log_sigmoid(logits, out, np.empty_like(logits))
    exact = -np.logaddexp(0, -logits.astype(np.float64))
    is_tiny = logits > 86
    np.testing.assert_allclose(out[~is_tiny], exact[~is_tiny], rtol=5e-7)
    assert (np.abs(out[is_tiny]) < 1e-36).all()


def test_carried_levels_are_means_of_old_ancestors() -> None:
    world = small_world(num_items=21)
    vectors, new = world.network.vectors.detach().numpy(), tree_from_order(np.random.default_rng(9).permutation(21), world.tree.height)
    moved = moved_items(world.tree, new, world.weights)
    for level in range(new.height):
        carried, first = carried_level(vectors, moved, level), (1 << level) - 1
        for node in range(1 << level):
            items = np.flatnonzero(new.ancestors(level) == node + first)
            rows = world.tree.ancestors(level)[items] if len(items) else [node + first]
            expected = np.average(vectors[rows], axis=0, weights=world.weights[items] if len(items) else None)
            np.testing.assert_allclose(carried[node], expected, rtol=1e-5, atol=1e-6)


def test_rows_come_back_by_item_however_they_are_cut() -> None:
    counts = np.array([1, 0, 3, 1, 2])
    rows = np.arange(14, dtype=np.float32).reshape(7, 2)
    shards = [ShardSums(part, np.zeros((len(part), 1))) for part in np.split(rows, [2, 3, 6])]
    reader = PieceReader(iter(shards), counts, 2)
    weights = np.concatenate([reader.next_weights(np.arange(2)), reader.next_weights(np.arange(3))])
    reader.finish()
    assert weights.tolist() == [rows[0].tolist(), [0, 0], rows[1:4].sum(axis=0).tolist(), rows[4].tolist(), rows[5:].sum(axis=0).tolist()]
    with pytest.raises(ValueError, match="nothing more came from the shards"):
        PieceReader(iter(shards[:2]), counts, 2).next_weights(np.arange(5))
    with pytest.raises(ValueError, match="sums of 2 children came from the shards; sums of 4 children"):
        PieceReader(iter(shards), counts, 4).next_weights(np.arange(5))
    with pytest.raises(ValueError, match="7 rows came from the shards beyond"):
        PieceReader(iter(shards), counts, 2).finish()


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=30), st.integers(1, 5000))
def test_pieces_cover_every_sample_once_and_runs_every_piece(counts: list[int], per_run: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(counts)])
    pieces = cut_pieces(offsets, np.random.default_rng(0).permutation(len(counts)) + 31)
    samples = np.concatenate([np.arange(first, first + size) for first, size in zip(pieces.firsts, pieces.sizes, strict=True)] + [[]])
    assert sorted(samples) == list(range(offsets[-1]))
    assert ((pieces.firsts - offsets[pieces.items]) % PIECE_SAMPLES == 0).all()
    bounds = run_bounds(pieces.sizes, per_run)
    assert (bounds[0], bounds[-1]) == (0, len(pieces.sizes))
    assert all(pieces.sizes[low:high].sum() < per_run + PIECE_SAMPLES for low, high in pairwise(bounds))


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_samples_drawn_in_blocks_are_the_same_as_at_once(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    histories = small_world(num_items=9, num_users=60).histories
    histories = dataclasses.replace(histories, context_lengths=np.diff(histories.offsets) // 3)
    monkeypatch.setattr("jtm_core.target_samples._SAMPLES_PER_BLOCK", 7)
    sorted_samples, whole = target_samples(histories, share, 1, None, 5, 2).samples, all_samples(histories, share, 1, 5, 2)
    whole = whole.take(np.argsort(whole.targets, kind="stable"))
    for name in ("starts", "cuts", "targets"):
        assert getattr(sorted_samples, name).tolist() == getattr(whole, name).tolist()


def test_an_injected_run_gives_the_same_tree() -> None:
    world = popular_world()
    learn, works = learner(world), []

    def run(work: SegmentWork) -> list[ShardSums]:
        works.append(work)
        other = learner(world)
        copy = pickle.loads(pickle.dumps(work))
        return [ShardSums(**other.weigh(copy, number)._asdict()) for number in range(other.num_shards(copy))]

    shares: list[float] = []
    found, expected = learn.learn(lambda _, share: shares.append(share), run, samples_per_shard=500), learner(world).learn()
    assert found.tree.fingerprint() == expected.tree.fingerprint()
    assert (found.objective_before, found.objective_after) == (expected.objective_before, expected.objective_after)
    assert [work.kind for work in works][:4] == ["weigh", "weigh", "weigh", "measure"]
    assert len({work.digest for work in works}) == len(works)
    assert 0 <= min(shares) <= max(shares) == 1


def test_errors_say_what_came_and_what_is_allowed() -> None:
    world = small_world()
    learn, work = learner(world), SegmentWork("weigh", 0, 2, world.tree.leaf_of_item, False, 100)
    with pytest.raises(ValueError, match=r"shard 9 is asked for; the work has the shards 0 .. 0"):
        learn.weigh(work, 9)
    with pytest.raises(ValueError, match="the work has 3 items and goes down to level 2; the tree has 21 items and height 5"):
        learn.weigh(dataclasses.replace(work, leaf_of_item=world.tree.leaf_of_item[:3]), 0)
    for changes, message in (
        ({"kind": "weight"}, "kind is 'weight'; allowed are weigh and measure"),
        ({"lower_level": 0}, "levels are 0 and 0; the upper must be 0 or more and above the lower"),
        ({"samples_per_shard": 0}, "samples_per_shard is 0; allowed are 1 and more"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(work, **changes)  # type: ignore[arg-type]


@pytest.mark.skipif(not has_bfloat16(), reason="this CPU multiplies no bfloat16 numbers")
@pytest.mark.parametrize("kind", ["weigh", "measure"])
def test_bfloat16_sums_are_near_those_of_float32(kind: str) -> None:
    world = popular_world()
    samples = target_samples(world.histories, 0.0, 1, None, 0, 1).samples
    problem = Problem(
        world.network,
        world.tree,
        world.histories.values,
        world.histories.offsets,
        samples,
        history_shape(SMALL_MODEL.window_sizes, samples),
    )
    work = SegmentWork(kind, 1, 5, world.tree.leaf_of_item, True, 100)  # type: ignore[arg-type]
    pieces = cut_pieces(np.searchsorted(samples.targets, np.arange(22)), world.tree.leaf_of_item)
    exact, near = (
        FusedPass(dataclasses.replace(problem, precision=precision), work).add_up(pieces, list(work.levels))
        for precision in ("float32", "bfloat16")
    )
    for one, other in zip(exact, near, strict=True):
        assert (one != other).any()
        assert np.allclose(one, other, rtol=5e-3, atol=1e-2)


def test_bfloat16_with_attention_is_refused() -> None:
    world = small_world(config=dataclasses.replace(SMALL_MODEL, attention=True))
    samples = target_samples(world.histories, 0.0, 1, None, 0, 1)
    config = TreeLearningConfig(precision="bfloat16")
    with pytest.raises(ValueError, match="precision is 'bfloat16'; with attention or off the CPU tree learning allows 'float32' only"):
        TreeLearner(world.network, world.tree, world.histories, samples, config, 1).learn()

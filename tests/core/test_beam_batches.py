"""Batches of visited nodes: plain twins by recursion, budgets, shares; what they teach, alone, resumed and with peers."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_worlds import SMALL_MODEL, SmallWorld, all_samples, small_world

from jtm_core.batches import BatchMaker, TrainingBatch
from jtm_core.beam_batches import BeamBatchMaker, make_maker, searched_samples
from jtm_core.codes import first_code
from jtm_core.config import TrainingConfig
from jtm_core.features import Samples
from jtm_core.gradients import FusedGradients, autograd_gradients
from jtm_core.model import make_network
from jtm_core.pseudo_targets import targets_of_parents
from jtm_core.sampling import NegativeSampler
from jtm_core.scoring import make_scorer
from jtm_core.seeding import generator
from jtm_core.tree import TreeIndex
from jtm_core.windows import Windows, sample_windows

FIRST_LEVEL = 2
CONFIG = TrainingConfig(
    nodes="beam", training_beam=3, searches="sample", level_share=0, negatives=200, negatives_block=4, batch_samples=32, patience=9
)


def samples_of(world: SmallWorld, count: int = 24) -> Samples:
    return all_samples(world.histories, 1.0, 1, 0, 0).part(slice(0, count))


def maker_of(world: SmallWorld, config: TrainingConfig = CONFIG) -> BeamBatchMaker:
    return BeamBatchMaker(world.network, world.tree, config, FIRST_LEVEL, world.histories)


def make(world: SmallWorld, config: TrainingConfig = CONFIG, share: slice | None = None) -> TrainingBatch:
    return maker_of(world, config).make(world.histories.values, samples_of(world), generator(3, "negatives"), share)


def score(world: SmallWorld, windows: Windows, code: int) -> float:
    """Logit of one node for one user, the slow way."""
    level = (code + 1).bit_length() - 1
    return float(make_scorer(world.network, world.tree).score_level(windows, level, np.array([code]))[0, 0])


def used_children(world: SmallWorld, code: int) -> list[int]:
    used = set(world.tree.used_nodes((code + 1).bit_length()).tolist())
    return [child for child in (2 * code + 1, 2 * code + 2) if child in used]


def plain_visits(world: SmallWorld, windows: Windows, beam: int) -> list[list[int]]:
    """Candidates of every level by sorting, one user."""
    candidates = world.tree.used_nodes(FIRST_LEVEL).tolist()
    visits = [candidates]
    for _ in range(FIRST_LEVEL, world.tree.height):
        best = sorted(candidates, key=lambda code: (-score(world, windows, code), code))[:beam]
        candidates = sorted(child for code in best for child in used_children(world, code))
        visits.append(candidates)
    return visits


def plain_target(world: SmallWorld, windows: Windows, code: int, leaf: int) -> int:
    """Eq. 15 of OTM as it is written: down to the leaf by the best child each time."""
    if code >= first_code(world.tree.height):
        return int(code == leaf)
    best = max(used_children(world, code), key=lambda child: (score(world, windows, child), -child))
    return plain_target(world, windows, best, leaf)


def nodes_and_labels(world: SmallWorld, batch: TrainingBatch) -> list[dict[int, float]]:
    """For every sample the label of each node that counts, by table row; a node must not count twice."""
    found: list[dict[int, float]] = [{} for _ in range(batch.num_samples)]
    for user, node, label in zip(batch.rows.users, batch.rows.nodes, batch.rows.labels, strict=True):
        if label >= 0:
            own, row = found[user % batch.num_samples], int(batch.nodes[node])
            assert row not in own
            own[row] = float(label)
    return found


@pytest.mark.parametrize("features", ["hierarchical", "flat"])
def test_an_unlimited_budget_takes_the_whole_beam_with_plain_targets(features: str) -> None:
    world = small_world(config=dataclasses.replace(SMALL_MODEL, features=features))  # type: ignore[arg-type]
    samples, found = samples_of(world), nodes_and_labels(world, make(world))[:10]
    first, all_targets = first_code(world.tree.height), list[int]()
    for number, labels in enumerate(found):
        own = samples.part(slice(number, number + 1))
        windows = sample_windows(world.histories.values, own, world.network.reading)
        visits, leaf, expected = plain_visits(world, windows, 3), int(world.tree.leaf_of_item[own.targets[0]]), {}
        path = [((leaf + 1) >> (world.tree.height - level)) - 1 for level in range(FIRST_LEVEL, world.tree.height + 1)]
        for code in [code for level in visits for code in level] + path:
            target = plain_target(world, windows, code, leaf)
            if target or any(code in level for level in visits):
                expected[code if code < first else first + int(world.tree.item_of_leaf()[code - first])] = float(target)
        assert labels == expected
        all_targets += [plain_target(world, windows, code, leaf) for code in path[:-1]]
    assert 0 < sum(all_targets) < len(all_targets), "both kinds of ancestors are in this world"


def test_a_parent_s_target_is_that_of_its_best_child() -> None:
    targets, logits = np.array([[[1, 0], [0, 1]], [[1, 1], [0, 0]]]), np.float32([[[2, 1], [1, 1]], [[-np.inf, 3], [0, 9]]])
    assert targets_of_parents(targets, logits).tolist() == [[1, 0], [1, 0]]


@given(st.integers(20, 90), st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=25)
def test_the_budget_is_that_of_uniform_nodes(negatives: int, level_share: float, beam: int, seed: int) -> None:
    world = small_world(num_items=60, num_users=5, seed=seed)
    config = dataclasses.replace(CONFIG, negatives=negatives, level_share=level_share, training_beam=beam)
    maker, num_levels = maker_of(world, config), world.tree.height - FIRST_LEVEL + 1
    assert maker.rows_per_sample <= negatives + 2 * num_levels, "the target's path, and at least one of each kind a level"
    batch = maker.make(world.histories.values, samples_of(world, 7), generator(seed, "negatives"))
    assert len(batch.rows.labels) == maker.rows_per_sample * batch.num_samples
    assert batch.nodes[batch.rows.nodes].max() < len(world.network.vectors)
    for low, high in pairwise(batch.rows.chunks.tolist()):
        other = np.delete(batch.rows.nodes, slice(low, high))
        assert not np.isin(batch.rows.nodes[low:high], other).any(), "no two chunks share a node's half"


def test_negatives_of_a_small_budget_are_drawn_evenly_from_the_visited_ones() -> None:
    world = small_world(num_users=4)
    maker, whole = maker_of(world, dataclasses.replace(CONFIG, negatives=5)), nodes_and_labels(world, make(world))
    samples, counts = samples_of(world), [dict.fromkeys((row for row, label in own.items() if not label), 0) for own in whole]
    for seed in range(300):
        batch = maker.make(world.histories.values, samples, generator(seed, "negatives"))
        for own, drawn in zip(counts, nodes_and_labels(world, batch), strict=True):
            for row in [row for row, label in drawn.items() if not label]:
                own[row] += 1
    last_level = [[number for row, number in own.items() if row >= first_code(world.tree.height)] for own in counts]
    for numbers in last_level:
        mean = 300 * maker.counts[-1] / len(numbers)
        assert np.abs(np.array(numbers) - mean).max() < 5 * np.sqrt(mean)


def drawn_and_corrected(world: SmallWorld, maker: BeamBatchMaker, num_batches: int) -> dict[tuple[int, int], tuple[int, float]]:
    """By sample and table row how often a node was drawn in that many batches, and what the loss takes off its logit."""
    found: dict[tuple[int, int], tuple[int, float]] = {}
    for seed in range(num_batches):
        batch = maker.make(world.histories.values, samples_of(world, 6), generator(seed, "negatives"))
        rows = zip(batch.rows.users % 6, batch.nodes[batch.rows.nodes], batch.rows.labels, batch.rows.offsets, strict=True)
        for sample, row, label, offset in rows:
            times, before = found.get((sample, row), (0, float(offset)))
            assert offset == before, "it hangs on sample and node alone"
            found[sample, row] = (times + (label == 0), before)
    return found


def test_the_loss_corrects_for_how_often_nodes_are_drawn() -> None:
    world = small_world(num_items=40, num_users=6)
    config = dataclasses.replace(CONFIG, negatives=30, level_share=0.5, training_beam=4, negatives_block=1, negative_draw="popularity")
    maker, num_batches = maker_of(world, config), 800
    found, positives = drawn_and_corrected(world, maker, num_batches), paths_of_targets(world, maker)
    drawn = {key: value for key, value in found.items() if key not in positives}
    assert len(drawn) > 100
    level_of = [int(np.log2(row + 1)) - FIRST_LEVEL if row < first_code(world.tree.height) else -1 for _, row in drawn]
    used = [len(world.tree.used_nodes(level)) for level in maker.levels]
    budget = np.array([count + other for count, other in zip(maker.counts, maker.level_counts, strict=True)])
    by_even_draws = (budget / np.array(used))[level_of]
    expected = num_batches * by_even_draws * np.exp([offset for _, offset in drawn.values()])
    times = np.array([times for times, _ in drawn.values()])
    assert np.abs(times - expected).max() < 5.5 * np.sqrt(expected.max())
    assert (np.abs(times - expected) < 5.5 * np.sqrt(expected) + 1).all()
    assert times.min() < times.max() / 5, "some nodes are drawn much oftener than others"


def paths_of_targets(world: SmallWorld, maker: BeamBatchMaker) -> set[tuple[int, int]]:
    """Sample and table row of the targets and their ancestors, wanted or not."""
    lifted = world.tree.leaf_of_item[samples_of(world, 6).targets]
    rows = set[tuple[int, int]]()
    for sample, leaf in enumerate(lifted):
        path = [((int(leaf) + 1) >> (world.tree.height - level)) - 1 for level in maker.levels]
        item = int(world.tree.item_of_leaf()[leaf - first_code(world.tree.height)])
        rows |= {(sample, code) for code in path[:-1]} | {(sample, first_code(world.tree.height) + item)}
    return rows


@pytest.mark.parametrize("settings", [{"negative_draw": "even"}, {"level_share": 0.0}])
def test_even_draws_and_the_beam_alone_are_not_corrected_for(settings: dict[str, object]) -> None:
    config = dataclasses.replace(CONFIG, negatives=12, **{"level_share": 0.5, "negative_draw": "popularity"} | settings)
    assert not make(small_world(), config).rows.offsets.any()


@pytest.mark.parametrize("searches", ["user", "sample"])
def test_a_share_has_the_nodes_of_the_whole_batch(searches: str) -> None:
    world = small_world(num_users=4)
    config = dataclasses.replace(CONFIG, negatives=12, level_share=0.5, searches=searches, negatives_block=4)  # type: ignore[arg-type]
    whole = list(zip(*labelled_rows(make(world, config)), strict=True))
    parts = [maker_of(world, config).share(24, rank, 3) for rank in range(3)]
    assert [part.stop - part.start for part in parts] == [8, 8, 8]
    shared = [row for part in parts for row in zip(*labelled_rows(make(world, config, part)), strict=True)]
    assert shared == whole


def labelled_rows(batch: TrainingBatch) -> tuple[list[int], list[int], list[float], list[float]]:
    levels = batch.rows.users // batch.num_samples
    return levels.tolist(), batch.nodes[batch.rows.nodes].tolist(), batch.rows.labels.tolist(), batch.rows.offsets.tolist()


def test_users_are_searched_for_by_their_middle_sample() -> None:
    samples = Samples(np.array([0, 0, 0, 9, 9, 0]), np.arange(6), np.arange(6))
    assert searched_samples(samples).tolist() == [1, 1, 1, 4, 4, 5]


@pytest.mark.parametrize("level_share", [0.0, 0.5])
def test_fused_gradients_equal_autograd(level_share: float) -> None:
    world = small_world(num_items=60, num_users=20)
    batch = make(world, dataclasses.replace(CONFIG, negatives=20, level_share=level_share))
    slow, fast = autograd_gradients(world.network, batch), FusedGradients(world.network)(world.network, batch)
    assert fast.loss == pytest.approx(slow.loss, rel=1e-5)
    assert np.array_equal(fast.rows, slow.rows)
    torch.testing.assert_close(fast.row_gradients, slow.row_gradients, rtol=1e-3, atol=1e-5)


def test_a_node_alone_on_its_level_is_not_corrected_for() -> None:
    """All items hang under one child of the root: there is nothing to draw beside it, and no rate to take the logarithm of."""
    world = small_world(num_items=4)
    tree = TreeIndex(np.array([7, 8, 9, 10]), height=3)
    network = make_network(SMALL_MODEL, 4, 3, generator(1, "network"))
    config = TrainingConfig(nodes="beam", training_beam=3)
    maker = make_maker(network, tree, config, 1, world.histories)
    batch = maker.make(world.histories.values, samples_of(world), generator(3, "negatives"))
    assert np.isfinite(batch.rows.offsets).all()
    assert np.isfinite(autograd_gradients(network, batch).loss)


def test_attention_takes_the_same_nodes() -> None:
    world = small_world(config=dataclasses.replace(SMALL_MODEL, attention=True))
    batch = make(world, dataclasses.replace(CONFIG, negatives=20))
    assert np.isfinite(autograd_gradients(world.network, batch).loss)
    assert {label for own in nodes_and_labels(world, batch) for label in own.values()} == {0.0, 1.0}


def test_weights_are_read_anew_for_every_batch() -> None:
    world = small_world()
    maker, samples = maker_of(world, dataclasses.replace(CONFIG, training_beam=1)), samples_of(world)
    before = maker.make(world.histories.values, samples, generator(3, "negatives"))
    world.network.output_layer.weight.data *= -1
    after = maker.make(world.histories.values, samples, generator(3, "negatives"))
    assert nodes_and_labels(world, before) != nodes_and_labels(world, after)


def test_rows_are_as_many_as_with_uniform_nodes() -> None:
    world = small_world(num_items=60)
    uniform = BatchMaker(world.tree, NegativeSampler(world.tree, FIRST_LEVEL, 30), "hierarchical", world.network.reading, 4)
    for level_share in (0.0, 0.3, 1.0):
        config = dataclasses.replace(CONFIG, negatives=30, training_beam=8, level_share=level_share)
        assert abs(maker_of(world, config).rows_per_sample - uniform.rows_per_sample) <= world.tree.height - FIRST_LEVEL

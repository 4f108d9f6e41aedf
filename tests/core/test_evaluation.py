"""Evaluation: each of its figures against a slow count, and the bound on the full scan."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from small_worlds import SMALL_MODEL, SmallWorld, small_world

from jtm_core import evaluation
from jtm_core.beam import BeamSearch, full_scan
from jtm_core.behaviours import Ragged
from jtm_core.config import EvaluationConfig
from jtm_core.evaluation import Questions, evaluate, list_overlap, validate
from jtm_core.gate import deciding_name
from jtm_core.metrics import metrics_at
from jtm_core.scoring import make_scorer
from jtm_core.systems.retrieval import BeamRecommender, ScanRecommender
from jtm_core.windows import windows_of

CONFIG = EvaluationConfig(cutoffs=(2, 5), beam_width=6, small_beam_width=3)
NUM_USERS = 300


@pytest.fixture(scope="module")
def world() -> SmallWorld:
    return small_world(num_items=50, num_users=NUM_USERS, seed=4)


@pytest.fixture(scope="module")
def asked(world: SmallWorld) -> Questions:
    rng = np.random.default_rng(1)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(1, 6, NUM_USERS))])
    truths = Ragged(rng.integers(0, 50, offsets[-1]), offsets)
    return Questions(world.histories, truths, windows_of(world.histories, world.network.reading))


@pytest.mark.parametrize("truth", ["multiset", "set"])
def test_layer_recall_is_the_share_of_targets_below_the_beam(world: SmallWorld, asked: Questions, truth: Any) -> None:
    evaluated = evaluate(world.network, world.tree, asked, dataclasses.replace(CONFIG, truth=truth), 1)
    metrics, once = evaluated.metrics, truth == "set"
    lists = BeamSearch(make_scorer(world.network, world.tree), 6, 1).rank(asked.windows, 5).items
    expected = metrics_at(lists, asked.truths, asked.histories, [2, 5], truth)
    assert metrics["ndcg_at_5"] == pytest.approx(expected["ndcg_at_5"].mean())
    assert np.array_equal(evaluated.recalls["recall_at_5"], expected["recall_at_5"])
    assert np.array_equal(evaluated.lists[""], lists)
    unseen = metrics_at(evaluated.lists["filtered/"], asked.truths, asked.histories, [2, 5], truth)
    assert (unseen["novelty_at_5"].mean(), unseen["recall_at_2"].mean()) == (1.0, pytest.approx(metrics["filtered/recall_at_2"]))
    search = BeamSearch(make_scorer(world.network, world.tree), 6, 1)
    kept = search.walked(asked.windows)[1]
    for level in search.levels:
        ancestors, shares = world.tree.ancestors(level), []
        for user in range(NUM_USERS):
            beam = set(kept[level][user].tolist())
            targets = asked.truths.row(user)
            shares.append(np.mean([ancestors[item] in beam for item in (set(targets.tolist()) if once else targets)]))
        assert metrics[f"layer_recall/level_{level:02d}"] == pytest.approx(np.mean(shares))


@pytest.mark.parametrize("attention", [False, True])
def test_cutoffs_beyond_the_catalogue_are_measured_by_every_scorer(attention: bool) -> None:
    """Attention is scored by torch, all else by kernels; both lists end with places that hold no item."""
    world = small_world(num_items=8, config=dataclasses.replace(SMALL_MODEL, attention=attention))
    asked = Questions(world.histories, world.histories, windows_of(world.histories, world.network.reading))
    config = EvaluationConfig(cutoffs=(3, 20), beam_width=20, small_beam_width=20)
    metrics = evaluate(world.network, world.tree, asked, config, 1).metrics
    assert {f"{part}recall_at_{cutoff}" for part in ("", "filtered/") for cutoff in (3, 20)} <= set(metrics)
    assert metrics["recall_at_20"] == 1


def test_every_search_is_judged_with_seen_items_and_without(world: SmallWorld, asked: Questions) -> None:
    metrics = evaluate(world.network, world.tree, asked, CONFIG, 1).metrics
    wide, narrow = (BeamRecommender(world.network, world.tree, 1, width) for width in (6, 3))
    scan = ScanRecommender(world.network, world.tree)
    for name, search, cutoffs in (("", wide, [2, 5]), ("small_beam", narrow, [2]), ("full_scan", scan, [2, 5])):
        for prefix, excluded in ((f"{name}/" if name else "", None), (f"{name}_filtered/".removeprefix("_"), asked.histories)):
            lists = search.recommend(asked.histories, cutoffs[-1], excluded)
            for metric, values in metrics_at(lists, asked.truths, asked.histories, cutoffs).items():
                assert metrics[prefix + metric] == pytest.approx(values.mean()), (prefix, metric)


@pytest.mark.parametrize("filter_seen", [False, True])
@pytest.mark.parametrize(("cutoffs", "truth"), [((2, 5), "multiset"), ((2, 5), "set"), ((5, 60), "multiset")])
def test_validation_is_worth_what_evaluation_decides_by(
    world: SmallWorld, asked: Questions, cutoffs: tuple[int, ...], truth: Any, filter_seen: bool
) -> None:
    config = EvaluationConfig(cutoffs=cutoffs, beam_width=cutoffs[-1], small_beam_width=3, truth=truth, filter_seen=filter_seen)
    validation = validate(world.network, world.tree, asked, config, 1)
    metrics = evaluate(world.network, world.tree, asked, config, 1).metrics
    assert validation.recall == pytest.approx(metrics[deciding_name(config, 50)])
    search = BeamRecommender(world.network, world.tree, 1, cutoffs[-1])
    lists = search.recommend(asked.histories, cutoffs[-1], asked.histories if filter_seen else None)
    assert validation.list_overlap == pytest.approx(list_overlap(lists, 50))
    logits = BeamSearch(make_scorer(world.network, world.tree), cutoffs[-1], 1).rank(asked.windows).logits[:, : cutoffs[-1]]
    assert validation.score_spread == pytest.approx(np.mean([row[np.isfinite(row)].std() for row in logits]), rel=1e-4)


def test_the_full_scan_is_bounded_and_says_so(world: SmallWorld, asked: Questions, monkeypatch: pytest.MonkeyPatch) -> None:
    everyone = evaluate(world.network, world.tree, asked, CONFIG, 1)
    assert everyone.metrics["full_scan/num_users"] == NUM_USERS
    monkeypatch.setattr(evaluation, "MOST_SCANNED_LEAVES", 50 * 20 + 49)
    some = evaluate(world.network, world.tree, asked, CONFIG, 1)
    assert some.metrics["full_scan/num_users"] == 20
    users = np.arange(20) * 15
    part = asked.take(users)
    items = full_scan(make_scorer(world.network, world.tree), part.windows, 5).items
    expected = metrics_at(items, part.truths, part.histories, [2, 5])
    for name, values in expected.items():
        assert some.metrics[f"full_scan/{name}"] == pytest.approx(values.mean())
    for cutoff in (2, 5):
        name = f"recall_at_{cutoff}"
        loss = expected[name].mean() - some.recalls[name][users].mean()
        assert some.metrics[f"search_loss/{name}"] == pytest.approx(loss)
        assert np.array_equal(some.recalls[name], everyone.recalls[name]), "the beam still asks everyone"
    assert some.metrics["recall_at_5"] == everyone.metrics["recall_at_5"]


def test_progress_rises_to_the_announced_total(world: SmallWorld, asked: Questions) -> None:
    reports: list[tuple[int, int]] = []
    evaluate(world.network, world.tree, asked, CONFIG, 1, report=lambda done, total: reports.append((done, total)))
    done = [done for done, _ in reports]
    assert len(reports) == 6, "two blocks of users for each of the two beams and the full scan"
    assert done == sorted(set(done))
    assert {total for _, total in reports} == {done[-1]}
    assert done[-1] - done[-3] == NUM_USERS * 50


def test_lists_drawn_at_random_have_nothing_in_common_beyond_chance() -> None:
    rng = np.random.default_rng(3)
    lists = np.stack([rng.permutation(220)[:200] for _ in range(300)])
    assert abs(list_overlap(lists, 220)) < 0.05
    assert list_overlap(np.repeat(lists[:1], 300, axis=0), 220) == pytest.approx(1.0)

"""Scores and search: fused against torch, search against the full scan, filters, one user against many."""

import dataclasses
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_worlds import NEAR, SMALL_MODEL, SmallWorld, small_world

from jtm_core import beam
from jtm_core.beam import BeamSearch, Ranking, full_scan, start_level, without_items
from jtm_core.behaviours import Ragged
from jtm_core.bfloat16 import has_bfloat16
from jtm_core.config import Precision
from jtm_core.experiment import counted_neighbours
from jtm_core.model import make_network
from jtm_core.scoring import FusedScorer, NodeTable, Scorer, TorchScorer, make_scorer
from jtm_core.selection import keep_best, make_keys
from jtm_core.threads import num_threads, set_num_threads
from jtm_core.tree import TreeIndex
from jtm_core.windows import Windows, windows_of

SHAPES: list[dict[str, Any]] = [
    {},
    {"inner_product": True},
    {"window_matches": True},
    {"inner_product": True, "window_matches": True, "embedding_width": 5, "hidden_widths": (13, 8, 4)},
    {"inner_product": True} | NEAR,
]
PAIR_INPUTS: list[dict[str, Any]] = [{"inner_product": False}, {"inner_product": True}, {"window_matches": True}, NEAR]


def windows(world: SmallWorld) -> Windows:
    return windows_of(world.histories, world.network.reading)


@pytest.mark.parametrize("features", ["hierarchical", "flat"])
@pytest.mark.parametrize("shape", SHAPES)
def test_fused_scores_equal_torch(features: str, shape: dict[str, Any]) -> None:
    world = small_world(config=dataclasses.replace(SMALL_MODEL, features=features, **shape))  # type: ignore[arg-type]
    table = NodeTable(world.network, world.tree)
    fast, slow = FusedScorer(world.network, world.tree, table), TorchScorer(world.network, world.tree, table)
    for level in range(1, world.tree.height + 1):
        shared = world.tree.used_nodes(level)
        own = np.broadcast_to(shared, (len(world.histories), len(shared))).copy()
        own[::2, 0] = -1
        for codes in (shared, own):
            ours, theirs = (scorer.score_level(windows(world), level, codes) for scorer in (fast, slow))
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
            assert np.array_equal(np.isneginf(ours), np.broadcast_to(codes < 0, ours.shape))


@pytest.mark.parametrize("inputs", PAIR_INPUTS, ids=str)
@pytest.mark.parametrize("item", [7, 2])
def test_scores_follow_the_concatenated_network_of_the_paper(inputs: dict[str, bool], item: int) -> None:
    """An inner product is one input more, of a fresh network of node and sum of windows. A leaf has its matches twice."""
    world = small_world(config=dataclasses.replace(SMALL_MODEL, **inputs))  # type: ignore[arg-type]
    network, tree = world.network, world.tree
    user, leaf = 3, int(tree.leaf_of_item[item])
    sizes, items = network.config.window_sizes, world.histories.row(user)
    vectors, first_item_row = network.vectors.detach(), (1 << tree.height) - 1
    pooled, matches, end = [], [], len(items)
    items[end - 3] = items[end - 2] = 2
    for size in reversed(sizes):
        window = items[max(0, end - size) : max(0, end)]
        rows = torch.from_numpy(first_item_row + window)
        matches.insert(0, float(np.mean(window == item)) ** 0.5 if len(window) else 0.0)
        pooled.insert(0, vectors[rows].mean(0) if len(window) else torch.zeros(vectors.shape[1]))
        end -= size
    assert any(0 < match < 1 for match in matches) == (item == 2)
    near = world.network.reading.near(items, np.array([0]), np.array([len(items)]))[0]
    for low, high in pairwise(np.cumsum((0, *network.config.neighbour_windows)).tolist()):
        matches.append(float(np.mean(near[low:high][near[low:high] >= 0] == item)) ** 0.5)
    joined = torch.cat([*pooled, vectors[first_item_row + item]])
    weight = torch.cat([network.user_layer.weight, network.node_layer.weight], dim=1)
    hidden = weight @ joined + network.user_layer.bias
    if inputs.get("window_matches"):
        hidden = hidden + network.match_layer.weight @ torch.tensor(matches + matches)
    if inputs.get("inner_product"):
        hidden = hidden + network.product_layer.weight[:, 0] * (torch.stack(pooled).sum(0) @ joined[-vectors.shape[1] :])
    for slope, layer in zip(network.slopes, (network.second_layer, network.third_layer, network.output_layer), strict=True):
        hidden = layer(torch.where(hidden > 0, hidden, slope * hidden))
    score = make_scorer(network, tree).score_level(windows(world).part(user, user + 1), tree.height, np.array([leaf]))
    assert score[0, 0] == pytest.approx(hidden.item(), rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("attention", [False, True])
def test_only_leaves_have_the_second_half_of_the_inputs_of_matches(attention: bool) -> None:
    world = small_world(config=dataclasses.replace(SMALL_MODEL, window_matches=True, attention=attention))
    network, asked, levels = world.network, windows(world), (2, world.tree.height)
    nodes = [world.tree.used_nodes(level) for level in levels]
    before = [make_scorer(network, world.tree).score_level(asked, level, codes) for level, codes in zip(levels, nodes, strict=True)]
    network.match_layer.weight[:, len(SMALL_MODEL.window_sizes) :] += 5
    inner, leaves = (make_scorer(network, world.tree).score_level(asked, level, codes) for level, codes in zip(levels, nodes, strict=True))
    np.testing.assert_array_equal(inner, before[0])
    is_own = np.array(
        [np.isin(world.tree.item_of_leaf()[nodes[1] - nodes[1][0]], items[-7:]) for items in map(world.histories.row, range(len(asked)))]
    )
    np.testing.assert_array_equal(leaves != before[1], is_own)


@pytest.mark.parametrize("inputs", SHAPES, ids=str)
@pytest.mark.parametrize("attention", [False, True])
def test_a_beam_as_wide_as_the_tree_equals_the_full_scan(attention: bool, inputs: dict[str, Any]) -> None:
    world = small_world(config=dataclasses.replace(SMALL_MODEL, attention=attention, **inputs))
    scorer = make_scorer(world.network, world.tree)
    searched = BeamSearch(scorer, 32, 1).rank(windows(world))
    scanned = full_scan(scorer, windows(world), world.tree.num_items)
    assert np.array_equal(searched.items[:, :21], scanned.items)
    np.testing.assert_allclose(searched.logits[:, :21], scanned.logits, rtol=1e-5 if attention else 0)


@dataclasses.dataclass
class Searched:
    """A world with holes, and everything a search takes."""

    world: SmallWorld
    asked: Windows
    beam_width: int
    first_level: int
    allowed: np.ndarray | None
    cache_bytes: int


@st.composite
def searches(draw: st.DrawFn) -> Searched:
    """Small worlds: leaves anywhere in a tree that may be much too large, histories of any length, none included."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_items, features = draw(st.integers(1, 70)), draw(st.sampled_from(["hierarchical", "flat"]))
    height = max(1, (num_items - 1).bit_length()) + draw(st.integers(0, 2))
    leaves = rng.permutation(1 << height)[:num_items] + (1 << height) - 1
    pair_inputs: dict[str, Any] = {name: draw(st.booleans()) for name in ("inner_product", "window_matches")}
    pair_inputs |= {"neighbour_windows": (2, 40)} if pair_inputs["window_matches"] and draw(st.booleans()) else {}
    config = dataclasses.replace(SMALL_MODEL, features=features, **pair_inputs)  # type: ignore[arg-type]
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 12, draw(st.integers(1, 9))))])
    histories = Ragged(rng.integers(0, num_items, offsets[-1]), offsets)
    network = make_network(config, num_items, height, rng, counted_neighbours(lambda: histories, num_items, config))
    network.vectors.data *= 10
    allowed = rng.random(num_items) < 0.5 if draw(st.booleans()) else None
    if allowed is not None:
        allowed[rng.integers(num_items)] = True
    asked = windows_of(histories, network.reading)
    world = SmallWorld(histories, TreeIndex(leaves, height), network)
    return Searched(world, asked, draw(st.integers(1, 80)), draw(st.integers(0, height)), allowed, draw(st.sampled_from([0, 600, 1 << 20])))


def assert_alike(fast: Ranking, slow: Ranking) -> None:
    np.testing.assert_allclose(fast.logits, slow.logits, rtol=1e-4, atol=1e-4)
    assert np.array_equal(fast.items, slow.items)


@settings(max_examples=120)
@given(searches())
def test_the_fused_walk_equals_the_readable_one(case: Searched) -> None:
    scorer = make_scorer(case.world.network, case.world.tree, cache_bytes=case.cache_bytes)
    search = BeamSearch(scorer, case.beam_width, case.first_level, case.allowed)
    slow, slow_kept = search.walked(case.asked)
    fast, fast_kept = search.rank_with_levels(case.asked)
    width = slow.items.shape[1]
    assert (fast.items[:, width:] == -1).all()
    assert_alike(Ranking(fast.items[:, :width], fast.logits[:, :width]), slow)
    assert_alike(search.rank(case.asked), slow)
    cut = search.rank(case.asked, 3)
    assert_alike(cut, Ranking(fast.items[:, :3], fast.logits[:, :3]) if fast.items.shape[1] >= 3 else cut)
    assert fast_kept.keys() == slow_kept.keys()
    for level, codes in slow_kept.items():
        assert np.array_equal(fast_kept[level][:, : codes.shape[1]], codes)
        assert (fast_kept[level][:, codes.shape[1] :] == -1).all()


@settings(max_examples=60)
@given(searches(), st.integers(1, 90))
def test_the_fused_scan_equals_the_sorted_scores(case: Searched, count: int) -> None:
    world, scorer = case.world, make_scorer(case.world.network, case.world.tree)
    table = NodeTable(world.network, world.tree)
    scan = full_scan(scorer, case.asked, count)
    assert_alike(scan, full_scan(TorchScorer(world.network, world.tree, table), case.asked, count))
    leaves = np.sort(world.tree.leaf_of_item)
    logits = scorer.score_level(case.asked, world.tree.height, leaves)
    items = world.tree.items_in_leaf_order()[np.argsort(-logits, axis=1, kind="stable")][:, :count]
    assert np.array_equal(scan.items[:, : items.shape[1]], items)
    assert (scan.items[:, items.shape[1] :] == -1).all()
    wide = BeamSearch(scorer, 1 << world.tree.height, 1).rank(case.asked, count)
    assert_alike(wide, scan)


@pytest.mark.parametrize("inputs", PAIR_INPUTS, ids=str)
def test_a_scan_of_many_tiles_keeps_what_sorting_keeps(monkeypatch: pytest.MonkeyPatch, inputs: dict[str, bool]) -> None:
    world = small_world(num_items=3000, num_users=130, config=dataclasses.replace(SMALL_MODEL, **inputs))  # type: ignore[arg-type]
    world.network.vectors.data[(1 << world.tree.height) - 1 :: 7] = 0.5
    scorer = make_scorer(world.network, world.tree)
    scan = full_scan(scorer, windows(world), 40)
    logits = scorer.score_level(windows(world), world.tree.height, np.sort(world.tree.leaf_of_item))
    order = np.argsort(-logits, axis=1, kind="stable")[:, :40]
    assert_alike(scan, Ranking(world.tree.items_in_leaf_order()[order], np.take_along_axis(logits, order, axis=1)))
    monkeypatch.setattr(beam, "LEAVES_PER_BLOCK", 700)
    assert_alike(scan, full_scan(TorchScorer(world.network, world.tree, NodeTable(world.network, world.tree)), windows(world), 40))


def test_equal_logits_fall_to_the_smaller_code() -> None:
    world = small_world(num_items=60)
    with torch.no_grad():
        world.network.output_layer.weight.zero_()
    scorer = make_scorer(world.network, world.tree)
    in_order = world.tree.items_in_leaf_order()
    assert (full_scan(scorer, windows(world), 9).items == in_order[:9]).all()
    search = BeamSearch(scorer, 4, 1)
    expected = [item for item in in_order.tolist() if world.tree.leaf_of_item[item] - 63 < 8]
    for ranking in (search.rank(windows(world)), search.walked(windows(world))[0]):
        assert all(items[items >= 0].tolist() == expected for items in ranking.items)


@settings(max_examples=200)
@given(st.lists(st.floats(width=32, allow_subnormal=False), min_size=1, max_size=40), st.integers(1, 45))
def test_the_best_are_kept_in_order_whatever_the_bits(values: list[float], count: int) -> None:
    logits = np.array(values, dtype=np.float32) + np.float32(0)
    codes, keys = np.arange(len(values)), np.empty(len(values), dtype=np.int32)
    make_keys(logits, keys)
    expected = np.sort(np.argsort(-keys.astype(np.int64), kind="stable")[:count])
    finite = logits[~np.isnan(logits)]
    assert np.array_equal(np.argsort(finite, kind="stable"), np.argsort(keys[~np.isnan(logits)], kind="stable"))
    kept = keep_best(codes, logits, keys, count)
    assert codes[:kept].tolist() == expected.tolist()


@pytest.mark.skipif(not has_bfloat16(), reason="this CPU multiplies no bfloat16 numbers")
def test_bfloat16_is_near_float32_and_the_same_by_walk_and_scan() -> None:
    world = small_world(num_items=500, num_users=30)

    def scorer_of(precision: Precision) -> Scorer:
        return make_scorer(world.network, world.tree, precision=precision)

    exact, rounded = full_scan(scorer_of("float32"), windows(world), 500), full_scan(scorer_of("bfloat16"), windows(world), 500)
    logits = [np.take_along_axis(found.logits, np.argsort(found.items, axis=1), axis=1) for found in (exact, rounded)]
    assert 0 < np.abs(logits[0] - logits[1]).max() < 0.02 * np.abs(logits[0]).max()
    search = BeamSearch(scorer_of("bfloat16"), 512, 1)
    assert np.array_equal(search.rank(windows(world), 500).items, rounded.items)
    assert_alike(
        BeamSearch(scorer_of("bfloat16"), 9, 1).rank(windows(world)), BeamSearch(scorer_of("bfloat16"), 9, 1).walked(windows(world))[0]
    )


def test_search_does_not_depend_on_the_number_of_threads() -> None:
    world = small_world(num_items=400, num_users=70)
    scorer = make_scorer(world.network, world.tree)
    many = BeamSearch(scorer, 12, 1).rank(windows(world)), full_scan(scorer, windows(world), 30)
    number = num_threads()
    try:
        set_num_threads(1)
        one = BeamSearch(scorer, 12, 1).rank(windows(world)), full_scan(scorer, windows(world), 30)
    finally:
        set_num_threads(number)
    for ours, theirs in zip(many, one, strict=True):
        assert np.array_equal(ours.items, theirs.items)
        assert np.array_equal(ours.logits, theirs.logits)


def test_search_equals_a_slow_walk_user_by_user() -> None:
    world = small_world(num_items=60, num_users=9)
    scorer, tree = make_scorer(world.network, world.tree), world.tree
    got = BeamSearch(scorer, 4, 1).rank(windows(world)).items
    for user in range(9):
        one = windows(world).part(user, user + 1)
        codes = tree.used_nodes(2)
        for level in range(2, tree.height + 1):
            scores = scorer.score_level(one, level, codes)[0]
            best = codes[np.argsort(-scores, kind="stable")]
            if level < tree.height:
                children = np.concatenate([2 * best[:4] + 1, 2 * best[:4] + 2])
                codes = np.intersect1d(children, tree.used_nodes(level + 1))
        expected = [int(np.flatnonzero(tree.leaf_of_item == code)[0]) for code in best]
        assert [item for item in got[user].tolist() if item >= 0] == expected


def test_one_user_gets_the_same_list_alone() -> None:
    world = small_world(num_items=60)
    search = BeamSearch(make_scorer(world.network, world.tree), 6, 1)
    together = search.rank(windows(world))
    for user in range(len(world.histories)):
        alone = search.rank(windows(world).part(user, user + 1))
        assert np.array_equal(alone.items[0], together.items[user])


def test_renaming_items_renames_the_answer() -> None:
    world = small_world(num_items=40)
    names = np.random.default_rng(5).permutation(40)
    leaves = np.empty(40, dtype=np.int64)
    leaves[names] = world.tree.leaf_of_item
    renamed = TreeIndex(leaves, world.tree.height)
    first = (1 << renamed.height) - 1
    expected = BeamSearch(make_scorer(world.network, world.tree), 5, 1).rank(windows(world)).items
    world.network.vectors.data[first + names] = world.network.vectors.data[first:].clone()
    other = Windows(names[world.histories.values], windows(world).bounds)
    got = BeamSearch(make_scorer(world.network, renamed), 5, 1).rank(other).items
    assert np.array_equal(got, np.where(expected >= 0, names[expected], -1))


def test_an_allowed_set_is_searched_exactly() -> None:
    world = small_world(num_items=60)
    scorer = make_scorer(world.network, world.tree)
    allowed = np.zeros(60, dtype=np.bool_)
    allowed[[3, 17, 18, 40, 59]] = True
    items = BeamSearch(scorer, 5, 1, allowed).rank(windows(world)).items
    scanned = full_scan(scorer, windows(world), 60).items
    for got, all_items in zip(items, scanned, strict=True):
        assert got[got >= 0].tolist() == [item for item in all_items.tolist() if allowed[item]]


def test_search_starts_where_the_beam_first_prunes() -> None:
    tree = small_world(num_items=60).tree
    assert [start_level(tree, beam, 1) for beam in (1, 2, 3, 4, 31, 32, 400)] == [1, 1, 1, 2, 4, 5, 6]
    assert start_level(tree, 4, 5) == 5


def test_bad_searches_are_refused() -> None:
    scorer = make_scorer(small_world().network, small_world().tree)
    with pytest.raises(ValueError, match="beam_width is 0"):
        BeamSearch(scorer, 0, 1)
    with pytest.raises(ValueError, match="count is 0"):
        full_scan(scorer, windows(small_world()), 0)
    with pytest.raises(ValueError, match="allowed holds no item"):
        BeamSearch(scorer, 3, 1, np.zeros(21, dtype=np.bool_))


def test_excluded_items_leave_and_the_rest_move_up() -> None:
    items = np.array([[5, 1, 4, -1], [2, 3, 0, 1]])
    excluded = Ragged(np.array([1, 1, 9, 2, 3]), np.array([0, 3, 5]))
    assert without_items(items, excluded, 10, 3).tolist() == [[5, 4, -1], [0, 1, -1]]


@pytest.mark.parametrize("attention", [False, True])
def test_windows_that_tell_of_no_near_items_are_refused_where_they_are_read(attention: bool) -> None:
    """Kernels would read memory that is not theirs."""
    world = small_world(config=dataclasses.replace(SMALL_MODEL, attention=attention, **NEAR))
    scorer, told = make_scorer(world.network, world.tree), windows(world)
    untold = Windows(told.items, told.bounds)
    for ask in (
        lambda: BeamSearch(scorer, 5, 1).rank(untold),
        lambda: full_scan(scorer, untold, 5),
        lambda: scorer.score_level(untold, 2, world.tree.used_nodes(2)),
    ):
        with pytest.raises(ValueError, match="the windows tell of 0 near items a user; the network reads 6"):
            ask()

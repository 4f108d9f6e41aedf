"""Scores and search: fused against torch, search against the full scan, filters, one user against many."""

import dataclasses

import numpy as np
import pytest
import torch
from small_worlds import SMALL_MODEL, SmallWorld, small_world

from jtm_core.beam import BeamSearch, full_scan, start_level, without_items
from jtm_core.behaviours import Ragged
from jtm_core.scoring import FusedScorer, NodeTable, TorchScorer, Windows, make_scorer, windows_of
from jtm_core.tree import TreeIndex


def windows(world: SmallWorld) -> Windows:
    return windows_of(world.histories, world.network.config.window_sizes)


@pytest.mark.parametrize("features", ["hierarchical", "flat"])
def test_fused_scores_equal_torch(features: str) -> None:
    world = small_world(config=dataclasses.replace(SMALL_MODEL, features=features))  # type: ignore[arg-type]
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


def test_scores_follow_the_concatenated_network_of_the_paper() -> None:
    world = small_world()
    network, tree = world.network, world.tree
    user, leaf = 3, int(tree.leaf_of_item[7])
    sizes, items = network.config.window_sizes, world.histories.row(user)
    vectors, first_item_row = network.vectors.detach(), (1 << tree.height) - 1
    pooled, end = [], len(items)
    for size in reversed(sizes):
        window = items[max(0, end - size) : max(0, end)]
        rows = torch.from_numpy(first_item_row + window)
        pooled.insert(0, vectors[rows].mean(0) if len(window) else torch.zeros(vectors.shape[1]))
        end -= size
    joined = torch.cat([*pooled, vectors[first_item_row + 7]])
    weight = torch.cat([network.user_layer.weight, network.node_layer.weight], dim=1)
    hidden = weight @ joined + network.user_layer.bias
    for slope, layer in zip(network.slopes, (network.second_layer, network.third_layer, network.output_layer), strict=True):
        hidden = layer(torch.where(hidden > 0, hidden, slope * hidden))
    score = make_scorer(network, tree).score_level(windows(world).part(user, user + 1), tree.height, np.array([leaf]))
    assert score[0, 0] == pytest.approx(hidden.item(), rel=1e-4)


@pytest.mark.parametrize("attention", [False, True])
def test_a_beam_as_wide_as_the_tree_equals_the_full_scan(attention: bool) -> None:
    world = small_world(config=dataclasses.replace(SMALL_MODEL, attention=attention))
    scorer = make_scorer(world.network, world.tree)
    searched = BeamSearch(scorer, 32, 1).rank(windows(world))
    scanned = full_scan(scorer, windows(world), world.tree.num_items)
    assert np.array_equal(searched.items[:, :21], scanned.items)
    np.testing.assert_allclose(searched.logits[:, :21], scanned.logits, rtol=1e-5)


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
    with pytest.raises(ValueError, match="allowed holds no item"):
        BeamSearch(scorer, 3, 1, np.zeros(21, dtype=np.bool_))


def test_excluded_items_leave_and_the_rest_move_up() -> None:
    items = np.array([[5, 1, 4, -1], [2, 3, 0, 1]])
    excluded = Ragged(np.array([1, 1, 9, 2, 3]), np.array([0, 3, 5]))
    assert without_items(items, excluded, 10, 3).tolist() == [[5, 4, -1], [0, 1, -1]]

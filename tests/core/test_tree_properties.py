"""Laws that hold for every tree."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core.codes import first_code, height_for
from jtm_core.tree import TreeIndex, match_siblings, moved_shares, tree_from_order


@st.composite
def trees(draw: st.DrawFn, max_items: int = 40) -> TreeIndex:
    num_items = draw(st.integers(1, max_items))
    height = height_for(num_items) + draw(st.integers(0, 2))
    leaves = draw(st.permutations(range(1 << height)))[:num_items]
    return TreeIndex(np.array(leaves, dtype=np.int64) + first_code(height), height)


@st.composite
def tree_pairs(draw: st.DrawFn) -> tuple[TreeIndex, TreeIndex]:
    old = draw(trees(20))
    leaves = draw(st.permutations(range(1 << old.height)))[: old.num_items]
    return old, TreeIndex(np.array(leaves, dtype=np.int64) + first_code(old.height), old.height)


def item_sets(tree: TreeIndex, level: int) -> set[frozenset[int]]:
    nodes = tree.ancestors(level)
    return {frozenset(np.flatnonzero(nodes == node).tolist()) for node in np.unique(nodes)}


@settings(max_examples=50)
@given(trees())
def test_leaves_and_items_are_one_to_one(tree: TreeIndex) -> None:
    items = tree.item_of_leaf()
    assert items[tree.leaf_of_item - first_code(tree.height)].tolist() == list(range(tree.num_items))
    assert (items >= 0).sum() == tree.num_items
    assert tree.items_in_leaf_order().tolist() == items[items >= 0].tolist()


@settings(max_examples=50)
@given(trees())
def test_capacities_add_up_and_used_nodes_are_those_with_capacity(tree: TreeIndex) -> None:
    for level in range(tree.height + 1):
        capacities = tree.capacities(level)
        assert capacities.sum() == tree.num_items
        assert tree.used_nodes(level).tolist() == (np.flatnonzero(capacities) + first_code(level)).tolist()
        if level:
            assert capacities.reshape(-1, 2).sum(axis=1).tolist() == tree.capacities(level - 1).tolist()


@settings(max_examples=50)
@given(st.integers(1, 12), st.integers(1, 40), st.data())
def test_used_nodes_and_leaf_order_of_sparse_and_dense_trees(num_items: int, height: int, data: st.DataObject) -> None:
    """Also where leaves are so many that none may be marked one by one."""
    height = max(height, height_for(num_items))
    positions = data.draw(st.lists(st.integers(0, (1 << height) - 1), min_size=num_items, max_size=num_items, unique=True))
    tree = TreeIndex(np.array(positions) + first_code(height), height)
    assert tree.items_in_leaf_order().tolist() == sorted(range(num_items), key=positions.__getitem__)
    for level in range(height + 1):
        assert tree.used_nodes(level).tolist() == sorted({(position >> (height - level)) + first_code(level) for position in positions})


@settings(max_examples=50)
@given(st.integers(1, 200), st.integers(0, 3))
def test_planted_siblings_differ_by_at_most_one_item(num_items: int, spare_levels: int) -> None:
    order = np.random.default_rng(num_items).permutation(num_items)
    tree = tree_from_order(order, height_for(num_items) + spare_levels)
    assert tree.items_in_leaf_order().tolist() == order.tolist()
    for level in range(1, tree.height + 1):
        capacities = tree.capacities(level)
        assert capacities.max() - capacities.min() <= 1, level
        left, right = capacities.reshape(-1, 2).T
        assert (np.abs(left - right) <= 1).all()


@settings(max_examples=50)
@given(tree_pairs())
def test_matching_keeps_every_set_of_items_and_never_moves_more_on_the_first_level(pair: tuple[TreeIndex, TreeIndex]) -> None:
    old, new = pair
    matched = match_siblings(old, new)
    for level in range(old.height + 1):
        assert item_sets(matched, level) == item_sets(new, level)
    assert moved_shares(old, matched)[1] <= min(0.5, moved_shares(old, new)[1])


@settings(max_examples=50)
@given(trees(20), st.randoms(use_true_random=False))
def test_matching_undoes_any_swaps_of_siblings(tree: TreeIndex, random: object) -> None:
    positions = tree.leaf_of_item - first_code(tree.height)
    rng = np.random.default_rng(random.randrange(1 << 30))  # type: ignore[attr-defined]
    swapped = positions.copy()
    for level in range(tree.height, 0, -1):
        shift = tree.height - level
        flips = rng.integers(0, 2, 1 << (level - 1))
        swapped ^= flips[swapped >> (shift + 1)] << shift
    new = TreeIndex(swapped + first_code(tree.height), tree.height)
    assert match_siblings(tree, new).leaf_of_item.tolist() == tree.leaf_of_item.tolist()


@settings(max_examples=30)
@given(tree_pairs())
def test_moved_shares_never_fall_with_depth(pair: tuple[TreeIndex, TreeIndex]) -> None:
    old, new = pair
    shares = moved_shares(old, new)
    assert shares.tolist() == [np.mean(old.ancestors(level) != new.ancestors(level)) for level in range(old.height + 1)]
    assert shares[0] == 0
    assert (np.diff(shares) >= 0).all()

"""The tree: known answers, refusals, order, differences."""

import numpy as np
import pytest

from jtm_core.tree import TreeIndex, match_siblings, moved_shares, tree_from_order


def test_known_tree() -> None:
    tree = TreeIndex(np.array([5, 3, 4]), height=2)
    assert tree.num_items == 3
    assert tree.ancestors(0).tolist() == [0, 0, 0]
    assert tree.ancestors(1).tolist() == [2, 1, 1]
    assert tree.used_nodes(1).tolist() == [1, 2]
    assert tree.used_nodes(2).tolist() == [3, 4, 5]
    assert tree.capacities(0).tolist() == [3]
    assert tree.capacities(1).tolist() == [2, 1]
    assert tree.capacities(2).tolist() == [1, 1, 1, 0]
    assert tree.item_of_leaf().tolist() == [1, 2, 0, -1]
    assert tree.items_in_leaf_order().tolist() == [1, 2, 0]


def test_order_spreads_items_evenly() -> None:
    assert tree_from_order(np.array([2, 0, 1]), 2).item_of_leaf().tolist() == [2, -1, 0, 1]
    assert tree_from_order(np.array([1, 0]), 3).item_of_leaf().tolist() == [1, -1, -1, -1, 0, -1, -1, -1]
    assert tree_from_order(np.array([3, 1, 0, 2]), 2).item_of_leaf().tolist() == [3, 1, 0, 2]


def test_fingerprint_is_the_meaning() -> None:
    tree = TreeIndex(np.array([5, 3, 4]), height=2)
    assert tree.fingerprint() == TreeIndex(np.array([5, 3, 4], dtype=np.int32), height=2).fingerprint()  # type: ignore[arg-type]
    assert tree.fingerprint() != TreeIndex(np.array([5, 4, 3]), height=2).fingerprint()
    assert len({TreeIndex(np.array([leaf]), height).fingerprint() for leaf, height in ((1, 1), (3, 2), (7, 3))}) == 3


@pytest.mark.parametrize(
    ("leaves", "height", "message"),
    [
        ([3, 2], 2, r"items \[1\] have codes \[2\]; leaves are 3 .. 6"),
        ([3, 7], 2, r"items \[1\] have codes \[7\]; leaves are 3 .. 6"),
        ([3, 4, 3], 2, r"leaves \[3\] are shared by items \[0, 2\]; a leaf holds one item"),
        ([1], 0, "height is 0; allowed are 1 .. 40"),
        ([1], 41, "height is 41; allowed are 1 .. 40"),
    ],
)
def test_what_is_no_tree_is_refused(leaves: list[int], height: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TreeIndex(np.array(leaves), height)


def test_too_many_items_are_refused() -> None:
    with pytest.raises(ValueError, match="5 items do not fit on the 4 leaves of height 2"):
        tree_from_order(np.arange(5), 2)


def test_moved_shares_of_known_changes() -> None:
    old = tree_from_order(np.arange(8), 3)
    assert moved_shares(old, old).tolist() == [0, 0, 0, 0]
    assert moved_shares(old, tree_from_order(np.array([1, 0, 2, 3, 4, 5, 6, 7]), 3)).tolist() == [0, 0, 0, 0.25]
    assert moved_shares(old, tree_from_order(np.array([4, 5, 6, 7, 0, 1, 2, 3]), 3)).tolist() == [0, 1, 1, 1]
    assert moved_shares(old, tree_from_order(np.array([0, 1, 2, 7, 4, 5, 6, 3]), 3)).tolist() == [0, 0.25, 0.25, 0.25]


def test_trees_of_different_shape_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="trees of 8 and 7 items, heights 3 and 3 cannot be compared"):
        moved_shares(tree_from_order(np.arange(8), 3), tree_from_order(np.arange(7), 3))


def test_matching_undoes_swapped_siblings() -> None:
    old = tree_from_order(np.arange(8), 3)
    swapped = tree_from_order(np.array([7, 6, 4, 5, 0, 1, 3, 2]), 3)
    assert match_siblings(old, swapped).leaf_of_item.tolist() == old.leaf_of_item.tolist()

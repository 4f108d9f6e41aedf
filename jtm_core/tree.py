"""The tree: which item hangs on which leaf, and nothing else.

``pi`` of the paper, a bijection from items to the used leaves of a complete binary tree, *is* the tree; everything
about inner nodes follows from code arithmetic.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jtm_core.codes import Codes, ancestors_up, first_code

_MOST_LEAVES_PER_ITEM = 16


@dataclass(frozen=True, slots=True)
class TreeIndex:
    """A complete binary tree whose leaves hold at most one item each.

    Parameters
    ----------
    leaf_of_item : int64 array (num_items,)
        Leaf code of every item, ``2**height - 1 .. 2**(height + 1) - 2``, no two alike.
    height : int
        Level of the leaves, 1 .. 40; the root is level 0.

    Raises
    ------
    ValueError
        If a code is not a leaf, or two items share a leaf (the first offenders are named).

    Examples
    --------
    >>> tree = TreeIndex(np.array([5, 3, 4]), height=2)
    >>> tree.ancestors(level=1)
    array([2, 1, 1])
    >>> tree.used_nodes(level=2)
    array([3, 4, 5])
    """

    leaf_of_item: Codes
    height: int

    def __post_init__(self) -> None:
        if not 1 <= self.height <= 40:
            raise ValueError(f"height is {self.height}; allowed are 1 .. 40")
        low, high = first_code(self.height), first_code(self.height + 1) - 1
        wrong = np.flatnonzero((self.leaf_of_item < low) | (self.leaf_of_item > high))
        if len(wrong):
            raise ValueError(f"items {wrong[:5].tolist()} have codes {self.leaf_of_item[wrong[:5]].tolist()}; leaves are {low} .. {high}")
        if len(self.used_nodes(self.height)) < self.num_items:
            used, counts = np.unique(self.leaf_of_item, return_counts=True)
            shared = used[counts > 1][:5]
            items = np.flatnonzero(np.isin(self.leaf_of_item, shared))[:10]
            raise ValueError(f"leaves {shared.tolist()} are shared by items {items.tolist()}; a leaf holds one item")

    @property
    def num_items(self) -> int:
        """Number of items on the tree."""
        return len(self.leaf_of_item)

    def ancestors(self, level: int) -> Codes:
        """``b_level`` of every item's leaf: int64 (num_items,)."""
        return ancestors_up(self.leaf_of_item, self.height - level)

    def used_nodes(self, level: int) -> Codes:
        """Codes on a level with at least one item under them, ascending."""
        if 1 << level > _MOST_LEAVES_PER_ITEM * self.num_items:  # a mark for every code would take more room than the items
            return np.unique(self.ancestors(level))
        is_used = np.zeros(1 << level, dtype=np.bool_)
        is_used[self.ancestors(level) - first_code(level)] = True
        return np.flatnonzero(is_used) + first_code(level)

    def capacities(self, level: int) -> NDArray[np.int64]:
        """Number of items under each node of a level, empty nodes included: int64 (2**level,)."""
        return np.bincount(self.ancestors(level) - first_code(level), minlength=1 << level)

    def item_of_leaf(self) -> NDArray[np.int64]:
        """Item on every leaf position, -1 where there is none: int64 (2**height,)."""
        items = np.full(1 << self.height, -1, dtype=np.int64)
        items[self.leaf_of_item - first_code(self.height)] = np.arange(self.num_items)
        return items

    def items_in_leaf_order(self) -> NDArray[np.int64]:
        """Items from the leftmost leaf to the rightmost."""
        if 1 << self.height > _MOST_LEAVES_PER_ITEM * self.num_items:
            return np.argsort(self.leaf_of_item)
        items = self.item_of_leaf()
        return items[items >= 0]

    def fingerprint(self) -> str:
        """sha256 of the tree's meaning: the same for equal trees however they were stored."""
        return hashlib.sha256(f"jtm-tree/{self.height}/".encode() + self.leaf_of_item.astype("<i8").tobytes()).hexdigest()


def tree_from_order(items_in_order: NDArray[np.int64], height: int) -> TreeIndex:
    """Hang items on evenly spread leaves in the given order, so that sibling subtrees differ by at most one item.

    Parameters
    ----------
    items_in_order : int64 array (num_items,)
        A permutation of all items; neighbours become relatives.
    height : int
        With ``2**height >= num_items``.
    """
    num_items = len(items_in_order)
    if num_items > 1 << height:
        raise ValueError(f"{num_items} items do not fit on the {1 << height} leaves of height {height}")
    positions = (np.arange(num_items) * (1 << height) + num_items - 1) // num_items
    leaf_of_item = np.empty(num_items, dtype=np.int64)
    leaf_of_item[items_in_order] = first_code(height) + positions
    return TreeIndex(leaf_of_item, height)


def moved_shares(old: TreeIndex, new: TreeIndex) -> NDArray[np.float64]:
    """Share of items whose ancestor changed, per level: float64 (height + 1,), 0 at the root."""
    if (old.num_items, old.height) != (new.num_items, new.height):
        raise ValueError(f"trees of {old.num_items} and {new.num_items} items, heights {old.height} and {new.height} cannot be compared")
    heights = np.frexp((old.leaf_of_item + 1) ^ (new.leaf_of_item + 1))[1]  # levels from the leaf up to the lowest common ancestor
    moved_at_least = np.cumsum(np.bincount(heights, minlength=old.height + 1)[::-1])
    return np.append(0, moved_at_least[:-1]) / old.num_items


def match_siblings(old: TreeIndex, new: TreeIndex) -> TreeIndex:
    """Swap sibling subtrees of ``new``, top down, wherever that leaves more items under their old ancestors.

    Swapping siblings changes no node's set of items, so for search and training it is the same tree; only afterwards does
    :func:`moved_shares` count true moves. Greedy per node from the root down.

    Returns
    -------
    TreeIndex
        ``new`` up to the order of siblings.
    """
    height, position = new.height, new.leaf_of_item - first_code(new.height)
    old_position = old.leaf_of_item - first_code(old.height)
    for level in range(1, height + 1):
        shift = height - level
        own, theirs = position >> shift, old_position >> shift
        same_parent = (own >> 1) == (theirs >> 1)
        stays = np.where(same_parent, np.where(own == theirs, 1, -1), 0)
        swap = np.bincount(own >> 1, weights=stays, minlength=1 << (level - 1)) < 0
        position = position ^ (swap[own >> 1].astype(np.int64) << shift)
    return TreeIndex(position + first_code(height), height)

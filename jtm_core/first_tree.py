"""Where the first tree comes from, and how a tree takes in items that arrive later.

A tree is planted from an order of items by :func:`jtm_core.tree.tree_from_order`: neighbours in the order become
relatives. Orders by category are the paper's (TDM, section 3.4); for others see :mod:`jtm_core.two_means`.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jtm_core.behaviours import Ints
from jtm_core.codes import first_code, height_for
from jtm_core.tree import TreeIndex


def random_order(num_items: int, rng: np.random.Generator) -> Ints:
    """Put all items into a random order: int64 (num_items,)."""
    return rng.permutation(num_items)


def order_by_category(categories: Ints, rng: np.random.Generator) -> Ints:
    """Put items of a category side by side, categories and the items within them at random (TDM, section 3.4).

    Parameters
    ----------
    categories : int64 array (num_items,)
        Category of every item; unknown ones (-1) form a category of their own.
    rng : Generator
        Draws both orders.

    Returns
    -------
    int64 array (num_items,)
        A permutation of all items.
    """
    distinct, dense = np.unique(categories, return_inverse=True)
    ranks, items = rng.permutation(len(distinct)), rng.permutation(len(categories))
    order: Ints = items[np.argsort(ranks[dense[items]], kind="stable")]
    return order


def extend_tree(tree: TreeIndex, num_items: int, categories: Ints) -> TreeIndex:
    """Hang items that arrived since the tree was made on its free leaves, and move no other.

    If the leaves do not suffice the tree grows levels, and an old item's leaf becomes the leftmost one below its old node.
    New items go to the free leaf nearest to an old item of their category, those of one category spread over its items; those
    of new or unknown categories are spread over the leaves that are left.

    Parameters
    ----------
    tree : TreeIndex
        Holds items ``0 .. tree.num_items - 1``.
    num_items : int
        Number of items now, at least ``tree.num_items``.
    categories : int64 array (num_items,)
        Category of every item, -1 unknown.

    Raises
    ------
    ValueError
        If items went missing, or there is not one category an item.
    """
    if num_items < tree.num_items or len(categories) != num_items:
        raise ValueError(
            f"{num_items} items, {len(categories)} categories for a tree of {tree.num_items}; items may only be added, one category each"
        )
    height = max(tree.height, height_for(num_items))
    positions = np.full(num_items, -1, dtype=np.int64)
    positions[: tree.num_items] = (tree.leaf_of_item - first_code(tree.height)) << (height - tree.height)
    is_free = np.ones(1 << height, dtype=np.bool_)
    is_free[positions[: tree.num_items]] = False
    new, anchors = _anchors(positions, categories, tree.num_items)
    positions[new] = _claim_nearest(anchors, is_free)
    rest, free = np.flatnonzero(positions < 0), np.flatnonzero(is_free)
    positions[rest] = free[np.arange(len(rest)) * len(free) // max(1, len(rest))]
    return TreeIndex(positions + first_code(height), height)


def _anchors(positions: Ints, categories: Ints, num_old: int) -> tuple[Ints, Ints]:
    """New items of known categories, and for each the position of an old item of its category, taking turns."""
    old_order = np.argsort(categories[:num_old], kind="stable")
    old_order = old_order[np.lexsort((positions[old_order], categories[old_order]))]
    new = num_old + np.argsort(categories[num_old:], kind="stable")
    first = np.searchsorted(categories[old_order], categories[new], side="left")
    counts = np.searchsorted(categories[old_order], categories[new], side="right") - first
    turns = np.arange(len(new)) - np.searchsorted(categories[new], categories[new], side="left")
    num_new = np.searchsorted(categories[new], categories[new], side="right") - np.searchsorted(categories[new], categories[new])
    has_anchor = (counts > 0) & (categories[new] >= 0)
    spread = np.where(num_new <= counts, turns * np.maximum(counts, 1) // np.maximum(num_new, 1), turns % np.maximum(counts, 1))
    return new[has_anchor], positions[old_order[(first + spread)[has_anchor]]]


@njit(fastmath=False, cache=True)
def _claim_nearest(anchors: Ints, is_free: NDArray[np.bool_]) -> Ints:
    """Take for each anchor in turn the nearest free leaf (the right one of two), and mark it as taken."""
    num_leaves = len(is_free)
    following, preceding = np.arange(num_leaves + 1), np.arange(num_leaves + 1)
    claimed = np.empty(len(anchors), dtype=np.int64)
    for leaf in range(num_leaves):
        if not is_free[leaf]:
            following[leaf], preceding[leaf + 1] = leaf + 1, leaf
    for place, anchor in enumerate(anchors):
        right, left = _find(following, anchor), _find(preceding, anchor + 1) - 1
        leaf = right if left < 0 or (right < num_leaves and right - anchor <= anchor - left) else left
        claimed[place] = leaf
        is_free[leaf] = False
        following[leaf], preceding[leaf + 1] = leaf + 1, leaf
    return claimed


@njit(fastmath=False, cache=True)
def _find(links: Ints, place: int) -> int:
    """Follow links to the first place that links to itself, shortening the way for the next search."""
    while links[place] != place:
        links[place] = links[links[place]]
        place = links[place]
    return place

"""Where the first tree comes from, and how a tree takes in items that arrive later.

A tree is planted from an order of items by :func:`jtm_core.tree.tree_from_order`: neighbours in the order become
relatives. Orders by category are the paper's (TDM, section 3.4); balanced 2-means on vectors is TDM's re-clustering.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import sparse

from jtm_core.behaviours import Ints, Ragged
from jtm_core.codes import first_code, height_for
from jtm_core.tree import TreeIndex

Vectors = NDArray[np.float32]

_MEANS_ROUNDS = 12
_WINDOW = 5
_POWER_ROUNDS = 4


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


def two_means_order(vectors: Vectors, rng: np.random.Generator) -> Ints:
    """Order items by balanced 2-means, level by level from the root, all nodes of a level at once.

    Halves are as large as the subtrees that :func:`jtm_core.tree.tree_from_order` makes. A round splits every node by the
    projection of its items on the line between the means of its two halves, which never brings these means closer; the
    first line is drawn at random.

    Parameters
    ----------
    vectors : float32 array (num_items, width)
        One vector an item, finite.
    rng : Generator
        Draws the first lines.

    Returns
    -------
    int64 array (num_items,)
        A permutation of all items; items of a subtree are close to each other.

    Raises
    ------
    ValueError
        If there is no item, or a number is not finite.
    """
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise ValueError(f"vectors of shape {vectors.shape} must be a finite matrix, one row an item")
    num_items = len(vectors)
    height = height_for(num_items)
    positions = (np.arange(num_items) * (1 << height) + num_items - 1) // num_items
    order = np.arange(num_items)
    for level in range(height):
        starts = np.searchsorted(positions, np.arange(1 << level) << (height - level))
        middles = np.searchsorted(positions, (2 * np.arange(1 << level) + 1) << (height - level - 1))
        is_used = np.diff(np.append(starts, num_items)) > 0
        lines = rng.standard_normal((is_used.sum(), vectors.shape[1]))
        order = order[_split_nodes(np.ascontiguousarray(vectors[order], dtype=np.float32), starts[is_used], middles[is_used], lines)]
    return order


@njit(cache=True, nogil=True)
def _split_nodes(rows: Vectors, starts: Ints, middles: Ints, lines: NDArray[np.float64]) -> Ints:
    """New order of the rows of one level; node ``j`` holds the rows from ``starts[j]`` and its right half begins at ``middles[j]``."""
    order = np.arange(len(rows))
    for node in range(len(starts)):
        first, last = starts[node], starts[node + 1] if node + 1 < len(starts) else len(rows)
        num_left = middles[node] - first
        if last - first > 1 and 0 < num_left < last - first:
            order[first:last] = first + _two_means(rows[first:last], num_left, lines[node].copy())
    return order


@njit(cache=True, nogil=True)
def _two_means(rows: Vectors, num_left: int, line: NDArray[np.float64]) -> Ints:
    """Order of one node's rows: the ``num_left`` of the left half, then the others; ``line`` is overwritten."""
    num_rows, width = rows.shape
    scores, is_right = np.empty(num_rows), np.zeros(num_rows, dtype=np.bool_)
    order = np.arange(num_rows)
    for _ in range(_MEANS_ROUNDS):
        for row in range(num_rows):
            scores[row] = 0.0
            for column in range(width):
                scores[row] += rows[row, column] * line[column]
        order = np.argsort(scores, kind="mergesort")
        line[:] = 0
        num_changed = 0
        for place in range(num_rows):
            row = order[place]
            num_changed += is_right[row] != (place >= num_left)
            is_right[row] = place >= num_left
            share = 1 / (num_rows - num_left) if place >= num_left else -1 / num_left
            for column in range(width):
                line[column] += share * rows[row, column]
        if num_changed == 0:
            break
    return order


def cooccurrence_vectors(histories: Ragged, num_items: int, width: int, rng: np.random.Generator) -> Vectors:
    """Give every item a vector by what it stands near to in histories, before any model exists.

    Positive pointwise mutual information of items at most 5 behaviours apart (Levy & Goldberg 2014), reduced by a randomised
    singular value decomposition (Halko et al. 2011), rows scaled to length 1.

    Parameters
    ----------
    histories : Ragged
        Training histories, oldest behaviour first.
    num_items : int
        Size of the vocabulary.
    width : int
        Width of the vectors; columns beyond the number of items are 0.
    rng : Generator
        Draws the first basis.

    Returns
    -------
    float32 array (num_items, width)
        Zero rows for items without neighbours.
    """
    information = _positive_information(_neighbour_counts(histories, num_items))
    basis = rng.standard_normal((num_items, min(width + 8, num_items)))
    for _ in range(_POWER_ROUNDS):
        basis = np.linalg.qr(information @ basis)[0]
    left, singular, _ = np.linalg.svd((information @ basis), full_matrices=False)
    vectors = np.zeros((num_items, width), dtype=np.float64)
    kept = min(width, len(singular))
    vectors[:, :kept] = left[:, :kept] * np.sqrt(singular[:kept])
    vectors[np.diff(information.indptr) == 0] = 0
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _neighbour_counts(histories: Ragged, num_items: int) -> sparse.csr_array:
    """How often two different items stand at most ``_WINDOW`` behaviours apart in a history: symmetric (num_items, num_items)."""
    users = np.repeat(np.arange(len(histories)), np.diff(histories.offsets))
    counts = sparse.csr_array((num_items, num_items))
    for step in range(1, _WINDOW + 1):
        first, second = histories.values[:-step], histories.values[step:]
        is_pair = (users[:-step] == users[step:]) & (first != second)
        pairs = (np.ones(is_pair.sum()), (first[is_pair], second[is_pair]))
        counts = counts + sparse.coo_array(pairs, shape=counts.shape).tocsr()
    return sparse.csr_array(counts + counts.T)


def _positive_information(counts: sparse.csr_array) -> sparse.csr_array:
    """``max(0, log(n_ij n / (n_i n_j)))`` of every pair that occurs."""
    totals = np.maximum(counts.sum(axis=1), 1.0)
    pairs = counts.tocoo()
    information = np.log(pairs.data * totals.sum() / (totals[pairs.row] * totals[pairs.col]))
    is_positive = information > 0
    kept = (information[is_positive], (pairs.row[is_positive], pairs.col[is_positive]))
    return sparse.csr_array(sparse.coo_array(kept, shape=counts.shape))


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


@njit(cache=True)
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


@njit(cache=True)
def _find(links: Ints, place: int) -> int:
    """Follow links to the first place that links to itself, shortening the way for the next search."""
    while links[place] != place:
        links[place] = links[links[place]]
        place = links[place]
    return place

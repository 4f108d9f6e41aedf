"""An order of items by balanced 2-means on their vectors: TDM's re-clustering (TDM, section 3.3).

A node's items are halved by a projection, over and over; only which half an item falls into is looked for, by selection,
so a round costs a few passes over the rows. Nodes of a level are split on threads. The order is the same for any number
of them.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jtm_core.behaviours import Ints
from jtm_core.codes import height_for
from jtm_core.threads import run_chunks

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]

_MEANS_ROUNDS = 12
_CHUNKS = 32


def two_means_order(vectors: Vectors, rng: np.random.Generator) -> Ints:
    """Order items by balanced 2-means, level by level from the root, all nodes of a level at once.

    Halves are as large as the subtrees that :func:`jtm_core.tree.tree_from_order` makes. A round splits every node by the
    projection of its items on the line between the means of its two halves, which never brings these means closer; the
    first line is drawn at random. Items with equal projections keep their order.

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
    rows, order = np.array(vectors, dtype=np.float32, order="C"), np.arange(num_items)
    spare_rows, spare_order = np.empty_like(rows), np.empty_like(order)
    for level in range(height):
        starts = np.searchsorted(positions, np.arange((1 << level) + 1) << (height - level))
        middles = np.searchsorted(positions, (2 * np.arange(1 << level) + 1) << (height - level - 1))
        is_used = np.diff(starts) > 0
        borders = np.append(starts[:-1][is_used], num_items)
        lines = rng.standard_normal((is_used.sum(), vectors.shape[1]))
        _split_level((rows, order), (spare_rows, spare_order), borders, middles[is_used], lines)
        rows, spare_rows, order, spare_order = spare_rows, rows, spare_order, order
    return order


def _split_level(before: tuple[Vectors, Ints], after: tuple[Vectors, Ints], borders: Ints, middles: Ints, lines: Floats) -> None:
    """Write rows and their items in the order of the next level; node ``j`` holds the rows from ``borders[j]`` to ``borders[j + 1]``."""
    edges = np.unique(np.searchsorted(borders, np.linspace(0, borders[-1], _CHUNKS + 1)))

    def split_chunk(k: int) -> None:
        nodes = slice(edges[k], edges[k + 1])
        _split_nodes(before, after, borders[edges[k] : edges[k + 1] + 1], middles[nodes], lines[nodes])

    run_chunks(split_chunk, len(edges) - 1)


@njit(fastmath=False, cache=True, nogil=True)
def _split_nodes(before: tuple[Vectors, Ints], after: tuple[Vectors, Ints], borders: Ints, middles: Ints, lines: Floats) -> None:
    (rows, order), (new_rows, new_order) = before, after
    largest = (borders[1:] - borders[:-1]).max()
    scores, ranked, is_right = np.empty(largest), np.empty(largest), np.empty(largest, dtype=np.bool_)
    for node in range(len(middles)):
        first, last = borders[node], borders[node + 1]
        size, num_left = last - first, middles[node] - first
        if 0 < num_left < size:
            _two_means(rows[first:last], num_left, lines[node], (scores[:size], ranked[:size], is_right[:size]))
        else:
            is_right[:size] = num_left == 0
        left, right = first, middles[node]
        for place in range(first, last):
            target = right if is_right[place - first] else left
            new_rows[target], new_order[target] = rows[place], order[place]
            right, left = right + is_right[place - first], left + (not is_right[place - first])


@njit(fastmath=False, cache=True, nogil=True)
def _two_means(rows: Vectors, num_left: int, line: Floats, room: tuple[Floats, Floats, NDArray[np.bool_]]) -> None:
    """Say in ``room[2]`` which of a node's rows belong to the right half, as ``num_left`` do not; ``line`` is overwritten."""
    scores, ranked, is_right = room
    num_rows = len(rows)
    is_right[:] = False
    for _ in range(_MEANS_ROUNDS):
        _project(rows, line, scores)
        ranked[:] = scores
        border = _smallest(ranked, num_left - 1)
        num_ties = num_left - (scores < border).sum()
        line[:] = 0
        num_changed = 0
        for row in range(num_rows):
            is_now_right = scores[row] > border
            if scores[row] == border:
                is_now_right = num_ties <= 0
                num_ties -= 1
            num_changed += is_right[row] != is_now_right
            is_right[row] = is_now_right
            share = 1 / (num_rows - num_left) if is_now_right else -1 / num_left
            for column in range(len(line)):
                line[column] += share * rows[row, column]
        if num_changed == 0:
            break


@njit(cache=True, nogil=True, fastmath=True)
def _project(rows: Vectors, line: Floats, scores: Floats) -> None:
    for row in range(len(rows)):
        total = 0.0
        for column in range(len(line)):
            total += rows[row, column] * line[column]
        scores[row] = total


@njit(fastmath=False, cache=True, nogil=True)
def _smallest(values: Floats, rank: int) -> float:
    """The value that sorting would put at place ``rank``, by Hoare's selection; the values change places.

    Equal values are swapped too, so that many of them do not make it slow.
    """
    low, high = 0, len(values) - 1
    while low < high:
        pivot, left, right = values[rank], low, high
        while left <= right:
            while values[left] < pivot:
                left += 1
            while pivot < values[right]:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left, right = left + 1, right - 1
        if right < rank:
            low = left
        if rank < left:
            high = right
    return float(values[rank])

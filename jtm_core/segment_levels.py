"""What tree learning prepares of one level: carried vectors, vectors multiplied ahead, windows that are never empty."""

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.codes import Codes, first_code
from jtm_core.features import Samples
from jtm_core.row_products import dot_rows
from jtm_core.segments import Ints
from jtm_core.threads import run_chunks
from jtm_core.tree import TreeIndex

Floats = NDArray[np.float32]

LARGEST_PROJECTED = 1 << 25
"""Bytes of vectors multiplied ahead at most: about what the last cache of a processor holds."""
FLOPS_PER_NUMBER = 16
"""What adding one number of a projected row costs, in operations of a matrix product; an estimate."""
_ROWS_PER_PART = 1024
_LINE_BYTES = 64
"""Of the cache."""


@dataclass(frozen=True, slots=True)
class MovedItems:
    """Where items stand in two trees of one height, in the order of the new leaves.

    Parameters
    ----------
    new, old : int64 array (num_items,)
        Codes of their leaves, 1 added.
    weights : float64 array (num_items,)
        How much each item counts.
    height : int
        Of both trees.
    """

    new: Codes
    old: Codes
    weights: NDArray[np.float64]
    height: int


def moved_items(old: TreeIndex, new: TreeIndex, weights: NDArray[np.float64]) -> MovedItems:
    """Items of two trees side by side; ``weights`` float64 (num_items,), above 0: see :func:`jtm_core.behaviours.item_weights`."""
    items = new.items_in_leaf_order()
    return MovedItems(new.leaf_of_item[items] + 1, old.leaf_of_item[items] + 1, weights[items], new.height)


def carried_level(vectors: Floats, moved: MovedItems, level: int) -> Floats:
    """Inner vectors of one level, carried over to a new assignment (see :mod:`jtm_core.carry`).

    Parameters
    ----------
    vectors : float32 array (rows of the table, D)
        Of the network, which was trained on the old tree; not changed.
    moved : MovedItems
    level : int
        Above the leaves.

    Returns
    -------
    float32 array (2**level, D)
        The weighted mean of the items' old ancestors' vectors; nodes without items keep theirs.
    """
    first = first_code(level)
    own = vectors[first : first + (1 << level)]
    means = own.copy()
    _average_level((moved.new, moved.old, moved.weights), moved.height - level, own, means)
    return means


@numba.njit(cache=True, nogil=True, fastmath=True)
def _average_level(items: tuple[Codes, Codes, NDArray[np.float64]], steps: int, vectors: Floats, means: Floats) -> None:
    """Set nodes ``steps`` above the leaves to means over the items below, which stand in leaf order: new and old code + 1, weight."""
    new, old, weights = items
    total = np.empty(vectors.shape[1])
    first = 0
    while first < len(new):
        node, last, weight = new[first] >> steps, first, 0.0
        total[:] = 0
        while last < len(new) and new[last] >> steps == node:
            source = (old[last] >> steps) - len(vectors)
            for column in range(len(total)):
                total[column] += weights[last] * vectors[source, column]
            weight += weights[last]
            last += 1
        for column in range(len(total)):
            means[node - len(vectors), column] = total[column] / weight
        first = last


@dataclass(frozen=True, slots=True)
class HistoryShape:
    """How long the samples' histories are, as far as the model looks back.

    Parameters
    ----------
    window_ends : int64 array (W + 1,)
        How far before a sample's cut each window begins, and 0; leading windows that every sample leaves empty are left out.
    mean_length : float
        Behaviours in the windows.
    num_samples : int
    """

    window_ends: Ints
    mean_length: float
    num_samples: int


def history_shape(window_sizes: tuple[int, ...], samples: Samples) -> HistoryShape:
    """Look once through the samples.

    Examples
    --------
    >>> history_shape((3, 2, 1), Samples(np.array([0]), np.array([2]), np.array([9])))
    HistoryShape(window_ends=array([3, 1, 0]), mean_length=2.0, num_samples=1)
    """
    from_end = np.concatenate([np.cumsum(window_sizes[::-1])[::-1], [0]])
    longest, total = _history_lengths(np.asarray(samples.starts), np.asarray(samples.cuts), from_end[0])
    first = np.flatnonzero(from_end >= max(longest, 1))[-1]
    return HistoryShape(from_end[first:], total / max(1, len(samples)), len(samples))


@numba.njit(fastmath=False, cache=True, nogil=True)
def _history_lengths(starts: Ints, cuts: Ints, limit: int) -> tuple[int, int]:
    """Longest history and the sum of all, each cut to ``limit``."""
    longest, total = 0, 0
    for sample in range(len(starts)):
        length = int(cuts[sample]) - int(starts[sample])
        length = length if length < limit else limit
        total += length
        longest = length if length > longest else longest
    return longest, total


def project_level(vectors: Floats, weight: Floats, shape: HistoryShape) -> Floats:
    """Each vector times each window's share of the user layer, if sums of those are cheaper than a product per sample.

    A user half is ``bias + sum over windows of weight_w . mean of the window's vectors``. With the products taken ahead it is a
    sum of rows, one a behaviour: cheap for short histories over few nodes.

    Parameters
    ----------
    vectors : float32 array (V, D)
        All that a behaviour can be on the level.
    weight : float32 array (W * D, H)
        H includes columns of factors.
    shape : HistoryShape

    Returns
    -------
    float32 array (V, W, H), or (0, W, H) where it would cost more
    """
    width, num_units = vectors.shape[1], weight.shape[1]
    num_windows = len(weight) // width
    is_cheaper = shape.mean_length * FLOPS_PER_NUMBER < 2 * len(weight) and 4 * len(vectors) < shape.num_samples
    is_small = 4 * len(vectors) * num_windows * num_units <= LARGEST_PROJECTED
    rows = len(vectors) if is_cheaper and is_small else 0
    projected = _aligned_rows(rows, num_windows * num_units)
    side_by_side = np.ascontiguousarray(weight.reshape(num_windows, width, num_units).transpose(1, 0, 2)).reshape(width, -1)
    bounds = [*range(0, rows, _ROWS_PER_PART), rows]

    def multiply(part: int) -> None:
        own = slice(bounds[part], bounds[part + 1])
        dot_rows(vectors[own], side_by_side, projected[own])

    run_chunks(multiply, len(bounds) - 1)
    return projected.reshape(rows, num_windows, num_units)


def _aligned_rows(rows: int, columns: int) -> Floats:
    """An array that begins where a cache line does, so that no vector of 16 numbers lies in two of them."""
    memory = np.empty(4 * rows * columns + _LINE_BYTES, dtype=np.uint8)
    first = -memory.ctypes.data % _LINE_BYTES
    return memory[first : first + 4 * rows * columns].view(np.float32).reshape(rows, columns)

"""Users' halves of the first layer for a chunk of samples on one level: the users' side of :mod:`jtm_core.segment_kernels`.

Shape letters: P pieces, W windows, D vector width, H units of the first layer, F columns of factors.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.kernels import Floats
from jtm_core.row_products import dot_rows
from jtm_core.vector_code import LANES, make_row_sum, prefetch_row
from jtm_core.window_matches import factor_of

Ints = NDArray[np.int64]
Positions = NDArray[np.int32]

POOLED_ROWS = 32
"""Samples whose windows are multiplied at once: few, so that they stay in the cache."""
_SAMPLES_AHEAD = 8
"""So far ahead histories are fetched: they lie anywhere in memory, but it is known early which come next."""

_sum_8, _sum_1 = make_row_sum(8), make_row_sum(1)


class UserSide(NamedTuple):
    """What a level's user halves are made of."""

    items: Ints
    """Flat histories."""
    starts: Ints
    cuts: Ints
    """(all samples,): a sample's history."""
    window_ends: Ints
    """(W + 1,): how far before the cut each window begins, and 0."""
    leaf_positions: Positions
    """(num_items,): leaves of the old tree, counted from the leftmost."""
    steps: int
    """Levels above the leaves; -1 if behaviours stay items."""
    vectors: Floats
    """(nodes of the level or items, D)."""
    weight: Floats
    """(W * D, H + F)."""
    bias: Floats
    projected: Floats
    """(nodes of the level or items, W, H + F): each vector times each window's share of the weight, or no rows."""


class PieceRows(NamedTuple):
    """What is scored for the pieces of a chunk."""

    firsts: Ints
    sizes: Ints
    """(P,): samples."""
    node_firsts: Ints
    node_lasts: Ints
    """(P,): which of the level's used nodes; none if equal."""
    own_rows: Ints
    """(P,): row of ``own_table``, -1 for none."""
    own_positions: Ints
    """(P,): place on the level of that node."""


class Terms(NamedTuple):
    """Behaviours in the windows of a chunk's samples, for sums over them on each level."""

    offsets: Ints
    """(samples + 1,): sample ``s`` has the terms ``offsets[s] .. offsets[s + 1] - 1``."""
    items: Ints
    windows: Ints
    factors: Floats
    """(terms,): :func:`jtm_core.window_matches.factor_of` the window."""


NO_TERMS = Terms(np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
"""Of no sample: for levels without projected vectors."""


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def list_terms(pieces: PieceRows, users: UserSide) -> Terms:
    """Go once through the histories of all the pieces' samples; the terms are those of every level."""
    items, starts, cuts, window_ends = users.items, users.starts, users.cuts, users.window_ends
    firsts, sizes = pieces.firsts, pieces.sizes
    num_samples, num_windows = sizes.sum(), len(window_ends) - 1
    offsets, most = np.zeros(num_samples + 1, np.int64), num_samples * window_ends[0]
    listed, windows, factors = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.float32)
    place, count, address = 0, 0, items.ctypes.data
    for piece in range(len(firsts)):
        for sample in range(firsts[piece], firsts[piece] + sizes[piece]):
            cut, ahead = cuts[sample], min(sample + _SAMPLES_AHEAD, len(cuts) - 1)
            prefetch_row(address + items.itemsize * (cuts[ahead] - window_ends[0]), 0, items.itemsize * window_ends[0])
            low = max(np.int64(starts[sample]), cut - window_ends[0])
            for window in range(num_windows):
                high = max(low, cut - window_ends[window + 1])
                factor = factor_of(high - low)
                for t in range(low, high):
                    listed[count], windows[count], factors[count] = items[t], window, factor
                    count += 1
                low = high
            place += 1
            offsets[place] = count
    return Terms(offsets, listed[:count], windows[:count], factors[:count])


@numba.njit(cache=True, nogil=True, fastmath=True)
def _project(terms: Terms, users: UserSide, halves: Floats) -> None:
    """User halves as sums of projected vectors: for short histories."""
    offsets, items, windows, factors = terms
    leaf_positions, steps, bias, projected = users.leaf_positions, users.steps, users.bias, users.projected
    table = projected.reshape(projected.shape[0] * projected.shape[1], projected.shape[2])
    rows = np.empty(len(items), np.int64)
    for k in range(len(rows)):
        position = items[k] if steps < 0 else leaf_positions[items[k]] >> steps
        rows[k] = position * projected.shape[1] + windows[k]
    wide, whole = len(bias) // (8 * LANES) * (8 * LANES), len(bias) // LANES * LANES
    for place in range(len(offsets) - 1):
        first, last = offsets[place], offsets[place + 1]
        for j in range(len(bias)):
            halves[place, j] = bias[j]
        for column in range(0, wide, 8 * LANES):
            _sum_8(table, rows, factors, halves, (place, column, first, last))
        for column in range(wide, whole, LANES):
            _sum_1(table, rows, factors, halves, (place, column, first, last))
        for k in range(first, last):
            for j in range(whole, len(bias)):
                halves[place, j] += factors[k] * table[rows[k], j]


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _pool_one(sample: int, users: UserSide, pooled: Floats) -> None:
    """Mean vectors of one sample's windows."""
    items, starts, cuts, window_ends, leaf_positions, steps, vectors, _, _, _ = users
    width, cut = vectors.shape[1], cuts[sample]
    low = max(np.int64(starts[sample]), cut - window_ends[0])
    pooled[:] = 0
    for window in range(len(window_ends) - 1):
        high = max(low, cut - window_ends[window + 1])
        total = pooled[window * width : (window + 1) * width]
        for t in range(low, high):
            position = items[t] if steps < 0 else leaf_positions[items[t]] >> steps
            for d in range(width):
                total[d] += vectors[position, d]
        if high > low + 1:
            scale = np.float32(1) / np.float32(high - low)
            for d in range(width):
                total[d] *= scale
        low = high


@numba.njit(fastmath=False, cache=True, nogil=True)
def _pool(pieces: PieceRows, users: UserSide, halves: Floats) -> None:
    """User halves as products of pooled windows, :data:`POOLED_ROWS` at a time."""
    firsts, sizes, weight, bias = pieces.firsts, pieces.sizes, users.weight, users.bias
    pooled = np.zeros((POOLED_ROWS, len(weight)), np.float32)
    place, filled = 0, 0
    for piece in range(len(firsts)):
        for sample in range(firsts[piece], firsts[piece] + sizes[piece]):
            _pool_one(sample, users, pooled[filled])
            filled += 1
            if filled == POOLED_ROWS:
                dot_rows(pooled, weight, halves[place : place + POOLED_ROWS])
                place, filled = place + POOLED_ROWS, 0
    if filled:
        dot_rows(pooled[:filled], weight, halves[place : place + filled])
    for row in range(place + filled):
        for j in range(len(bias)):
            halves[row, j] += bias[j]


@numba.njit(fastmath=False, cache=True, nogil=True)
def make_user_halves(pieces: PieceRows, terms: Terms, users: UserSide) -> Floats:
    """Halves of all the pieces' samples in order: float32 (that many, H + F); the terms are read if vectors are projected."""
    num_samples = pieces.sizes.sum()
    halves = np.empty((num_samples, len(users.bias)), np.float32)
    if len(users.projected):
        _project(terms, users, halves)
    else:
        _pool(pieces, users, halves)
    return halves

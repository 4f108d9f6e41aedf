"""Users' halves of the first layer for a chunk of samples on one level: the users' side of :mod:`jtm_core.segment_kernels`.

Shape letters: P pieces, W windows, D vector width, H units of the first layer.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.kernels import Floats

Ints = NDArray[np.int64]
Positions = NDArray[np.int32]

POOLED_ROWS = 32
"""Samples whose windows are multiplied at once: BLAS has kernels for small products that beat those for large ones here."""


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
    """(W * D, H)."""
    bias: Floats
    projected: Floats
    """(nodes of the level or items, W, H): each vector times each window's share of the weight, or no rows."""


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


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _project(pieces: PieceRows, users: UserSide, halves: Floats) -> None:
    """User halves as sums of projected vectors: for short histories."""
    items, starts, cuts, window_ends, leaf_positions, steps, _, _, bias, projected = users
    firsts, sizes = pieces.firsts, pieces.sizes
    place = 0
    for piece in range(len(firsts)):
        for sample in range(firsts[piece], firsts[piece] + sizes[piece]):
            half, cut, low = halves[place], cuts[sample], np.int64(starts[sample])
            half[:] = bias
            low = max(low, cut - window_ends[0])
            for window in range(len(window_ends) - 1):
                high = max(low, cut - window_ends[window + 1])
                scale = np.float32(1) / np.float32(max(high - low, 1))
                for t in range(low, high):
                    position = items[t] if steps < 0 else leaf_positions[items[t]] >> steps
                    row = projected[position, window]
                    for j in range(len(half)):
                        half[j] += scale * row[j]
                low = high
            place += 1


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


@numba.njit(cache=True, nogil=True)
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
                np.dot(pooled, weight, halves[place : place + POOLED_ROWS])
                place, filled = place + POOLED_ROWS, 0
    if filled:
        np.dot(pooled, weight, halves[place : place + POOLED_ROWS])
    for row in range(place + filled):
        for j in range(len(bias)):
            halves[row, j] += bias[j]


@numba.njit(cache=True, nogil=True)
def make_user_halves(pieces: PieceRows, users: UserSide) -> Floats:
    """Halves of all the pieces' samples in order: float32 (at least that many, H)."""
    num_samples = pieces.sizes.sum()
    halves = np.empty((num_samples + POOLED_ROWS, len(users.bias)), np.float32)
    if len(users.projected):
        _project(pieces, users, halves)
    else:
        _pool(pieces, users, halves)
    return halves

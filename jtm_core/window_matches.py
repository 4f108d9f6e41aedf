"""Inputs of the first layer that say how much of each window lies under the node: its *matches*.

The match of a node with a window is the root of the share of the window's behaviours whose row of the table is the node's: those
under it on inner levels, those of the item itself on the leaf level, and with flat features there alone. So a network knows again what a
user had before, which vectors have to learn item by item. By the root one behaviour among hundreds is still heard. Behind the windows of
behaviours come those of items near them (:mod:`jtm_core.neighbours`), if the network is told of any: W counts both. A pair has 2 W
inputs: its matches, and the same once more if the node is a leaf, where a match says more than high up in the tree, else zeros.
Few pairs have a match, and kernels touch no others.

A pair's *lift* is what its matches add to the units of the first layer. Whoever needs one calls :func:`fill_inputs` and
:func:`make_lift`, so a pair has the same bits in training's rows, in a walk, in a scan and in tree learning.

Shape letters: M rows with a match, S users, W windows, H units of the first layer.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

NO_WEIGHTS = np.zeros((0, 0), np.float32)
"""Weights of matches that a network does not have."""
_FEW = 48
"""So many pairs are sorted faster by insertion, about."""
_TAG_BITS = 20
_TAGS = (1 << _TAG_BITS) - 1


class Matches(NamedTuple):
    """The rows among some that have a match."""

    rows: Ints
    """(M,), ascending."""
    inputs: Floats
    """(M, 2 * W)."""

    def part(self, low: int, high: int) -> "Matches":
        """Those of the rows ``low .. high - 1``, which are counted from ``low``."""
        first, last = np.searchsorted(self.rows, (low, high))
        return Matches(self.rows[first:last] - low, self.inputs[first:last])


NO_MATCHES = Matches(np.zeros(0, np.int64), NO_WEIGHTS)


@numba.njit(fastmath=False, cache=True, nogil=True)
def factor_of(size: int) -> np.float32:
    """What a count among a window's ``size`` behaviours, perhaps none, is multiplied with to be a share."""
    return np.float32(1) / np.float32(max(size, 1))


@numba.njit(fastmath=False, cache=True, nogil=True)
def fill_inputs(counts: Floats, factors: Floats, is_leaf: bool, inputs: Floats) -> None:
    """A pair's inputs (2 * W,) from the behaviours of each window that are the node's, and the windows' :func:`factor_of`: float32 (W,)."""
    num_windows = len(counts)
    for w in range(num_windows):
        match = np.sqrt(counts[w] * factors[w])
        inputs[w] = match
        inputs[num_windows + w] = match if is_leaf else np.float32(0)


@numba.njit(fastmath=False, cache=True, nogil=True)
def make_lift(inputs: Floats, weights: Floats, lift: Floats) -> None:
    """What a pair's matches add to the first layer: float32 (H,); ``weights`` are the match layer's: float32 (2 * W, H)."""
    lift[:] = 0
    for k in range(len(inputs)):
        if inputs[k] > 0:
            for j in range(len(lift)):
                lift[j] += inputs[k] * weights[k, j]


@numba.njit(fastmath=False, cache=True, nogil=True)
def add_lifts(matches: Matches, low: int, weights: Floats, first: Floats) -> None:
    """Add the lifts of a tile's rows, which are those from ``low`` on, to the first layer's units (rows of the tile, H)."""
    lift = np.empty(weights.shape[1], np.float32)
    begin, end = np.searchsorted(matches.rows, low), np.searchsorted(matches.rows, low + len(first))
    for k in range(begin, end):
        make_lift(matches.inputs[k], weights, lift)
        for j in range(len(lift)):
            first[matches.rows[k] - low, j] += lift[j]


@numba.njit(fastmath=True, cache=True, nogil=True)
def lifts_back(matches: Matches, low: int, upper: Floats, weight_gradient: Floats) -> None:
    """Add a tile's gradients by the match layer's weights; ``upper`` (rows of the tile, H) are those by the first layer."""
    begin, end = np.searchsorted(matches.rows, low), np.searchsorted(matches.rows, low + len(upper))
    for k in range(begin, end):
        row = matches.rows[k] - low
        for i in range(matches.inputs.shape[1]):
            value = matches.inputs[k, i]
            if value > 0:
                for j in range(weight_gradient.shape[1]):
                    weight_gradient[i, j] += value * upper[row, j]


@numba.njit(fastmath=False, cache=True, nogil=True)
def sort_pairs(keys: Ints, tags: Ints) -> None:
    """Sort keys below 2**43, and tags below 2**20 along with them."""
    if len(keys) > _FEW:
        pairs = (keys << _TAG_BITS) | tags
        pairs.sort()
        for k in range(len(keys)):
            keys[k], tags[k] = pairs[k] >> _TAG_BITS, pairs[k] & _TAGS
        return
    for k in range(1, len(keys)):
        key, tag, place = keys[k], tags[k], k
        while place > 0 and keys[place - 1] > key:
            keys[place], tags[place] = keys[place - 1], tags[place - 1]
            place -= 1
        keys[place], tags[place] = key, tag


class Histories(NamedTuple):
    """Behaviours of some users, and items near them, from the left to the right of a tree, for a walk or a scan, and scratch memory."""

    sizes: Ints
    """(S,): items in the windows."""
    leaves: Ints
    """(S, most items): codes of their leaves, ascending."""
    windows: Ints
    """(S, most items): the window of each."""
    factors: Floats
    """(S, W): :func:`factor_of` each window."""
    counts: Floats
    """(W,): of the pair at hand."""
    inputs: Floats
    """(2 * W,): of the pair at hand."""
    lift: Floats
    """(H,)."""

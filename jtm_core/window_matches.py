"""Inputs of the first layer that say how much of each window lies under the node: its *matches*.

The match of a node with a window is the root of the share of the window's behaviours whose row of the table is the node's: those
under it on inner levels, those of the item itself on the leaf level, and with flat features there alone. So a network knows again what a
user had before, which vectors have to learn item by item. By the root one behaviour among hundreds is still heard. Behind the windows of
behaviours come those of items near them (:mod:`jtm_core.neighbours`), if the network is told of any: W counts both. A pair has 2 W
inputs: its matches, and the same once more if the node is a leaf, where a match says more than high up in the tree, else zeros.
Few pairs have a match, and kernels touch no others.

A pair's *lift* is what its matches add to the units of the first layer. Whoever needs one calls :func:`fill_inputs` and
:func:`make_lift`, so a pair has the same bits in training's rows, in a walk, in a scan and in tree learning.

Shape letters: R rows, M rows with a match, S samples, T behaviours, L levels, W windows, H units of the first layer.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.threads import run_chunks

Floats = NDArray[np.float32]
Index = NDArray[np.int32]
Ints = NDArray[np.int64]

NO_WEIGHTS = np.zeros((0, 0), np.float32)
"""Weights of matches that a network does not have."""
_ROWS_PER_PART = 1 << 14
_FEW = 48
"""So many pairs are sorted faster by insertion, about."""


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


class Told(NamedTuple):
    """What samples are told of themselves on some levels, as rows of the table."""

    behaviours: Ints
    """(L, T)."""
    bounds: Ints
    """(S, W + 1): windows as positions among the T."""
    near: Ints
    """(L, S * K): items near each sample, nearest first, -1 behind."""
    near_edges: Ints
    """Where the windows of near items begin and end among the K."""


@numba.njit(fastmath=False, cache=True, nogil=True)
def sort_pairs(keys: Ints, tags: Ints) -> None:
    """Sort keys, and tags along with them."""
    if len(keys) > _FEW:
        order = np.argsort(keys)
        keys[:], tags[:] = keys[order], tags[order]
        return
    for k in range(1, len(keys)):
        key, tag, place = keys[k], tags[k], k
        while place > 0 and keys[place - 1] > key:
            keys[place], tags[place] = keys[place - 1], tags[place - 1]
            place -= 1
        keys[place], tags[place] = key, tag


@numba.njit(fastmath=False, cache=True, nogil=True)
def _list_told(told: Told, level: int, sample: int, out: tuple[Ints, Ints, Floats]) -> int:
    """Rows that a sample is told on a level, ascending, and their windows; how many. ``out``: rows, windows, the windows' factors."""
    (behaviours, bounds, near, near_edges), (rows, windows, factors) = told, out
    num_windows, count, edges = bounds.shape[1] - 1, 0, bounds[sample]
    for w in range(num_windows):
        factors[w] = factor_of(edges[w + 1] - edges[w])
        for t in range(edges[w], edges[w + 1]):
            rows[count], windows[count] = behaviours[level, t], w
            count += 1
    first = sample * near_edges[-1]
    for w in range(len(near_edges) - 1):
        low = count
        for k in range(near_edges[w], near_edges[w + 1]):
            if near[level, first + k] >= 0:
                rows[count], windows[count] = near[level, first + k], num_windows + w
                count += 1
        factors[num_windows + w] = factor_of(count - low)
    sort_pairs(rows[:count], windows[:count])
    return count


@numba.njit(fastmath=False, cache=True, nogil=True)
def _find(told: Told, users: Index, nodes: Ints, leaf_level: int, low: int) -> tuple[Ints, Floats]:
    """See :func:`find_matches`; rows are counted from ``low``."""
    num_samples, num_windows = len(told.bounds), told.bounds.shape[1] + len(told.near_edges) - 2
    rows, inputs = np.empty(len(users), np.int64), np.empty((len(users), 2 * num_windows), np.float32)
    most = (told.bounds[:, -1] - told.bounds[:, 0]).max() + told.near_edges[-1]
    own, windows, factors = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(num_windows, np.float32)
    counts, count, size, last = np.empty(num_windows, np.float32), 0, 0, np.int64(-1)
    for r in range(len(users)):
        level = users[r] // num_samples
        if users[r] != last:
            last, size = np.int64(users[r]), _list_told(told, level, users[r] % num_samples, (own, windows, factors))
        place = np.searchsorted(own[:size], nodes[r])
        if place < size and own[place] == nodes[r]:
            counts[:] = 0
            while place < size and own[place] == nodes[r]:
                counts[windows[place]] += 1
                place += 1
            fill_inputs(counts, factors, level == leaf_level, inputs[count])
            rows[count] = low + r
            count += 1
    return rows[:count], inputs[:count].copy()


def find_matches(told: Told, users: Index, nodes: Ints, leaf_level: int) -> Matches:
    """Look for the matches of pairs; fastest where pairs of one sample and level follow each other.

    Parameters
    ----------
    told : Told
        Of S samples on L levels.
    users : int32 array (R,)
        ``level * S + sample`` of each pair.
    nodes : int64 array (R,)
        Row of the table of each pair's node.
    leaf_level : int
        Which of the L levels is that of the leaves; -1 if none is.
    """
    told = told._replace(behaviours=np.ascontiguousarray(told.behaviours), near=np.ascontiguousarray(told.near))
    num_windows = told.bounds.shape[1] + len(told.near_edges) - 2
    lows = range(0, len(users), _ROWS_PER_PART)
    found = [(NO_MATCHES.rows, np.zeros((0, 2 * num_windows), np.float32))] * max(1, len(lows))

    def find(part: int) -> None:
        low = lows[part]
        own = slice(low, low + _ROWS_PER_PART)
        found[part] = _find(told, users[own], nodes[own], leaf_level, low)

    run_chunks(find, len(lows))
    return Matches(np.concatenate([rows for rows, _ in found]), np.concatenate([inputs for _, inputs in found]))


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

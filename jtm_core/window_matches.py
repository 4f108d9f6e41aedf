"""Inputs of the first layer that say how much of each window lies under the node: its *matches*.

The match of a node with a window is the root of the share of the window's behaviours whose row of the table is the node's: those
under it on inner levels, those of the item itself on the leaf level, and with flat features there alone. So a network knows again what a
user had before, which vectors have to learn item by item. By the root one behaviour among hundreds is still heard. A pair has 2 W
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
def count_matches(behaviours: Ints, edges: Ints, row: int, counts: Floats) -> bool:
    """How many of each window's behaviours are a node's; whether any is.

    Parameters
    ----------
    behaviours : int64 array
        Rows of the table.
    edges : int64 array (W + 1,)
        Where windows begin and end among them.
    row : int
        The node's.
    counts : float32 array (W,)
        Filled if there is a match.
    """
    total = 0
    for t in range(edges[0], edges[-1]):
        total += behaviours[t] == row
    if total == 0:
        return False
    for w in range(len(counts)):
        count = 0
        for t in range(edges[w], edges[w + 1]):
            count += behaviours[t] == row
        counts[w] = count
    return True


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
def _find(sides: tuple[Ints, Ints], users: Index, nodes: Ints, leaf_level: int, low: int) -> tuple[Ints, Floats]:
    """See :func:`find_matches`; ``sides`` are behaviours and bounds, rows are counted from ``low``."""
    behaviours, bounds = sides
    num_samples, num_windows = len(bounds), bounds.shape[1] - 1
    rows, inputs = np.empty(len(users), np.int64), np.empty((len(users), 2 * num_windows), np.float32)
    counts, factors, count = np.empty(num_windows, np.float32), np.empty(num_windows, np.float32), 0
    for r in range(len(users)):
        level, edges = users[r] // num_samples, bounds[users[r] % num_samples]
        if count_matches(behaviours[level], edges, nodes[r], counts):
            for w in range(num_windows):
                factors[w] = factor_of(edges[w + 1] - edges[w])
            fill_inputs(counts, factors, level == leaf_level, inputs[count])
            rows[count] = low + r
            count += 1
    return rows[:count], inputs[:count].copy()


def find_matches(behaviours: Ints, bounds: Ints, users: Index, nodes: Ints, leaf_level: int) -> Matches:
    """Look for the matches of pairs.

    Parameters
    ----------
    behaviours : int64 array (L, T)
        Row of the table of each behaviour on each level.
    bounds : int64 array (S, W + 1)
        Windows as positions among the T.
    users : int32 array (R,)
        ``level * S + sample`` of each pair.
    nodes : int64 array (R,)
        Row of the table of each pair's node.
    leaf_level : int
        Which of the L levels is that of the leaves; -1 if none is.
    """
    sides = np.ascontiguousarray(behaviours), bounds
    lows = range(0, len(users), _ROWS_PER_PART)
    found = [(NO_MATCHES.rows, np.zeros((0, 2 * (bounds.shape[1] - 1)), np.float32))] * max(1, len(lows))

    def find(part: int) -> None:
        low = lows[part]
        own = slice(low, low + _ROWS_PER_PART)
        found[part] = _find(sides, users[own], nodes[own], leaf_level, low)

    run_chunks(find, len(lows))
    return Matches(np.concatenate([rows for rows, _ in found]), np.concatenate([inputs for _, inputs in found]))


class Histories(NamedTuple):
    """Behaviours of some users from the left to the right of a tree, for a walk or a scan, and scratch memory."""

    sizes: Ints
    """(S,): behaviours in the windows."""
    leaves: Ints
    """(S, most behaviours): codes of their items' leaves, ascending."""
    windows: Ints
    """(S, most behaviours): the window of each."""
    factors: Floats
    """(S, W): :func:`factor_of` each window."""
    counts: Floats
    """(W,): of the pair at hand."""
    inputs: Floats
    """(2 * W,): of the pair at hand."""
    lift: Floats
    """(H,)."""


@numba.njit(fastmath=False, cache=True, nogil=True)
def empty_histories(num_users: int, weights: Floats, most_behaviours: int) -> Histories:
    """Room for some users, none for a network without ``weights`` of matches."""
    num_inputs, num_units = weights.shape
    num_users, width = (num_users, most_behaviours) if num_inputs else (0, 0)
    return Histories(
        np.zeros(num_users, np.int64),
        np.zeros((num_users, width), np.int64),
        np.zeros((num_users, width), np.int64),
        np.zeros((num_users, num_inputs // 2), np.float32),
        np.zeros(num_inputs // 2, np.float32),
        np.zeros(num_inputs, np.float32),
        np.zeros(num_units, np.float32),
    )


@numba.njit(fastmath=False, cache=True, nogil=True)
def note_history(leaf_of_item: Ints, items: Ints, edges: Ints, histories: Histories, user: int) -> None:
    """Sort a user's behaviours by leaf; ``edges`` (W + 1,) are the windows' in the flat ``items``."""
    leaves, windows, count = histories.leaves[user], histories.windows[user], 0
    for w in range(len(edges) - 1):
        histories.factors[user, w] = factor_of(edges[w + 1] - edges[w])
        for t in range(edges[w], edges[w + 1]):
            leaf, place = leaf_of_item[items[t]], count
            while place > 0 and leaves[place - 1] > leaf:
                leaves[place], windows[place] = leaves[place - 1], windows[place - 1]
                place -= 1
            leaves[place], windows[place] = leaf, w
            count += 1
    histories.sizes[user] = count


@numba.njit(fastmath=False, cache=True, nogil=True)
def first_behaviour(code: int, histories: Histories, place: tuple[int, int]) -> int:
    """The first of a user's sorted behaviours that lies under node ``code`` or to the right of it; ``place`` as for :func:`next_match`."""
    user, steps = place
    return int(np.searchsorted(histories.leaves[user, : histories.sizes[user]], ((code + 1) << steps) - 1))


@numba.njit(fastmath=False, cache=True, nogil=True)
def next_match(codes: Ints, histories: Histories, place: tuple[int, int], reached: tuple[int, int]) -> tuple[int, int]:
    """Find the next node that has matches, and fill in its inputs.

    Parameters
    ----------
    codes : int64 array (C,)
        Of nodes of one level, ascending.
    histories : Histories
    place : (int, int)
        Which of the histories is meant; levels from the leaves up to the nodes.
    reached : (int, int)
        Behaviour and node to go on with, at first :func:`first_behaviour` and 0.

    Returns
    -------
    (int, int)
        The behaviour behind those under the node, and the node's place; -1 if there is none any more.
    """
    (user, steps), (behaviour, node) = place, reached
    leaves, windows, counts, size = histories.leaves[user], histories.windows[user], histories.counts, histories.sizes[user]
    while behaviour < size:
        code = ((leaves[behaviour] + 1) >> steps) - 1
        node += np.searchsorted(codes[node:], code)
        if node == len(codes):
            break
        counts[:] = 0
        while behaviour < size and ((leaves[behaviour] + 1) >> steps) - 1 == code:
            counts[windows[behaviour]] += 1
            behaviour += 1
        if codes[node] == code:
            fill_inputs(counts, histories.factors[user], steps == 0, histories.inputs)
            return behaviour, node
    return behaviour, -1

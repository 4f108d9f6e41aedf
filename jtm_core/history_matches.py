"""What is known of a user, from the left of the tree to the right, and the nodes under which some of it lies.

Behaviours and near items are sorted by leaf, which is in order on all levels. A walk or a scan meets a level's nodes in order too, so
both are gone through once; training looks for each node.

Shape letters: S users, T behaviours, W windows, K near items, L levels, C nodes, R pairs, H units of the first layer.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.threads import run_chunks
from jtm_core.window_matches import NO_MATCHES, Histories, Matches, factor_of, fill_inputs, sort_pairs

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Index = NDArray[np.int32]
Near = Index

_MOST_ROWS_PER_PART, _FEWEST_ROWS_PER_PART, _PARTS = 1 << 14, 1 << 8, 8
"""Pairs are matched in so many parts, on all threads, as far as the sizes allow."""
_USERS_PER_PART = 64


@numba.njit(fastmath=False, cache=True, nogil=True)
def empty_histories(num_users: int, weights: Floats, most_items: int) -> Histories:
    """Room for some users, none for a network without ``weights`` of matches."""
    num_inputs, num_units = weights.shape
    num_users, width = (num_users, most_items) if num_inputs else (0, 0)
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
def note_history(leaf_of_item: Ints, known: tuple[Ints, Ints, Near], near_edges: Ints, histories: Histories, user: int) -> None:
    """Sort what is known of a user by leaf.

    Parameters
    ----------
    leaf_of_item : int64 array
    known : int64 array, int64 array (W + 1,), int32 array (K,)
        Flat histories, the user's windows in them, and the items near the user's, -1 behind.
    near_edges : int64 array
        Where the windows of near items begin and end.
    histories : Histories
        The user's are filled in.
    user : int
    """
    (items, edges, near), factors = known, histories.factors[user]
    leaves, windows, count, num_windows = histories.leaves[user], histories.windows[user], 0, len(edges) - 1
    for w in range(num_windows):
        factors[w] = factor_of(edges[w + 1] - edges[w])
        for t in range(edges[w], edges[w + 1]):
            leaves[count], windows[count] = leaf_of_item[items[t]], w
            count += 1
    for w in range(len(near_edges) - 1):
        low = count
        for k in range(near_edges[w], near_edges[w + 1]):
            if near[k] >= 0:
                leaves[count], windows[count] = leaf_of_item[near[k]], num_windows + w
                count += 1
        factors[num_windows + w] = factor_of(count - low)
    sort_pairs(leaves[:count], windows[:count])
    histories.sizes[user] = count


@numba.njit(fastmath=False, cache=True, nogil=True)
def first_behaviour(code: int, leaves: Ints, steps: int) -> int:
    """The first of a user's sorted behaviours that lies under node ``code``, ``steps`` levels above the leaves, or to the right of it."""
    return int(np.searchsorted(leaves, ((code + 1) << steps) - 1))


@numba.njit(fastmath=False, cache=True, nogil=True)
def next_match(codes: Ints, known: tuple[Ints, Ints, Floats], steps: int, reached: tuple[int, int]) -> tuple[int, int]:
    """Find the next node under which some of what is known of a user lies, and count it by window.

    Parameters
    ----------
    codes : int64 array (C,)
        Of nodes of one level, ascending.
    known : int64 arrays (T,), float32 array (W,)
        The user's leaves and windows, see :class:`~jtm_core.window_matches.Histories`, and the counts, which are filled in.
    steps : int
        Levels from the leaves up to the nodes.
    reached : (int, int)
        Behaviour and node to go on with, at first :func:`first_behaviour` and 0.

    Returns
    -------
    (int, int)
        The behaviour behind those under the node, and the node's place; -1 if there is none any more.
    """
    (leaves, windows, counts), (behaviour, node) = known, reached
    while behaviour < len(leaves):
        code = ((leaves[behaviour] + 1) >> steps) - 1
        node += np.searchsorted(codes[node:], code)
        if node == len(codes):
            break
        counts[:] = 0
        while behaviour < len(leaves) and ((leaves[behaviour] + 1) >> steps) - 1 == code:
            counts[windows[behaviour]] += 1
            behaviour += 1
        if codes[node] == code:
            return behaviour, node
    return behaviour, -1


class Told(NamedTuple):
    """What users are told of themselves, and where that lies in a tree."""

    items: Ints
    """(T,): flat histories."""
    bounds: Ints
    """(S, W + 1): windows as positions among these."""
    near: Near
    """(S, K): items near each history, nearest first, -1 behind."""
    near_edges: Ints
    """Where the windows of near items begin and end among the K."""
    leaf_of_item: Ints
    """Codes."""


@numba.njit(fastmath=False, cache=True, nogil=True)
def _note_users(told: Told, low: int, high: int, histories: Histories) -> None:
    items, bounds, near, near_edges, leaf_of_item = told
    for user in range(low, high):
        note_history(leaf_of_item, (items, bounds[user], near[user]), near_edges, histories, user)


def note_histories(told: Told) -> Histories:
    """Sort what S users are told by leaf: the same for all levels."""
    num_windows, most = told.bounds.shape[1] + len(told.near_edges) - 2, int(told.near_edges[-1])
    most += int((told.bounds[:, -1] - told.bounds[:, 0]).max(initial=0))
    histories = empty_histories(len(told.bounds), np.empty((2 * num_windows, 0), np.float32), most)

    def note(part: int) -> None:
        low = part * _USERS_PER_PART
        _note_users(told, low, min(low + _USERS_PER_PART, len(told.bounds)), histories)

    run_chunks(note, -(-len(told.bounds) // _USERS_PER_PART))
    return histories


@numba.njit(fastmath=False, cache=True, nogil=True)
def _find(histories: Histories, steps_of_level: Ints, pairs: tuple[Index, Ints], low: int) -> Matches:
    """See :func:`find_matches`; rows are counted from ``low``."""
    (sizes, all_leaves, all_windows, factors, _, _, _), (users, codes) = histories, pairs
    num_users, num_windows, count = len(sizes), factors.shape[1], 0
    rows, inputs, counts = (
        np.empty(len(users), np.int64),
        np.empty((len(users), 2 * num_windows), np.float32),
        np.empty(num_windows, np.float32),
    )
    for r in range(len(users)):
        steps, user = steps_of_level[users[r] // num_users], users[r] % num_users
        if steps < 0:
            continue
        leaves, windows = all_leaves[user, : sizes[user]], all_windows[user]
        behaviour, end = first_behaviour(codes[r], leaves, steps), ((codes[r] + 2) << steps) - 1
        if behaviour < len(leaves) and leaves[behaviour] < end:
            counts[:] = 0
            while behaviour < len(leaves) and leaves[behaviour] < end:
                counts[windows[behaviour]] += 1
                behaviour += 1
            fill_inputs(counts, factors[user], steps == 0, inputs[count])
            rows[count] = low + r
            count += 1
    return Matches(rows[:count], inputs[:count].copy())


def find_matches(histories: Histories, steps: Ints, users: Index, codes: Ints) -> Matches:
    """Look for the matches of pairs.

    Parameters
    ----------
    histories : Histories
        Of S users: :func:`note_histories`.
    steps : int64 array (L,)
        How far above the leaves each level lies; -1 if nothing matches its nodes.
    users : int32 array (R,)
        ``level * S + user`` of each pair.
    codes : int64 array (R,)
        Of each pair's node, which lies on that level.
    """
    size = min(_MOST_ROWS_PER_PART, max(_FEWEST_ROWS_PER_PART, -(-len(users) // _PARTS)))
    lows = range(0, len(users), size)
    found = [Matches(NO_MATCHES.rows, np.zeros((0, histories.inputs.size), np.float32))] * max(1, len(lows))

    def find(part: int) -> None:
        own = slice(lows[part], lows[part] + size)
        found[part] = _find(histories, steps, (users[own], codes[own]), lows[part])

    run_chunks(find, len(lows))
    return Matches(np.concatenate([part.rows for part in found]), np.concatenate([part.inputs for part in found]))

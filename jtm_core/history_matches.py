"""What search knows of a user, from the left of the tree to the right, and the nodes under which some of it lies.

A walk or a scan meets a level's nodes in order, and behaviours and near items lie sorted by leaf, so both are gone through once.

Shape letters: S users, W windows, K near items, C nodes, H units of the first layer.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.window_matches import Histories, factor_of, fill_inputs, sort_pairs

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Near = NDArray[np.int32]


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

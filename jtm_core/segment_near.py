"""Items near the samples of tree learning: listed once, read by every pass.

A pass over a segment meets all samples, and there are several segments and sweeps; a list takes longer than what a short segment asks
of a sample. So lists are kept as they are made, of as many samples as memory is granted for; those of the others are made anew.

Shape letters: S samples of a chunk, M samples whose lists may be kept, K places of a list.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.neighbours import NO_NEIGHBOURS, Neighbours, list_near
from jtm_core.segment_users import PieceRows, UserSide

Ints = NDArray[np.int64]
Index = NDArray[np.int32]

KEPT_BYTES = 1 << 29
"""Of lists at most: those of 725,000 samples with 185 items each."""


class NearSide(NamedTuple):
    """Where the items near a sample come from."""

    table: tuple[Index, Index, Ints, Index]
    """See :func:`jtm_core.neighbours.list_near`."""
    rows: Ints
    """Where the flat histories begin and end."""
    edges: Ints
    """Where the windows of near items begin and end among the K."""
    lists: Index
    """(M, K): of the first samples."""
    is_listed: NDArray[np.bool_]
    """(M,): whether a list has been made."""


def near_side(neighbours: Neighbours | None, edges: Ints, rows: Ints, num_samples: int) -> NearSide:
    """No list made yet; memory is taken as lists are.

    Parameters
    ----------
    neighbours : Neighbours or None
        None for a network that reads no near items.
    edges : int64 array
        See :class:`NearSide`.
    rows : int64 array
        Where the histories begin and end that the neighbours were counted in.
    num_samples : int
        Of tree learning.
    """
    counted, count = neighbours or NO_NEIGHBOURS, int(edges[-1])
    num_kept = min(num_samples, KEPT_BYTES // (4 * count)) if count else 0
    lists, is_listed = np.empty((num_kept, count), np.int32), np.zeros(num_kept, np.bool_)
    return NearSide((counted.items, counted.common, counted.offsets, counted.users), np.asarray(rows, np.int64), edges, lists, is_listed)


@numba.njit(fastmath=False, cache=True, nogil=True)
def near_of_pieces(pieces: PieceRows, users: UserSide, near: NearSide) -> Index:
    """Items near all the pieces' samples, nearest first, -1 behind: int32 (S, K)."""
    table, rows, edges, lists, is_listed = near
    out = np.empty((pieces.sizes.sum(), edges[-1]), np.int32)
    if edges[-1] == 0:
        return out
    missing, places, count, place = np.empty(len(out), np.int64), np.empty(len(out), np.int64), 0, 0
    for piece in range(len(pieces.firsts)):
        for sample in range(pieces.firsts[piece], pieces.firsts[piece] + pieces.sizes[piece]):
            if sample < len(lists) and is_listed[sample]:
                out[place] = lists[sample]
            else:
                missing[count], places[count] = sample, place
                count += 1
            place += 1
    missing, places = missing[:count], places[:count]
    starts, cuts, made = users.starts[missing], users.cuts[missing], np.empty((count, edges[-1]), np.int32)
    list_near(table, users.items, (starts, cuts, rows[np.searchsorted(rows, starts, side="right")]), made)
    for k in range(count):
        out[places[k]] = made[k]
        if missing[k] < len(lists):
            lists[missing[k]], is_listed[missing[k]] = made[k], True
    return out

"""Lists by beam search that excluded items do not make shorter."""

from collections.abc import Callable

import numpy as np

from jtm_core.beam import blocks_of, without_items
from jtm_core.behaviours import Ints, Ragged
from jtm_core.scoring import Windows

Search = Callable[[Windows, int], Ints]
"""Users and a beam's width -> items found, best first, -1 behind: int64 (S, any)."""


def lists_by_beam(search: Search, windows: Windows, beam_width: int, num_items: int, num_recommended: int, excluded: Ragged | None) -> Ints:
    """The lists of all users, searched in blocks.

    Excluded items are taken out of what the beam found. A user whose list they made shorter is searched again by beams of
    twice the width, until it is as long as without them or no item is left. So a user's list depends on this user alone.

    Parameters
    ----------
    search : callable
        See :data:`Search`; a beam of at least ``num_items`` finds every item.
    windows : Windows
        E users.
    beam_width : int
    num_items : int
    num_recommended : int
        Length M of the lists.
    excluded : Ragged of E rows or None

    Returns
    -------
    int64 array (E, M)
        -1 behind where the beam found fewer items.
    """
    lists = np.full((len(windows), num_recommended), -1, dtype=np.int64)
    for low, part in blocks_of(windows):
        block = lists[low : low + len(part)]
        found = search(part, beam_width)
        if excluded is None:
            block[:, : found.shape[1]] = found[:, :num_recommended]
            continue
        banned = excluded.rows(low, low + len(part))
        block[:] = without_items(found, banned, num_items, num_recommended)
        wanted = np.minimum(np.minimum(_lengths(found), num_recommended), num_items - _num_distinct(banned, num_items))
        width, short = beam_width, np.flatnonzero(_lengths(block) < wanted)
        while len(short):
            width *= 2
            wider = search(Windows(part.items, part.bounds[short]), width)
            block[short] = without_items(wider, banned.take(short), num_items, num_recommended)
            short = short[_lengths(block[short]) < wanted[short]]
    return lists


def _lengths(lists: Ints) -> Ints:
    """Items of each list: int64 (E,)."""
    lengths: Ints = (lists >= 0).sum(axis=1)
    return lengths


def _num_distinct(rows: Ragged, num_items: int) -> Ints:
    """Distinct items of each row: int64 (E,)."""
    keys = np.unique(np.repeat(np.arange(len(rows)), np.diff(rows.offsets)) * num_items + rows.values)
    return np.bincount(keys // num_items, minlength=len(rows))

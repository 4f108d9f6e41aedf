"""Items near a history: those that users of its items also had, best first, by summed cosine.

This is Item-CF's list (:mod:`jtm_core.baselines.item_cf`: ``users of both / sqrt(users of i * users of j)``), summed over the distinct
items of the last behaviours and without the items of the history, made as an *input* of the network: how many of the nearest lie under a
node says where in the tree to look (:mod:`jtm_core.window_matches`).

Of a user whom the table counts, the user's own share is taken out of every number; else what is to be predicted would already be told
in training, and not to those who come later. Similarities are rounded to multiples of 2**-40, so their float64 sums are exact whatever
the order of the history, and ties go to the lower id: a history has the same list wherever it is made.

Shape letters: N items, E entries of the table, S histories, K places of a list.
"""

from dataclasses import dataclass
from typing import Self

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.threads import run_chunks

Index = NDArray[np.int32]
Ints = NDArray[np.int64]

REACH = 100
"""Behaviours of a history that are looked at, the last ones."""
LONGEST_HISTORY = 1000
"""Behaviours of one user that are counted, the last ones."""
NUM_NEIGHBOURS = 200
"""Kept of each item."""
_QUANTA = 2.0**40
_EMPTY = -1
_HISTORIES_PER_CHUNK = 256


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """For every item the items that most of its users had too. Copies share the arrays.

    Parameters
    ----------
    items : int32 array (E,)
        Neighbours of all items end to end; no item is its own.
    common : int32 array (E,)
        Users of both.
    offsets : int64 array (N + 1,)
        Where each item's neighbours begin.
    users : int32 array (N,)
        Users of each item.
    """

    items: Index
    common: Index
    offsets: Ints
    users: Index

    def __deepcopy__(self, memo: object) -> Self:
        return self

    @classmethod
    def of_cosines(cls, items: Index, similarities: NDArray[np.float64], offsets: Ints, users: Index) -> Self:
        """The table of items' ``similarities`` by cosine: float64 (E,); see :class:`jtm_core.baselines.item_cf.ItemCF`."""
        both = np.repeat(users, np.diff(offsets)).astype(np.float64) * users[items]
        return cls(items, np.rint(similarities * np.sqrt(both)).astype(np.int32), offsets, users)

    def near(self, items: Ints, ranges: tuple[Ints, Ints], count: int, ends: Ints | None = None) -> Index:
        """List the nearest items of histories, nearest first.

        Parameters
        ----------
        items : int64 array
            Flat histories.
        ranges : two int64 arrays (S,)
            Where each history begins among them and ends (exclusive).
        count : int
            K.
        ends : int64 array (S,), optional
            Where all that the table counts of the same user ends, which begins with the history; by default the table counts nothing of
            these users.

        Returns
        -------
        int32 array (S, K)
            -1 behind where fewer items have a user in common with the history.
        """
        starts, cuts = (np.ascontiguousarray(edge, dtype=np.int64) for edge in ranges)
        out = np.empty((len(starts), count), np.int32)
        whole = np.full(len(starts), -1) if ends is None else ends
        table = self.items, self.common, self.offsets, self.users

        def work(chunk: int) -> None:
            part = slice(chunk * _HISTORIES_PER_CHUNK, (chunk + 1) * _HISTORIES_PER_CHUNK)
            list_near(table, items, (starts[part], cuts[part], whole[part]), out[part])

        run_chunks(work, -(-len(starts) // _HISTORIES_PER_CHUNK))
        return out


NO_NEIGHBOURS = Neighbours(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(1, np.int64), np.zeros(0, np.int32))
"""Of no item."""


def users_of_items(values: Ints, offsets: Ints, num_items: int) -> Index:
    """How many histories have each item among those counted: int32 (N,), of the flat ``values`` cut at ``offsets``."""
    users = np.zeros(num_items, np.int32)
    _count_users(values, offsets, users)
    return users


@numba.njit(fastmath=False, cache=True, nogil=True)
def _count_users(values: Ints, offsets: Ints, users: Index) -> None:
    """Add to ``users`` how many rows have each item among those counted."""
    last_row = np.full(len(users), -1, np.int64)
    for row in range(len(offsets) - 1):
        for item in values[max(offsets[row], offsets[row + 1] - LONGEST_HISTORY) : offsets[row + 1]]:
            users[item] += last_row[item] != row
            last_row[item] = row


@numba.njit(fastmath=False, cache=True, nogil=True)
def _place(keys: Index, item: int) -> int:
    """Where an item stands in a table of hashes, or would."""
    place = (item * 0x9E3779B1 >> 7) & (len(keys) - 1)
    while keys[place] != item and keys[place] != _EMPTY:
        place = (place + 1) & (len(keys) - 1)
    return place


@numba.njit(fastmath=False, cache=True, nogil=True)
def _make_keys(size: int) -> Index:
    """Room for ``size`` distinct items."""
    room = 16
    while room < 2 * size:
        room *= 2
    return np.full(room, _EMPTY, np.int32)


@numba.njit(fastmath=False, cache=True, nogil=True)
def _set_of(items: Ints) -> Index:
    """The items as a table of hashes."""
    keys = _make_keys(len(items))
    for item in items:
        keys[_place(keys, item)] = item
    return keys


@numba.njit(fastmath=False, cache=True, nogil=True)
def _sum_similarities(table: tuple[Index, Index, Ints, Index], history: Ints, own: Index, keys: Index, sums: NDArray[np.float64]) -> None:
    """Sum the similarities to a history's last distinct items by neighbour; the history's own items are told by a sum below 0."""
    neighbours, common, offsets, users = table
    for item in history:
        place = _place(keys, item)
        keys[place], sums[place] = item, -1.0
    distinct = _make_keys(min(len(history), REACH))
    for item in history[max(0, len(history) - REACH) :]:
        slot = _place(distinct, item)
        if distinct[slot] == item:
            continue
        distinct[slot] = item
        is_own = own[_place(own, item)] == item
        around = users[item] - is_own
        for entry in range(offsets[item], offsets[item + 1]):
            other = neighbours[entry]
            both = is_own and own[_place(own, other)] == other
            if common[entry] > both:
                place = _place(keys, other)
                if keys[place] == _EMPTY:
                    keys[place], sums[place] = other, 0.0
                if sums[place] >= 0:
                    others = users[other] - (own[_place(own, other)] == other)
                    cosine = (common[entry] - both) / np.sqrt(np.float64(around) * np.float64(others))
                    sums[place] += np.rint(cosine * _QUANTA) / _QUANTA


@numba.njit(fastmath=False, cache=True, nogil=True)
def _entries(offsets: Ints, history: Ints) -> int:
    """Items that can be met, at most."""
    count = len(history)
    for item in history[max(0, len(history) - REACH) :]:
        count += offsets[item + 1] - offsets[item]
    return count


@numba.njit(fastmath=False, cache=True, nogil=True)
def list_near(table: tuple[Index, Index, Ints, Index], items: Ints, ranges: tuple[Ints, Ints, Ints], out: Index) -> None:
    """See :meth:`Neighbours.near`; ``ranges``: starts, cuts, and ends or -1; ``out`` (S, K) is filled."""
    (starts, cuts, ends), count = ranges, out.shape[1]
    own, own_start, own_end = _set_of(items[:0]), np.int64(-1), np.int64(-1)
    keys, sums = _make_keys(0), np.empty(0)
    for row in range(len(starts)):
        history = items[starts[row] : cuts[row]]
        if ends[row] < 0:
            own = _set_of(items[:0]) if own_end >= 0 else own
        elif starts[row] != own_start or ends[row] != own_end:
            own = _set_of(items[max(starts[row], ends[row] - LONGEST_HISTORY) : ends[row]])
        own_start, own_end = starts[row], ends[row]
        needed = _entries(table[2], history)
        if len(keys) < 2 * needed or len(sums) == 0:
            keys = _make_keys(needed)
            sums = np.empty(len(keys))
        _sum_similarities(table, history, own, keys, sums)
        places = np.flatnonzero(keys != _EMPTY)
        met = places[sums[places] > 0]
        values, found = sums[met], keys[met]
        keys[places] = _EMPTY
        if len(found) > count:
            threshold = np.partition(values, len(values) - count)[len(values) - count]
            is_kept = values >= threshold
            values, found = values[is_kept], found[is_kept]
        by_item = np.argsort(found)
        values, found = values[by_item], found[by_item]
        best = np.argsort(-values, kind="mergesort")[:count]
        out[row, : len(best)] = found[best]
        out[row, len(best) :] = -1

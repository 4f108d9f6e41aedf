"""Items near a history: those that users of its items also had, best first, by summed cosine.

This is Item-CF's list (:mod:`jtm_core.baselines.item_cf`: ``users of both / sqrt(users of i * users of j)``), summed over the distinct
items of the last behaviours and without the items of the history, made as an *input* of the network: how many of the nearest lie under a
node says where in the tree to look (:mod:`jtm_core.window_matches`).

Of a user whom the table counts, the user's own share is taken out of every number; else what is to be predicted would already be told
in training, and not to those who come later. Similarities are rounded to multiples of 2**-40, so their float64 sums are exact whatever
the order of the history, and ties go to the lower id: a history has the same list wherever it is made.

Shape letters: N items, E entries of the table, S histories, K places of a list, M items noted at most.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

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
_TIMES, _WITHIN, _OWN = range(3)
_HISTORIES_PER_CHUNK = 128


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


class Tally(NamedTuple):
    """Items that a user's histories have met, numbered as they came; what stands behind the last one means nothing."""

    slots: Index
    """A table of hashes: the number of an item, or -1."""
    items: Index
    """(M,)."""
    sums: Ints
    """(M,): summed similarities to the distinct items within reach, in multiples of 2**-40."""
    notes: Index
    """(M, 3): how often the item is in the history, how often within reach, and whether the table counts it of this user."""


@numba.njit(fastmath=False, cache=True, nogil=True)
def _num_slots(room: int) -> int:
    """A power of two, so that at least half of a table of hashes stays empty."""
    count = 16
    while count < 2 * room:
        count *= 2
    return count


@numba.njit(fastmath=False, cache=True, nogil=True)
def _make_tally(room: int) -> Tally:
    """Of ``room`` items at most."""
    slots, items = np.empty(_num_slots(room), np.int32), np.empty(room, np.int32)
    return Tally(slots, items, np.empty(room, np.int64), np.empty((room, 3), np.int32))


@numba.njit(fastmath=False, cache=True, nogil=True)
def _emptied(tally: Tally, room: int) -> Tally:
    """The same memory for ``room`` items at most, none of them noted."""
    slots = tally.slots[: _num_slots(room)]
    slots[:] = _EMPTY
    return Tally(slots, tally.items, tally.sums, tally.notes)


@numba.njit(fastmath=False, cache=True, nogil=True)
def _number(tally: Tally, size: int, item: int) -> tuple[int, int]:
    """The number of an item, which is noted if it was not, and how many items are noted then."""
    slots, items, sums, notes = tally
    slot = (item * 0x9E3779B1 >> 7) & (len(slots) - 1)
    while slots[slot] != _EMPTY:
        if items[slots[slot]] == item:
            return int(slots[slot]), size
        slot = (slot + 1) & (len(slots) - 1)
    slots[slot], items[size], sums[size] = size, item, 0
    notes[size, _TIMES], notes[size, _WITHIN], notes[size, _OWN] = 0, 0, 0
    return size, size + 1


@numba.njit(fastmath=False, cache=True, nogil=True)
def _add_similarities(table: tuple[Index, Index, Ints, Index], tally: Tally, size: int, item: int, sign: int) -> int:
    """Add an item's similarities to the sums, or take them off again; returns how many items are noted then."""
    (neighbours, common, offsets, users), (_, _, sums, notes) = table, tally
    place, size = _number(tally, size, item)
    is_own = notes[place, _OWN]
    around = np.float64(users[item] - is_own)
    for entry in range(offsets[item], offsets[item + 1]):
        other = neighbours[entry]
        place, size = _number(tally, size, other)
        both = common[entry] - is_own * notes[place, _OWN]
        if both > 0:
            others = np.float64(users[other] - notes[place, _OWN])
            sums[place] += sign * np.int64(np.rint(both / np.sqrt(around * others) * _QUANTA))
    return size


@numba.njit(fastmath=False, cache=True, nogil=True)
def _lengthen(table: tuple[Index, Index, Ints, Index], tally: Tally, size: int, history: Ints, reached: int) -> int:
    """Go on in a history from its first ``reached`` items to its end; returns how many items are noted then."""
    notes = tally.notes
    for k in range(reached, len(history)):
        place, size = _number(tally, size, history[k])
        notes[place, _TIMES] += 1
        if k >= len(history) - REACH:
            notes[place, _WITHIN] += 1
            if notes[place, _WITHIN] == 1:
                size = _add_similarities(table, tally, size, history[k], 1)
    for k in range(max(0, reached - REACH), min(reached, len(history) - REACH)):
        place, size = _number(tally, size, history[k])
        notes[place, _WITHIN] -= 1
        if notes[place, _WITHIN] == 0:
            size = _add_similarities(table, tally, size, history[k], -1)
    return size


@numba.njit(fastmath=False, cache=True, nogil=True)
def _take_nearest(tally: Tally, size: int, threshold: int, out: Index) -> int:
    """List the items noted whose sums are largest, without those of the history; returns a sum that all of them reach.

    ``threshold`` is a guess of that: as long as enough items reach it, no others are looked at.
    """
    (_, items, all_sums, notes), count, numbers = tally, len(out), np.empty(size, np.int32)
    while True:
        found = 0
        for number in range(size):
            if all_sums[number] >= threshold and notes[number, _TIMES] == 0:
                numbers[found] = number
                found += 1
        if found >= count or threshold == 1:
            break
        threshold = 1
    numbers = numbers[:found]
    sums = all_sums[numbers]
    if found > count:
        threshold = np.partition(sums, found - count)[found - count]
        is_kept = sums >= threshold
        numbers, sums = numbers[is_kept], sums[is_kept]
    by_item = np.argsort(items[numbers])
    order = by_item[np.argsort(-sums[by_item], kind="mergesort")][:count]
    for k in range(len(order)):
        out[k] = items[numbers[order[k]]]
    out[len(order) :] = _EMPTY
    return int(threshold)


@numba.njit(fastmath=False, cache=True, nogil=True)
def _room(offsets: Ints, items: Ints, start: int, cuts: Ints, own: Ints) -> int:
    """So many items can be met at most in histories of one user."""
    most = len(own) + cuts[-1] - start
    for item in items[max(start, cuts[0] - REACH) : cuts[-1]]:
        most += offsets[item + 1] - offsets[item]
    return min(int(most), len(offsets) - 1)


@numba.njit(fastmath=False, cache=True, nogil=True)
def list_near(table: tuple[Index, Index, Ints, Index], items: Ints, ranges: tuple[Ints, Ints, Ints], out: Index) -> None:
    """See :meth:`Neighbours.near`; ``ranges``: starts, cuts, and ends or -1; ``out`` (S, K) is filled.

    Neighbouring histories of one user are gone through once, from the shortest to the longest.
    """
    (starts, cuts, ends), first, memory = ranges, 0, _make_tally(0)
    while first < len(starts):
        start, end, last = starts[first], ends[first], first + 1
        while last < len(starts) and starts[last] == start and ends[last] == end:
            last += 1
        order = first + np.argsort(cuts[first:last])
        own = items[max(start, end - LONGEST_HISTORY) : max(start, end)]
        room = _room(table[2], items, start, cuts[order], own)
        if room > len(memory.items):
            memory = _make_tally(room)
        tally, size, reached, threshold = _emptied(memory, room), 0, 0, 1
        for item in own:
            place, size = _number(tally, size, item)
            tally.notes[place, _OWN] = 1
        for row in order:
            size = _lengthen(table, tally, size, items[start : cuts[row]], reached)
            reached = cuts[row] - start
            threshold = _take_nearest(tally, size, threshold, out[row])
        first = last

"""Lists by beam search that excluded items do not make shorter."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jtm_core.beam import BeamSearch, Ranking, blocks_of, drop_items
from jtm_core.behaviours import Ints, Ragged
from jtm_core.windows import Windows

Search = Callable[[Windows, int], Ranking]
"""Users and a beam's width -> what it finds, (S, any); a beam of at least as many nodes as there are items finds every item."""


@dataclass(frozen=True, slots=True)
class Widening:
    """A search that is repeated by wider beams for those whose list exclusions made shorter.

    Excluded items are taken out of what the beam found. A user whose list they made shorter is searched again by beams of twice the
    width, until it is as long as without them or no item is left. So a user's list depends on this user alone.

    Parameters
    ----------
    search : callable
        See :data:`Search`.
    beam_width : int
        Of the first search.
    num_items : int
    allowed : bool array (num_items,), optional
        Items that the search can find; all by default.
    """

    search: Search
    beam_width: int
    num_items: int
    allowed: NDArray[np.bool_] | None = None

    def rank(self, windows: Windows, count: int, excluded: Ragged | None) -> Ranking:
        """The best items of all users, searched in blocks.

        Parameters
        ----------
        windows : Windows
            E users.
        count : int
            Length of the lists.
        excluded : Ragged of E rows or None

        Returns
        -------
        Ranking
            (E, count); -1 behind where the beam found fewer items.
        """
        shape = (len(windows), count)
        items, logits = np.full(shape, -1, dtype=np.int64), np.full(shape, -np.inf, dtype=np.float32)
        for low, part in blocks_of(windows):
            rows, found = slice(low, low + len(part)), self.search(part, self.beam_width)
            if excluded is not None:
                found = self.without(found, part, count, excluded.rows(low, low + len(part)))
            width = min(count, found.items.shape[1])
            items[rows, :width], logits[rows, :width] = found.items[:, :width], found.logits[:, :width]
        return Ranking(items, logits)

    def without(self, found: Ranking, windows: Windows, count: int, excluded: Ragged) -> Ranking:
        """What the first search found of these users without their excluded items, searched again where that is too little.

        Parameters
        ----------
        found : Ranking (S, any)
            Of a beam of ``beam_width``.
        windows : Windows
            S users.
        count : int
        excluded : Ragged of S rows

        Returns
        -------
        Ranking
            (S, count).
        """
        kept = drop_items(found, excluded, self.num_items, count)
        wanted = np.minimum(np.minimum(_lengths(found.items), count), self._num_left(excluded))
        width, short = self.beam_width, np.flatnonzero(_lengths(kept.items) < wanted)
        while len(short) and width < self.num_items:
            width *= 2
            wider = self.search(windows.take(short), width)
            again = drop_items(wider, excluded.take(short), self.num_items, count)
            kept.items[short], kept.logits[short] = again.items, again.logits
            short = short[_lengths(again.items) < wanted[short]]
        return kept

    def _num_left(self, excluded: Ragged) -> Ints:
        """How many items exclusions leave that the search can find: int64 (S,)."""
        if self.allowed is None:
            return self.num_items - _num_distinct(excluded, self.num_items)
        is_counted = self.allowed[excluded.values]
        offsets = np.concatenate([[0], np.cumsum(is_counted)])[excluded.offsets]
        return int(self.allowed.sum()) - _num_distinct(Ragged(excluded.values[is_counted], offsets), self.num_items)


def widening_of(search: BeamSearch) -> Widening:
    """That of a beam search."""
    return Widening(lambda windows, width: search.widened(width).rank(windows), search.beam_width, search.tree.num_items, search.allowed)


def _lengths(lists: Ints) -> Ints:
    """Items of each list: int64 (E,)."""
    lengths: Ints = (lists >= 0).sum(axis=1)
    return lengths


def _num_distinct(rows: Ragged, num_items: int) -> Ints:
    """Distinct items of each row: int64 (E,)."""
    keys = np.unique(np.repeat(np.arange(len(rows)), np.diff(rows.offsets)) * num_items + rows.values)
    return np.bincount(keys // num_items, minlength=len(rows))

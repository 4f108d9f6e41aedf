"""Item-CF: items that the same users did, by cosine or BM25, summed over the history.

On the binary user-item matrix ``similarity(i, j)`` is, under

* ``cosine``, ``users of both / sqrt(users of i * users of j)`` (Linden et al. 2003; Sarwar et al. 2001);
* ``bm25``, the inner product of the items' BM25 vectors (Robertson and Zaragoza 2009), an item being a document whose terms are its
  users: ``f(i) f(j) * sum over users u of both of idf(u)^2`` with ``f(i) = (K1 + 1) / (K1 (1 - B + B n_i / mean n) + 1)`` and
  ``idf(u) = log(1 + (N - n_u + 0.5) / (n_u + 0.5))`` for N items, divided by the largest ``similarity(i, i)``. Users of few items
  count for more, items of many users for a little less.

Each item keeps its nearest neighbours (an inverted index), and an item's score for a user is the sum of
its similarities to the distinct items of the history. Whether an item is among its own neighbours is a choice: it is by definition
(``similarity(i, i)``, 1 by cosine), and where users come back to their items it brings these into the list; where they do not it fills
the list with what is not asked for. Where the sum reaches fewer than M items popularity fills the list.

Counting costs the sum of squared lengths of the histories, so of a very long one only the last :data:`LONGEST_HISTORY`
behaviours count. Neighbours may be asked for some items only: 500 of each of 4 million would take 25 GB.

Similarities are rounded to multiples of 2**-40, so that float64 sums of them are exact: equal scores are equal whatever
the order of summation, and ties go to the lower id.
"""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jtm_core.baselines.popularity import Popularity
from jtm_core.baselines.protocol import check_query
from jtm_core.behaviours import Ints, Ragged
from jtm_core.neighbours import LONGEST_HISTORY
from jtm_core.threads import run_chunks

_SATURATION, _LENGTH_SHARE = 1.2, 0.75
"""BM25's K1 and B, at their usual values."""
_ROWS_PER_CHUNK = 512
_QUANTA = 2.0**40

Floats = NDArray[np.float64]
Index = NDArray[np.int32]
Weighting = Literal["cosine", "bm25"]


@dataclass(frozen=True, slots=True, eq=False)
class ItemCF:
    """Nearest neighbours of items, and what to fall back on.

    Parameters
    ----------
    items, similarities : int32, float64 array (num_neighbours,)
        Neighbours of all items end to end, nearest first.
    offsets : int64 array (num_items + 1,)
        Where each item's neighbours begin.
    popularity : Popularity
        Fills lists that co-occurrence cannot.
    """

    items: Index
    similarities: Floats
    offsets: Ints
    popularity: Popularity

    @classmethod
    def fit(
        cls,
        histories: Ragged,
        num_items: int,
        num_neighbours: int = 500,
        wanted: Ints | None = None,
        weighting: Weighting = "cosine",
        own_items: bool = False,
    ) -> Self:
        """Find the most similar items, ties going to the lower id.

        Parameters
        ----------
        histories : Ragged
        num_items : int
            Size of the vocabulary.
        num_neighbours : int
            Kept of each item.
        wanted : int64 array, optional
            Only these items get neighbours; others in a history then count for nothing. All by default.
        weighting : "cosine" or "bm25"
        own_items : bool
            Whether an item may be a neighbour of itself.

        Raises
        ------
        ValueError
            If ``num_neighbours`` is below 1 or ``weighting`` is another.
        """
        if weighting not in ("cosine", "bm25"):
            raise ValueError(f"weighting is {weighting!r}; allowed are 'cosine' and 'bm25'")
        if num_neighbours < 1:
            raise ValueError(f"num_neighbours is {num_neighbours}; allowed are 1 and more")
        rows = np.arange(num_items) if wanted is None else np.unique(wanted)
        counted = _distinct_rows(histories)
        weights = (_cosine_weights if weighting == "cosine" else _bm25_weights)(*counted, num_items)
        parts = _neighbours(counted, weights, rows, num_neighbours, own_items)
        lengths = np.zeros(num_items + 1, dtype=np.int64)
        lengths[rows + 1] = np.concatenate([part[2] for part in parts]) if parts else 0
        items = np.concatenate([np.empty(0, dtype=np.int32), *(part[0] for part in parts)])
        similarities = np.concatenate([np.empty(0), *(part[1] for part in parts)])
        return cls(items, similarities, np.cumsum(lengths), Popularity.fit(histories, num_items))

    def recommend(self, histories: Ragged, num_recommended: int, excluded: Ragged | None = None) -> Ints:
        """List the items of largest summed similarity; see :class:`jtm_core.baselines.protocol.Recommender`."""
        check_query(histories, num_recommended, excluded, len(self.offsets) - 1)
        banned = excluded or Ragged(histories.values[:0], np.zeros(len(histories) + 1, dtype=np.int64))
        lists = np.full((len(histories), num_recommended), -1, dtype=np.int64)

        def list_chunk(chunk: int) -> None:
            part = slice(chunk * _ROWS_PER_CHUNK, (chunk + 1) * _ROWS_PER_CHUNK)
            edges = slice(part.start, part.stop + 1)
            seen, out = (histories.values, histories.offsets[edges]), (banned.values, banned.offsets[edges])
            _list_best(self.items, self.similarities, self.offsets, seen, out, lists[part])

        run_chunks(list_chunk, -(-len(histories) // _ROWS_PER_CHUNK))
        _fill_up(lists, self.popularity, excluded)
        return lists


@njit(fastmath=False, cache=True, nogil=True)
def _keep_distinct(values: Ints, offsets: Ints, longest: int, out: Index, ends: Ints) -> None:
    end = 0
    for row in range(len(offsets) - 1):
        first = max(offsets[row], offsets[row + 1] - longest)
        ordered = np.sort(values[first : offsets[row + 1]])
        for place in range(len(ordered)):
            if place == 0 or ordered[place] != ordered[place - 1]:
                out[end] = ordered[place]
                end += 1
        ends[row + 1] = end


def _distinct_rows(histories: Ragged) -> tuple[Index, Ints]:
    """Distinct items of each history's end, ascending, and where each user's begin."""
    items, offsets = np.empty(len(histories.values), dtype=np.int32), np.zeros(len(histories) + 1, dtype=np.int64)
    _keep_distinct(histories.values, histories.offsets, LONGEST_HISTORY, items, offsets)
    return items[: offsets[-1]], offsets


def _cosine_weights(items: Index, offsets: Ints, num_items: int) -> tuple[Floats, Floats]:
    """What a user counts, what an item's similarities are multiplied by: ones, and one over the root of its users."""
    return np.ones(len(offsets) - 1), 1 / np.sqrt(np.maximum(np.bincount(items, minlength=num_items), 1))


def _bm25_weights(items: Index, offsets: Ints, num_items: int) -> tuple[Floats, Floats]:
    """As :func:`_cosine_weights`; similarities of items with themselves reach 1."""
    lengths, sizes = np.diff(offsets), np.bincount(items, minlength=num_items)
    users: Floats = np.log1p((num_items - lengths + 0.5) / (lengths + 0.5)) ** 2
    norms = 1 - _LENGTH_SHARE + _LENGTH_SHARE * sizes / max(sizes.mean(), 1 / num_items)
    factors = (_SATURATION + 1) / (_SATURATION * norms + 1)
    own = np.bincount(items, weights=np.repeat(users, lengths), minlength=num_items) * factors**2
    return users, factors / np.sqrt(own.max(initial=1e-300))


@njit(fastmath=False, cache=True, nogil=True)
def _transpose(items: Index, offsets: Ints, num_items: int) -> tuple[Index, Ints]:
    """Users of each item, ascending, and where each item's begin."""
    starts = np.zeros(num_items + 1, dtype=np.int64)
    for item in items:
        starts[item + 1] += 1
    starts = np.cumsum(starts)
    users, places = np.empty(len(items), dtype=np.int32), starts[:-1].copy()
    for user in range(len(offsets) - 1):
        for place in range(offsets[user], offsets[user + 1]):
            users[places[items[place]]] = user
            places[items[place]] += 1
    return users, starts


@njit(fastmath=False, cache=True, nogil=True)
def _best(items: Index, values: Floats, num_best: int) -> tuple[Index, Floats]:
    """Items of the ``num_best`` largest values, largest first, the lower id first among equals; and the values."""
    if len(values) > num_best:
        threshold = np.partition(values, len(values) - num_best)[len(values) - num_best]
        kept = np.flatnonzero(values >= threshold)
        items, values = items[kept], values[kept]
    by_item = np.argsort(items)
    items, values = items[by_item], values[by_item]
    order = np.argsort(-values, kind="mergesort")[:num_best]
    return items[order], values[order]


@njit(fastmath=False, cache=True, nogil=True)
def _count_neighbours(
    lists: tuple[Index, Ints, Index, Ints], weights: tuple[Floats, Floats], rows: Ints, num_neighbours: int, own_items: bool, lengths: Ints
) -> tuple[Index, Floats]:
    """Neighbours and similarities of some items, end to end; their numbers go to ``lengths``."""
    (items, offsets, users, starts), (user_weights, factors) = lists, weights
    common, touched = np.zeros(len(starts) - 1), np.empty(len(starts) - 1, dtype=np.int32)
    found, similarities, end = np.empty(len(rows) * num_neighbours, dtype=np.int32), np.empty(len(rows) * num_neighbours), 0
    for number, row in enumerate(rows):
        num_touched = 0
        for user in users[starts[row] : starts[row + 1]]:
            for item in items[offsets[user] : offsets[user + 1]]:
                if own_items or item != row:
                    if common[item] == 0:
                        touched[num_touched] = item
                        num_touched += 1
                    common[item] += user_weights[user]
        values = np.empty(num_touched)
        for place in range(num_touched):
            item = touched[place]
            values[place] = np.rint(common[item] * (factors[row] * factors[item]) * _QUANTA) / _QUANTA
            common[item] = 0
        nearest, best = _best(touched[:num_touched], values, num_neighbours)
        lengths[number] = len(nearest)
        found[end : end + len(nearest)], similarities[end : end + len(nearest)] = nearest, best
        end += len(nearest)
    return found[:end].copy(), similarities[:end].copy()


def _neighbours(
    counted: tuple[Index, Ints], weights: tuple[Floats, Floats], rows: Ints, num_neighbours: int, own_items: bool
) -> list[tuple[Index, Floats, Ints]]:
    """Neighbours, similarities and their numbers, chunk by chunk of the rows."""
    num_items = len(weights[1])
    lists = (*counted, *_transpose(*counted, num_items))
    chunks = [rows[first : first + _ROWS_PER_CHUNK] for first in range(0, len(rows), _ROWS_PER_CHUNK)]
    parts: list[tuple[Index, Floats, Ints]] = [(np.empty(0, np.int32), np.empty(0), np.zeros(len(chunk), np.int64)) for chunk in chunks]

    def count_chunk(chunk: int) -> None:
        lengths = parts[chunk][2]
        found, similarities = _count_neighbours(lists, weights, chunks[chunk], min(num_neighbours, num_items), own_items, lengths)
        parts[chunk] = found, similarities, lengths

    run_chunks(count_chunk, len(chunks))
    return parts


@njit(fastmath=False, cache=True, nogil=True)
def _list_best(
    neighbours: Index, similarities: Floats, starts: Ints, seen: tuple[Ints, Ints], banned: tuple[Ints, Ints], lists: Ints
) -> None:
    """Fill the beginnings of the lists of some users."""
    (values, offsets), (out_values, out_offsets) = seen, banned
    scores, is_touched = np.zeros(len(starts) - 1), np.zeros(len(starts) - 1, dtype=np.bool_)
    touched = np.empty(len(starts) - 1, dtype=np.int32)
    for row in range(len(lists)):
        num_touched = 0
        history = np.unique(values[offsets[row] : offsets[row + 1]])
        for item in history:
            for place in range(starts[item], starts[item + 1]):
                neighbour = neighbours[place]
                if not is_touched[neighbour]:
                    is_touched[neighbour] = True
                    touched[num_touched] = neighbour
                    num_touched += 1
                scores[neighbour] += similarities[place]
        for item in out_values[out_offsets[row] : out_offsets[row + 1]]:
            is_touched[item] = False
        found = touched[:num_touched]
        allowed = found[is_touched[found]]
        best, _ = _best(allowed, scores[allowed], lists.shape[1])
        lists[row, : len(best)] = best
        scores[found] = 0.0
        is_touched[found] = False


def _fill_up(lists: Ints, popularity: Popularity, excluded: Ragged | None) -> None:
    """Append popular items to the lists that have empty places, those listed or excluded left out."""
    short = np.flatnonzero(lists[:, -1] < 0) if lists.shape[1] else np.empty(0, dtype=np.int64)
    if not len(short):
        return
    banned = [
        np.concatenate([lists[row][lists[row] >= 0], excluded.row(int(row)) if excluded is not None else lists[row][:0]]) for row in short
    ]
    offsets = np.concatenate([[0], np.cumsum([len(items) for items in banned])])
    rows = Ragged(np.concatenate(banned), offsets)
    for row, fillers in zip(short, popularity.recommend(rows, lists.shape[1], rows), strict=True):
        is_empty = lists[row] < 0
        lists[row, is_empty] = fillers[: is_empty.sum()]

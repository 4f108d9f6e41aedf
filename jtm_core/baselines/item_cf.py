"""Item-CF: items that the same users did, by cosine, summed over the history.

``similarity(i, j) = users of both / sqrt(users of i * users of j)`` on the binary user-item matrix (Linden et al. 2003;
Sarwar et al. 2001); each item keeps its nearest neighbours (an inverted index), and an item's score for a user is the sum of
its similarities to the distinct items of the history. Where the sum reaches fewer than M items popularity fills the list.

Similarities are rounded to multiples of 2**-40, so that float64 sums of them are exact: equal scores are equal whatever
the order of summation, and ties go to the lower id.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import sparse

from jtm_core.baselines.popularity import Popularity
from jtm_core.behaviours import Ints, Ragged
from jtm_core.metrics import Floats

_ROWS_PER_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class ItemCF:
    """Nearest neighbours of every item, and what to fall back on.

    Parameters
    ----------
    neighbours : sparse float64 matrix (num_items, num_items)
        Row ``i`` holds the similarities of the items nearest to ``i``; no item is its own neighbour.
    popularity : Popularity
        Fills lists that co-occurrence cannot.
    """

    neighbours: sparse.csr_array
    popularity: Popularity

    @classmethod
    def fit(cls, histories: Ragged, num_items: int, num_neighbours: int = 500) -> Self:
        """Find the ``num_neighbours`` most similar items of each item, ties going to the lower id."""
        if num_neighbours < 1:
            raise ValueError(f"num_neighbours is {num_neighbours}; allowed are 1 and more")
        users_of_items = sparse.csr_array(_binary_matrix(histories, num_items).T)
        counts = np.diff(users_of_items.indptr)
        norms = sparse.diags_array(1 / np.sqrt(np.maximum(counts, 1)))
        unit = sparse.csr_array(norms @ users_of_items)
        blocks = [sparse.csr_array((0, num_items))]
        for first in range(0, num_items, _ROWS_PER_BLOCK):
            cosines = sparse.csr_array(unit[first : first + _ROWS_PER_BLOCK] @ unit.T)
            cosines.data = np.rint(cosines.data * 2**40) / 2**40
            blocks.append(_nearest(cosines, first, num_neighbours))
        return cls(sparse.csr_array(sparse.vstack(blocks, format="csr")), Popularity.fit(histories, num_items))

    def recommend(self, histories: Ragged, num_recommended: int, excluded: Ragged | None = None) -> Ints:
        """List the items of largest summed similarity; see :class:`jtm_core.baselines.protocol.Recommender`."""
        if excluded is not None and len(excluded) != len(histories):
            raise ValueError(f"{len(excluded)} rows of excluded items for {len(histories)} users; there must be one each")
        seen = _binary_matrix(histories, self.neighbours.shape[0])
        is_allowed = np.ones(seen.shape[1], dtype=np.bool_)
        lists = np.full((len(histories), num_recommended), -1, dtype=np.int64)
        for first in range(0, len(histories), _ROWS_PER_BLOCK):
            scores = sparse.csr_array(seen[first : first + _ROWS_PER_BLOCK] @ self.neighbours)
            for row in range(scores.shape[0]):
                items, values = _row_of(scores, row)
                banned = excluded.row(first + row) if excluded is not None else items[:0]
                is_allowed[banned] = False
                best = _best_of(items[is_allowed[items]], values[is_allowed[items]], num_recommended)[0]
                is_allowed[banned] = True
                lists[first + row, : len(best)] = best
        _fill_up(lists, self.popularity, excluded)
        return lists


def _binary_matrix(rows: Ragged, num_items: int) -> sparse.csr_array:
    """Rows of items as a matrix of zeros and ones (len(rows), num_items), repeats counted once."""
    matrix = sparse.csr_array((np.ones(len(rows.values)), rows.values, rows.offsets), shape=(len(rows), num_items), copy=True)
    matrix.sum_duplicates()  # works in place, hence the copy
    matrix.data[:] = 1
    return matrix


def _row_of(matrix: sparse.csr_array, row: int) -> tuple[Ints, Floats]:
    """Columns and values of one row (views)."""
    first, last = matrix.indptr[row], matrix.indptr[row + 1]
    return matrix.indices[first:last], matrix.data[first:last]


def _best_of(items: Ints, values: Floats, num_best: int) -> tuple[Ints, Floats]:
    """Items of the ``num_best`` largest values, largest first, the lower id first among equals; and the values."""
    if len(values) > num_best:
        threshold = np.partition(values, len(values) - num_best)[len(values) - num_best]
        items, values = items[values >= threshold], values[values >= threshold]
    order = np.lexsort((items, -values))[:num_best]
    return items[order], values[order]


def _nearest(cosines: sparse.csr_array, first: int, num_neighbours: int) -> sparse.csr_array:
    """Only the nearest neighbours in every row of items ``first ..``, the item itself left out."""
    kept = []
    for row in range(cosines.shape[0]):
        items, values = _row_of(cosines, row)
        is_other = items != first + row
        kept.append(_best_of(items[is_other], values[is_other], num_neighbours))
    offsets = np.concatenate([[0], np.cumsum([len(items) for items, _ in kept])])
    columns, similarities = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    return sparse.csr_array((similarities, columns, offsets), shape=cosines.shape)


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

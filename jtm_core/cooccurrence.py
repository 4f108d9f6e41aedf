"""Vectors of items by what they stand near to in histories, before any model exists.

Positive pointwise mutual information of items at most 5 behaviours apart (Levy & Goldberg 2014), reduced to its leading
singular vectors (:mod:`jtm_core.low_rank`). Every behaviour is counted; what memory bounds is how many neighbours are
kept. Where all of them would take too much room, a pair of items is thinned by the rarer one's frequency: with ``n`` the
rarer item's number of neighbours and a cap ``c``, each of the pair's occurrences is kept with probability ``min(1, c / n)``
and counts ``max(1, n / c)``. So rare items lose nothing, popular ones keep a fair sample as large as a rare item's whole
row, and the matrix stays symmetric.

Shape letters: N behaviours, U users, E entries.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jtm_core.behaviours import Ints, Ragged
from jtm_core.low_rank import SparseRows, leading_vectors
from jtm_core.threads import num_threads, run_chunks

Vectors = NDArray[np.float32]

MAXIMUM_ENTRIES = 1 << 28
"""Neighbours kept at most, both directions counted; 12 bytes each."""

_WINDOW = 5
_CHUNKS = 8


class Thinning(NamedTuple):
    """Which occurrences of a pair are kept."""

    totals: Ints
    """Neighbours of every item in all histories, repeats counted: int64 (num_items,)."""
    cap: int
    seed: int


def cooccurrence_vectors(
    histories: Ragged, num_items: int, width: int, rng: np.random.Generator, maximum_entries: int = MAXIMUM_ENTRIES
) -> Vectors:
    """Give every item a vector by what it stands near to in histories.

    Exact as long as the histories hold no more than ``maximum_entries`` pairs of neighbours in both directions (about 27
    million behaviours); beyond that popular items are thinned, see the module. The same for any number of threads.

    Parameters
    ----------
    histories : Ragged
        Training histories, oldest behaviour first.
    num_items : int
        Size of the vocabulary.
    width : int
        Width of the vectors; columns beyond the number of items are 0.
    rng : Generator
        Draws the first basis, before it what is thinned if anything is.
    maximum_entries : int
        Bound on memory, 1 .. 2**31; the expected number of entries stays below it where no row must fall below 1.

    Returns
    -------
    float32 array (num_items, width)
        Rows of length 1; zero rows for items without neighbours.

    Raises
    ------
    ValueError
        If an item of the histories is not below ``num_items``, or ``maximum_entries`` is out of range.
    """
    if len(histories.values) and not 0 <= histories.values.min() <= histories.values.max() < num_items:
        raise ValueError(f"items span {histories.values.min()} .. {histories.values.max()}; allowed are 0 .. {num_items - 1}")
    if not 1 <= maximum_entries <= 1 << 31:
        raise ValueError(f"maximum_entries is {maximum_entries}; allowed are 1 .. {1 << 31}")
    return leading_vectors(positive_information(histories, num_items, rng, maximum_entries), width, rng)


def positive_information(histories: Ragged, num_items: int, rng: np.random.Generator, maximum_entries: int) -> SparseRows:
    """``max(0, log(n_ij n / (n_i n_j)))`` of every pair of neighbours (at most 5 behaviours apart, not the same item).

    Returns
    -------
    SparseRows
        Columns rise within a row, none stands twice, all weights are above 0.
    """
    totals = np.zeros(num_items, dtype=np.int64)
    _count_neighbours(histories.values, histories.offsets, totals)
    cap = cap_for(totals, maximum_entries)
    is_thinned = cap < totals.max(initial=0)
    thinning = Thinning(totals, cap, int(rng.integers(1 << 62)) if is_thinned else 0)
    starts, columns = _kept_neighbours(histories, thinning, totals if not is_thinned else None)
    sizes, weights = np.empty(num_items, dtype=np.int64), np.empty(len(columns))
    edges = _even_edges(starts, _CHUNKS)
    run_chunks(lambda k: _weigh_rows((edges[k], edges[k + 1]), thinning, starts, columns, (sizes, weights)), len(edges) - 1)
    return SparseRows(starts[:-1], sizes, columns, weights)


def cap_for(totals: Ints, maximum_entries: int) -> int:
    """The largest total if all neighbours fit, else the cap for which the expected number of entries is within the bound.

    A pair is kept at most ``cap`` times in expectation for its rarer item, so the entries are at most twice
    ``sum(min(totals, cap))``.

    Examples
    --------
    >>> cap_for(np.array([2, 5, 9]), 16), cap_for(np.array([2, 5, 9]), 15)
    (9, 2)
    """
    if totals.sum() <= maximum_entries:
        return int(totals.max(initial=1))
    low, high = 1, int(totals.max())
    while low < high:
        middle = (low + high + 1) // 2
        fits = 2 * np.minimum(totals, middle).sum() <= maximum_entries
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


@njit(fastmath=False, cache=True, nogil=True)
def _count_neighbours(values: Ints, offsets: Ints, totals: Ints) -> None:
    for user in range(len(offsets) - 1):
        for place in range(offsets[user], offsets[user + 1]):
            for other in range(place + 1, min(place + 1 + _WINDOW, offsets[user + 1])):
                if values[place] != values[other]:
                    totals[values[place]] += 1
                    totals[values[other]] += 1


def _kept_neighbours(histories: Ragged, thinning: Thinning, known_sizes: Ints | None) -> tuple[Ints, NDArray[np.int32]]:
    """Neighbours of item ``i`` at ``starts[i]`` to ``starts[i + 1]``, as often as they are kept: int64 (num_items + 1,), int32 (E,)."""
    edges = _even_edges(np.concatenate([[0], np.cumsum(thinning.totals)]), num_threads())  # each reads all histories for its own rows
    flat = (histories.values, histories.offsets)

    def visit(places: Ints, neighbours: NDArray[np.int32]) -> None:
        run_chunks(lambda k: _visit_neighbours(flat, (edges[k], edges[k + 1]), thinning, places, neighbours), len(edges) - 1)

    sizes = known_sizes
    if sizes is None:
        sizes = np.zeros_like(thinning.totals)
        visit(sizes, np.empty(0, dtype=np.int32))
    starts = np.concatenate([[0], np.cumsum(sizes)])
    neighbours = np.empty(starts[-1], dtype=np.int32)
    visit(starts[:-1].copy(), neighbours)
    return starts, neighbours


def _even_edges(starts: Ints, num_chunks: int) -> Ints:
    """Borders of chunks of rows that hold about equally many entries."""
    edges = np.searchsorted(starts, np.linspace(0, starts[-1], num_chunks + 1))
    edges[-1] = len(starts) - 1
    return np.unique(np.append(edges, 0))


@njit(fastmath=False, cache=True, nogil=True)
def _visit_neighbours(
    flat: tuple[Ints, Ints], rows: tuple[int, int], thinning: Thinning, places: Ints, neighbours: NDArray[np.int32]
) -> None:
    """Move the places of the rows' items on by one for each neighbour kept, which is written there if there is room at all."""
    (values, offsets), (totals, cap, seed) = flat, thinning
    for user in range(len(offsets) - 1):
        for place in range(offsets[user], offsets[user + 1]):
            item = values[place]
            for step in range(1, min(_WINDOW + 1, offsets[user + 1] - place)):
                other = values[place + step]
                if item != other and (rows[0] <= item < rows[1] or rows[0] <= other < rows[1]):
                    rarer = min(totals[item], totals[other])
                    if rarer <= cap or _chance(place * _WINDOW + step, seed) * rarer < cap:
                        _note(item, other, rows, places, neighbours)
                        _note(other, item, rows, places, neighbours)


@njit(fastmath=False, cache=True, nogil=True, inline="always")
def _note(item: int, other: int, rows: tuple[int, int], places: Ints, neighbours: NDArray[np.int32]) -> None:
    if rows[0] <= item < rows[1]:
        if len(neighbours):
            neighbours[places[item]] = other
        places[item] += 1


@njit(fastmath=False, cache=True, nogil=True)
def _chance(number: int, seed: int) -> float:
    """A number in [0, 1) that depends on its arguments alone (splitmix64)."""
    mixed = np.uint64(seed) + np.uint64(number) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ (mixed >> np.uint64(31))) / 2.0**64


@njit(fastmath=False, cache=True, nogil=True)
def _weigh_rows(
    rows: tuple[int, int], thinning: Thinning, starts: Ints, columns: NDArray[np.int32], out: tuple[Ints, NDArray[np.float64]]
) -> None:
    """Sort each row's neighbours, count them and put those of positive information in front; sizes and weights go to ``out``."""
    totals, cap, _ = thinning
    sizes, weights = out
    everything = np.maximum(totals, 1).sum()
    for row in range(rows[0], rows[1]):
        entry, end, kept = starts[row], starts[row + 1], starts[row]
        columns[entry:end].sort()
        while entry < end:
            other, count = columns[entry], 0
            while entry < end and columns[entry] == other:
                count, entry = count + 1, entry + 1
            factor = max(1.0, min(totals[row], totals[other]) / cap)
            information = np.log(count * factor * everything / (totals[row] * totals[other]))
            if information > 0:
                columns[kept], weights[kept] = other, information
                kept += 1
        sizes[row] = kept - starts[row]

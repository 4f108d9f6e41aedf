"""Users walking through a catalogue: who takes which item when, in numba, for logs of any size.

A catalogue lays the items of a category side by side, the most popular first. A user has a few favourite categories,
mostly stays in the one of the last item, sometimes goes on to another favourite and seldom to any other. Within a
category an item is drawn by a Zipf law, or among the eight that make a series with the last one.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jtm_core.behaviours import Ints

Floats = NDArray[np.float64]

FAVOURITES = 6
SERIES = 8
STAYS, GOES_TO_FAVOURITE, TAKES_SERIES = 0.8, 0.85, 0.35
TRIES = 30


class Catalogue(NamedTuple):
    """Items by category.

    Parameters
    ----------
    starts : int64 array (num_categories + 1,)
        Items ``starts[c]`` .. ``starts[c + 1] - 1`` are of category ``c``.
    reach : float64 array (num_categories,)
        Cumulative probability that a behaviour is of a category up to ``c``.
    exponent : float
        Of the Zipf law within a category, not 1.
    """

    starts: Ints
    reach: Floats
    exponent: float


def make_catalogue(num_items: int, num_categories: int, rng: np.random.Generator, exponent: float = 1.1) -> Catalogue:
    """Categories of skewed sizes (log-normal), each of at least one item; bigger ones are chosen more often."""
    if not 1 <= num_categories <= num_items:
        raise ValueError(f"{num_categories} categories for {num_items} items; allowed are 1 .. {num_items}")
    sizes = shares_of(num_items, rng.lognormal(0.0, 1.8, num_categories), 1)
    weights = np.cumsum(sizes * rng.lognormal(0.0, 0.5, num_categories))
    return Catalogue(np.concatenate([[0], np.cumsum(sizes)]), weights / weights[-1], exponent)


def shares_of(total: int, weights: Floats, minimum: int) -> Ints:
    """Whole numbers in proportion to weights that sum to ``total``, none below ``minimum``.

    Examples
    --------
    >>> shares_of(10, np.array([1.0, 3.0]), minimum=1)
    array([3, 7])
    """
    rest = total - minimum * len(weights)
    if rest < 0:
        raise ValueError(f"{total} cannot be shared among {len(weights)} with at least {minimum} each")
    bounds = np.floor(np.cumsum(weights) / np.sum(weights) * rest).astype(np.int64)
    bounds[-1] = rest
    return minimum + np.diff(bounds, prepend=0)


@njit(nogil=True, cache=True)
def _category(rng: np.random.Generator, reach: Floats) -> int:
    return min(np.searchsorted(reach, rng.random(), side="right"), len(reach) - 1)


@njit(nogil=True, cache=True)
def _popular(rng: np.random.Generator, first: int, end: int, exponent: float) -> int:
    """An item of first .. end - 1, the r-th with a probability of about r ** -exponent."""
    power = 1.0 - exponent
    draw = (1.0 + rng.random() * ((end - first + 1.0) ** power - 1.0)) ** (1.0 / power)
    return min(first + int(draw) - 1, end - 1)


@njit(nogil=True, cache=True)
def _in_series(rng: np.random.Generator, item: int, first: int, end: int) -> int:
    return min(item - (item - first) % SERIES + int(rng.random() * SERIES), end - 1)


@njit(nogil=True, cache=True)
def _is_taken(items: Ints, begin: int, row: int, item: int) -> bool:
    return bool((items[begin:row] == item).any())


@njit(nogil=True, cache=True)
def _step(
    rng: np.random.Generator, favourites: Ints, last: tuple[int, int], starts: Ints, reach: Floats, exponent: float
) -> tuple[int, int]:
    """The next item and its category after the last ones; a last category of -1 leads anywhere."""
    item, category = last
    is_staying = category >= 0 and rng.random() < STAYS
    if is_staying and rng.random() < TAKES_SERIES:
        return _in_series(rng, item, starts[category], starts[category + 1]), category
    if not is_staying:
        goes_to_favourite = rng.random() < GOES_TO_FAVOURITE
        category = favourites[int(rng.random() * FAVOURITES)] if goes_to_favourite else _category(rng, reach)
    return _popular(rng, starts[category], starts[category + 1], exponent), category


@njit(nogil=True, cache=True)
def _untaken(items: Ints, begin: int, row: int, item: int, num_items: int) -> int:
    """The item, or the first one after it that the walk does not have."""
    while _is_taken(items, begin, row, item):
        item = (item + 1) % num_items
    return item


@njit(nogil=True, cache=True)
def walk(rng: np.random.Generator, lengths: Ints, starts: Ints, reach: Floats, exponent: float, is_distinct: bool) -> tuple[Ints, Ints]:
    """Items and categories of users' walks, end to end, oldest first.

    Parameters
    ----------
    rng : Generator
    lengths : int64 array (U,)
        Steps of each user.
    starts, reach, exponent
        Of the :class:`Catalogue`.
    is_distinct : bool
        Whether a user takes no item twice (the time is quadratic in the longest walk).

    Returns
    -------
    items, categories : int64 arrays (sum(lengths),)
    """
    items, categories = np.empty(lengths.sum(), np.int64), np.empty(lengths.sum(), np.int64)
    favourites = np.empty(FAVOURITES, np.int64)
    begin = 0
    for length in lengths:
        for place in range(FAVOURITES):
            favourites[place] = _category(rng, reach)
        last = (-1, -1)
        for row in range(begin, begin + length):
            item, category = _step(rng, favourites, last, starts, reach, exponent)
            if is_distinct and _is_taken(items, begin, row, item):
                for _ in range(TRIES):
                    item, category = _step(rng, favourites, last, starts, reach, exponent)
                    if not _is_taken(items, begin, row, item):
                        break
                item = _untaken(items, begin, row, item, starts[-1])
                category = np.searchsorted(starts, item, side="right") - 1
            items[row], categories[row] = item, category
            last = (item, category)
        begin += length
    return items, categories


@njit(nogil=True, cache=True)
def rising_times(rng: np.random.Generator, lengths: Ints, earliest: int, latest: int) -> Ints:
    """Never falling times for every walk: exponential gaps over a random part of the span."""
    times = np.empty(lengths.sum(), np.int64)
    begin, span = 0, latest - earliest
    for length in lengths:
        first = earliest + int(rng.random() * 0.5 * span)
        gaps = rng.standard_exponential(length)
        passed, scale = 0.0, (latest - first) / (gaps.sum() + rng.standard_exponential())
        for step in range(length):
            passed += gaps[step]
            times[begin + step] = min(first + int(passed * scale), latest)
        begin += length
    return times


@njit(nogil=True, cache=True)
def shuffled_within(rng: np.random.Generator, lengths: Ints) -> Ints:
    """Row numbers in a random order within every walk."""
    order = np.arange(lengths.sum())
    begin = 0
    for length in lengths:
        for place in range(length - 1, 0, -1):
            other = int(rng.random() * (place + 1))
            order[begin + place], order[begin + other] = order[begin + other], order[begin + place]
        begin += length
    return order


@njit(nogil=True, cache=True)
def bring_in_all(items: Ints, categories: Ints, rows: Ints, starts: Ints) -> None:
    """Make every item occur: rows of items that occur again are given to items that never do, in place.

    Of the same category as far as that has such rows, then of any. ``rows`` is the order in which they are looked at.
    """
    counts = np.zeros(starts[-1], np.int64)
    for item in items:
        counts[item] += 1
    following = starts[:-1].copy()
    for row in rows:
        category = categories[row]
        while following[category] < starts[category + 1] and counts[following[category]] > 0:
            following[category] += 1
        if following[category] < starts[category + 1] and counts[items[row]] > 1:
            counts[items[row]] -= 1
            items[row] = following[category]
            counts[items[row]] = 1
    missing, place = np.flatnonzero(counts == 0), 0
    for row in rows:
        if place < len(missing) and counts[items[row]] > 1:
            counts[items[row]] -= 1
            items[row] = missing[place]
            categories[row] = np.searchsorted(starts, missing[place], side="right") - 1
            place += 1

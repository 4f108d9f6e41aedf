"""From coded rows of a log to histories: order, duplicates, rare items, short users, dense ids. Arrays in, arrays out.

Filters run once each, in a stated order: duplicates, then items, then users (behaviour types, ratings and times were
filtered row by row before). Dropping users can leave an item below its minimum; that is not repeated, as in the
published counts of these data sets.

**Tie rule**: a user's behaviours are in order of time; of equal times, the one earlier in the log's file comes first.

All but the counts of items work on any set of whole users, so that a long log can be prepared in parts.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Ints

ROW = np.dtype([("user", "<i4"), ("item", "<i4"), ("category", "<i4"), ("time", "<i8")])
"""A behaviour whose original ids are replaced by codes from 0; category is -1 where there is none."""

Rows = NDArray[np.void]
Mask = NDArray[np.bool_]
DuplicatePolicy = Literal["keep_all", "keep_first", "keep_last", "drop_exact"]

_PENDING_PAIRS = 1 << 22


@dataclass(frozen=True, slots=True)
class FilterCount:
    """How many rows one filter saw and left."""

    name: str
    rows_before: int
    rows_after: int

    def __str__(self) -> str:
        return f"{self.name}: {self.rows_before} -> {self.rows_after} rows"


def stable_order(major: NDArray[Any], minor: NDArray[Any]) -> Ints:
    """Positions that put rows in order of (major, minor, position).

    Parameters
    ----------
    major, minor : integer arrays (N,)

    Returns
    -------
    int64 array (N,)

    Examples
    --------
    >>> stable_order(np.array([1, 0, 1]), np.array([5, 9, 5]))
    array([1, 0, 2])
    """
    if not len(major):
        return np.empty(0, dtype=np.int64)
    first, least = int(major.min()), int(minor.min())
    span, bits = int(minor.max()) - least + 1, len(major).bit_length()
    if ((int(major.max()) - first + 1) * span) << bits < 1 << 63:  # plain sorting of one packed number is several times faster
        packed: Ints = major.astype(np.int64)
        packed -= first
        packed *= span
        packed += minor
        packed -= least
        packed <<= bits
        packed |= np.arange(len(major))
        packed.sort()
        packed &= (1 << bits) - 1
        return packed
    by_minor = np.argsort(minor, kind="stable")
    return by_minor[np.argsort(major[by_minor], kind="stable")]


def order_by_user_and_time(rows: Rows) -> Rows:
    """Rows of ``ROW`` sorted by (user, time, position); the position in the log is the tie rule."""
    return rows[stable_order(rows["user"], rows["time"])]


def unrepeated(rows: Rows, policy: DuplicatePolicy) -> Mask:
    """Which rows the policy for repeats keeps.

    Parameters
    ----------
    rows : array of ``ROW`` (N,)
        In the order of :func:`order_by_user_and_time`, all rows of each user.
    policy : str
        Of a user's repeats of one item, ``keep_all``, ``keep_first`` or ``keep_last``; ``drop_exact`` keeps the first
        of rows equal in user, item and time.

    Returns
    -------
    bool array (N,)
    """
    if policy == "keep_all" or not len(rows):
        return np.ones(len(rows), dtype=bool)
    order = stable_order(rows["user"], rows["item"])  # rows of one pair side by side, oldest first
    ordered = rows[order]
    differs = ["user", "item", "time"] if policy == "drop_exact" else ["user", "item"]
    is_new = np.ones(len(rows), dtype=bool)
    is_new[1:] = np.logical_or.reduce([ordered[name][1:] != ordered[name][:-1] for name in differs])
    if policy == "keep_last":
        is_new = np.append(is_new[1:], True)
    kept = np.empty(len(rows), dtype=bool)
    kept[order] = is_new
    return kept


def of_frequent_items(rows: Rows, item_counts: Ints, minimum: int) -> Rows:
    """Rows whose item occurs at least ``minimum`` times; ``item_counts`` is int64 (num_items,) over the whole log."""
    return rows if minimum <= 1 else rows[item_counts[rows["item"]] >= minimum]


def of_frequent_users(rows: Rows, minimum: int) -> Rows:
    """Rows of users with at least ``minimum`` of them; ``rows`` holds all rows of each user."""
    if not len(rows):
        return rows
    users = rows["user"] - rows["user"].min()
    is_kept: Mask = (np.bincount(users) >= minimum)[users]
    return rows[is_kept]


class CategoryCounts:
    """How often items go with categories, counted part by part.

    Nearly every item has one category, so the first one seen is counted in an array and only others as pairs.

    Parameters
    ----------
    num_items, num_categories : int
    """

    def __init__(self, num_items: int, num_categories: int) -> None:
        self._num_categories = num_categories
        self._first = np.full(num_items, -1, dtype=np.int32)
        self._counts = np.zeros(num_items, dtype=np.int64)
        self._others = [(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))]
        self._num_pending = 0

    def add(self, rows: Rows) -> None:
        """Count the rows of ``ROW`` that have a category."""
        rows = rows[rows["category"] >= 0]
        items, categories = rows["item"], rows["category"]
        is_unseen = self._first[items] < 0
        self._first[items[is_unseen]] = categories[is_unseen]
        is_first = self._first[items] == categories
        self._counts += np.bincount(items[is_first], minlength=len(self._counts))
        pairs, counts = np.unique(items[~is_first] * np.int64(self._num_categories) + categories[~is_first], return_counts=True)
        self._others.append((pairs, counts))
        self._num_pending += len(pairs)
        if self._num_pending > _PENDING_PAIRS:
            self._others = [self._merged(self._others)]
            self._num_pending = 0

    def common(self) -> Ints:
        """Most frequent category of every item; of equals the smallest code.

        Returns
        -------
        int64 array (num_items,)
            Category codes, -1 for items that have none.
        """
        common = np.full(len(self._first), -1, dtype=np.int64)
        seen = np.flatnonzero(self._first >= 0)
        firsts = seen * np.int64(self._num_categories) + self._first[seen]
        pairs, counts = self._merged([*self._others, (firsts, self._counts[seen])])
        if not len(pairs):
            return common
        items = pairs // self._num_categories
        starts = np.flatnonzero(np.diff(items, prepend=-1))
        most = np.repeat(np.maximum.reduceat(counts, starts), np.diff(np.append(starts, len(items))))
        best = np.flatnonzero(counts == most)[::-1]  # written last, the smallest of equals stays
        common[items[best]] = pairs[best] % self._num_categories
        return common

    @staticmethod
    def _merged(parts: list[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
        pairs, places = np.unique(np.concatenate([pairs for pairs, _ in parts]), return_inverse=True)
        counts = np.zeros(len(pairs), dtype=np.int64)
        np.add.at(counts, places, np.concatenate([counts for _, counts in parts]))
        return pairs, counts


def dense_ids(is_present: Mask, known_ids: Ints, num_known: int) -> tuple[Ints, int]:
    """Ids that stay: known codes keep theirs, new ones follow in ascending order of their codes.

    Parameters
    ----------
    is_present : bool array (num_codes,)
        Whether the code occurs in what is kept.
    known_ids : int64 array (num_codes,)
        Id given earlier, -1 where there is none.
    num_known : int
        Number of ids given earlier; they stay taken, in the data or not.

    Returns
    -------
    ids : int64 array (num_codes,)
        -1 for codes neither known nor present.
    num_ids : int

    Examples
    --------
    >>> dense_ids(np.array([True, False, True, True]), np.array([-1, -1, 0, -1]), num_known=1)
    (array([ 1, -1,  0,  2]), 3)
    """
    is_new = is_present & (known_ids < 0)
    ids = known_ids.copy()
    ids[is_new] = num_known + np.arange(is_new.sum())
    return ids, num_known + int(is_new.sum())

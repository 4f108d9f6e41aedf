"""From a coded log to histories: order, duplicates, rare items, short users, dense ids. Arrays in, arrays out.

Filters run once each, in a stated order: duplicates, then items, then users (behaviour types, ratings and times were
filtered row by row before). Dropping users can leave an item below its minimum; that is not repeated, as in the
published counts of these data sets.

**Tie rule**: a user's behaviours are in order of time; of equal times, the one earlier in the log's file comes first.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Behaviours, Ints, take_slices

Codes32 = NDArray[np.int32]
Mask = NDArray[np.bool_]
DuplicatePolicy = Literal["keep_all", "keep_first", "keep_last", "drop_exact"]


@dataclass(frozen=True, slots=True)
class CodedLog:
    """Rows of a log whose original ids are replaced by codes that ascend with them.

    Parameters
    ----------
    users, items : int32 arrays (N,)
        Codes 0 .. num_users - 1 and 0 .. num_items - 1; not all need occur.
    times : int64 array (N,)
    categories : int32 array (N,)
        Codes 0 .. num_categories - 1, -1 where there is none.
    num_users, num_items, num_categories : int
    """

    users: Codes32
    items: Codes32
    times: Ints
    categories: Codes32
    num_users: int
    num_items: int
    num_categories: int

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: NDArray[Any]) -> "CodedLog":
        """The rows of a mask, or of positions in their order."""
        return CodedLog(
            self.users[rows], self.items[rows], self.times[rows], self.categories[rows], self.num_users, self.num_items, self.num_categories
        )


@dataclass(frozen=True, slots=True)
class FilterCount:
    """How many rows one filter saw and left."""

    name: str
    rows_before: int
    rows_after: int

    def __str__(self) -> str:
        return f"{self.name}: {self.rows_before} -> {self.rows_after} rows"


def order_by_user_and_time(log: CodedLog) -> CodedLog:
    """Sort rows by (user, time, position); the position in the log is the tie rule."""
    if not len(log):
        return log
    earliest, span = int(log.times.min()), int(log.times.max()) - int(log.times.min()) + 1
    if log.num_users * span < 1 << 63:  # one stable sort of one packed number, linear if the log is sorted already
        return log.take(np.argsort(log.users * np.int64(span) + (log.times - earliest), kind="stable"))
    by_time = np.argsort(log.times, kind="stable")
    return log.take(by_time[np.argsort(log.users[by_time], kind="stable")])


def unrepeated(log: CodedLog, policy: DuplicatePolicy) -> Mask:
    """Which rows the policy for repeats keeps.

    Parameters
    ----------
    log : CodedLog
        In the order of :func:`order_by_user_and_time`.
    policy : str
        Of a user's repeats of one item, ``keep_all``, ``keep_first`` or ``keep_last``; ``drop_exact`` keeps the first
        of rows equal in user, item and time.

    Returns
    -------
    bool array (N,)
    """
    if policy == "keep_all" or not len(log):
        return np.ones(len(log), dtype=bool)
    pairs = log.users.astype(np.int64) * log.num_items + log.items
    order = np.argsort(pairs, kind="stable")  # rows of one pair side by side, oldest first
    is_new = np.diff(pairs[order], prepend=-1) != 0
    if policy == "keep_last":
        is_new = np.append(is_new[1:], True)
    elif policy == "drop_exact":
        is_new |= np.diff(log.times[order], prepend=0) != 0
    kept = np.empty(len(log), dtype=bool)
    kept[order] = is_new
    return kept


def frequent(codes: Codes32, num_codes: int, minimum: int) -> Mask:
    """Which rows have a code that occurs at least ``minimum`` times: bool (N,)."""
    return (np.bincount(codes, minlength=num_codes) >= minimum)[codes]


def filter_log(
    log: CodedLog, *, duplicates: DuplicatePolicy, minimum_item_occurrences: int, minimum_user_behaviours: int
) -> tuple[CodedLog, tuple[FilterCount, ...]]:
    """Order a log and apply the filters that need more than one row to judge, once each.

    Parameters
    ----------
    log : CodedLog
        In the order of its file.
    duplicates : str
        Policy of :func:`unrepeated`.
    minimum_item_occurrences, minimum_user_behaviours : int
        Items, then users, with fewer rows left are dropped.

    Returns
    -------
    log : CodedLog
        What is left, by (user, time, position).
    counts : tuple of FilterCount
        One per filter, in the order they ran.
    """
    before = len(log)
    log = order_by_user_and_time(log)
    log = log.take(unrepeated(log, duplicates))
    unique = len(log)
    log = log.take(frequent(log.items, log.num_items, minimum_item_occurrences))
    with_items = len(log)
    log = log.take(frequent(log.users, log.num_users, minimum_user_behaviours))
    return log, (
        FilterCount(f"duplicates ({duplicates})", before, unique),
        FilterCount(f"items with {minimum_item_occurrences} or more occurrences", unique, with_items),
        FilterCount(f"users with {minimum_user_behaviours} or more behaviours", with_items, len(log)),
    )


def common_categories(log: CodedLog) -> Ints:
    """Most frequent category of every item; of equals the smallest code.

    Returns
    -------
    int64 array (num_items,)
        Category codes, -1 for items that have none.
    """
    categories = np.full(log.num_items, -1, dtype=np.int64)
    known = log.categories >= 0
    pairs = log.items[known].astype(np.int64) * log.num_categories + log.categories[known]
    pairs, counts = np.unique(pairs, return_counts=True)
    if not len(pairs):
        return categories
    items = pairs // log.num_categories
    starts = np.flatnonzero(np.diff(items, prepend=-1))
    most = np.repeat(np.maximum.reduceat(counts, starts), np.diff(np.append(starts, len(items))))
    best = np.flatnonzero(counts == most)[::-1]  # written last, the smallest of equals stays
    categories[items[best]] = pairs[best] % log.num_categories
    return categories


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


def gather_behaviours(log: CodedLog, user_ids: Ints, num_users: int, item_ids: Ints, num_items: int) -> Behaviours:
    """Lay histories end to end in the order of dense user ids.

    Parameters
    ----------
    log : CodedLog
        By (user, time, position); every code in it has an id.
    user_ids, item_ids : int64 arrays (num_codes,)
        Dense id of every code.
    num_users, num_items : int
        Sizes of the vocabularies; users without rows get empty histories.

    Returns
    -------
    Behaviours
    """
    counts = np.bincount(log.users, minlength=log.num_users)
    present = np.flatnonzero(counts)
    starts, lengths = np.zeros(num_users, dtype=np.int64), np.zeros(num_users, dtype=np.int64)
    starts[user_ids[present]] = (np.cumsum(counts) - counts)[present]
    lengths[user_ids[present]] = counts[present]
    rows = take_slices(np.arange(len(log)), starts, lengths)
    return Behaviours(item_ids[log.items[rows.values]], rows.offsets, log.times[rows.values], num_items)

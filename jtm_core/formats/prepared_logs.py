"""From the canonical log to histories over dense ids, in memory that grows with users and items but not with the log.

The log is read twice. The first pass gathers the original ids; the second writes coded rows, 20 bytes each, into
buckets of users on disk. Each bucket is then sorted and filtered in memory by :mod:`jtm_core.preparation`, and its
histories are appended to the final arrays, which are files mapped into memory. All these files lie in the folder of the
log without a name: they are gone when the last array over them is, or the process.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jtm_core.behaviours import Behaviours, Ints
from jtm_core.config import DataConfig
from jtm_core.formats.key_codes import KeyCodes, make_key_codes
from jtm_core.formats.log_rows import LogRows
from jtm_core.formats.row_files import ColumnFile, RowBuckets
from jtm_core.formats.vocabularies import Vocabulary, in_type_of, joined
from jtm_core.preparation import (
    ROW,
    CategoryCounts,
    FilterCount,
    Mask,
    dense_ids,
    of_frequent_items,
    of_frequent_users,
    order_by_user_and_time,
    unrepeated,
)

_BUCKET_ROWS = 1 << 20
_MOST_BUCKETS = 256  # each is an open file
_KEY_COLUMNS = ("user", "item", "category")


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Histories ready to be split and learned from.

    Parameters
    ----------
    behaviours : Behaviours
    categories : int64 array (num_items,)
        Dense category of every item, in the order of the original ones; -1 where there is none.
    users, items : Vocabulary
        Original ids; items with their original category.
    filters : tuple of FilterCount
        What each filter dropped, in the order they ran.
    """

    behaviours: Behaviours
    categories: Ints
    users: Vocabulary
    items: Vocabulary
    filters: tuple[FilterCount, ...]


def prepare(log_path: Path, config: DataConfig, known_items: Vocabulary | None = None, known_users: Vocabulary | None = None) -> Prepared:
    """Filter a canonical log, give dense ids and lay out histories by (user, time, line).

    Filters in order: behaviour types, rating, times out of range (if ``out_of_range`` is ``drop``), duplicates, rare
    items, short users; once each.

    Parameters
    ----------
    log_path : Path
        Written by :func:`jtm_core.formats.raw_logs.write_canonical_log`.
    config : DataConfig
    known_items, known_users : Vocabulary or None
        Of an earlier version: their ids stay, in the log or not, and new ones follow in ascending order of original id, in
        the log's own type. The known ones' type stays: a log's integers are taken as text where the known ids are text.

    Returns
    -------
    Prepared

    Raises
    ------
    ValueError
        If the file is no canonical log, the known ids are integers and some of the log's are not, or fewer than 2 users or
        2 items are left (with the counts before and after each filter).
    """
    rows, folder = LogRows(log_path, config), log_path.parent
    coding, early = _gathered(rows)
    user_keys, item_keys = _as_known(known_users, coding, "user"), _as_known(known_items, coding, "item")
    places = _places(user_keys, known_users)
    with RowBuckets(folder, min(len(rows) // _BUCKET_ROWS + 1, _MOST_BUCKETS), ROW) as buckets:
        _fill(buckets, rows, coding, places)
        kept = _filter(buckets, config, coding)
        _check_enough(log_path, kept, early + kept.filters)
        users, user_ids = _grown(known_users, user_keys, kept.user_counts[places] > 0)
        items, item_ids = _grown(known_items, item_keys, kept.item_counts > 0)
        offsets = _offsets(kept.user_counts[places], user_ids, len(users))
        behaviours = _laid_out(folder, buckets, item_ids, offsets, len(items))
    categories = _categories(known_items, coding.keys["category"], kept.categories.common(), item_ids, len(items))
    return Prepared(behaviours, _dense(categories), users, Vocabulary(items.keys, categories), early + kept.filters)


@dataclass(frozen=True, slots=True)
class _Coding:
    """Distinct ids of every column, ascending, and how to find their codes."""

    codes: dict[str, KeyCodes]
    keys: dict[str, pa.Array]


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the filters leave: rows per user (by place) and per item (by code)."""

    user_counts: Ints
    item_counts: Ints
    categories: CategoryCounts
    filters: tuple[FilterCount, ...]


def _gathered(rows: LogRows) -> tuple[_Coding, tuple[FilterCount, ...]]:
    """First pass: original ids of the rows that pass the row-wise filters, and what these dropped."""
    codes = {name: make_key_codes(rows.kind(name), rows.span(name)) for name in _KEY_COLUMNS}
    early: tuple[FilterCount, ...] = ()
    for counts, block in rows.counted_blocks(_KEY_COLUMNS):
        early = counts
        for name, coded in codes.items():
            coded.gather(block.column(name))
    return _Coding(codes, {name: coded.keys() for name, coded in codes.items()}), early


def _as_known(known: Vocabulary | None, coding: _Coding, column: str) -> pa.Array:
    keys = coding.keys[column]
    return keys if known is None else in_type_of(known.keys.type, keys, column)


def _places(keys: pa.Array, known: Vocabulary | None) -> Ints:
    """Where each user comes in the final order, counting those of this log only: known ones by their id, then new ones by key."""
    if known is None:
        return np.arange(len(keys))
    ids = known.ids_of(keys)
    places = np.empty(len(keys), dtype=np.int64)
    places[np.argsort(np.where(ids < 0, len(known), ids), kind="stable")] = np.arange(len(keys))
    return places


def _fill(buckets: RowBuckets, rows: LogRows, coding: _Coding, places: Ints) -> None:
    """Second pass: coded rows into buckets of neighbouring users; a row's user is its place."""
    users_per_bucket = max(1, -(-len(places) // len(buckets)))
    narrow_places = places.astype(np.int32)
    for block in rows.blocks((*_KEY_COLUMNS, "time")):
        coded = np.empty(block.num_rows, dtype=ROW)
        for name in _KEY_COLUMNS:
            coded[name] = coding.codes[name].codes(block.column(name))
        coded["user"] = narrow_places[coded["user"]]
        coded["time"] = block.column("time").to_numpy()
        buckets.scatter((coded["user"] // users_per_bucket).astype(np.uint16), coded)


def _filter(buckets: RowBuckets, config: DataConfig, coding: _Coding) -> _Kept:
    """Order each bucket and drop rows from it; items are counted over all buckets before the rare ones go."""
    num_users, num_items = len(coding.keys["user"]), len(coding.keys["item"])
    sizes, occurrences = np.zeros(4, dtype=np.int64), np.zeros(num_items, dtype=np.int64)
    for bucket in range(len(buckets)):
        rows = order_by_user_and_time(buckets.read(bucket))
        unique = rows[unrepeated(rows, config.duplicates)]
        occurrences += np.bincount(unique["item"], minlength=num_items)
        sizes[:2] += len(rows), len(unique)
        buckets.replace(bucket, unique)
    user_counts, item_counts = np.zeros(num_users, dtype=np.int64), np.zeros(num_items, dtype=np.int64)
    categories = CategoryCounts(num_items, len(coding.keys["category"]))
    for bucket in range(len(buckets)):
        rows = of_frequent_items(buckets.read(bucket), occurrences, config.minimum_item_occurrences)
        kept = of_frequent_users(rows, config.minimum_user_behaviours)
        user_counts += np.bincount(kept["user"], minlength=num_users)
        item_counts += np.bincount(kept["item"], minlength=num_items)
        categories.add(kept)
        sizes[2:] += len(rows), len(kept)
        buckets.replace(bucket, kept)
    names = (
        f"duplicates ({config.duplicates})",
        f"items with {config.minimum_item_occurrences} or more occurrences",
        f"users with {config.minimum_user_behaviours} or more behaviours",
    )
    filters = tuple(FilterCount(name, *map(int, sizes[place : place + 2])) for place, name in enumerate(names))
    return _Kept(user_counts, item_counts, categories, filters)


def _check_enough(path: Path, kept: _Kept, filters: tuple[FilterCount, ...]) -> None:
    num_users, num_items = np.count_nonzero(kept.user_counts), np.count_nonzero(kept.item_counts)
    if num_users < 2 or num_items < 2:
        counts = "; ".join(map(str, filters))
        raise ValueError(f"{num_users} users and {num_items} items are left of {path}; at least 2 of each are needed. Filters: {counts}")


def _grown(known: Vocabulary | None, keys: pa.Array, is_present: Mask) -> tuple[Vocabulary, Ints]:
    """The known vocabulary and what is new in the log, and the id of every code."""
    known_ids = np.full(len(keys), -1, dtype=np.int64) if known is None else known.ids_of(keys)
    ids, _ = dense_ids(is_present, known_ids, 0 if known is None else len(known))
    new_keys = keys.filter(pa.array(is_present & (known_ids < 0)))
    return Vocabulary(new_keys if known is None else joined(known.keys, new_keys)), ids


def _offsets(counts: Ints, user_ids: Ints, num_users: int) -> Ints:
    """Where each history begins, from rows per code and the id of every code."""
    offsets = np.zeros(num_users + 1, dtype=np.int64)
    present = counts > 0
    offsets[1 + user_ids[present]] = counts[present]
    return np.cumsum(offsets)


def _laid_out(folder: Path, buckets: RowBuckets, item_ids: Ints, offsets: Ints, num_items: int) -> Behaviours:
    """Histories end to end: buckets and the rows in them are in the order of dense user ids."""
    items, times = ColumnFile(folder, np.int64), ColumnFile(folder, np.int64)
    for bucket in range(len(buckets)):
        rows = buckets.read(bucket)
        items.append(item_ids[rows["item"]])
        times.append(rows["time"])
    return Behaviours(items.mapped(), offsets, times.mapped(), num_items)


def _dense(categories: pa.Array) -> Ints:
    """Codes that ascend with the categories, -1 for null."""
    coded = make_key_codes(categories.type, None)
    coded.gather(categories)
    coded.keys()
    return coded.codes(categories).astype(np.int64)


def _categories(known: Vocabulary | None, keys: pa.Array, common: Ints, item_ids: Ints, num_items: int) -> pa.Array:
    """Original category per dense item id: the log's, else the one known from before."""
    codes = np.full(num_items, -1, dtype=np.int64)
    codes[item_ids[item_ids >= 0]] = common[item_ids >= 0]
    categories = keys.take(pa.array(codes, mask=codes < 0))
    if known is None or known.categories is None or known.categories.null_count == len(known):
        return categories
    if categories.null_count == len(categories):
        categories = pa.nulls(num_items, known.categories.type)
    categories = in_type_of(known.categories.type, categories, "category")
    return pc.coalesce(categories, pa.concat_arrays([known.categories, pa.nulls(num_items - len(known), categories.type)]))

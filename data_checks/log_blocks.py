"""The canonical log in blocks, with the same columns worked out as ``log_frames.row_frame`` has, for logs of any length.

Two or three passes over the file: one gathers the distinct values of columns without a narrow span of integers (strings),
one counts over all rows, and one makes the blocks. What grows with the number of rows are two fingerprints of 8 bytes;
all else grows with the number of distinct users, items and equal rows.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_checks.blocks import Blocks, block_rows, slices
from data_checks.equal_rows import FirstRows, fingerprints, shared_values
from data_checks.log_frames import CANONICAL, LogCounts, is_finite_or_null, is_named, is_plain, nullable_integers
from data_checks.log_groups import LogGroups
from data_checks.log_keys import ColumnKeys, Ints, integer_identities, make_column_keys
from data_checks.mixing import Hashes

_KEYED = ("user", "item", "category", "behaviour")
_REPEAT = ("user", "item", "time")
_COPY = (*_REPEAT, "category", "behaviour", "rating")
_REPEAT_BITS = np.uint64((1 << len(_REPEAT)) - 1)

Group = Mapping[str, pa.Array]
Keys = Mapping[str, ColumnKeys]


@dataclass(frozen=True, slots=True)
class LogTotals:
    """What all rows of a log together say, and one row does not.

    Parameters
    ----------
    counts : LogCounts
    item_shares : float64 array (P,)
        Share of all rows that are of the item of each place; the last entry is for rows without an item.
    first_categories : int64 array (P,)
        Place of the category that the item came with first, -1 if it never has one.
    shared_repeats, shared_copies : uint64 array
        Fingerprints that more than one row has: of user, item and time, and of everything.
    """

    counts: LogCounts
    item_shares: NDArray[np.float64]
    first_categories: Ints
    shared_repeats: Hashes
    shared_copies: Hashes


class StreamedLog:
    """A log read in blocks.

    Parameters
    ----------
    log_path : Path
        Canonical Parquet whose columns are as agreed.

    Raises
    ------
    ValueError
        If the statistics in the file do not fit its values.
    """

    def __init__(self, log_path: Path) -> None:
        self._log_path = log_path
        with LogGroups(log_path) as groups:
            self._keys = make_column_keys(groups, _KEYED)
            self.totals = _count(groups, self._keys)

    def blocks(self, largest_frame: int) -> Blocks:
        """The rows with the columns of ``log_frames.row_frame``."""
        length = block_rows(largest_frame)
        with LogGroups(self._log_path) as groups:
            num_blocks = sum(len(slices(num_rows, length)) for num_rows in groups.lengths)
        return Blocks(num_blocks, lambda: self._frames(length))

    def _frames(self, length: int) -> Iterator[pd.DataFrame]:
        repeats = FirstRows(self.totals.shared_repeats, 1 + len(_REPEAT))
        copies = FirstRows(self.totals.shared_copies, 1 + len(_COPY))
        with LogGroups(self._log_path) as groups:
            for group in groups.read(tuple(CANONICAL)):
                frame, lines, rows = self._frame(group), group["line"].to_numpy(), _RowKeys(group, self._keys)
                frame["repeat_of"] = repeats.lines_of_first(rows.repeat_prints(), rows.repeat_keys, lines)
                frame["copy_of"] = copies.lines_of_first(rows.copy_prints(), rows.copy_keys, lines)
                yield from (frame.iloc[part] for part in slices(len(frame), length))

    def _frame(self, group: Group) -> pd.DataFrame:
        item_places = self._keys["item"].places(group["item"])
        columns = {name: values.dictionary_decode() if pa.types.is_dictionary(values.type) else values for name, values in group.items()}
        columns["first_category"] = self._first_category(group["category"], item_places)
        table = pa.table(columns)
        frame: pd.DataFrame = table.to_pandas(types_mapper=nullable_integers(table), ignore_metadata=True, split_blocks=True)
        frame["item_share"] = self.totals.item_shares[item_places]
        frame["is_rating_finite"] = is_finite_or_null(table["rating"])
        for name in ("user", "item", "category"):
            frame[f"is_{name}_named"] = is_named(group[name])
        for name in ("user", "item"):
            frame[f"is_{name}_plain"] = is_plain(group[name])
        return frame

    def _first_category(self, categories: pa.Array, item_places: Ints) -> pa.Array:
        if "category" not in self._keys:
            return categories
        first = self.totals.first_categories[item_places]
        return self._keys["category"].values_at(np.where(first >= 0, first, self._keys["category"].places(categories)))


class _RowKeys:
    """What makes the rows of a group equal: an identity per column and bits for those that are empty."""

    def __init__(self, group: Group, keys: Keys) -> None:
        self._columns = {name: _identities(group[name], keys.get(name)) for name in _COPY if not pa.types.is_null(group[name].type)}
        self._empty = np.zeros(1, dtype=np.uint64)  # one for all rows as long as no value is missing
        for bit, name in enumerate(_COPY):
            if name in self._columns and _num_empty(group[name]):
                self._empty = self._empty | (_is_empty(group[name]).astype(np.uint64) << np.uint64(bit))

    def repeat_prints(self) -> Hashes:
        return fingerprints(self._empty & _REPEAT_BITS, [self._columns[name] for name in _REPEAT])

    def copy_prints(self) -> Hashes:
        rest = [values for name, values in self._columns.items() if name not in _REPEAT]
        return fingerprints(self.repeat_prints(), [self._empty, *rest])

    def repeat_keys(self, rows: Ints) -> Hashes:
        return self._rows(rows, self._empty & _REPEAT_BITS, _REPEAT)

    def copy_keys(self, rows: Ints) -> Hashes:
        return self._rows(rows, self._empty, _COPY)

    def _rows(self, rows: Ints, empty: Hashes, names: tuple[str, ...]) -> Hashes:
        some = np.zeros((len(rows), 1 + len(names)), dtype=np.uint64)
        some[:, 0] = empty[rows] if len(empty) > 1 else empty
        for place, name in enumerate(names, start=1):
            if name in self._columns:
                some[:, place] = self._columns[name][rows]
        return some


def _identities(values: pa.Array, keys: ColumnKeys | None) -> Hashes:
    if keys is not None:
        return keys.identities(values)
    if not pa.types.is_floating(values.type):
        return integer_identities(values)
    numbers = pc.fill_null(values, 0.0).to_numpy() + 0.0  # so that -0 is 0
    return np.where(np.isnan(numbers), 0.0, numbers).view(np.uint64)


def _num_empty(values: pa.Array) -> int:
    return int(np.count_nonzero(_is_empty(values))) if pa.types.is_floating(values.type) else values.null_count


def _is_empty(values: pa.Array) -> Any:
    return np.asarray(values.is_null(nan_is_null=pa.types.is_floating(values.type)))


def _count(groups: LogGroups, keys: Keys) -> LogTotals:
    num_rows, num_item_places = sum(groups.lengths), keys["item"].num_places
    repeat_prints, copy_prints = np.empty(num_rows, dtype=np.uint64), np.empty(num_rows, dtype=np.uint64)
    item_counts, user_counts = np.zeros(num_item_places, dtype=np.int64), np.zeros(keys["user"].num_places, dtype=np.int64)
    first_categories = np.full(num_item_places, -1, dtype=np.int64)
    type_counts: Counter[str] = Counter()
    begin, num_with_category, latest_time = 0, 0, pa.scalar(None, pa.int64())
    for group in groups.read(_COPY):
        item_places, rows = keys["item"].places(group["item"]), _RowKeys(group, keys)
        part = slice(begin, begin + len(item_places))
        repeat_prints[part], copy_prints[part] = rows.repeat_prints(), rows.copy_prints()
        item_counts += np.bincount(item_places, minlength=num_item_places)
        user_counts += np.bincount(keys["user"].places(group["user"]), minlength=len(user_counts))
        num_with_category += len(item_places) - group["category"].null_count
        type_counts.update(_type_counts(group["behaviour"]))
        latest_time = pc.max_element_wise(latest_time, pc.max(group["time"]))
        if "category" in keys:
            _note_first(first_categories, item_places, keys["category"].places(group["category"]), keys["category"].num_places - 1)
        begin = part.stop
    most = int(user_counts[:-1].max(initial=0))
    largest = pc.min(keys["user"].values_at(np.flatnonzero(user_counts[:-1] == most))).as_py() if most else None
    num_users, num_items = int(np.count_nonzero(user_counts[:-1])), int(np.count_nonzero(item_counts[:-1]))
    counts = LogCounts(num_rows, num_users, num_items, dict(type_counts), num_with_category, largest, most, latest_time.as_py())
    with ThreadPoolExecutor(2) as sorters:
        shared = sorters.map(shared_values, (repeat_prints, copy_prints))
    return LogTotals(counts, item_counts / num_rows, first_categories, *shared)


def _type_counts(behaviours: pa.Array) -> dict[str, int]:
    if pa.types.is_null(behaviours.type):
        return {}
    counts = behaviours.drop_null().value_counts()
    return dict(zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True))


def _note_first(first_categories: Ints, item_places: Ints, category_places: Ints, empty: int) -> None:
    """Enter the first category of items that had none so far; rows without an item are not asked."""
    is_first = (first_categories[item_places] < 0) & (category_places != empty) & (item_places != len(first_categories) - 1)
    rows = np.flatnonzero(is_first)[::-1]
    first_categories[item_places[rows]] = category_places[rows]  # backwards, so the first row is written last

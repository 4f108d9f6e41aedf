"""The canonical log as a pandas frame fit for checking: only what is needed is read, strings stay dictionary codes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_checks.mixing import mix

IDS = ("int64", "string")
CANONICAL: Mapping[str, tuple[str, ...]] = {
    "user": IDS,
    "item": IDS,
    "category": (*IDS, "null"),
    "behaviour": ("string", "null"),
    "rating": ("double", "null"),
    "time": ("int64",),
    "line": ("int64",),
}
"""Columns of the canonical log with the Arrow types each may have; strings may be large or dictionary-encoded."""

_SPELLED_OUT = ("null", "\\n", "nan", "none", "(null)")
_NOT_PLAIN = r"""^[\s\x{A0}\x{FEFF}]|[\s\x{A0}\x{FEFF}]$|^".*"$|^'.*'$|^[+-]?[0-9]+\.0*$"""


@dataclass(frozen=True, slots=True)
class LogCounts:
    """Counts over all rows of a log.

    Parameters
    ----------
    num_rows, num_users, num_items : int
    type_counts : mapping of str to int
        Rows of each behaviour type that occurs.
    num_with_category : int
        Rows that have a category.
    largest_user : int, str or None
        User of most rows, of several the smallest; None if no row has a user.
    largest_user_rows : int
    latest_time : int or None
        None if no row has a time.
    """

    num_rows: int
    num_users: int
    num_items: int
    type_counts: Mapping[str, int]
    num_with_category: int
    largest_user: int | str | None
    largest_user_rows: int
    latest_time: int | None


def column_frame(log_path: Path) -> pd.DataFrame:
    """One row per canonical column: name, found type (empty if missing), allowed types, and whether it is allowed."""
    schema = pq.read_schema(log_path)
    found = [type_name(schema.field(name).type) if name in schema.names else None for name in CANONICAL]
    allowed = [" or ".join(types) for types in CANONICAL.values()]
    is_allowed = [name in types for name, types in zip(found, CANONICAL.values(), strict=True)]
    return pd.DataFrame({"column": list(CANONICAL), "found": found, "allowed": allowed, "is_allowed": is_allowed})


def row_frame(log_path: Path) -> pd.DataFrame:
    """The log, one row per behaviour, with columns worked out for the rules.

    Returns
    -------
    frame with the canonical columns and
        ``copy_of``: line of the first row equal in everything but the line, 0 if there is none; ``repeat_of``: the same for
        user, item and time; ``first_category``: category the item came with first; ``item_share``: share of all rows that
        are of this item; ``is_rating_finite``; ``is_user_named``, ``is_item_named`` and ``is_category_named``, false where the value is an
        empty one spelled out, such as NULL; ``is_user_plain`` and ``is_item_plain``, false where an id has blanks around it, or the like.
    """
    table = _read(log_path)
    frame: pd.DataFrame = table.to_pandas(types_mapper=nullable_integers(table), ignore_metadata=True, split_blocks=True)
    item_codes = _codes(frame["item"])
    counts = np.bincount(item_codes + 1)
    frame["item_share"] = (counts / max(len(frame), 1))[item_codes + 1]
    frame["first_category"] = _first_category(frame["category"], item_codes)
    frame["repeat_of"], frame["copy_of"] = _first_lines(frame, item_codes)
    frame["is_rating_finite"] = is_finite_or_null(table["rating"])
    for name in ("user", "item", "category"):
        frame[f"is_{name}_named"] = np.concatenate([np.empty(0, dtype=bool), *map(is_named, table[name].chunks)])
    for name in ("user", "item"):
        frame[f"is_{name}_plain"] = np.concatenate([np.empty(0, dtype=bool), *map(is_plain, table[name].chunks)])
    return frame


def frame_counts(frame: pd.DataFrame) -> LogCounts:
    """Counts over all rows of a :func:`row_frame`."""
    user_rows = frame["user"].value_counts()
    user_rows = user_rows[user_rows > 0]
    most = int(user_rows.max()) if len(user_rows) else 0
    return LogCounts(
        num_rows=len(frame),
        num_users=len(user_rows),
        num_items=int(frame["item"].nunique()),
        type_counts={str(name): int(count) for name, count in frame["behaviour"].value_counts().items()},
        num_with_category=int(frame["category"].notna().sum()),
        largest_user=min(user_rows.index[(user_rows == most).to_numpy()].tolist(), default=None),
        largest_user_rows=most,
        latest_time=int(frame["time"].max()) if frame["time"].notna().any() else None,
    )


def type_name(data_type: pa.DataType) -> str:
    """Name of a type as ``CANONICAL`` has it; every way to hold strings is ``string``."""
    if pa.types.is_dictionary(data_type):
        data_type = data_type.value_type
    return "string" if pa.types.is_large_string(data_type) or pa.types.is_string_view(data_type) else str(data_type)


def _read(log_path: Path) -> pa.Table:
    schema = pq.read_schema(log_path)
    strings = [name for name in CANONICAL if type_name(schema.field(name).type) == "string"]
    table = pq.read_table(log_path, columns=list(CANONICAL), read_dictionary=strings, partitioning=None)
    for name in strings:
        position = table.schema.get_field_index(name)
        if not pa.types.is_dictionary(table.schema.field(name).type):
            table = table.set_column(position, name, table[name].dictionary_encode())
    return table.unify_dictionaries()


def nullable_integers(table: pa.Table) -> Any:
    """Types mapper with which integers stay integers when some are missing; the slower nullable type only where it is needed."""
    has_nulls = any(pa.types.is_integer(table.schema.field(name).type) and table[name].null_count for name in CANONICAL)
    return {pa.int64(): pd.Int64Dtype()}.get if has_nulls else None


def _codes(values: "pd.Series[Any]") -> NDArray[np.int64]:
    """Dense codes of a column, -1 where it is empty."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return np.asarray(values.cat.codes, dtype=np.int64)
    return np.asarray(pd.factorize(values)[0], dtype=np.int64)


def _first_category(categories: "pd.Series[Any]", item_codes: NDArray[np.int64]) -> "pd.Series[Any]":
    """Category that each row's item has in the first row that gives it one; a row's own where there is no such row."""
    own_row = np.arange(len(item_codes))
    is_usable = categories.notna().to_numpy() & (item_codes >= 0)
    if not is_usable.any():
        return categories
    rows = (own_row if is_usable.all() else np.flatnonzero(is_usable))[::-1]
    first_row = np.full(item_codes.max() + 2, -1)  # the last entry, reached by code -1, is for rows without an item
    first_row[item_codes[rows]] = rows  # backwards, so the first row is written last
    first_row = first_row[item_codes]
    return categories.take(np.where(first_row >= 0, first_row, own_row)).set_axis(categories.index)


def _first_lines(frame: pd.DataFrame, item_codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Line of the first row with equal user, item and time, and of the first row equal in everything; 0 where this is it.

    A 64-bit mix of the three columns picks candidates by sorting; only those are compared exactly.
    """
    users, times = _codes(frame["user"]), frame["time"].fillna(-1).to_numpy(np.int64)
    mixed = mix(mix(mix(users.view(np.uint64)) ^ item_codes.view(np.uint64)) ^ times.view(np.uint64))
    in_order = np.sort(mixed)
    shared = in_order[1:][in_order[1:] == in_order[:-1]]
    repeat_of, copy_of = np.zeros(len(frame), dtype=np.int64), np.zeros(len(frame), dtype=np.int64)
    if len(shared):
        candidates = np.flatnonzero(pd.Series(mixed).isin(shared).to_numpy())
        rows = frame.iloc[candidates]
        repeat_of[candidates] = _line_of_first(rows, ["user", "item", "time"])
        copy_of[candidates] = _line_of_first(rows, ["user", "item", "time", "category", "behaviour", "rating"])
    return repeat_of, copy_of


def _line_of_first(rows: pd.DataFrame, columns: list[str]) -> NDArray[np.int64]:
    groups = rows.groupby(columns, sort=False, dropna=False, observed=True)
    first = groups["line"].transform("first").to_numpy(np.int64)
    return np.where(groups.cumcount().to_numpy() > 0, first, 0)


def is_finite_or_null(ratings: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Whether each rating is a finite number or empty: bool (N,)."""
    if ratings.null_count == len(ratings):
        return np.ones(len(ratings), dtype=bool)
    return np.asarray(pc.fill_null(pc.is_finite(ratings), True))


def is_named(ids: pa.Array) -> NDArray[np.bool_]:
    """Whether each value is none of the words that exports write for empty ones, or is empty: bool (N,)."""
    return _judged(ids, lambda words: ~_is_spelled_out(words))


def is_plain(ids: pa.Array) -> NDArray[np.bool_]:
    """Whether each id is written as ids are: without blanks, quotes or a byte order mark around it, and whole numbers without a point.

    bool (N,); true for what is empty, or an empty value spelled out.
    """

    def judge(words: pa.Array) -> NDArray[np.bool_]:
        return ~np.asarray(pc.match_substring_regex(words, _NOT_PLAIN)) | _is_spelled_out(words)

    return _judged(ids, judge)


def _is_spelled_out(words: pa.Array) -> NDArray[np.bool_]:
    lower = pc.utf8_lower(pc.utf8_trim_whitespace(words))
    return np.asarray(pc.is_in(lower, value_set=pa.array(_SPELLED_OUT, pa.large_string())))


def _judged(ids: pa.Array, judge: Callable[[pa.Array], NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Each distinct text is judged once; numbers, and what is empty, are right."""
    if not pa.types.is_dictionary(ids.type):
        return np.ones(len(ids), dtype=bool)
    words = ids.dictionary.cast(pa.large_string())
    is_right = np.append(judge(words), True)
    return np.asarray(is_right[pc.fill_null(ids.indices.cast(pa.int64()), len(words)).to_numpy()])

"""From the canonical log to histories over dense ids, in one stream over the columns that are needed.

Rows are filtered and their ids coded block by block; the original ids are held once each, a row costs 20 bytes. What
follows works on arrays alone (:mod:`jtm_core.preparation`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jtm_core.behaviours import Behaviours, Ints
from jtm_core.config import DataConfig
from jtm_core.formats.raw_logs import CANONICAL_COLUMNS
from jtm_core.formats.vocabularies import Vocabulary
from jtm_core.preparation import CodedLog, FilterCount, common_categories, dense_ids, filter_log, gather_behaviours

_BLOCK_ROWS = 1 << 20


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
        Of an earlier version: their ids stay, in the log or not, and new ones follow in ascending order of original id.

    Returns
    -------
    Prepared

    Raises
    ------
    ValueError
        If the file is no canonical log, the ids' type is not that of the known vocabulary, or fewer than 2 users or
        2 items are left (with the counts before and after each filter).
    """
    log, keys, early = _coded_log(log_path, config)
    log, late = filter_log(
        log,
        duplicates=config.duplicates,
        minimum_item_occurrences=config.minimum_item_occurrences,
        minimum_user_behaviours=config.minimum_user_behaviours,
    )
    _check_enough(log_path, log, early + late)
    users, user_ids = _grown(known_users, keys["user"], log.users)
    items, item_ids = _grown(known_items, keys["item"], log.items)
    behaviours = gather_behaviours(log, user_ids, len(users), item_ids, len(items))
    categories = _categories(known_items, keys["category"], common_categories(log), item_ids, len(items))
    dense, _ = _coded([categories.dictionary_encode()])
    return Prepared(behaviours, dense.astype(np.int64), users, Vocabulary(items.keys, categories), early + late)


def _check_enough(path: Path, log: CodedLog, filters: tuple[FilterCount, ...]) -> None:
    num_users, num_items = len(np.unique(log.users)), len(np.unique(log.items))
    if num_users < 2 or num_items < 2:
        counts = "; ".join(map(str, filters))
        raise ValueError(f"{num_users} users and {num_items} items are left of {path}; at least 2 of each are needed. Filters: {counts}")


@dataclass(frozen=True, slots=True)
class _RowFilter:
    name: str
    column: str
    keeps: Callable[[pa.Array], pa.Array]


def _row_filters(config: DataConfig) -> list[_RowFilter]:
    filters = []
    if config.behaviour_types:
        kinds = pa.array(config.behaviour_types, pa.string())
        name = f"behaviour types {', '.join(config.behaviour_types)}"
        filters.append(_RowFilter(name, "behaviour", lambda values: pc.is_in(values, value_set=kinds)))
    if config.minimum_rating is not None:
        lowest = config.minimum_rating
        filters.append(_RowFilter(f"ratings of {lowest:g} or more", "rating", lambda values: pc.greater_equal(values, lowest)))
    if config.out_of_range == "drop":
        low = np.iinfo(np.int64).min if config.earliest_time is None else config.earliest_time
        high = np.iinfo(np.int64).max if config.latest_time is None else config.latest_time
        in_range = f"times of {config.earliest_time} .. {config.latest_time}"
        filters.append(_RowFilter(in_range, "time", lambda values: pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))))
    return filters


def _log_batches(path: Path, filters: Sequence[_RowFilter]) -> Iterator[pa.RecordBatch]:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        with pq.ParquetFile(path) as file:
            if tuple(file.schema_arrow.names) != CANONICAL_COLUMNS:
                raise ValueError(
                    f"{path} has the columns {', '.join(file.schema_arrow.names)}; a canonical log has {', '.join(CANONICAL_COLUMNS)}"
                )
            for one in filters:
                if _is_all_null(file.metadata, one.column):
                    raise ValueError(f"the filter for {one.name} cannot be applied: {path} carries no {one.column}; leave it unset")
            columns = {"user", "item", "category", "time", *(one.column for one in filters)}
            yield from file.iter_batches(batch_size=_BLOCK_ROWS, columns=[name for name in CANONICAL_COLUMNS if name in columns])
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is not a whole Parquet file: {error}") from error


def _is_all_null(metadata: pq.FileMetaData, column: str) -> bool:
    groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
    return all(group.column(CANONICAL_COLUMNS.index(column)).statistics.null_count == group.num_rows for group in groups)


def _coded_log(path: Path, config: DataConfig) -> tuple[CodedLog, dict[str, pa.Array], tuple[FilterCount, ...]]:
    """Rows that pass the row-wise filters, coded; original ids ascending by code; what these filters dropped."""
    filters = _row_filters(config)
    counts = np.zeros(len(filters) + 1, dtype=np.int64)
    chunks: dict[str, list[pa.Array]] = {"user": [], "item": [], "category": []}
    times: list[Ints] = []
    for batch in _log_batches(path, filters):
        kept = batch
        counts[0] += kept.num_rows
        for position, one in enumerate(filters, start=1):
            kept = kept.filter(one.keeps(kept.column(one.column)))
            counts[position] += kept.num_rows
        times.append(kept.column("time").to_numpy())
        for name, coded in chunks.items():
            coded.append(kept.column(name).dictionary_encode())
    (users, user_keys), (items, item_keys), (categories, category_keys) = (_coded(coded) for coded in chunks.values())
    log = CodedLog(users, items, np.concatenate(times), categories, len(user_keys), len(item_keys), len(category_keys))
    dropped = tuple(FilterCount(one.name, int(counts[i]), int(counts[i + 1])) for i, one in enumerate(filters))
    return log, {"user": user_keys, "item": item_keys, "category": category_keys}, dropped


def _coded(chunks: list[pa.Array]) -> tuple[NDArray[np.int32], pa.Array]:
    """Codes that ascend with the values (-1 for null), and the values by code."""
    unified = pa.chunked_array(chunks).unify_dictionaries()
    values = unified.chunk(0).dictionary
    order = pc.sort_indices(values)
    rank = np.full(len(values) + 1, -1, dtype=np.int32)  # the last entry serves null, whose index is -1 here
    rank[np.asarray(order)] = np.arange(len(values))
    indices = np.concatenate([np.asarray(pc.fill_null(chunk.indices, -1)) for chunk in unified.chunks])
    return rank[indices], values.take(order)


def _grown(known: Vocabulary | None, keys: pa.Array, codes: NDArray[np.int32]) -> tuple[Vocabulary, Ints]:
    """The known vocabulary and what is new in the log, and the id of every code."""
    is_present = np.zeros(len(keys), dtype=bool)
    is_present[codes] = True
    known_ids = np.full(len(keys), -1, dtype=np.int64) if known is None else known.ids_of(keys)
    ids, _ = dense_ids(is_present, known_ids, 0 if known is None else len(known))
    new_keys = keys.filter(pa.array(is_present & (known_ids < 0)))
    return Vocabulary(new_keys if known is None else pa.concat_arrays([known.keys, new_keys])), ids


def _categories(known: Vocabulary | None, keys: pa.Array, common: Ints, item_ids: Ints, num_items: int) -> pa.Array:
    """Original category per dense item id: the log's, else the one known from before."""
    codes = np.full(num_items, -1, dtype=np.int64)
    codes[item_ids[item_ids >= 0]] = common[item_ids >= 0]
    categories = keys.take(pa.array(codes, mask=codes < 0))
    if known is None or known.categories is None or known.categories.null_count == len(known):
        return categories
    if categories.null_count == len(categories):
        categories = pa.nulls(num_items, known.categories.type)
    if categories.type != known.categories.type:
        raise ValueError(f"categories are of type {categories.type}, the known ones of type {known.categories.type}; they must be the same")
    return pc.coalesce(categories, pa.concat_arrays([known.categories, pa.nulls(num_items - len(known), categories.type)]))

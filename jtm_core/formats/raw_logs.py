"""From any behaviour log as published to the one canonical Parquet form, in a stream of bounded memory.

Canonical columns: ``user`` and ``item`` (int64 or string), ``category`` (int64, string, or null), ``behaviour``
(string or null), ``rating`` (float64 or null), ``time`` (int64), ``line`` (int64). Rows keep the order of files and of
lines; ``line`` is the 1-based number of the row's line, headers counted, running on from file to file. Decimal times
must be whole, as cutting them would lose the order within a unit; dates become seconds since 1970, cut to whole ones.

Nothing is judged here but the form: times out of range, duplicates and the like are found by the data checks, which
read the canonical log.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jtm_core.behaviours import Behaviours, Ints
from jtm_core.config import DataConfig
from jtm_core.formats.atomic import atomic_path
from jtm_core.formats.category_tables import CategoryLookup, CategoryTable, read_category_table
from jtm_core.formats.column_types import REQUIRED_COLUMNS
from jtm_core.formats.line_numbers import LineNumbers
from jtm_core.formats.log_files import log_files, names_within
from jtm_core.formats.log_readers import LogReader, log_readers
from jtm_core.formats.text_blocks import Block, ColumnIsWider, QuotesAreText

CANONICAL_COLUMNS = ("user", "item", "category", "behaviour", "rating", "time", "line")

_ROW_GROUP = 1 << 20
_ABSENT = {"category": pa.string(), "behaviour": pa.string(), "rating": pa.float64()}


@dataclass(frozen=True, slots=True)
class LogSummary:
    """What a canonical log holds.

    Parameters
    ----------
    log_format : str
        Format it was read as.
    num_rows : int
        Behaviours.
    num_without_category : int
        Rows whose category is null.
    earliest_time, latest_time : int
        First and last time, in the log's unit.
    source_bytes : int
        Size of the files read, compressed if they are.
    """

    log_format: str
    num_rows: int
    num_without_category: int
    earliest_time: int
    latest_time: int
    source_bytes: int


def write_canonical_log(source: Path, destination: Path, config: DataConfig) -> LogSummary:
    """Read a behaviour log of any supported format and write it in the canonical form.

    Parameters
    ----------
    source : Path
        The log: a file, gzip accepted for text, a folder or a pattern, see :func:`log_files`.
    destination : Path
        Parquet file, written atomically: on any error it is not there (or as it was).
    config : DataConfig
        ``format``, ``columns`` and ``category_path`` are used; a category table replaces categories of the log.

    Returns
    -------
    LogSummary

    Raises
    ------
    ValueError
        If a file is missing, empty, cut short, corrupt or of unknown format; a column is missing; a line has a wrong
        number of columns; a value is missing or of a wrong type (the first lines are named); the files are not alike; the
        category table is missing, malformed or knows none of the items.
    """
    files = log_files(source)
    log_format, readers = log_readers(files, config)
    _check_filters(source, readers[0].columns, config)
    table = read_category_table(Path(config.category_path), config.columns.get("item", "")) if config.category_path else None
    while True:
        lines = LineNumbers()
        try:
            _write(_canonical(source, readers, table, lines), source, destination, lines)
            return _summary(destination, log_format, sum(path.stat().st_size for path in files))
        except ColumnIsWider as late:  # at most once per column, the time's in each file
            readers = [reader.widened(late.path, late.column) for reader in readers]
        except QuotesAreText:  # at most once
            readers = [reader.unquoted() for reader in readers]


def write_world_log(destination: Path, behaviours: Behaviours, categories: Ints) -> LogSummary:
    """Write histories of a synthetic world as a canonical log, so that it goes the way of any other.

    Parameters
    ----------
    destination : Path
        Parquet file, written atomically.
    behaviours : Behaviours
        Users and items become their own ids in the log.
    categories : int64 array (num_items,)
        Category per item, -1 for none.
    """
    users = np.repeat(np.arange(behaviours.num_users), np.diff(behaviours.offsets))
    own = categories[behaviours.items]
    columns = {
        "user": pa.array(users),
        "item": pa.array(behaviours.items),
        "category": pa.array(own, mask=own < 0),
        "time": pa.array(behaviours.times),
    }
    _write(iter([_rows(destination, Block(1, columns), None, {}, has_empty_lines=False)]), destination, destination, LineNumbers())
    return _summary(destination, "generated", 0)


def _check_filters(source: Path, columns: Iterable[str], config: DataConfig) -> None:
    """Refuse a filter on a column that the log does not have, before anything is read."""
    filters = {
        "rating": ("minimum_rating", config.minimum_rating is not None),
        "behaviour": ("behaviour_types", bool(config.behaviour_types)),
    }
    for column, (name, is_set) in filters.items():
        if is_set and column not in columns:
            raise ValueError(f"data.{name} is set, but {source} has no column of {column}s; leave it unset or map the column in columns")


def _canonical(source: Path, readers: Sequence[LogReader], table: CategoryTable | None, lines: LineNumbers) -> Iterator[pa.RecordBatch]:
    """Canonical rows of all files; ``lines`` learns where each begins."""
    lookup, first_with = None, dict[bool, Path]()
    for reader, name in zip(readers, names_within([reader.path for reader in readers]), strict=True):
        lines_before = lines.begin(name)
        for block in reader.blocks():
            _check_times_alike(first_with, reader.path, block)
            if table is not None:
                lookup = lookup or CategoryLookup(table, block.columns["item"].type)
            yield _rows(reader.path, block, lookup, reader.said, has_empty_lines=reader.has_empty_lines, lines_before=lines_before)
            lines.add(block.first_line + len(block.columns["user"]) - 1)
    if lookup is not None:
        lookup.check_found(source)


def _rows(
    path: Path, block: Block, lookup: CategoryLookup | None, said: Mapping[str, pa.Scalar], *, has_empty_lines: bool, lines_before: int = 0
) -> pa.RecordBatch:
    """Canonical rows of a block, without those of empty lines, and with what folders say of all of them."""
    columns, num_rows = dict(block.columns), len(block.columns["user"])
    is_empty = reduce(pc.and_, map(pc.is_null, columns.values())) if has_empty_lines else pa.repeat(False, num_rows)
    _check_present(path, block, is_empty)
    columns["time"] = _whole_times(path, block)
    columns |= {name: pa.repeat(value, num_rows) for name, value in said.items()}
    if lookup is not None:
        columns["category"] = lookup.categories_of(columns["item"])
    if "category" in columns and pa.types.is_string(columns["category"].type):
        columns["category"] = _blanks_as_null(columns["category"])
    columns |= {name: pa.nulls(num_rows, kind) for name, kind in _ABSENT.items() if name not in columns}
    columns["line"] = pa.array(np.arange(num_rows) + (lines_before + block.first_line))
    batch = pa.RecordBatch.from_arrays([columns[name] for name in CANONICAL_COLUMNS], CANONICAL_COLUMNS)
    return batch.filter(pc.invert(is_empty)) if pc.any(is_empty).as_py() else batch


def _check_times_alike(first_with: dict[bool, Path], path: Path, block: Block) -> None:
    """Refuse files of which some have dates and some numbers; ``first_with`` are the first files seen of either."""
    times = block.columns["time"]
    if times.null_count == len(times):
        return
    first_with.setdefault(pa.types.is_timestamp(times.type), path)
    if len(first_with) > 1:
        raise ValueError(f"{first_with[True]} has dates as time and {first_with[False]} numbers; the files of a log must be alike")


def _check_present(source: Path, block: Block, is_empty: pa.Array) -> None:
    faults = []
    for name in REQUIRED_COLUMNS:
        values = block.columns[name]
        is_missing = pc.is_null(values, nan_is_null=pa.types.is_floating(values.type))
        wrong = np.flatnonzero(pc.and_not(is_missing, is_empty))
        if len(wrong):
            lines = ", ".join(str(block.first_line + row) for row in wrong[:5])
            faults.append(f"{name} is missing in line {lines}" + (" ..." if len(wrong) > len(wrong[:5]) else ""))
    if faults:
        raise ValueError(f"{source}: {'; '.join(faults)}; only category, behaviour and rating may be empty")


def _blanks_as_null(texts: pa.Array) -> pa.Array:
    """Texts of nothing but blanks are no categories; Parquet keeps them, CSV only where there is one at least."""
    is_blank = pc.equal(pc.utf8_trim_whitespace(texts), "")
    return pc.if_else(is_blank, pa.scalar(None, texts.type), texts) if pc.any(is_blank).as_py() else texts


def _whole_times(source: Path, block: Block) -> pa.Array:
    times = block.columns["time"]
    if pa.types.is_timestamp(times.type):
        instants = times.cast(pa.timestamp(times.type.unit, "UTC")) if times.type.tz else times  # no hour is there twice in UTC
        return pc.floor_temporal(instants, unit="second").cast(pa.timestamp("s", instants.type.tz)).cast(pa.int64())
    if not pa.types.is_floating(times.type):
        return times
    for is_wrong, allowed in (
        (pc.greater_equal(pc.abs(times), 2.0**62), "what fits a 64-bit integer"),
        (
            pc.greater_equal(pc.abs(times), 2.0**53),
            "what a decimal number tells exactly, below 2^53; write integers in every line, or scale them, for instance to milliseconds",
        ),
        (pc.not_equal(pc.floor(times), times), "whole numbers, as rounding would lose the order; scale them, for instance to milliseconds"),
    ):
        wrong = np.flatnonzero(pc.fill_null(is_wrong, False))
        if len(wrong):
            found = "; ".join(f"line {block.first_line + row} has {times[int(row)].as_py()}" for row in wrong[:5])
            raise ValueError(f"{source}: {found} as time; allowed is {allowed}")
    return times.cast(pa.int64())


def _write(batches: Iterator[pa.RecordBatch], source: Path, destination: Path, lines: LineNumbers) -> None:
    with atomic_path(destination) as temporary:
        writer = None
        try:
            for group in _row_groups(batches):
                writer = writer or _writer(temporary, group.schema)
                writer.write_table(group, row_group_size=_ROW_GROUP)
            if writer is not None:
                writer.add_key_value_metadata(lines.metadata())
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            raise ValueError(f"{source} holds no behaviours, at most a header and empty lines")


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    rising = ["time", "line"]  # differences of neighbours are small there, a dictionary would hold every value
    return pq.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=[name for name in CANONICAL_COLUMNS if name not in rising],
        column_encoding=dict.fromkeys(rising, "DELTA_BINARY_PACKED"),
    )  # fmt: skip


def _row_groups(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Rows in tables of one fixed size, so that the file's bytes do not depend on the blocks they were read in."""
    pending: list[pa.RecordBatch] = []
    num_rows = 0
    for batch in batches:
        pending.append(batch)
        num_rows += batch.num_rows
        while num_rows >= _ROW_GROUP:
            table = pa.Table.from_batches(pending)
            yield table.slice(0, _ROW_GROUP)
            pending = table.slice(_ROW_GROUP).to_batches()
            num_rows -= _ROW_GROUP
    if num_rows:
        yield pa.Table.from_batches(pending)


def _summary(log_path: Path, log_format: str, source_bytes: int) -> LogSummary:
    metadata = pq.read_metadata(log_path)
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    times = [group.column(CANONICAL_COLUMNS.index("time")).statistics for group in groups]
    categories = [group.column(CANONICAL_COLUMNS.index("category")).statistics for group in groups]
    return LogSummary(
        log_format=log_format,
        num_rows=metadata.num_rows,
        num_without_category=sum(statistics.null_count for statistics in categories),
        earliest_time=min(statistics.min for statistics in times),
        latest_time=max(statistics.max for statistics in times),
        source_bytes=source_bytes,
    )

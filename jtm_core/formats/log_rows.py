"""The rows of a canonical log that pass the filters one row is enough for, block by block."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jtm_core.config import DataConfig
from jtm_core.formats.raw_logs import CANONICAL_COLUMNS
from jtm_core.preparation import FilterCount

_BLOCK_ROWS = 1 << 20


@dataclass(frozen=True, slots=True)
class _RowFilter:
    name: str
    column: str
    keeps: Callable[[pa.Array], pa.Array]


class LogRows:
    """Rows of a canonical log that pass the filters for behaviour types, ratings and times, read as often as wanted.

    Parameters
    ----------
    path : Path
        Written by :func:`jtm_core.formats.raw_logs.write_canonical_log`.
    config : DataConfig
        ``behaviour_types``, ``minimum_rating``, ``out_of_range`` and the bounds of time are used.

    Raises
    ------
    ValueError
        If the file is missing or no canonical log, or a filter is set on a column that the log does not carry.
    """

    def __init__(self, path: Path, config: DataConfig) -> None:
        self.path = path
        self._filters = _row_filters(config)
        if not path.is_file():
            raise ValueError(f"there is no file {path}")
        try:
            with pq.ParquetFile(path) as file:
                self._metadata, self._schema = file.metadata, file.schema_arrow
        except (pa.ArrowInvalid, OSError) as error:
            raise ValueError(f"{path} is not a whole Parquet file: {error}") from error
        names = tuple(self._schema.names)
        if names != CANONICAL_COLUMNS:
            raise ValueError(f"{path} has the columns {', '.join(names)}; a canonical log has {', '.join(CANONICAL_COLUMNS)}")
        for one in self._filters:
            if self.is_all_null(one.column):
                raise ValueError(f"the filter for {one.name} cannot be applied: {path} carries no {one.column}; leave it unset")

    def __len__(self) -> int:
        """Rows of the log before any filter."""
        return int(self._metadata.num_rows)

    def kind(self, column: str) -> pa.DataType:
        """Type of a column."""
        return self._schema.field(column).type

    def is_all_null(self, column: str) -> bool:
        """Whether a column has no value at all."""
        return all(statistics.null_count == num_rows for num_rows, statistics in self._statistics(column))

    def span(self, column: str) -> tuple[int, int] | None:
        """Smallest and largest value of an integer column as the file records them, None for other columns or if it does not."""
        found = [statistics for num_rows, statistics in self._statistics(column) if statistics.null_count < num_rows]
        if not found or not all(statistics.has_min_max and isinstance(statistics.min, int) for statistics in found):
            return None
        return min(statistics.min for statistics in found), max(statistics.max for statistics in found)

    def _statistics(self, column: str) -> Iterator[tuple[int, pq.Statistics]]:
        place = CANONICAL_COLUMNS.index(column)
        groups = (self._metadata.row_group(index) for index in range(self._metadata.num_row_groups))
        return ((group.num_rows, group.column(place).statistics) for group in groups)

    def blocks(self, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
        """Rows in the order of the file, columns in the order of ``columns``.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        for _, block in self._filtered(columns):
            yield block

    def counted_blocks(self, columns: tuple[str, ...]) -> Iterator[tuple[tuple[FilterCount, ...], pa.RecordBatch]]:
        """As :meth:`blocks`, each with what the filters have dropped from the first block up to it."""
        total = np.zeros(len(self._filters) + 1, dtype=np.int64)
        for counts, block in self._filtered(columns):
            total += counts
            yield tuple(FilterCount(one.name, int(total[i]), int(total[i + 1])) for i, one in enumerate(self._filters)), block

    def _filtered(self, columns: tuple[str, ...]) -> Iterator[tuple[list[int], pa.RecordBatch]]:
        needed = {*columns, *(one.column for one in self._filters)}
        try:
            with pq.ParquetFile(self.path, pre_buffer=True) as file:
                for block in file.iter_batches(batch_size=_BLOCK_ROWS, columns=[name for name in CANONICAL_COLUMNS if name in needed]):
                    counts, kept = [block.num_rows], block
                    for one in self._filters:
                        kept = kept.filter(one.keeps(kept.column(one.column)))
                        counts.append(kept.num_rows)
                    yield counts, kept.select(list(columns))
        except (pa.ArrowInvalid, OSError) as error:
            raise ValueError(f"{self.path} is not a whole Parquet file: {error}") from error


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

"""Reading a canonical log row group by row group, the next one while the last one is worked on."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from data_checks.log_frames import CANONICAL, type_name


class LogGroups:
    """Row groups of a canonical log, as often as wanted; a context that holds the file open.

    Parameters
    ----------
    log_path : Path
        Canonical Parquet whose columns are as agreed.
    """

    def __init__(self, log_path: Path) -> None:
        with pq.ParquetFile(log_path) as file:
            self.kinds = {name: type_name(file.schema_arrow.field(name).type) for name in CANONICAL}
            self._places = {file.metadata.schema.column(place).path: place for place in range(file.metadata.num_columns)}
        texts = [name for name, kind in self.kinds.items() if kind == "string"]
        self._file = pq.ParquetFile(log_path, read_dictionary=texts, pre_buffer=True)
        self._groups = [self._file.metadata.row_group(number) for number in range(self._file.metadata.num_row_groups)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    @property
    def lengths(self) -> list[int]:
        """Rows of every group."""
        return [group.num_rows for group in self._groups]

    def span(self, column: str) -> tuple[int, int] | None:
        """Smallest and largest value of an integer column as the file records them, None if it does not or there are none."""
        found = [group.column(self._places[column]).statistics for group in self._groups]
        if any(one is None or not (one.has_min_max or (one.has_null_count and one.num_values == 0)) for one in found):
            return None
        bounds = [(one.min, one.max) for one in found if one.has_min_max]
        return (min(low for low, _ in bounds), max(high for _, high in bounds)) if bounds else None

    def read(self, columns: Sequence[str]) -> Iterator[dict[str, pa.Array]]:
        """Columns of each group in the order of the file: strings as one dictionary array, others as they are."""
        with ThreadPoolExecutor(1) as reader:
            coming = None
            for number in range(len(self._groups)):
                table = coming.result() if coming else self._file.read_row_group(number, list(columns))
                if number + 1 < len(self._groups):
                    coming = reader.submit(self._file.read_row_group, number + 1, list(columns))
                yield {name: self._whole(table, name) for name in columns}

    def _whole(self, table: pa.Table, name: str) -> pa.Array:
        values = table[name]
        if self.kinds[name] == "string":
            coded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
            values = coded.unify_dictionaries()
        elif pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        whole = values.combine_chunks()
        return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole

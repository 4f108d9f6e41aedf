"""Streaming Parquet logs as Arrow blocks; a row's number in the file stands for its line."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jtm_core.formats.column_types import ID_COLUMNS, REQUIRED_COLUMNS, column_sources, time_type
from jtm_core.formats.text_blocks import Block
from jtm_core.formats.text_values import dates

_BLOCK_ROWS = 1 << 19


@dataclass(frozen=True, kw_only=True, slots=True)
class ParquetLayout:
    """Where our columns stand in a Parquet file.

    Parameters
    ----------
    sources : mapping of str to str
        Our column -> the file's.
    types : mapping of str to pyarrow type
        Our column -> what it is cast to; null where the file's column never holds anything.
    """

    sources: Mapping[str, str]
    types: Mapping[str, pa.DataType]

    def retyped(self, column: str, kind: pa.DataType) -> "ParquetLayout":
        """The same layout with one column of another type."""
        return replace(self, types={**self.types, column: kind})

    def without(self, column: str) -> "ParquetLayout":
        """The same layout with one column less."""
        return replace(self, sources={our: name for our, name in self.sources.items() if our != column})


def parquet_layout(path: Path, columns: Mapping[str, str]) -> ParquetLayout:
    """Layout of a Parquet file.

    Parameters
    ----------
    path : Path
    columns : mapping of str to str
        Our column -> the file's; names not given stand for themselves.

    Raises
    ------
    ValueError
        If the file is damaged, lacks a column, or a column is of a type we have no use for.
    """
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is not a whole Parquet file: {error}") from error
    sources = column_sources(path, schema.names, columns)
    return ParquetLayout(sources=sources, types={our: _target_type(path, our, schema.field(name)) for our, name in sources.items()})


def parquet_blocks(path: Path, layout: ParquetLayout) -> Iterator[Block]:
    """Read a Parquet log in blocks of bounded size.

    Parameters
    ----------
    path : Path
        Parquet file.
    layout : ParquetLayout
        Its columns and their types.

    Yields
    ------
    Block
        Rows in file order; ids int64 or string, behaviour string, rating float64, time int64, float64 or timestamp.

    Raises
    ------
    ValueError
        If the file is damaged, or a value does not fit its column's type.
    """
    try:
        with pq.ParquetFile(path) as file:
            line = 1
            for batch in file.iter_batches(batch_size=_BLOCK_ROWS, columns=list(layout.sources.values())):
                columns = {our: batch.column(name) for our, name in layout.sources.items()}
                yield Block(line, {our: _cast(path, line, our, values, layout.types[our]) for our, values in columns.items()})
                line += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is not a whole Parquet file: {error}") from error


def _target_type(path: Path, our: str, field: pa.Field) -> pa.DataType:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    is_text, is_whole = _is_text(kind), pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale <= 0)
    is_number = is_whole or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if pa.types.is_null(kind) and our not in REQUIRED_COLUMNS:
        return kind
    if our in ID_COLUMNS and (is_text or is_whole):
        return pa.string() if is_text else pa.int64()
    if our == "behaviour" and (is_text or is_whole):
        return pa.string()
    if our == "rating" and is_number:
        return pa.float64()
    if our == "time" and is_text:
        return time_type(_first_text(path, field.name).strip())
    if our == "time" and (is_number or pa.types.is_temporal(kind)) and not pa.types.is_time(kind) and not pa.types.is_duration(kind):
        return pa.int64() if is_whole else pa.float64() if is_number else pa.timestamp("ns", getattr(kind, "tz", None))
    allowed = {"behaviour": "string or integer", "rating": "a number", "time": "a number, a timestamp, a date or text of one of these"}.get(
        our, "string or integer"
    )
    raise ValueError(f"{path}: {our} (column {field.name!r}) is of type {field.type}; allowed is {allowed}")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _first_text(path: Path, column: str) -> str:
    """First value of a text column that is given, which tells how times are written; empty if none is."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=[column]):
            given = batch.column(column).drop_null()
            if len(given):
                return str(given[0].as_py())
    return ""


def _cast(path: Path, line: int, our: str, values: pa.Array, kind: pa.DataType) -> pa.Array:
    is_text_of_time = our == "time" and _is_text(getattr(values.type, "value_type", values.type))
    try:
        return _times(values, kind) if is_text_of_time else values.cast(kind)
    except pa.ArrowInvalid as error:
        row = next((row for row in range(len(values)) if not _fits(values.slice(row, 1), kind, is_text_of_time)), None)
        found = error if row is None else f"line {line + row} has {values[row]}"
        raise ValueError(f"{path}: {our} does not fit {kind}: {found}") from error


def _times(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """Texts as times of a type that :func:`time_type` gave."""
    texts = pc.ascii_trim_whitespace(texts.cast(pa.string()))
    return texts.cast(kind) if kind in (pa.int64(), pa.float64()) else dates(texts, pa.timestamp("ns") if kind == pa.string() else kind)


def _fits(value: pa.Array, kind: pa.DataType, is_text_of_time: bool) -> bool:
    try:
        _times(value, kind) if is_text_of_time else value.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True

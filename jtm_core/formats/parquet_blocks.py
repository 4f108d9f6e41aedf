"""Streaming Parquet logs as Arrow blocks; a row's number in the file stands for its line."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jtm_core.formats.column_types import ID_COLUMNS, REQUIRED_COLUMNS, column_sources
from jtm_core.formats.text_blocks import Block

_BLOCK_ROWS = 1 << 19


def parquet_blocks(path: Path, columns: Mapping[str, str]) -> Iterator[Block]:
    """Read a Parquet log in blocks of bounded size.

    Parameters
    ----------
    path : Path
        Parquet file.
    columns : mapping of str to str
        Our column -> the file's; names not given stand for themselves.

    Yields
    ------
    Block
        Rows in file order; ids int64 or string, behaviour string, rating float64, time int64, float64 or timestamp.

    Raises
    ------
    ValueError
        If the file is damaged, lacks a column, or a column is of a type we have no use for.
    """
    try:
        with pq.ParquetFile(path) as file:
            sources = parquet_sources(path, columns)
            types = {our: _target_type(path, our, file.schema_arrow.field(name)) for our, name in sources.items()}
            line = 1
            for batch in file.iter_batches(batch_size=_BLOCK_ROWS, columns=list(sources.values())):
                yield Block(line, {our: _cast(path, line, our, batch.column(name), types[our]) for our, name in sources.items()})
                line += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is not a whole Parquet file: {error}") from error


def parquet_sources(path: Path, columns: Mapping[str, str]) -> dict[str, str]:
    """Our columns -> those of a Parquet log that hold anything; see :func:`parquet_blocks`."""
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is not a whole Parquet file: {error}") from error
    sources = column_sources(path, schema.names, columns)
    return {our: name for our, name in sources.items() if not pa.types.is_null(schema.field(name).type) or our in REQUIRED_COLUMNS}


def _target_type(path: Path, our: str, field: pa.Field) -> pa.DataType:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if our in ID_COLUMNS and (is_text or pa.types.is_integer(kind)):
        return pa.string() if is_text else pa.int64()
    if our == "behaviour" and (is_text or pa.types.is_integer(kind)):
        return pa.string()
    if our == "rating" and is_number:
        return pa.float64()
    if our == "time" and (is_number or pa.types.is_temporal(kind)) and not pa.types.is_time(kind) and not pa.types.is_duration(kind):
        return pa.int64() if pa.types.is_integer(kind) else pa.float64() if is_number else pa.timestamp("ns", getattr(kind, "tz", None))
    allowed = {"behaviour": "string or integer", "rating": "a number", "time": "a number, a timestamp or a date"}.get(
        our, "string or integer"
    )
    raise ValueError(f"{path}: {our} (column {field.name!r}) is of type {field.type}; allowed is {allowed}")


def _cast(path: Path, line: int, our: str, values: pa.Array, kind: pa.DataType) -> pa.Array:
    try:
        return values.cast(kind)
    except pa.ArrowInvalid as error:
        row = next((row for row in range(len(values)) if not _fits(values[row], kind)), None)
        found = error if row is None else f"line {line + row} has {values[row]}"
        raise ValueError(f"{path}: {our} does not fit {kind}: {found}") from error


def _fits(value: pa.Scalar, kind: pa.DataType) -> bool:
    try:
        value.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True

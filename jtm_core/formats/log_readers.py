"""Reading the files of one log alike: each by a layout of its own, and all with the same columns and types of ids."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from jtm_core.config import DataConfig, LogFormat
from jtm_core.formats.column_types import OUR_COLUMNS, id_type
from jtm_core.formats.log_files import folder_values
from jtm_core.formats.log_layouts import TextLayout, detect_format, text_layout
from jtm_core.formats.parquet_blocks import ParquetLayout, parquet_blocks, parquet_layout
from jtm_core.formats.sources import is_parquet
from jtm_core.formats.text_blocks import Block, text_blocks

FOLDER_COLUMNS = ("category", "behaviour")
"""Our columns that the names of folders may say."""


@dataclass(frozen=True, slots=True)
class LogReader:
    """One file of a log and how it is read.

    Parameters
    ----------
    path : Path
    layout : TextLayout or ParquetLayout
    said : mapping of str to pyarrow Scalar
        Our columns that the file's folders say, the same in all its rows.
    """

    path: Path
    layout: TextLayout | ParquetLayout
    said: Mapping[str, pa.Scalar] = field(default_factory=dict)

    @property
    def columns(self) -> set[str]:
        """Those of ours that it has, from its folders or itself."""
        return {*self.layout.sources, *self.said}

    def blocks(self) -> Iterator[Block]:
        """Its rows; see :func:`text_blocks` and :func:`parquet_blocks`, whose errors it raises."""
        if isinstance(self.layout, ParquetLayout):
            return parquet_blocks(self.path, self.layout)
        return text_blocks(self.path, self.layout)

    @property
    def has_empty_lines(self) -> bool:
        """Whether rows of nothing are lines of nothing, as in text, and no rows without a user, as in Parquet."""
        return isinstance(self.layout, TextLayout)

    def widened(self, path: Path, column: str) -> "LogReader":
        """The same file with ids of a column as strings, as in all files of a log, or, if it is the one at ``path``, with decimal times."""
        if isinstance(self.layout, TextLayout) and (column != "time" or path == self.path):
            return replace(self, layout=self.layout.widened(column))
        return self if column == "time" else replace(self, layout=self.layout.retyped(column, pa.string()))

    def unquoted(self) -> "LogReader":
        """The same file with quotes that belong to the values, if it is one separated by tabs."""
        if isinstance(self.layout, TextLayout) and self.layout.separator == "\t":
            return replace(self, layout=self.layout.unquoted())
        return self


def log_readers(files: Sequence[Path], config: DataConfig) -> tuple[LogFormat, list[LogReader]]:
    """Format of a log, by its first file unless it is given, and its files with layouts that agree.

    Parameters
    ----------
    files : sequence of Path
        At least one.
    config : DataConfig
        ``format`` and ``columns`` are used.

    Raises
    ------
    ValueError
        If the format cannot be told, a file cannot be read or lacks a column, or files differ in kind or in which of
        our columns they have.
    """
    log_format = detect_format(files[0], config)
    said = _said_by_folders(files, config.columns)
    columns = {**config.columns, **dict.fromkeys(said[0], "")}  # what a file calls so is left out
    is_table = is_parquet(files[0])
    other = next((path for path in files if is_parquet(path) != is_table), None)
    if other is not None:
        text, table = (other, files[0]) if is_table else (files[0], other)
        raise ValueError(f"{text} is text and {table} Parquet; the files of a log must be alike")
    if is_table and log_format != "table":
        raise ValueError(f"{files[0]} is a Parquet file; format must be table or auto, not {log_format}")
    if is_table:
        return log_format, _agreed([LogReader(path, parquet_layout(path, columns), own) for path, own in zip(files, said, strict=True)])
    layouts = [text_layout(path, log_format, columns) for path in files]
    readers = [LogReader(path, layout, own) for path, layout, own in zip(files, layouts, said, strict=True)]
    keeps_quotes = any(layout.separator == "\t" and not layout.is_quoted for layout in layouts)
    return log_format, _agreed([reader.unquoted() for reader in readers] if keeps_quotes else readers)


def _said_by_folders(files: Sequence[Path], columns: Mapping[str, str]) -> list[dict[str, pa.Scalar]]:
    """What the folders of each file say of those of our columns that are mapped to a name of theirs."""
    values = [folder_values(file) for file in files]
    said: list[dict[str, pa.Scalar]] = [{} for _ in files]
    for our in FOLDER_COLUMNS:
        name = columns.get(our, "")
        lacking = [file for file, own in zip(files, values, strict=True) if name not in own]
        if len(lacking) == len(files):
            continue
        if lacking:
            other = next(file for file, own in zip(files, values, strict=True) if name in own)
            raise ValueError(f"{lacking[0]} lies in no folder {name}=..., {other} does; the files of a log must be alike")
        texts = pa.array([own[name] for own in values], pa.string())
        typed = texts.cast(id_type(texts) if our == "category" else pa.string())
        for one, value in zip(said, typed, strict=True):
            one[our] = value
    return said


def _agreed(readers: list[LogReader]) -> list[LogReader]:
    """Readers whose ids are of the same type in all files, without columns that hold nothing in any."""
    _check_columns(readers)
    for column in set(readers[0].layout.sources) - {"time"}:
        kinds = {reader.layout.types[column] for reader in readers} - {pa.null()}
        common = pa.string() if pa.string() in kinds else next(iter(kinds), pa.null())
        readers = [replace(reader, layout=_of_type(reader.layout, column, common)) for reader in readers]
    return readers


def _of_type(layout: TextLayout | ParquetLayout, column: str, kind: pa.DataType) -> TextLayout | ParquetLayout:
    if isinstance(layout, ParquetLayout) and pa.types.is_null(kind):
        return layout.without(column)
    return layout if layout.types[column] == kind else layout.retyped(column, kind)


def _check_columns(readers: Sequence[LogReader]) -> None:
    first = readers[0]
    for reader in readers:
        for column in OUR_COLUMNS:
            holders = [one for one in (first, reader) if column in one.layout.sources]
            if len(holders) == 1:
                without = reader if holders[0] is first else first
                raise ValueError(f"{without.path} has no column {column}, {holders[0].path} has one; the files of a log must be alike")

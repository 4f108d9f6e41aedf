"""Streaming text logs as Arrow blocks, with the line number of every row and errors that name the lines.

The fast pass parses straight to the wanted types on all cores. Only if that fails is the file read once more, as
text and on one core, to say which lines are at fault. A quote that no other closes in its line would swallow what
follows it up to the next quote, so lines are counted beside rows; ids with leading zeros are looked for beside them too.
"""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from jtm_core.formats.column_types import ID_COLUMNS, TIME_FORMS, time_type
from jtm_core.formats.log_layouts import TextLayout
from jtm_core.formats.quotes import first_open_quote
from jtm_core.formats.sources import open_source
from jtm_core.formats.text_values import SHOWN, dates, fitting
from jtm_core.formats.watched_streams import WatchedStream

_BLOCK_BYTES = 16 << 20
_ZERO_LED = r"^\s*(-0|0[0-9xX])"


@dataclass(frozen=True, slots=True)
class Block:
    """Some consecutive rows of a log.

    Parameters
    ----------
    first_line : int
        Line number of the first row, counted from 1; the following rows are the following lines.
    columns : dict of str to pyarrow array
        Our columns, those that the file has.
    """

    first_line: int
    columns: dict[str, pa.Array]


class QuotesAreText(Exception):
    """A tab-separated file has quotes that belong to its values, so none is to be taken off."""


class ColumnIsWider(Exception):
    """A column taken for integer holds other values as well in ``path``; it is to be read as the layout ``widened`` from the start."""

    def __init__(self, path: Path, column: str) -> None:
        super().__init__(path, column)
        self.path, self.column = path, column


def text_blocks(path: Path, layout: TextLayout) -> Iterator[Block]:
    """Read a text log in blocks of bounded size.

    Parameters
    ----------
    path : Path
        File, gzip accepted.
    layout : TextLayout
        Its columns and their types.

    Yields
    ------
    Block
        Rows in file order; empty lines come out as rows of nulls.

    Raises
    ------
    ValueError
        If a line has the wrong number of columns or a value is not of its column's type (the first offenders of the
        block are named), all of our columns are empty in a line that is not, or the file cannot be read to its end.
    ColumnIsWider
        If an id column that may be string holds a value that is no integer, or one with a leading zero, or an integer time
        that may be decimal is decimal in a line.
    QuotesAreText
        If quotes run over line ends in a file separated by tabs.
    """
    types = {layout.sources[our]: kind for our, kind in layout.types.items()}
    unsure = [our for our in ID_COLUMNS if layout.types.get(our) == pa.int64()]
    bare: list[int] = []
    line = layout.header_lines + 1
    try:
        with open_source(path) as stream:
            watched = WatchedStream(stream, layout.separator[:1].encode(), seeks_zeros=bool(unsure))
            for batch in _reader(pa.PythonFile(watched, mode="r"), layout, types):
                if watched.has_zero_led and unsure:
                    _check_leading_zeros(path, layout, unsure)
                    unsure = []
                block = Block(line, {our: _column(our, batch.column(name)) for our, name in layout.sources.items()})
                bare += _bare_lines(block)
                yield block
                line += batch.num_rows
        _check_bare(path, layout, bare)
        if layout.is_quoted and watched.num_lines > line - 1:
            _check_quotes(path, layout, swallow=True)
    except pa.ArrowInvalid as error:
        if _has_no_rows(error):
            return
        if layout.is_quoted and str(error).startswith("CSV parser got out of sync"):
            _check_quotes(path, layout, swallow=True)
        _explain(path, layout, error)


def _column(our: str, values: pa.Array) -> pa.Array:
    return dates(values, pa.timestamp("ns")) if our == "time" and pa.types.is_string(values.type) else values


def _bare_lines(block: Block) -> list[int]:
    """Lines that have none of our columns."""
    if not all(values.null_count for values in block.columns.values()):
        return []
    return [block.first_line + int(row) for row in np.flatnonzero(reduce(pc.and_, map(pc.is_null, block.columns.values())))]


def _check_bare(path: Path, layout: TextLayout, lines: Sequence[int]) -> None:
    """Refuse a line that lacks our columns only, and is not empty as a whole."""
    if not lines or set(layout.file_columns) <= set(layout.sources.values()):
        return
    wanted, nothing = set(lines), f'{layout.separator}" \t\r\n'.encode()
    with open_source(path) as stream:
        numbered = enumerate(io.BufferedReader(stream), start=1)
        wrong = [str(number) for number, line in numbered if number in wanted and line.strip(nothing)]
    if wrong:
        shown = ", ".join(wrong[:SHOWN]) + (" ..." if len(wrong) > SHOWN else "")
        raise ValueError(f"{path}: user, item and time are missing in line {shown}, where other columns are not empty")


def _check_quotes(path: Path, layout: TextLayout, swallow: bool = False) -> None:
    """Refuse quotes that are not closed within their line, naming the first one; ``swallow`` if they are known to swallow lines."""
    with open_source(path) as stream:
        lines = islice(io.BufferedReader(stream), layout.header_lines, None)
        found = first_open_quote(lines, layout.separator)
    if not found and not swallow:
        return
    if layout.separator == "\t":
        raise QuotesAreText
    if not found:
        raise ValueError(f"{path}: quotes run over the ends of lines; a line is a behaviour")
    number, line = layout.header_lines + found[0], found[1][:120].decode(errors="replace")
    raise ValueError(f"{path}: a quote in line {number} is not closed in it: {line!r}; a line is a behaviour")


def _has_no_rows(error: pa.ArrowInvalid) -> bool:
    return str(error).startswith(("Empty CSV file", "Could not skip initial"))


def _reader(stream: pa.NativeFile, layout: TextLayout, types: dict[str, pa.DataType], wrong_rows: list[Any] | None = None) -> Any:
    def remember(row: Any) -> str:
        if wrong_rows is None:
            return "error"
        wrong_rows.append(row)
        return "skip"

    return pa.csv.open_csv(
        stream,
        pa.csv.ReadOptions(
            column_names=list(layout.file_columns), skip_rows=layout.header_lines, block_size=_BLOCK_BYTES, use_threads=wrong_rows is None
        ),
        pa.csv.ParseOptions(
            delimiter=layout.separator[0],
            quote_char='"' if layout.is_quoted else False,
            ignore_empty_lines=False,  # or rows would no longer be lines
            invalid_row_handler=remember,
        ),
        pa.csv.ConvertOptions(
            column_types=types, include_columns=list(types), null_values=[""], strings_can_be_null=True, timestamp_parsers=TIME_FORMS
        ),
    )


def _explain(path: Path, layout: TextLayout, error: pa.ArrowInvalid) -> NoReturn:
    """Find the lines the fast pass stumbled over, and raise with them.

    Quotes come first: an open one swallows what follows, in the middle of which the pass stumbles over anything.
    """
    if layout.is_quoted:
        _check_quotes(path, layout)
    wrong_rows: list[Any] = []
    line = layout.header_lines + 1
    with open_source(path) as stream:
        try:
            for batch in _reader(stream, layout, dict.fromkeys(layout.sources.values(), pa.binary()), wrong_rows):
                _check_widths(path, layout, wrong_rows)
                _check_values(path, layout, Block(line, {our: batch.column(name) for our, name in layout.sources.items()}))
                line += batch.num_rows
        except pa.ArrowInvalid as later_error:
            error = later_error
    _check_widths(path, layout, wrong_rows)
    raise ValueError(f"{path} cannot be read as {layout.name}: {_readable(error)}") from error


def _check_leading_zeros(path: Path, layout: TextLayout, columns: Sequence[str]) -> None:
    """Refuse integer columns, or have them read as text, in which an id is not written as its integer is."""
    line = layout.header_lines + 1
    with open_source(path) as stream:
        for batch in _reader(stream, layout, {layout.sources[our]: pa.binary() for our in columns}):
            for our in columns:
                values = batch.column(layout.sources[our])
                wrong = np.flatnonzero(np.asarray(pc.fill_null(pc.match_substring_regex(values, _ZERO_LED), False)))[:SHOWN]
                if len(wrong) and our in layout.widening:
                    raise ColumnIsWider(path, our)
                if len(wrong):
                    found = "; ".join(f"line {line + row}: {values[row].as_py().decode()!r}" for row in wrong)
                    raise ValueError(
                        f"{path}: {our} (column {layout.sources[our]!r}) must be an integer without leading zeros in every line of "
                        f"{layout.name}, but {found}; as format table such ids are kept as they are"
                    )
            line += batch.num_rows


def _readable(error: pa.ArrowInvalid) -> str:
    return re.sub(r"Row #(\d+)", r"line \1", str(error))


def _check_widths(path: Path, layout: TextLayout, wrong_rows: list[Any]) -> None:
    if not wrong_rows:
        return
    step = len(layout.separator)
    shown = "; ".join(f"line {row.number} has {(row.actual_columns - 1) // step + 1}: {row.text[:120]!r}" for row in wrong_rows[:SHOWN])
    expected = (len(layout.file_columns) - 1) // step + 1
    raise ValueError(f"{path}: {layout.name} has {expected} columns separated by {layout.separator!r} in every line, but {shown}")


def _check_values(path: Path, layout: TextLayout, block: Block) -> None:
    for our, values in block.columns.items():
        fits, allowed = fitting(our, values, layout)
        wrong = np.flatnonzero(~fits)[:SHOWN]
        if len(wrong) and our in layout.widening and (our != "time" or _has_decimal(values.take(pa.array(wrong)))):
            raise ColumnIsWider(path, our)
        if len(wrong):
            found = "; ".join(f"line {block.first_line + row}: {values[row].as_py()[:60].decode(errors='replace')!r}" for row in wrong)
            raise ValueError(f"{path}: {our} (column {layout.sources[our]!r}) must be {allowed} in every line, but {found}")


def _has_decimal(values: pa.Array) -> bool:
    return any(time_type(value.decode(errors="replace").strip()) == pa.float64() for value in values.to_pylist())

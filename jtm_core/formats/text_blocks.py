"""Streaming text logs as Arrow blocks, with the line number of every row and errors that name the lines.

The fast pass parses straight to the wanted types on all cores. Only if that fails is the file read once more, as
text and on one core, to say which lines are at fault. A quote that no other closes in its line would swallow what
follows it up to the next quote, so lines are counted beside rows; ids with leading zeros are looked for beside them too.
"""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from jtm_core.formats.column_types import ID_COLUMNS, TIME_FORMS
from jtm_core.formats.log_layouts import TextLayout
from jtm_core.formats.sources import open_source
from jtm_core.formats.watched_streams import WatchedStream

_BLOCK_BYTES = 16 << 20
_SHOWN = 5  # offenders named in an error
_ZERO_LED = r"^\s*(-0|0[0-9xX])"
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_A_DATE = "a date that exists, of the years 1678 to 2261,"
_DATE_FORMS = "2017-11-25, 2017-11-25 09:30:00, 2017-11-25 09:30:00 UTC or 2017-11-25T09:30:00+08:00"
_PATTERNS = {
    pa.int64(): (r"^\s*-?[0-9]{1,19}\s*$", "an integer of 64 bits"),
    pa.float64(): (r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*$", "a number"),
    pa.timestamp("ns"): (rf"^\s*{_DAY}([ T][0-9:.]+|[ T][0-9:]+ UTC)?\s*$", f"{_A_DATE} without a time zone, as 2017-11-25 09:30:00"),
    pa.timestamp("ns", "UTC"): (
        rf"^\s*{_DAY}[ T][0-9:.]+(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)\s*$",
        f"{_A_DATE} with a time zone, as 2017-11-25T09:30:00Z",
    ),
    pa.string(): (rf"^\s*{_DAY}([ T][0-9:.]+)?( UTC)?\s*$", f"{_A_DATE} in UTC, as 2017-11-25 09:30:00.5 UTC"),
}
"""Text of a type, and what is asked for in words; those of string are times, see ``column_types.time_type``."""


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


class ColumnIsText(Exception):
    """A column taken for integer holds other ids as well; ``column`` is to be read as strings from the start."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


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
        block are named), or the file cannot be read to its end.
    ColumnIsText
        If an id column that may be string holds a value that is no integer, or one with a leading zero.
    QuotesAreText
        If quotes run over line ends in a file separated by tabs.
    """
    types = {layout.sources[our]: kind for our, kind in layout.types.items()}
    unsure = [our for our in ID_COLUMNS if layout.types.get(our) == pa.int64()]
    line = layout.header_lines + 1
    try:
        with open_source(path) as stream:
            watched = WatchedStream(stream, layout.separator[:1].encode(), seeks_zeros=bool(unsure))
            for batch in _reader(pa.PythonFile(watched, mode="r"), layout, types):
                if watched.has_zero_led and unsure:
                    _check_leading_zeros(path, layout, unsure)
                    unsure = []
                yield Block(line, {our: _column(our, batch.column(name)) for our, name in layout.sources.items()})
                line += batch.num_rows
        if layout.is_quoted and watched.num_lines > line - 1:
            _blame_quote(path, layout)
    except pa.ArrowInvalid as error:
        if _has_no_rows(error):
            return
        if layout.is_quoted and str(error).startswith("CSV parser got out of sync"):
            _blame_quote(path, layout)
        _explain(path, layout, error)


def _column(our: str, values: pa.Array) -> pa.Array:
    return _dates(values, pa.timestamp("ns")) if our == "time" and pa.types.is_string(values.type) else values


def _dates(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """Texts as dates, an `` UTC`` at the end taken off."""
    texts = pc.ascii_trim_whitespace(texts)
    return pc.if_else(pc.ends_with(texts, " UTC"), pc.utf8_slice_codeunits(texts, 0, -4), texts).cast(kind)


def _blame_quote(path: Path, layout: TextLayout) -> NoReturn:
    """Name the first line whose quotes are not closed within it."""
    if layout.separator == "\t":
        raise QuotesAreText
    opened = re.compile(rf'(^|{re.escape(layout.separator)})"'.encode())
    with open_source(path) as stream:
        for number, line in enumerate(io.BufferedReader(stream), start=1):
            if line.count(b'"') % 2 and opened.search(line):
                raise ValueError(
                    f"{path}: a quote in line {number} is not closed in it: {line[:120].decode(errors='replace')!r}; a line is a behaviour"
                )
    raise ValueError(f"{path}: quotes run over the ends of lines; a line is a behaviour")


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
    """Find the lines the fast pass stumbled over, and raise with them."""
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
                wrong = np.flatnonzero(np.asarray(pc.fill_null(pc.match_substring_regex(values, _ZERO_LED), False)))[:_SHOWN]
                if len(wrong) and our in layout.widening:
                    raise ColumnIsText(our)
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
    shown = "; ".join(f"line {row.number} has {(row.actual_columns - 1) // step + 1}: {row.text[:120]!r}" for row in wrong_rows[:_SHOWN])
    expected = (len(layout.file_columns) - 1) // step + 1
    raise ValueError(f"{path}: {layout.name} has {expected} columns separated by {layout.separator!r} in every line, but {shown}")


def _check_values(path: Path, layout: TextLayout, block: Block) -> None:
    for our, values in block.columns.items():
        fits, allowed = _fitting(layout, our, values)
        wrong = np.flatnonzero(~fits)[:_SHOWN]
        if len(wrong) and our in layout.widening:
            raise ColumnIsText(our)
        if len(wrong):
            found = "; ".join(f"line {block.first_line + row}: {values[row].as_py()[:60].decode(errors='replace')!r}" for row in wrong)
            raise ValueError(f"{path}: {our} (column {layout.sources[our]!r}) must be {allowed} in every line, but {found}")


def _fitting(layout: TextLayout, our: str, values: pa.Array) -> tuple[Any, str]:
    """Which values are of their column's type, bool (N,), and what is asked for in words."""
    kind = layout.types[our]
    if kind == pa.string() and our != "time":
        return _is_utf8(values), "text in UTF-8"
    pattern, allowed = _PATTERNS[kind]
    fits = np.asarray(pc.fill_null(pc.match_substring_regex(values, pattern), True))
    if kind == pa.int64():
        fits &= _within_64_bits(values, fits)
    if our == "time" and kind not in (pa.int64(), pa.float64()):
        fits[fits] = _exist(values.filter(pa.array(fits)).cast(pa.string()), kind)
    elif our == "time" and layout.name in ("table", "recbole"):
        allowed += f", or a date ({_DATE_FORMS}),"
    return fits, allowed


def _exist(texts: pa.Array, kind: pa.DataType) -> Any:
    """Which of texts that look like dates are some: there is no 30th of February."""
    kind = pa.timestamp("ns") if kind == pa.string() else kind
    try:
        _dates(texts, kind)
    except pa.ArrowInvalid:
        if len(texts) > 1:
            half = len(texts) // 2
            return np.concatenate([_exist(texts[:half], kind), _exist(texts[half:], kind)])
        return np.zeros(1, dtype=bool)
    return np.ones(len(texts), dtype=bool)


def _within_64_bits(values: pa.Array, is_integer: Any) -> Any:
    within = np.ones(len(values), dtype=bool)
    for row in np.flatnonzero(is_integer & np.asarray(pc.fill_null(pc.greater(pc.binary_length(values), 18), False))):
        within[row] = -(2**63) <= int(values[row].as_py()) < 2**63
    return within


def _is_utf8(values: pa.Array) -> Any:
    try:
        values.cast(pa.string())
    except pa.ArrowInvalid:
        decoded = (value is None or value.decode(errors="replace").encode() == value for value in values.to_pylist())
        return np.fromiter(decoded, dtype=bool, count=len(values))
    return np.ones(len(values), dtype=bool)

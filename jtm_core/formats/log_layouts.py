"""How published behaviour logs are laid out, and which layout a file has.

| format | columns |
|---|---|
| ``user_behavior`` | user,item,category,behaviour type,time, no header (Taobao's ``UserBehavior.csv``) |
| ``amazon_ratings`` | user,item,rating,time, no header (Amazon's ``ratings_*.csv``); ids are strings |
| ``movielens`` | ``ratings.dat`` (``::``), ``u.data`` (tabs), ``ratings.csv`` (header) |
| ``recbole`` | ``.inter``: tabs, a header of ``name:type`` |
| ``table`` | any CSV with a header, or Parquet; a CSV without header where ``columns`` gives nothing but numbers, counted from 1 |

Integer or string ids: published formats have integers (Amazon strings), a file of theirs whose first line holds
something else has strings. In ``recbole`` and ``table`` an id column is integer if each of its values is, without
leading zeros; else the whole column is string.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from jtm_core.config import DataConfig, LogFormat
from jtm_core.formats.column_types import ID_COLUMNS, REQUIRED_COLUMNS, column_sources, fixed_type, id_type, infer_types, is_time, widening
from jtm_core.formats.quotes import SEPARATORS, first_open_quote, without_quoted
from jtm_core.formats.sources import first_line, is_parquet, read_start

READABLE_FORMATS: tuple[LogFormat, ...] = ("user_behavior", "amazon_ratings", "movielens", "recbole", "table")

_MOVIELENS_HEADER = "userId,movieId,rating,timestamp"

# What no other format begins with; Amazon's four columns could be anyone's, so that format goes by name.
_BY_FIRST_LINE: tuple[tuple[LogFormat, str], ...] = (
    ("recbole", r"[^\t]+:(token|float)(_seq)?(\t[^\t]+:(token|float)(_seq)?)+"),
    ("movielens", r"\d+::\d+::[\d.]+::-?\d+|" + _MOVIELENS_HEADER + r"|\d+\t\d+\t[\d.]+\t-?\d+"),
    ("user_behavior", r"[^,]+,[^,]+,[^,]*,[A-Za-z_]+,-?\d+"),
)
_BY_NAME: tuple[tuple[LogFormat, str], ...] = (
    ("recbole", r".*\.inter"),
    ("movielens", r"ratings\.(dat|csv)|u\.data"),
    ("amazon_ratings", r"ratings_.*\.csv"),
    ("user_behavior", r"UserBehavior.*\.csv"),
)


@dataclass(frozen=True, kw_only=True)
class TextLayout:
    """Where our columns stand in a text file.

    Parameters
    ----------
    name : str
        Format, for messages.
    separator : str
        What stands between columns: one character, or one character twice.
    file_columns : tuple of str
        Every column of the file in order.
    sources : mapping of str to str
        Our column -> the file's column.
    types : mapping of str to pyarrow type
        Our column -> what its text is parsed as.
    header_lines : int
        Lines before the first behaviour, 0 or 1.
    is_quoted : bool
        Whether quotes around a value are taken off.
    widening : frozenset of str
        Our columns that become strings as a whole if a value is no integer; the time becomes decimal if one is a decimal number.
    """

    name: str
    separator: str
    file_columns: tuple[str, ...]
    sources: Mapping[str, str]
    types: Mapping[str, pa.DataType]
    header_lines: int = 0
    is_quoted: bool = False
    widening: frozenset[str] = frozenset()

    def widened(self, column: str) -> "TextLayout":
        """The same layout with one column as strings, or with a decimal time."""
        return self.retyped(column, pa.float64() if column == "time" else pa.string())

    def retyped(self, column: str, kind: pa.DataType) -> "TextLayout":
        """The same layout with one column of another type, which is final."""
        return replace(self, types={**self.types, column: kind}, widening=self.widening - {column})

    def unquoted(self) -> "TextLayout":
        """The same layout with quotes that belong to the values."""
        return replace(self, is_quoted=False)


def detect_format(path: Path, config: DataConfig) -> LogFormat:
    """Format of a log: the one asked for, else by its first line, a header of our names included, and then by the file's name.

    Raises
    ------
    ValueError
        If the file is missing or empty, the format is a synthetic world's, or nothing fits.
    """
    if config.format in READABLE_FORMATS:
        return config.format
    if config.format != "auto":
        raise ValueError(f"format {config.format} is generated, not read from {path}; formats of files are {', '.join(READABLE_FORMATS)}")
    if config.columns or is_parquet(path):
        return "table"
    line = first_line(read_start(path))
    if found := _first_fitting(_BY_FIRST_LINE, line):
        return found
    if set(REQUIRED_COLUMNS) <= set(_fields(path, line, _separator_of(line))):
        return "table"
    if found := _first_fitting(_BY_NAME, path.name.removesuffix(".gz")):
        return found
    raise ValueError(
        f"the format of {path} cannot be told from its name and first line {line[:120]!r}; "
        f"set format to one of {', '.join(READABLE_FORMATS)} (table needs columns, our name -> the file's)"
    )


def _first_fitting(candidates: Iterable[tuple[LogFormat, str]], text: str) -> LogFormat | None:
    return next((name for name, pattern in candidates if re.fullmatch(pattern, text)), None)


def text_layout(path: Path, log_format: LogFormat, columns: Mapping[str, str]) -> TextLayout:
    """Layout of a text file of a known format, from its first MiB.

    Parameters
    ----------
    path : Path
        File, gzip accepted.
    log_format : one of ``READABLE_FORMATS``
    columns : mapping of str to str
        Our column -> the file's, for ``table`` and ``recbole``; names not given stand for themselves.

    Raises
    ------
    ValueError
        If the file cannot be read or a column is not in it.
    """
    start = read_start(path)
    line = first_line(start)
    if log_format in ("recbole", "table") and not line.strip():
        raise ValueError(f"the first line of {path} is empty; there the header is expected, or the first behaviour if there is none")
    if log_format == "recbole":
        return _recbole_layout(path, start, columns)
    if log_format == "table":
        return _table_layout(path, start, columns)
    if log_format == "amazon_ratings":
        return _published(log_format, ",", ("user", "item", "rating", "time"), line, pa.string())
    if log_format == "user_behavior":
        return _published(log_format, ",", ("user", "item", "category", "behaviour", "time"), line, pa.int64())
    return _movielens_layout(path, line)


def _published(name: str, separator: str, columns: tuple[str, ...], line: str, ids: pa.DataType) -> TextLayout:
    values = dict(zip(columns, line.split(separator), strict=False))
    types = {column: fixed_type(column) for column in columns}
    for column in set(ID_COLUMNS) & set(columns):
        types[column] = ids if ids == pa.string() else id_type(pa.array([values.get(column) or None], pa.string()))
    # Arrow separates by one character, so "a::b" is three columns, the middle one empty and never read.
    file_columns = columns if len(separator) == 1 else tuple(name for column in columns for name in (column, f"after {column}"))[:-1]
    return TextLayout(name=name, separator=separator, file_columns=file_columns, sources={name: name for name in columns}, types=types)


def _movielens_layout(path: Path, line: str) -> TextLayout:
    separator = "::" if "::" in line else "\t" if "\t" in line else ","
    has_header = line.startswith("userId,")
    if has_header and line != _MOVIELENS_HEADER:
        raise ValueError(f"the first line of {path} is {line[:120]!r}; MovieLens has {_MOVIELENS_HEADER!r}, for others take format table")
    layout = _published("movielens", separator, ("user", "item", "rating", "time"), "" if has_header else line, pa.int64())
    return replace(layout, header_lines=int(has_header))


def _recbole_layout(path: Path, start: bytes, columns: Mapping[str, str]) -> TextLayout:
    header = first_line(start).split("\t")
    if any(":" not in field for field in header):
        raise ValueError(
            f"the first line of {path} is {first_line(start)[:120]!r}; a RecBole file begins with name:type, separated by tabs"
        )
    names = tuple(field.rsplit(":", 1)[0] for field in header)
    usual = {"user": "user_id", "item": "item_id", "rating": "rating", "time": "timestamp"}
    usual = {our: name for our, name in usual.items() if name in names or our in REQUIRED_COLUMNS}
    sources = column_sources(path, names, {**usual, **columns})
    types = infer_types(_after_header(start), names, sources, "\t", None)
    return TextLayout(
        name="recbole", separator="\t", file_columns=names, sources=sources, types=types, header_lines=1, widening=widening(types)
    )


def _table_layout(path: Path, start: bytes, columns: Mapping[str, str]) -> TextLayout:
    line = first_line(start)
    mapped = {our: name for our, name in columns.items() if name}
    has_header = not mapped or not all(map(str.isdecimal, mapped.values()))
    separator = _separator_of(line) if has_header else _separator_without_header(path, line, mapped)
    names = _fields(path, line, separator)
    if not has_header:
        names = _numbers(path, names)
    sources = column_sources(path, names, columns)
    sample = _after_header(start) if has_header else start
    is_quoted = separator != "\t" or first_open_quote(sample.split(b"\n"), separator) is None
    types = infer_types(sample, names, sources, separator, '"' if is_quoted else None)
    return TextLayout(
        name="table", separator=separator, file_columns=tuple(names), sources=sources, types=types,
        header_lines=int(has_header), is_quoted=is_quoted, widening=widening(types),
    )  # fmt: skip


def _numbers(path: Path, values: list[str]) -> list[str]:
    """Numbers of a file's columns, counted from 1; the values of its first line may not be such a count themselves."""
    counts = [[str(number) for number in range(start, start + len(values))] for start in (0, 1)]
    if sorted(values) in map(sorted, counts):
        raise ValueError(
            f"{path}: columns gives numbers, so no header is expected, but the first line is {', '.join(values)[:120]!r}, which could be "
            f"one; take that line out if it is a header, or give the file a header of names and map these in columns"
        )
    return counts[1]


def _after_header(start: bytes) -> bytes:
    return start.partition(b"\n")[2]


def _separator_of(line: str) -> str:
    return max(SEPARATORS, key=without_quoted(line).count)


def _separator_without_header(path: Path, line: str, columns: Mapping[str, str]) -> str:
    """What separates a first line that is a behaviour; refused if it can be read in more than one way."""
    most = max(map(int, columns.values()))
    possible = [one for one in SEPARATORS if without_quoted(line).count(one) + 1 >= most]
    if not possible or not columns.keys() >= set(REQUIRED_COLUMNS):
        return _separator_of(line)  # a column is missing, as will be said
    if len(possible) == 1:
        return possible[0]
    right = [one for one in possible if _is_behaviour(_fields(path, line, one), columns)]
    if len(right) == 1:
        return right[0]
    ways = " or ".join(map(repr, right or possible))
    raise ValueError(
        f"{path}: columns gives numbers, so no header is expected, and the first line {line[:120]!r} may be separated by {ways}, each "
        f"of which gives {'a' if right else 'enough columns but no'} behaviour of user, item and time; give the file a header of names "
        f"and map these in columns"
    )


def _is_behaviour(values: list[str], columns: Mapping[str, str]) -> bool:
    """Whether user, item and time, given by number, stand in a line."""
    numbered = {str(number): value.strip() for number, value in enumerate(values, start=1)}
    user, item, time = (numbered.get(columns[our], "") for our in REQUIRED_COLUMNS)
    return bool(user and item and is_time(time))


def _fields(path: Path, line: str, separator: str) -> list[str]:
    if separator == "\t" and first_open_quote([line.encode()], separator):
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error as error:
        raise ValueError(f"the first line of {path} is {line[:120]!r}, no line of text: {error}") from error

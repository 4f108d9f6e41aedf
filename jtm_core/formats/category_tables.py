"""Tables of items and their categories, for logs that carry no category.

Read are: two columns item and category, separated by comma, tab or ``::`` (a first line that names one of them ``item``,
``item_id``, ``itemId``, ``movieId``, ``asin`` or as the log does its own is a header, and says which is the item's);
MovieLens' ``movies.csv`` and ``movies.dat``, of whose genres the first is taken; RecBole's ``.item``, of whose class or
genre list the first word is taken; Parquet with a column category and one of the items, called as in a header. Quotes
around a value are taken off where a log's are: between commas, and between tabs unless some line does not close one.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from jtm_core.formats.column_types import INTEGER
from jtm_core.formats.quotes import first_open_quote
from jtm_core.formats.sources import first_line, is_parquet, open_source

_ITEM_NAMES = frozenset({"item", "item_id", "itemid", "movieid", "asin"})
_TYPED_HEADER = re.compile(r"[^\t]+:(token|float)(_seq)?(\t[^\t]+:(token|float)(_seq)?)+")
_RECBOLE_CATEGORIES = ("class", "genre", "genres", "category", "categories")


@dataclass(frozen=True, slots=True, eq=False)
class CategoryTable:
    """Category of items; the first row of an item counts.

    Parameters
    ----------
    items, categories : pyarrow string arrays, equally long
    """

    items: pa.Array
    categories: pa.Array

    def for_items_of(self, item_type: pa.DataType) -> "CategoryTable":
        """The rows whose item can be one of a log with ids of this type, cast to it."""
        if item_type == pa.string():
            return self
        fits = pc.match_substring_regex(self.items, INTEGER)  # 007 is another item than 7
        return CategoryTable(self.items.filter(fits).cast(item_type), self.categories.filter(fits))


class CategoryLookup:
    """A table made ready to be asked block by block for the categories of a log's items.

    Parameters
    ----------
    table : CategoryTable
    item_type : pyarrow type
        Of the log's items.
    """

    def __init__(self, table: CategoryTable, item_type: pa.DataType) -> None:
        self._table, self._own, self._has_found_any = table, table.for_items_of(item_type), False

    def categories_of(self, items: pa.Array) -> pa.Array:
        """Categories of items, null for those that the table does not have."""
        places = pc.index_in(items, value_set=self._own.items)
        self._has_found_any = self._has_found_any or places.null_count < len(places)
        return self._own.categories.take(places)

    def check_found(self, source: Path) -> None:
        """Refuse a table that had none of the items asked for.

        Raises
        ------
        ValueError
            Says also if the table's items are integers with leading zeros, which the log's may have lost.
        """
        if self._has_found_any:
            return
        padded = self._table.items.filter(pc.match_substring_regex(self._table.items, "^0[0-9]+$"))
        hint = f" Items such as {padded[0].as_py()!r} have leading zeros in it; the log's are to be written alike." if len(padded) else ""
        raise ValueError(f"the category table knows none of the items of {source}; is it this log's?{hint}")


def read_category_table(path: Path, item_name: str = "") -> CategoryTable:
    """Read a category table of any of the kinds above, gzip accepted.

    Parameters
    ----------
    path : Path
    item_name : str
        What the log calls its item column, which a header of the table may do too; a number names no column.

    Raises
    ------
    ValueError
        If the file is missing, empty or damaged, has other columns, an item is empty, there are no rows, or the
        first line is none of integers where all others are, and no header that is known.
    """
    own = frozenset({item_name.lower()} if item_name and not item_name.isdecimal() else ())
    items, categories = _parquet_columns(path, own) if is_parquet(path) else _text_columns(path, _ITEM_NAMES | own)
    if not len(items):
        raise ValueError(f"category table {path} has no rows")
    if items.null_count:
        raise ValueError(f"category table {path} has {items.null_count} rows without an item")
    return CategoryTable(items, categories)


def _parquet_columns(path: Path, own: frozenset[str]) -> tuple[pa.Array, pa.Array]:
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"category table {path} is not a whole Parquet file: {error}") from error
    item = _item_column(table.column_names, own)
    if item is None or table.column_names.count("category") != 1:
        raise ValueError(
            f"category table {path} has the columns {', '.join(table.column_names)}; it needs one item and one category, the item's called "
            f"as in the log or one of {', '.join(sorted(_ITEM_NAMES))}"
        )
    return _text_of(path, table, item), _text_of(path, table, "category")


def _item_column(names: list[str], own: frozenset[str]) -> str | None:
    """The one column of items, that of our or the log's own name before others; None if there is none, or more than one."""
    for wanted in ({"item"} | own, _ITEM_NAMES):
        found = [name for name in names if name.lower() in wanted and name != "category"]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _text_of(path: Path, table: pa.Table, name: str) -> pa.Array:
    values = table.column(name).combine_chunks()
    try:
        return values.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"category table {path}: {name} is of type {values.type}; allowed is string or integer") from error


def _text_columns(path: Path, item_names: frozenset[str]) -> tuple[pa.Array, pa.Array]:
    with open_source(path) as stream:
        content = stream.read().removeprefix(b"\xef\xbb\xbf")
    content = _in_utf8(path, content)
    line = first_line(content)
    if _TYPED_HEADER.fullmatch(line):
        return _recbole_columns(path, content, line)
    separator = "::" if "::" in line else "\t" if "\t" in line else ","
    if separator == "::":
        content, separator = content.replace(b"::", b"\x1f"), "\x1f"
    width = 3 if _is_movies(line, separator) else 2
    header = [name.strip(' "').lower() for name in line.split("::" if separator == "\x1f" else separator)]
    names = ["item", *["title"] * (width - 2), "category"]
    if header[-1] in item_names and header[0] not in item_names:
        names.reverse()
    has_header = not item_names.isdisjoint({header[0], header[-1]})
    is_quoted = separator == "," or (separator == "\t" and first_open_quote(content.split(b"\n")[has_header:], separator) is None)
    table = _parse(path, content, names, separator, int(has_header), is_quoted)
    if not has_header:
        _check_first(path, table.column("item"), line)
    categories = table.column("category").combine_chunks()
    if width == 3:
        categories = pc.list_element(pc.split_pattern(categories, "|", max_splits=1), 0)
    return table.column("item").combine_chunks(), categories


def _in_utf8(path: Path, content: bytes) -> bytes:
    """Text of a table in UTF-8, MovieLens' ``movies.dat`` turned into it: its titles are in Latin-1, its items are numbers."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        if first_line(content).count("::") == 2:
            return content.decode("latin-1").encode()
        number = content.count(b"\n", 0, error.start)
        line = content.split(b"\n", number + 1)[number]
        raise ValueError(
            f"category table {path} must be text in UTF-8 in every line, but line {number + 1}: {line[:60].decode(errors='replace')!r}"
        ) from error
    return content


def _check_first(path: Path, items: pa.ChunkedArray, line: str) -> None:
    """Refuse a first line that looks like a header which nobody knows: its columns may be exchanged."""
    is_integer = pc.match_substring_regex(items, r"^\s*-?[0-9]+\s*$")
    if len(items) > 1 and is_integer[0].as_py() is False and pc.all(is_integer[1:]).as_py():
        raise ValueError(
            f"category table {path}: all items are integers but that of the first line, {line[:120]!r}; if it is a header, call the "
            f"items' column as in the log or one of {', '.join(sorted(_ITEM_NAMES))}, else mend the line"
        )


def _is_movies(line: str, separator: str) -> bool:
    return line.strip() == "movieId,title,genres" or (separator == "\x1f" and line.count("::") == 2)


def _recbole_columns(path: Path, content: bytes, line: str) -> tuple[pa.Array, pa.Array]:
    names = [field.rsplit(":", 1)[0] for field in line.split("\t")]
    category = next((name for name in _RECBOLE_CATEGORIES if name in names), None)
    if category is None or "item_id" not in names:
        raise ValueError(
            f"category table {path} has the columns {', '.join(names)}; it needs item_id and one of {', '.join(_RECBOLE_CATEGORIES)}"
        )
    table = _parse(path, content, names, "\t", 1)
    categories = table.column(category).combine_chunks()
    if line.split("\t")[names.index(category)].endswith("_seq"):
        categories = pc.list_element(pc.split_pattern(categories, " ", max_splits=1), 0)
    return table.column("item_id").combine_chunks(), categories


def _parse(path: Path, content: bytes, names: list[str], separator: str, header_lines: int, is_quoted: bool = False) -> pa.Table:
    wrong: list[Any] = []

    def remember(row: Any) -> str:
        wrong.append(row)
        return "skip"

    try:
        table = pa.csv.read_csv(
            pa.BufferReader(content),
            pa.csv.ReadOptions(column_names=names, skip_rows=header_lines, use_threads=False, block_size=len(content) + 1),
            pa.csv.ParseOptions(delimiter=separator, quote_char='"' if is_quoted else False, invalid_row_handler=remember),
            pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True),
        )
    except pa.ArrowInvalid as error:
        if str(error).startswith(("Empty CSV file", "Could not skip initial")):
            raise ValueError(f"category table {path} has no rows") from error
        raise ValueError(f"category table {path} cannot be read: {error}") from error
    items = table.column("item" if "item" in names else "item_id")
    for name in names:
        torn = pc.filter(items, pc.fill_null(pc.match_substring(table.column(name), "\n"), False))
        if len(torn):
            raise ValueError(
                f"category table {path}: a quote is not closed in the line of item {torn[0].as_py()[:60]!r}; a line is an item"
            )
    if wrong:
        shown = "; ".join(f"line {row.number} has {row.actual_columns}: {row.text[:120]!r}" for row in wrong[:5])
        raise ValueError(f"category table {path} needs {len(names)} columns ({', '.join(names)}) in every line, but {shown}")
    return table

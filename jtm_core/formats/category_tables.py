"""Tables of items and their categories, for logs that carry no category.

Read are: two columns item and category, separated by comma, tab or ``::`` (a first line beginning with ``item``,
``movieId`` or ``asin`` is a header); MovieLens' ``movies.csv`` and ``movies.dat``, of whose genres the first is taken;
RecBole's ``.item``, of whose class or genre list the first word is taken; Parquet with columns item and category.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from jtm_core.formats.sources import first_line, is_parquet, open_source

_HEADER = re.compile(r"(item|movieid|asin)", re.IGNORECASE)
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
        fits = pc.match_substring_regex(self.items, r"^-?[0-9]{1,18}$")
        return CategoryTable(self.items.filter(fits).cast(item_type), self.categories.filter(fits))

    def categories_of(self, items: pa.Array) -> pa.Array:
        """Categories of items of the table's own type, null for items it does not have."""
        return self.categories.take(pc.index_in(items, value_set=self.items))


def read_category_table(path: Path) -> CategoryTable:
    """Read a category table of any of the kinds above, gzip accepted.

    Raises
    ------
    ValueError
        If the file is missing, empty or damaged, has another number of columns, an item is empty, or there are no rows.
    """
    items, categories = _parquet_columns(path) if is_parquet(path) else _text_columns(path)
    if not len(items):
        raise ValueError(f"category table {path} has no rows")
    if items.null_count:
        raise ValueError(f"category table {path} has {items.null_count} rows without an item")
    return CategoryTable(items, categories)


def _parquet_columns(path: Path) -> tuple[pa.Array, pa.Array]:
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"category table {path} is not a whole Parquet file: {error}") from error
    if not {"item", "category"} <= set(table.column_names):
        raise ValueError(f"category table {path} has the columns {', '.join(table.column_names)}; it needs item and category")
    return table.column("item").combine_chunks().cast(pa.string()), table.column("category").combine_chunks().cast(pa.string())


def _text_columns(path: Path) -> tuple[pa.Array, pa.Array]:
    with open_source(path) as stream:
        content = stream.read().removeprefix(b"\xef\xbb\xbf")
    try:
        content.decode()
    except UnicodeDecodeError:
        content = content.decode("latin-1").encode()  # MovieLens' movies.dat
    line = first_line(content)
    if _TYPED_HEADER.fullmatch(line):
        return _recbole_columns(path, content, line)
    separator = "::" if "::" in line else "\t" if "\t" in line else ","
    if separator == "::":
        content, separator = content.replace(b"::", b"\x1f"), "\x1f"
    width = 3 if _is_movies(line, separator) else 2
    names = ["item", *["title"] * (width - 2), "category"]
    table = _parse(path, content, names, separator, 1 if _HEADER.match(line) else 0)
    categories = table.column("category").combine_chunks()
    if width == 3:
        categories = pc.list_element(pc.split_pattern(categories, "|", max_splits=1), 0)
    return table.column("item").combine_chunks(), categories


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


def _parse(path: Path, content: bytes, names: list[str], separator: str, header_lines: int) -> pa.Table:
    wrong: list[Any] = []

    def remember(row: Any) -> str:
        wrong.append(row)
        return "skip"

    try:
        table = pa.csv.read_csv(
            pa.BufferReader(content),
            pa.csv.ReadOptions(column_names=names, skip_rows=header_lines, use_threads=False, block_size=len(content) + 1),
            pa.csv.ParseOptions(delimiter=separator, quote_char='"' if separator == "," else False, invalid_row_handler=remember),
            pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True),
        )
    except pa.ArrowInvalid as error:
        if str(error).startswith(("Empty CSV file", "Could not skip initial")):
            raise ValueError(f"category table {path} has no rows") from error
        raise ValueError(f"category table {path} cannot be read: {error}") from error
    if wrong:
        shown = "; ".join(f"line {row.number} has {row.actual_columns}: {row.text[:120]!r}" for row in wrong[:5])
        raise ValueError(f"category table {path} needs {len(names)} columns ({', '.join(names)}) in every line, but {shown}")
    return table

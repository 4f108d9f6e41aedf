"""Which types the columns of a behaviour log have, guessed from its beginning where the format does not say."""

import re
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

OUR_COLUMNS = ("user", "item", "category", "behaviour", "rating", "time")
REQUIRED_COLUMNS = ("user", "item", "time")
ID_COLUMNS = ("user", "item", "category")


def _up_to(largest: str) -> str:
    """Pattern of the numbers from 1 to one of as many digits as ``largest`` has, without leading zeros, and no larger one."""
    shorter = f"[1-9][0-9]{{0,{len(largest) - 2}}}"
    smaller = (
        f"{largest[:place]}[{int(place == 0)}-{int(digit) - 1}][0-9]{{{len(largest) - place - 1}}}"
        for place, digit in enumerate(largest)
        if int(digit) > int(place == 0)
    )
    return "|".join((shorter, *smaller, largest))


INTEGER = f"^(0|{_up_to(str(2**63 - 1))}|-({_up_to(str(2**63))}))$"
"""How an integer id of 64 bits is written, -9223372036854775808 to 9223372036854775807: no other text is meant by the number."""

_MOST_SHOWN = 1000  # characters of a file's columns in an error
_DATE = re.compile(r"\d{4}-\d\d-\d\d([ T][\d:.]+)?(Z|[+-]\d\d(?::?\d\d)?| UTC)?")
_DECIMAL = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+[eE]\d+|\d+\.\d*[eE][+-]?\d+)")
TIME_FORMS = (pa.csv.ISO8601, "%Y-%m-%d %H:%M:%S UTC")
"""Dates that are read, the second as BigQuery writes whole seconds."""


def fixed_type(column: str) -> pa.DataType:
    """Type of one of our columns unless the file shows another."""
    return {"behaviour": pa.string(), "rating": pa.float64()}.get(column, pa.int64())


def id_type(values: pa.Array) -> pa.DataType:
    """int64 if all the strings are integers without leading zeros (or there are none), else string."""
    known = pc.utf8_trim_whitespace(values.drop_null())
    return pa.int64() if pc.all(pc.match_substring_regex(known, INTEGER), min_count=0).as_py() else pa.string()


def time_type(value: str) -> pa.DataType:
    """Type of a time by one of its values: an integer, a decimal number, or a date (with time, with zone).

    String for BigQuery's dates, which end in `` UTC`` and may have fractions of a second: Arrow has no form for these two together.
    """
    date = _DATE.fullmatch(value)
    if date and date.group(2) == " UTC":
        return pa.string()
    if date:
        return pa.timestamp("ns", "UTC" if date.group(2) else None)
    return pa.float64() if _DECIMAL.fullmatch(value) else pa.int64()


def is_time(value: str) -> bool:
    """Whether a text may be a time: an integer, a decimal number or a date, blanks around it aside."""
    value = value.strip()
    return bool(_DATE.fullmatch(value) or _DECIMAL.fullmatch(value) or re.fullmatch("-?[0-9]{1,19}", value))


def infer_types(
    sample: bytes, names: Sequence[str], sources: Mapping[str, str], separator: str, quote: str | None
) -> dict[str, pa.DataType]:
    """Types of our columns: ids by all values of a sample, the time by its first value.

    Parameters
    ----------
    sample : bytes
        Whole lines without the header; may be empty.
    names : sequence of str
        The file's columns in order.
    sources : mapping of str to str
        Our column -> the file's.
    separator, quote : str
        One character each; no quote if None.

    Returns
    -------
    dict of str to pyarrow type
        One per key of ``sources``.
    """
    types = {our: fixed_type(our) for our in sources}
    if not sample.strip():
        return types
    table = pa.csv.read_csv(
        pa.BufferReader(sample),
        pa.csv.ReadOptions(column_names=list(names), block_size=len(sample) + 1),
        pa.csv.ParseOptions(delimiter=separator, quote_char=quote or False, invalid_row_handler=lambda _: "skip"),
        pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()),
            include_columns=list(sources.values()),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    for our, name in sources.items():
        values = _decoded(table.column(name))
        if our in ID_COLUMNS:
            types[our] = id_type(values)
        elif our == "time" and values.null_count < len(values):
            types[our] = time_type(values.drop_null()[0].as_py().strip())
    return types


def _decoded(values: pa.ChunkedArray) -> pa.Array:
    values = values.combine_chunks()
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:  # bad bytes are reported, with their lines, when the whole file is read
        return pa.array([None if value is None else value.decode(errors="replace") for value in values.to_pylist()], pa.string())


def widening(types: Mapping[str, pa.DataType]) -> frozenset[str]:
    """Our columns that are integer so far and if some later value is none become strings, or the time decimal."""
    return frozenset(our for our in (*ID_COLUMNS, "time") if types.get(our) == pa.int64())


def column_sources(place: object, names: Iterable[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Our columns -> those of a file; what ``columns`` does not name stands for itself if the file has it.

    Parameters
    ----------
    place : object
        The file, for messages.
    names : iterable of str
        The file's columns.
    columns : mapping of str to str
        Our column -> the file's, as configured; an empty name leaves a column out that only happens to be called like ours.

    Raises
    ------
    ValueError
        If ``columns`` names a column that we do not have or the file does not have, or one of the file's twice, or
        there is none for user, item or time.
    """
    names = list(names)
    unknown = sorted(set(columns) - set(OUR_COLUMNS))
    if unknown:
        raise ValueError(f"columns maps {', '.join(unknown)}; allowed are {', '.join(OUR_COLUMNS)}")
    wanted = {our: columns.get(our, our) for our in OUR_COLUMNS if our in columns or our in names or our in REQUIRED_COLUMNS}
    wanted = {our: name for our, name in wanted.items() if name or our in REQUIRED_COLUMNS}
    missing = [our if our == name else f"{our} ({name})" for our, name in wanted.items() if name not in names]
    if missing:
        found = ", ".join(names)
        shown = found if len(found) <= _MOST_SHOWN else f"{found[:_MOST_SHOWN]} ..."
        raise ValueError(f"{place} has no column {', '.join(missing)}; its columns are {shown}; map them in columns")
    taken = list(wanted.values())
    doubled = sorted({name for name in taken if taken.count(name) > 1 or names.count(name) > 1})
    if doubled:
        raise ValueError(f"{place}: column {', '.join(doubled)} occurs or is mapped more than once; each of ours needs its own")
    return wanted

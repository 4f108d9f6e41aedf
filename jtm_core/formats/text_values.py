"""Which texts of a log are values of a column's type, and the dates that Arrow's parser of text files does not read."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jtm_core.formats.log_layouts import TextLayout

SHOWN = 5
"""Offenders that an error names at most."""

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


def dates(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """Texts as dates, an `` UTC`` at the end taken off.

    Parameters
    ----------
    texts : pyarrow string array
    kind : pyarrow timestamp type

    Raises
    ------
    pyarrow.ArrowInvalid
        If one is no date.
    """
    texts = pc.ascii_trim_whitespace(texts)
    return pc.if_else(pc.ends_with(texts, " UTC"), pc.utf8_slice_codeunits(texts, 0, -4), texts).cast(kind)


def fitting(our: str, values: pa.Array, layout: TextLayout) -> tuple[Any, str]:
    """Which values are of their column's type, and what is asked for in words.

    Parameters
    ----------
    our : str
        Our column.
    values : pyarrow binary array (N,)
        As they stand in the file.
    layout : TextLayout

    Returns
    -------
    bool array (N,), str
    """
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
    """Which of texts that look like dates are some, as there is no 30th of February; of those that are none the first few are found."""
    kind = pa.timestamp("ns") if kind == pa.string() else kind
    exist, first = np.ones(len(texts), dtype=bool), 0
    for _ in range(SHOWN):
        first += _first_wrong(texts[first:], kind)
        if first == len(texts):
            break
        exist[first], first = False, first + 1
    return exist


def _first_wrong(texts: pa.Array, kind: pa.DataType) -> int:
    """Place of the first text that is no date, by halving; their number if all are."""
    if _are_dates(texts, kind):
        return len(texts)
    low, high = 0, len(texts)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _are_dates(texts[low:middle], kind) else (low, middle)
    return low


def _are_dates(texts: pa.Array, kind: pa.DataType) -> bool:
    try:
        dates(texts, kind)
    except pa.ArrowInvalid:
        return False
    return True


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

"""What quotes do in a line of text: they hold separators together, and one that is not closed swallows what follows.

A quote counts where a value begins with it, as Arrow's parser has it; within a quoted value two stand for one.
"""

import re
from collections.abc import Iterable
from functools import cache

SEPARATORS = ",\t;|"
"""What may stand between the columns of a table; of equals the first."""

_QUOTED = re.compile(rf'(?:^|(?<=[{SEPARATORS}]))"(?:[^"]|"")*+"(?=[{SEPARATORS}]|$)')


def without_quoted(line: str) -> str:
    """A line without its quoted values, whichever of the separators it has."""
    return _QUOTED.sub("", line)


def first_open_quote(lines: Iterable[bytes], separator: str) -> tuple[int, bytes] | None:
    """Number, counted from 1, and bytes of the first line with a quote that is not closed in it; None if there is none.

    Parameters
    ----------
    lines : iterable of bytes
        With or without their ends.
    separator : str
        One character.
    """
    closed = _closed_line(separator)
    for number, line in enumerate(lines, start=1):
        if b'"' in line and not closed.fullmatch(line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")):
            return number, line
    return None


@cache
def _closed_line(separator: str) -> re.Pattern[bytes]:
    """Pattern of a line whose quotes are all closed; possessive, or an escaped quote would be tried as a closing one."""
    mark = re.escape(separator)
    value = rf'(?:"(?:[^"]|"")*+"[^{mark}]*+|[^"{mark}][^{mark}]*+|)'
    return re.compile(rf"{value}(?:{mark}{value})*+".encode())

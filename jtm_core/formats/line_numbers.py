"""In which line of which file a row of a log stands.

Line numbers run on from file to file, so that they stay keys of rows; where there is more than one file, the canonical
log keeps in its metadata where each begins.
"""

import json
from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

_METADATA_KEY = b"jtm.files"


@dataclass(slots=True)
class LineNumbers:
    """Line numbers that run on from file to file.

    Parameters
    ----------
    names : list of str
        Files in the order in which they were read; empty if the log is one file.
    lines_before : list of int
        Lines of the files before each, which rise.

    Examples
    --------
    >>> lines = LineNumbers()
    >>> lines.begin("a.csv"), lines.add(3), lines.begin("b.csv"), lines.add(2)
    (0, None, 3, None)
    >>> lines.place(3), lines.place(4)
    (('a.csv', 3), ('b.csv', 1))
    """

    names: list[str] = field(default_factory=list)
    lines_before: list[int] = field(default_factory=list)
    num_lines: int = 0

    def begin(self, name: str) -> int:
        """Note that a file begins, and return how many lines came before it."""
        self.names.append(name)
        self.lines_before.append(self.num_lines)
        return self.num_lines

    def add(self, num_lines: int) -> None:
        """Note that so many lines of the file at hand were read."""
        self.num_lines = self.lines_before[-1] + num_lines

    def place(self, line: int) -> tuple[str, int]:
        """File and line in it, counted from 1, of a running number; the file's name is empty if the log is one file."""
        if not self.names:
            return "", line
        file = bisect_left(self.lines_before, line) - 1
        return self.names[file], line - self.lines_before[file]

    def metadata(self) -> dict[bytes, bytes]:
        """What the canonical log keeps of it: nothing for one file, whose bytes are to depend on its rows alone."""
        files = list(zip(self.names, self.lines_before, strict=True))
        return {_METADATA_KEY: json.dumps(files).encode()} if len(files) > 1 else {}


def read_line_numbers(log_path: Path) -> LineNumbers:
    """Which lines of a canonical log are whose.

    Raises
    ------
    OSError, pyarrow.ArrowInvalid
        If the file cannot be read as Parquet.
    """
    kept = pq.read_metadata(log_path).metadata or {}
    files = json.loads(kept.get(_METADATA_KEY, b"[]"))
    return LineNumbers([name for name, _ in files], [before for _, before in files])

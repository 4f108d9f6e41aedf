"""What the bytes of a text log tell beside its parsed values, noticed while they pass.

Parsed as an integer, ``007`` and `` 007`` are 7, ``-0`` is 0 and ``0x1F`` is 31, so ids that differ would become one, and
a quote that its line does not close swallows lines. Neither is seen in what the parser returns.
"""

import re

import pyarrow as pa

_MOST_BLANKS = 64  # before a value
_LONGEST = _MOST_BLANKS + 4  # bytes of a match: what stands before the value, blanks, a minus, the zero, what follows it
_PLAIN, _PADDED = b"0[0-9xX]", b"[ \\t]{0,%d}(?:-0(?![.])|0[0-9xX])" % _MOST_BLANKS


class WatchedStream:
    """A stream that counts its lines and looks for values with a leading zero; Arrow reads it as ``pyarrow.PythonFile``.

    Parameters
    ----------
    stream : pyarrow.NativeFile
        Read once, from its beginning.
    separator : bytes
        One byte, what stands between columns.
    seeks_zeros : bool
        Whether values with a leading zero are looked for.
    """

    closed = False

    def __init__(self, stream: pa.NativeFile, separator: bytes, seeks_zeros: bool) -> None:
        self._stream = stream
        self._num_ends, self._end = 0, b"\n"
        # one pattern each, as it is the literal beginning that is found fast: plain ones three times as fast as padded ones
        before = (separator, b"\n", b'"') if seeks_zeros else ()
        self._plain, self._padded = ([re.compile(re.escape(one) + zeros) for one in before] for zeros in (_PLAIN, _PADDED))
        self._padding = [sign for sign in (b" ", b"\t", b"-") if sign != separator]
        self.has_zero_led = False

    def read(self, num_bytes: int) -> bytes:
        """Pass bytes on."""
        passed: bytes = self._stream.read(num_bytes)
        self._num_ends += passed.count(b"\n")
        if not self.has_zero_led:
            seam = self._end + passed[: _LONGEST - 1]
            self.has_zero_led = self._holds_zero_led(seam) or self._holds_zero_led(passed)
        self._end = (self._end + passed[1 - _LONGEST :])[1 - _LONGEST :]
        return passed

    def _holds_zero_led(self, part: bytes) -> bool:
        patterns = self._padded if any(sign in part for sign in self._padding) else self._plain
        return any(pattern.search(part) for pattern in patterns)

    @property
    def num_lines(self) -> int:
        """Lines so far; a last one without an end is a line too."""
        return self._num_ends + (not self._end.endswith(b"\n"))

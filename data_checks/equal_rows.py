"""Which rows equal an earlier one, exactly, in a table too long to hold.

Two passes. The first keeps a 64-bit fingerprint per row (8 bytes, the only thing that grows with the number of rows) and
sorts them: a row whose fingerprint is alone equals no other. The second looks only at rows with a shared fingerprint and
compares what is in them, so that two different rows with one fingerprint are never taken for equal.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from data_checks.mixing import Hashes, mix

Ints = NDArray[np.int64]

_SIEVE_BITS = 22
_PIECE = 1 << 22


def fingerprints(start: Hashes, columns: Sequence[Hashes]) -> Hashes:
    """A 64-bit fingerprint of every row: uint64 (N,), the same for rows equal in ``start`` and all columns."""
    mixed = mix(start)
    for column in columns:
        mixed = mix(mixed ^ column)
    return mixed


def shared_values(values: Hashes) -> Hashes:
    """Values that occur more than once, ascending; ``values`` is sorted in place."""
    values.sort()
    found = [np.empty(0, dtype=np.uint64)]
    for begin in range(0, len(values) - 1, _PIECE):
        piece = values[begin : begin + _PIECE + 1]  # one more, to compare the last with
        found.append(piece[1:][piece[1:] == piece[:-1]])
    return np.unique(np.concatenate(found))


class FirstRows:
    """The first of every set of equal rows, learned while rows stream by in order.

    Parameters
    ----------
    shared : uint64 array (S,)
        Fingerprints that more than one row has, ascending: others need no look.
    width : int
        Columns of a key.
    """

    def __init__(self, shared: Hashes, width: int) -> None:
        self._shared = shared
        self._sieve = np.zeros(1 << _SIEVE_BITS, dtype=bool)
        self._sieve[_top_bits(shared)] = True
        self._lines = np.zeros(len(shared), dtype=np.int64)
        self._keys = np.zeros((len(shared), width), dtype=np.uint64)
        self._is_filled = np.zeros(len(shared), dtype=bool)
        self._others: dict[bytes, int] = {}

    def lines_of_first(self, prints: Hashes, key_of: Callable[[Ints], Hashes], lines: Ints) -> Ints:
        """Line of the first row that equals each row.

        Parameters
        ----------
        prints : uint64 array (N,)
            Fingerprints of the next N rows.
        key_of : callable
            Takes row numbers of these, int64 (n,); gives what makes rows equal, uint64 (n, width).
        lines : int64 array (N,)
            What to call each row.

        Returns
        -------
        int64 array (N,)
            Line of the first equal row; 0 if there is none before this.
        """
        first_lines = np.zeros(len(prints), dtype=np.int64)
        rows, slots = self._candidates(prints)
        if len(rows):
            keys = key_of(rows)
            first_lines[rows] = self._compared(slots, keys, lines[rows])
        return first_lines

    def _candidates(self, prints: Hashes) -> tuple[Ints, Ints]:
        """Rows with a shared fingerprint and where it stands among the shared ones."""
        rows = np.flatnonzero(self._sieve[_top_bits(prints)])
        if not len(rows):
            return rows, rows
        slots = np.minimum(np.searchsorted(self._shared, prints[rows]), len(self._shared) - 1)
        is_shared = self._shared[slots] == prints[rows]
        return rows[is_shared], slots[is_shared]

    def _compared(self, slots: Ints, keys: Hashes, lines: Ints) -> Ints:
        fresh = np.flatnonzero(~self._is_filled[slots])
        new_slots, firsts = np.unique(slots[fresh], return_index=True)
        firsts = fresh[firsts]
        self._keys[new_slots], self._lines[new_slots], self._is_filled[new_slots] = keys[firsts], lines[firsts], True
        first_lines = self._lines[slots]
        first_lines[firsts] = 0
        for row in np.flatnonzero((keys != self._keys[slots]).any(axis=1)).tolist():  # a fingerprint shared by chance
            key, line = keys[row].tobytes(), int(lines[row])
            known = self._others.setdefault(key, line)
            first_lines[row] = 0 if known == line else known
        return first_lines


def _top_bits(prints: Hashes) -> Ints:
    return (prints >> np.uint64(64 - _SIEVE_BITS)).astype(np.int64)

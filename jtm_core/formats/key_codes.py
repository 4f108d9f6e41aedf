"""Codes for the original ids of a log too long to hold: gather a column's distinct ids first, then look them up.

Codes are 0 .. n - 1 in ascending order of the ids; null has -1. Integers of a narrow span, which is what published
logs have, are looked up in a table over the span; strings and scattered integers in a hash table of the distinct ids.
Strings are gathered as ``large_string``, which holds more than 2 GiB, and given as ``string`` wherever they fit.
"""

from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Codes32 = NDArray[np.int32]

_WIDEST_TABLE = 1 << 27  # 128 MB while ids are gathered, 512 MB after
_PENDING_KEYS = 1 << 22
_MOST_TEXT = (1 << 31) - 1  # bytes that a string array holds


class KeyCodes(Protocol):
    """Two passes over the same column: :meth:`gather` each block, :meth:`keys` once, then :meth:`codes` of each block."""

    def gather(self, values: pa.Array) -> None:
        """Take note of the ids in a block."""

    def keys(self) -> pa.Array:
        """All distinct ids gathered, ascending; ends the gathering."""

    def codes(self, values: pa.Array) -> Codes32:
        """Codes of ids that were gathered, -1 for null."""


def make_key_codes(kind: pa.DataType, span: tuple[int, int] | None) -> KeyCodes:
    """The faster way for a column.

    Parameters
    ----------
    kind : pyarrow type
        int64, string or null (a column without values).
    span : (int, int) or None
        Smallest and largest value of an integer column if they are known.
    """
    if span is not None and span[1] - span[0] < _WIDEST_TABLE:
        return _TableCodes(*span)
    return _HashedCodes(kind)


def widened(keys: pa.Array) -> pa.Array:
    """Strings of a type without a bound on their bytes; other keys as they are."""
    return keys.cast(pa.large_string()) if keys.type == pa.string() else keys


def narrowed(keys: pa.Array) -> pa.Array:
    """Strings of the usual type, which files and vocabularies have, unless they are too long for it; other keys as they are."""
    fits = keys.type == pa.large_string() and (pc.sum(pc.binary_length(keys)).as_py() or 0) <= _MOST_TEXT
    return keys.cast(pa.string()) if fits else keys


class _TableCodes:
    """Integers of ``low .. high``; one entry for each number between, and a last one for null."""

    def __init__(self, low: int, high: int) -> None:
        self._low = low
        self._is_present = np.zeros(high - low + 2, dtype=bool)
        self._codes: Codes32 | None = None

    def gather(self, values: pa.Array) -> None:
        self._is_present[self._places(values)] = True

    def keys(self) -> pa.Array:
        self._is_present[-1] = False
        self._codes = np.cumsum(self._is_present, dtype=np.int32)
        self._codes -= 1
        self._codes[-1] = -1
        return pa.array(np.flatnonzero(self._is_present) + self._low)

    def codes(self, values: pa.Array) -> Codes32:
        assert self._codes is not None, "keys() comes before codes()"
        return self._codes[self._places(values)]

    def _places(self, values: pa.Array) -> NDArray[np.int64]:
        from_low = pc.subtract(values, self._low)
        places: NDArray[np.int64] = pc.fill_null(from_low, len(self._is_present) - 1).to_numpy()
        return places


class _HashedCodes:
    """Any ids; what is held is the distinct ones and up to ``_PENDING_KEYS`` that may repeat them."""

    def __init__(self, kind: pa.DataType) -> None:
        self._keys = widened(pa.array([], kind))
        self._pending: list[pa.Array] = []
        self._num_pending = 0

    def gather(self, values: pa.Array) -> None:
        distinct = widened(values.unique())
        self._pending.append(distinct)
        self._num_pending += len(distinct)
        if self._num_pending >= _PENDING_KEYS + len(self._keys):
            self._merge()

    def _merge(self) -> None:
        self._keys = pa.chunked_array([self._keys, *self._pending]).unique()
        self._pending, self._num_pending = [], 0

    def keys(self) -> pa.Array:
        self._merge()
        known = self._keys.drop_null()
        self._keys = narrowed(known.take(pc.sort_indices(known)))
        return self._keys

    def codes(self, values: pa.Array) -> Codes32:
        coded = values.dictionary_encode()
        # Arrow builds its table of all keys anew each time: few big blocks
        places = pc.index_in(coded.dictionary.cast(self._keys.type), value_set=self._keys)
        found: Codes32 = np.append(np.asarray(pc.fill_null(places, -1)), -1).astype(np.int32)
        indices: NDArray[np.int32] = pc.fill_null(coded.indices, -1).to_numpy()
        return found[indices]

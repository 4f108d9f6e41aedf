"""Numbers for the values of a column too long to hold, exact for any number of rows.

* A *place* is a dense number for counting in a table: equal values have equal places, empty values have the last one.
* An *identity* is a 64-bit integer that stands for the value in comparisons: two values of a column are equal just if
  their identities are; an empty value has 0 and is told apart by its mask.

Integers are their own identities. Strings have a 64-bit hash that was tried on all distinct strings of the column and
taken only if no two of them share one (else another seed is tried): false collisions are excluded, not merely unlikely.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_checks.log_groups import LogGroups
from data_checks.mixing import Hashes, hash_texts

Ints = NDArray[np.int64]

_WIDEST_TABLE = 1 << 25
_PENDING_KEYS = 1 << 22
_SEEDS = 16


class ColumnKeys(Protocol):
    """Places and identities of a column's values."""

    @property
    def num_places(self) -> int:
        """One more than the largest place of a value; that is the place of empty values."""
        ...

    def places(self, values: pa.Array) -> Ints:
        """Place of each value, int64 (N,)."""
        ...

    def identities(self, values: pa.Array) -> Hashes:
        """Identity of each value, uint64 (N,)."""
        ...

    def values_at(self, places: Ints) -> pa.Array:
        """The values that have these places."""
        ...


class NarrowIntegers:
    """Integers of ``low .. high``: a value's place is its distance from ``low``."""

    def __init__(self, low: int, high: int) -> None:
        self._low = low
        self.num_places = high - low + 2

    def places(self, values: pa.Array) -> Ints:
        """As in :class:`ColumnKeys`; ``ValueError`` if a value lies outside the span that the file records."""
        places: Ints = pc.fill_null(values, self._low).to_numpy() - self._low
        if len(places) and not 0 <= places.min() <= places.max() < self.num_places - 1:
            raise ValueError(f"values beyond {self._low} .. {self._low + self.num_places - 2}, which the log's own statistics give")
        if values.null_count:
            places[_is_null(values)] = self.num_places - 1
        return places

    def identities(self, values: pa.Array) -> Hashes:
        """As in :class:`ColumnKeys`."""
        return integer_identities(values)

    def values_at(self, places: Ints) -> pa.Array:
        """As in :class:`ColumnKeys`."""
        return pa.array(places + self._low, mask=places == self.num_places - 1)


class ScatteredIntegers:
    """Integers of any size, looked up in a hash table of the distinct ones."""

    def __init__(self, keys: pa.Array) -> None:
        self._keys = keys
        self._index = pd.Index(keys.to_numpy())
        self.num_places = len(keys) + 1

    def places(self, values: pa.Array) -> Ints:
        """As in :class:`ColumnKeys`."""
        places = self._index.get_indexer(pd.Index(pc.fill_null(values, 0).to_numpy()))
        places[_is_null(values)] = self.num_places - 1
        return np.asarray(places, dtype=np.int64)

    def identities(self, values: pa.Array) -> Hashes:
        """As in :class:`ColumnKeys`."""
        return integer_identities(values)

    def values_at(self, places: Ints) -> pa.Array:
        """As in :class:`ColumnKeys`."""
        return self._keys.take(pa.array(places, mask=places == self.num_places - 1))


class Texts:
    """Strings, known by a hash under which all the distinct ones differ; values come as dictionary arrays."""

    def __init__(self, keys: pa.Array) -> None:
        self._keys = keys
        self._seed, hashes = _injective_hashes(keys)
        self._index = pd.Index(hashes)
        self.num_places = len(keys) + 1

    def places(self, values: pa.Array) -> Ints:
        """As in :class:`ColumnKeys`."""
        of_entries = self._index.get_indexer(pd.Index(hash_texts(values.dictionary, self._seed)))
        places = np.append(of_entries, self.num_places - 1)  # the last one is for rows without a value
        return np.asarray(places[pc.fill_null(values.indices, len(of_entries)).to_numpy()], dtype=np.int64)

    def identities(self, values: pa.Array) -> Hashes:
        """As in :class:`ColumnKeys`."""
        hashes = np.append(hash_texts(values.dictionary, self._seed), np.uint64(0))
        return np.asarray(hashes[pc.fill_null(values.indices, len(hashes) - 1).to_numpy()], dtype=np.uint64)

    def values_at(self, places: Ints) -> pa.Array:
        """As in :class:`ColumnKeys`."""
        return self._keys.take(pa.array(places, mask=places == self.num_places - 1))


def make_column_keys(groups: LogGroups, columns: Sequence[str]) -> Mapping[str, ColumnKeys]:
    """Keys of columns of int64 or string; columns without a table over their span cost one pass over the file.

    Returns
    -------
    mapping of str to ColumnKeys
        In the order of ``columns``; columns of type null are left out.
    """
    found: dict[str, ColumnKeys] = {}
    to_gather = []
    for name in columns:
        span = groups.span(name) if groups.kinds[name] == "int64" else None
        if span is not None and span[1] - span[0] < _WIDEST_TABLE:
            found[name] = NarrowIntegers(*span)
        elif groups.kinds[name] != "null":
            to_gather.append(name)
    for name, keys in _distinct(groups, to_gather).items():
        found[name] = Texts(keys) if groups.kinds[name] == "string" else ScatteredIntegers(keys)
    return {name: found[name] for name in columns if name in found}


def integer_identities(values: pa.Array) -> Hashes:
    """Integers as they are, 0 for empty ones: uint64 (N,)."""
    return np.asarray(pc.fill_null(values, 0).to_numpy().view(np.uint64))


def _injective_hashes(keys: pa.Array) -> tuple[int, Hashes]:
    """First seed under which no two keys share a hash, and the hashes."""
    for seed in range(_SEEDS):
        hashes = hash_texts(keys, seed)
        if len(np.unique(hashes)) == len(keys):
            return seed, hashes
    raise RuntimeError(f"{_SEEDS} hashes in a row give two of {len(keys)} strings the same value, which chance does not")


def _distinct(groups: LogGroups, columns: Sequence[str]) -> dict[str, pa.Array]:
    """Distinct values of columns, gathered in one pass; what is held is these and up to as many that may repeat them."""
    pending: dict[str, list[pa.Array]] = {name: [] for name in columns}
    known = dict.fromkeys(columns, 0)
    for group in groups.read(columns) if columns else ():
        for name, values in group.items():
            pending[name].append(_unique(values))
            if sum(map(len, pending[name])) > known[name] + _PENDING_KEYS:
                pending[name] = [_merged(pending[name], groups.kinds[name])]
                known[name] = len(pending[name][0])
    return {name: _merged(some, groups.kinds[name]) for name, some in pending.items()}


def _unique(values: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(values.type):
        values = values.dictionary.take(values.indices.unique()).cast(pa.large_string())
    return values.unique().drop_null()


def _merged(some: list[pa.Array], kind: str) -> pa.Array:
    return pa.chunked_array(some, pa.large_string() if kind == "string" else pa.int64()).unique()


def _is_null(values: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(values.is_null())

"""Where ids stand among many distinct ones, asked block by block: what is looked up in is made once.

Arrow's ``index_in`` makes a hash table of all keys at every call: with three million of them 0.9 s for a block of a million
rows, where this takes 0.35 s. Here every key has a 64-bit hash, no two the same one (else another seed is tried), and these
are sorted once. Sorted hashes of a block are searched in them, and what is found is compared, so that an unknown id is
never taken for a known one. A table of fewer keys than half a block's ids is made faster than these are sorted.
"""

from functools import cached_property

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

_SEEDS = 16


class KeyPlaces:
    """Places of ids among keys.

    Parameters
    ----------
    keys : pyarrow array (K,), int64, string, large_string or null
        Distinct, none null.
    """

    def __init__(self, keys: pa.Array) -> None:
        self._keys = keys

    @cached_property
    def _sorted(self) -> tuple[int, Places, Hashes]:
        return _sorted_hashes(self._keys)

    def of(self, ids: pa.Array) -> Places:
        """Place of every id among the keys, -1 for null and unknown ones: int64 (N,).

        Parameters
        ----------
        ids : pyarrow array (N,)
            Of the keys' type, strings of either.
        """
        ids = ids.cast(self._keys.type)
        if 2 * len(self._keys) <= len(ids):
            return np.asarray(pc.fill_null(pc.index_in(ids, value_set=self._keys), -1), dtype=np.int64)
        seed, order_of_keys, hashes_of_keys = self._sorted
        hashes = _hashes_of(ids, seed)
        order = np.argsort(hashes)  # neighbours are then found near one another, in a tenth of the time
        found = np.empty(len(ids), dtype=np.int64)
        found[order] = np.searchsorted(hashes_of_keys, hashes[order])
        places: Places = order_of_keys[np.minimum(found, len(order_of_keys) - 1)]
        places[~np.asarray(pc.fill_null(pc.equal(self._keys.take(pa.array(places)), ids), False))] = -1
        return places


def _sorted_hashes(keys: pa.Array) -> tuple[int, Places, Hashes]:
    """First seed under which no two keys share a hash, the order of the hashes, and they in this order."""
    for seed in range(_SEEDS):
        hashes = _hashes_of(keys, seed)
        order = np.argsort(hashes)
        hashes = hashes[order]
        if not (hashes[1:] == hashes[:-1]).any():
            return seed, order, hashes
    raise RuntimeError(f"{_SEEDS} hashes in a row give two of {len(keys)} ids the same value, which chance does not")


def _hashes_of(ids: pa.Array, seed: int) -> Hashes:
    """Hashes of strings; integers are their own. What a null has does not matter."""
    if not len(ids):
        return np.empty(0, dtype=np.uint64)
    if pa.types.is_integer(ids.type):
        own: Hashes = pc.fill_null(ids, 0).to_numpy().view(np.uint64)
        return own
    texts = ids.cast(pa.large_string())
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    hashes: Hashes = _hash_texts(bounds, np.frombuffer(data or b"", dtype=np.uint8), np.uint64(seed))
    return hashes


@numba.njit(cache=True, nogil=True)
def _hash_texts(bounds: Places, data: NDArray[np.uint8], seed: np.uint64) -> Hashes:
    """FNV-1a of every text, its bits mixed at the end."""
    hashes = np.empty(len(bounds) - 1, dtype=np.uint64)
    for text in range(len(hashes)):
        mixed = np.uint64(0xCBF29CE484222325) ^ (seed << np.uint64(32))
        for place in range(bounds[text], bounds[text + 1]):
            mixed = (mixed ^ np.uint64(data[place])) * np.uint64(0x100000001B3)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        hashes[text] = mixed ^ (mixed >> np.uint64(27))
    return hashes

"""Exact search for the largest inner products, by faiss (Johnson et al. 2019): the retrieval of factor models."""

import faiss
import numpy as np
from numpy.typing import NDArray

from jtm_core.baselines.blocks import blocks_by_length
from jtm_core.beam import without_items
from jtm_core.behaviours import Ints, Ragged

Floats = NDArray[np.float32]

_USERS_PER_BLOCK = 256


class ProductIndex:
    """Vectors of items, searched exhaustively (``IndexFlatIP``).

    Parameters
    ----------
    items : float32 array (num_items, D)
        Copied.
    """

    def __init__(self, items: Floats) -> None:
        self._index = faiss.IndexFlatIP(items.shape[1])
        self._index.add(np.ascontiguousarray(items))

    def largest(self, users: Floats, num_recommended: int, excluded: Ragged | None) -> Ints:
        """Items of largest inner product with each user's vector, largest first, the lower id first among equals.

        Parameters
        ----------
        users : float32 array (E, D)
        num_recommended : int
            Length M of the lists.
        excluded : Ragged of E rows or None
            Left out. As many more items are searched for as the longest row of a block of users holds.

        Returns
        -------
        int64 array (E, M)
            -1 behind where fewer than M items are left.
        """
        lists = np.full((len(users), num_recommended), -1, dtype=np.int64)
        lengths = np.zeros(len(users), dtype=np.int64) if excluded is None else np.diff(excluded.offsets)
        for rows in blocks_by_length(lengths, _USERS_PER_BLOCK):
            found = self._block(users[rows], num_recommended, None if excluded is None else excluded.take(rows))
            lists[rows, : found.shape[1]] = found
        return lists

    def _block(self, users: Floats, num_recommended: int, excluded: Ragged | None) -> Ints:
        num_items = self._index.ntotal
        num_spare = 0 if excluded is None else int(np.diff(excluded.offsets).max())
        products, found = self._index.search(np.ascontiguousarray(users), min(num_items, num_recommended + num_spare))
        ranked: Ints = np.take_along_axis(found, np.lexsort((found, -products), axis=1), axis=1)
        return ranked if excluded is None else without_items(ranked, excluded, num_items, num_recommended)

"""ALS: factors of the user-item matrix by alternating least squares for implicit feedback (Hu, Koren and Volinsky 2008).

The outsider of the comparison: no tree, no network, no order in a history. The library ``implicit`` does the work. A cell's
confidence grows with the user's behaviours with the item. Users who are asked need not be among those learned from:
their vectors are solved from their histories with the items' vectors fixed (``recalculate_user``). A user without history,
or of items that nobody taught, has no vector, and gets the popular items.

implicit has threads of its own and warns unless BLAS, in every library that is loaded by then, keeps to one.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from jtm_core.baselines.inner_products import ProductIndex
from jtm_core.baselines.popularity import Popularity
from jtm_core.baselines.protocol import check_query
from jtm_core.behaviours import Ints, Ragged
from jtm_core.counting_config import CountingConfig
from jtm_core.seeding import generator

Floats = NDArray[np.float32]

_USERS_PER_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class ImplicitALS:
    """A fitted factor model.

    Parameters
    ----------
    model : AlternatingLeastSquares
    popularity : Popularity
        For users without history.
    """

    model: AlternatingLeastSquares
    popularity: Popularity

    @classmethod
    def fit(cls, histories: Ragged, num_items: int, seed: int, counting: CountingConfig) -> Self:
        """Factorise; equal seeds give equal bits on one machine.

        Parameters
        ----------
        histories : Ragged
            One row a user; empty ones teach nothing.
        num_items : int
        seed : int
        counting : CountingConfig
            Its dials of ALS.

        Raises
        ------
        ValueError
            If there is no behaviour.
        """
        if not len(histories.values):
            raise ValueError("the histories hold no behaviour; ALS needs at least 1")
        rows = np.flatnonzero(np.diff(histories.offsets))
        with threadpool_limits(1, user_api="blas"):
            model = AlternatingLeastSquares(
                factors=counting.als_factors,
                regularization=counting.als_regularisation,
                alpha=counting.als_confidence,
                iterations=counting.als_iterations,
                random_state=int(generator(seed, "als").integers(1 << 31)),
            )
            model.fit(_counts(histories.take(rows), num_items), show_progress=False)
        return cls(model, Popularity.fit(histories, num_items))

    def user_vectors(self, histories: Ragged) -> Floats:
        """Vectors of users solved from their histories alone: float32 (E, factors), 0 for empty ones."""
        num_items = len(self.popularity.items_by_popularity)
        vectors = np.zeros((len(histories), self.model.factors), dtype=np.float32)
        for first in range(0, len(histories), _USERS_PER_BLOCK):
            part = histories.rows(first, min(first + _USERS_PER_BLOCK, len(histories)))
            with threadpool_limits(1, user_api="blas"):
                vectors[first : first + len(part)] = self.model.recalculate_user(np.arange(len(part)), _counts(part, num_items))
        return vectors

    def recommend(self, histories: Ragged, num_recommended: int, excluded: Ragged | None = None) -> Ints:
        """List the items of largest inner product; see :class:`jtm_core.baselines.protocol.Recommender`."""
        check_query(histories, num_recommended, excluded, len(self.popularity.items_by_popularity))
        vectors = self.user_vectors(histories)
        lists = self._index.largest(vectors, num_recommended, excluded)
        empty = np.flatnonzero(~vectors.any(axis=1))
        if len(empty):
            banned = excluded.take(empty) if excluded is not None else None
            lists[empty] = self.popularity.recommend(histories.take(empty), num_recommended, banned)
        return lists

    @cached_property
    def _index(self) -> ProductIndex:
        return ProductIndex(self.model.item_factors)


def _counts(histories: Ragged, num_items: int) -> sparse.csr_matrix:
    """How often each user did each item."""
    ones = np.ones(len(histories.values), dtype=np.float32)
    matrix = sparse.csr_matrix((ones, histories.values, histories.offsets), shape=(len(histories), num_items), copy=True)
    matrix.sum_duplicates()
    return matrix

"""The same list for everybody: what most training users did."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from jtm_core.baselines.blocks import blocks_by_length
from jtm_core.baselines.protocol import check_query
from jtm_core.behaviours import Ints, Ragged

_USERS_PER_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Popularity:
    """Items by how many training behaviours they have, the lower id first among equals.

    Parameters
    ----------
    items_by_popularity : int64 array (num_items,)
        Every item once, most popular first.

    Examples
    --------
    >>> histories = Ragged(np.array([2, 2, 1]), np.array([0, 1, 3]))
    >>> Popularity.fit(histories, num_items=4).recommend(histories, 2)
    array([[2, 1],
           [2, 1]])
    """

    items_by_popularity: Ints

    @classmethod
    def fit(cls, histories: Ragged, num_items: int) -> Self:
        """Count behaviours; repeats of one user count as often as they occur."""
        counts = np.bincount(histories.values, minlength=num_items)
        return cls(np.argsort(-counts, kind="stable"))

    def recommend(self, histories: Ragged, num_recommended: int, excluded: Ragged | None = None) -> Ints:
        """List the most popular items that are not excluded; see :class:`jtm_core.baselines.protocol.Recommender`."""
        check_query(histories, num_recommended, excluded, len(self.items_by_popularity))
        num_users = len(histories)
        lists = np.full((num_users, num_recommended), -1, dtype=np.int64)
        if excluded is None:
            top = self.items_by_popularity[:num_recommended]
            lists[:, : len(top)] = top
            return lists
        ranks = np.empty(len(self.items_by_popularity), dtype=np.int64)
        ranks[self.items_by_popularity] = np.arange(len(ranks))
        for rows in blocks_by_length(np.diff(excluded.offsets), _USERS_PER_BLOCK):
            lists[rows] = self._block(num_recommended, excluded.take(rows), ranks)
        return lists

    def _block(self, num_recommended: int, excluded: Ragged, ranks: Ints) -> Ints:
        """Lists of a block of users, looking only as far down as an excluded row can push a list."""
        lists, lengths = np.full((len(excluded), num_recommended), -1, dtype=np.int64), np.diff(excluded.offsets)
        depth = min(len(ranks), num_recommended + int(lengths.max()))
        users = np.repeat(np.arange(len(lists)), lengths)
        excluded_ranks = ranks[excluded.values]
        is_allowed = np.ones((len(lists), depth), dtype=np.bool_)
        reachable = excluded_ranks < depth
        is_allowed[users[reachable], excluded_ranks[reachable]] = False
        places = np.cumsum(is_allowed, axis=1) - 1
        rows, columns = np.nonzero(is_allowed & (places < lists.shape[1]))
        lists[rows, places[rows, columns]] = self.items_by_popularity[columns]
        return lists

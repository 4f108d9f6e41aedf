"""What a user had most often, then what most had: the line to beat on logs in which users come back to their items.

Known as GP-TopFreq in next-basket recommendation, where it beats most networks (Hu et al., SIGIR 2020).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from jtm_core.baselines.popularity import Popularity
from jtm_core.baselines.protocol import check_query
from jtm_core.behaviours import Ints, Ragged


@dataclass(frozen=True, slots=True)
class PersonalPopularity:
    """A user's own items by how often the history has them, the later one first among equals; behind them the most popular others.

    Parameters
    ----------
    others : Popularity

    Examples
    --------
    >>> histories = Ragged(np.array([2, 0, 2, 1, 3]), np.array([0, 4, 5]))
    >>> PersonalPopularity.fit(histories, num_items=4).recommend(histories, 4)
    array([[2, 1, 0, 3],
           [3, 2, 0, 1]])
    """

    others: Popularity

    @classmethod
    def fit(cls, histories: Ragged, num_items: int) -> Self:
        """Count behaviours; repeats of one user count as often as they occur."""
        return cls(Popularity.fit(histories, num_items))

    def recommend(self, histories: Ragged, num_recommended: int, excluded: Ragged | None = None) -> Ints:
        """List own items, then others, that are not excluded; see :class:`jtm_core.baselines.protocol.Recommender`."""
        num_items = len(self.others.items_by_popularity)
        check_query(histories, num_recommended, excluded, num_items)
        lists = np.full((len(histories), num_recommended), -1, dtype=np.int64)
        users, items = _own_items(histories, excluded, num_items)
        place = np.arange(len(users)) - np.searchsorted(users, users)
        is_listed = place < num_recommended
        lists[users[is_listed], place[is_listed]] = items[is_listed]
        counts = np.bincount(users[is_listed], minlength=len(histories))
        fill = self.others.recommend(histories, num_recommended, _joined(histories, excluded))
        columns = np.arange(num_recommended) - counts[:, None]
        return np.where(columns >= 0, np.take_along_axis(fill, np.maximum(columns, 0), axis=1), lists)


def _own_items(histories: Ragged, excluded: Ragged | None, num_items: int) -> tuple[Ints, Ints]:
    """Users, ascending, and their distinct items that are not excluded, those of a user best first."""
    keys = _keys(histories, num_items)
    if excluded is not None:
        keys = keys[~np.isin(keys, _keys(excluded, num_items))]
    distinct, first_from_end, counts = np.unique(keys[::-1], return_index=True, return_counts=True)
    order = np.lexsort((first_from_end, -counts, distinct // num_items))
    return distinct[order] // num_items, distinct[order] % num_items


def _keys(rows: Ragged, num_items: int) -> Ints:
    """A number for each pair of user and item: int64 (values,)."""
    keys: Ints = np.repeat(np.arange(len(rows)), np.diff(rows.offsets)) * num_items + rows.values
    return keys


def _joined(histories: Ragged, excluded: Ragged | None) -> Ragged:
    """Each user's history and what is excluded besides."""
    if excluded is None:
        return histories
    users = np.concatenate([np.repeat(np.arange(len(rows)), np.diff(rows.offsets)) for rows in (histories, excluded)])
    values = np.concatenate([histories.values, excluded.values])
    return Ragged(values[np.argsort(users, kind="stable")], histories.offsets + excluded.offsets)

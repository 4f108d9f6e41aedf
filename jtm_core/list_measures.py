"""What lists are like beside being right: how much of the catalogue they reach, and how they lean to popular items.

With ``n_i`` how often item ``i`` stands in the lists of all users together, over all I items of the catalogue:

* coverage = share of items with ``n_i > 0`` (catalogue coverage [1]_);
* Gini = ``sum over j of (2 j - I - 1) n_(j) / (I sum n)`` with ``n_(1) <= n_(2) <= ...``: 0 if every item is listed equally often,
  ``1 - 1 / I`` if one item fills all lists ([2]_, section 8.3.3);
* popularity percentile = mean over all places of the percentile of the listed item's popularity in training, 0 the rarest and
  1 the most popular item, ties sharing their mean; 0.5 is what lists drawn at random would have. It is the rank form of the average
  recommendation popularity of [3]_, which one very popular item would otherwise decide.

Novelty, the share of a list that the user's history does not hold, is in :mod:`jtm_core.metrics`.

References
----------
.. [1] M. Ge, C. Delgado-Battenfeld and D. Jannach, Beyond accuracy: evaluating recommender systems by coverage and serendipity,
   RecSys 2010.
.. [2] G. Shani and A. Gunawardana, Evaluating recommendation systems, Recommender Systems Handbook, 2011.
.. [3] H. Abdollahpouri, R. Burke and B. Mobasher, Managing popularity bias in recommender systems with personalized re-ranking,
   FLAIRS 2019.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Ints

Floats = NDArray[np.float64]


def list_measures(lists: NDArray[np.signedinteger], popularity: Ints, cutoffs: Sequence[int]) -> dict[str, float]:
    """Coverage, Gini and popularity percentile of the first M places of all lists.

    Parameters
    ----------
    lists : integer array (E, M)
        Items of every user, best first; -1 fills places without an item.
    popularity : int64 array (num_items,)
        How often each item of the catalogue occurs in training.
    cutoffs : sequence of int
        Cut-offs, 1 .. M.

    Returns
    -------
    dict of str to float
        ``coverage_at_10``, ``gini_at_10``, ``popularity_percentile_at_10`` for each cut-off; 0 where no item is listed at all.

    Raises
    ------
    ValueError
        If a cut-off is out of range or a listed item is not in the catalogue.

    Examples
    --------
    >>> list_measures(np.array([[0, 1], [0, 2]]), np.array([9, 5, 1, 1]), cutoffs=[1])
    {'coverage_at_1': 0.25, 'gini_at_1': 0.75, 'popularity_percentile_at_1': 1.0}
    """
    if not len(cutoffs) or min(cutoffs) < 1 or max(cutoffs) > lists.shape[1]:
        raise ValueError(f"cutoffs are {list(cutoffs)}; allowed are 1 .. {lists.shape[1]}, the length of the lists")
    if lists.size and (lists.min() < -1 or lists.max() >= len(popularity)):
        raise ValueError(f"listed items span {lists.min()} .. {lists.max()}; allowed are 0 .. {len(popularity) - 1}, and -1 for none")
    percentiles = popularity_percentiles(popularity)
    measures: dict[str, float] = {}
    for cutoff in cutoffs:
        listed = lists[:, :cutoff]
        counts = np.bincount(listed[listed >= 0], minlength=len(popularity))
        total = max(int(counts.sum()), 1)
        measures[f"coverage_at_{cutoff}"] = float((counts > 0).mean())
        measures[f"gini_at_{cutoff}"] = gini(counts)
        measures[f"popularity_percentile_at_{cutoff}"] = float(counts @ percentiles) / total
    return measures


def gini(counts: Ints) -> float:
    """Gini coefficient of counts, none below 0; 0 if all are 0.

    Examples
    --------
    >>> gini(np.array([2, 2, 2])), gini(np.array([0, 0, 6]))
    (0.0, 0.6666666666666666)
    """
    ordered, size, total = np.sort(counts).astype(np.float64), len(counts), int(counts.sum())
    return float((2 * np.arange(1, size + 1) - size - 1) @ ordered) / (size * total) if total else 0.0


def popularity_percentiles(popularity: Ints) -> Floats:
    """Percentile of every item's popularity, equal ones sharing their mean: float64 (num_items,), 0 .. 1; 0.5 for a single item.

    Examples
    --------
    >>> popularity_percentiles(np.array([7, 1, 1, 9, 3]))
    array([0.75 , 0.125, 0.125, 1.   , 0.5  ])
    """
    _, place, repeats = np.unique(popularity, return_inverse=True, return_counts=True)
    below = np.cumsum(repeats) - repeats
    percentiles: Floats = ((below + (repeats - 1) / 2) / (len(popularity) - 1))[place] if len(popularity) > 1 else np.full(1, 0.5)
    return percentiles

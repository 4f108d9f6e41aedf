r"""Precision, recall, F-measure, NDCG and novelty at cut-off M, per user (JTM section 4.1, TDM section 4.2).

With ``t`` the ground truth of a user, ``r`` the first M recommended items and ``n_t(i)`` how often item ``i`` occurs in ``t``:

* hits = sum of ``n_t(i)`` over ``i`` in ``r``; precision = hits / M, recall = hits / \|t\|, F = 2 hits / (M + \|t\|);
* NDCG = sum of ``n_t(r_j) / log2(j + 1)`` over ranks ``j = 1 .. M``, over the same sum for the best possible list;
* novelty = share of the items in ``r`` that the user's history does not hold.

Under ``multiset`` ``n_t`` counts repeats, as the original code does, so that finding an item the user returns to three
times counts three times (and precision may exceed 1 in theory); under ``set`` ``n_t`` is 0 or 1. F is the harmonic mean of
precision and recall. A place that holds no item (-1) is a miss, and is left out of novelty.

Shape letters: E evaluation users, M places.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Ints, Ragged

Floats = NDArray[np.float64]


def metrics_at(
    recommended: Ints, truths: Ragged, histories: Ragged, cutoffs: Sequence[int], truth: Literal["multiset", "set"] = "multiset"
) -> dict[str, Floats]:
    """Judge recommended lists by what the users did next, user by user.

    Parameters
    ----------
    recommended : int64 array (E, M)
        Items of every user, best first, none twice; -1 fills places without an item.
    truths, histories : Ragged of E rows
        Ground truth, at least one behaviour a user; what the users did before (only novelty reads it).
    cutoffs : sequence of int
        Cut-offs, 1 .. M.
    truth : "multiset" or "set"
        Whether repeats in the ground truth count as often as they occur, or once.

    Returns
    -------
    dict of float64 arrays (E,)
        ``precision_at_10``, ``recall_at_10``, ``f_measure_at_10``, ``ndcg_at_10``, ``novelty_at_10`` for each cut-off.

    Raises
    ------
    ValueError
        If the rows do not match, a cut-off is out of range, a user has no ground truth or a list repeats an item.

    Examples
    --------
    >>> truths, histories = Ragged(np.array([4, 4, 7]), np.array([0, 3])), Ragged(np.array([9]), np.array([0, 1]))
    >>> metrics = metrics_at(np.array([[4, 9]]), truths, histories, cutoffs=[1, 2])
    >>> metrics["recall_at_2"].round(3), metrics["novelty_at_2"]
    (array([0.667]), array([0.5]))
    """
    _check_lists(recommended, truths, histories, cutoffs, truth)
    num_ids = 1 + max(int(ids.max(initial=0)) for ids in (recommended, truths.values, histories.values))
    keys = np.where(recommended >= 0, np.arange(len(recommended))[:, None] * num_ids + recommended, -1)
    truth_keys, repeats = np.unique(_keys(truths, num_ids), return_counts=True)
    counts: Ints = repeats if truth == "multiset" else np.ones_like(repeats)
    seen_keys = np.unique(_keys(histories, num_ids))
    is_seen = _counts_of(keys, seen_keys, np.ones_like(seen_keys)) > 0
    gains, ideal = _counts_of(keys, truth_keys, counts), _ideal_gains(truth_keys // num_ids, counts, recommended.shape)
    sizes = np.bincount(truth_keys // num_ids, weights=counts, minlength=len(recommended)).astype(np.float64)
    return _accuracy(gains, ideal, sizes, cutoffs) | _novelty(recommended >= 0, is_seen, cutoffs)


def _novelty(is_item: NDArray[np.bool_], is_seen: NDArray[np.bool_], cutoffs: Sequence[int]) -> dict[str, Floats]:
    """Share of the items listed that are new to the user; 0 where none is listed."""
    metrics: dict[str, Floats] = {}
    for cutoff in cutoffs:
        num_new = (is_item & ~is_seen)[:, :cutoff].sum(axis=1)
        metrics[f"novelty_at_{cutoff}"] = num_new / np.maximum(is_item[:, :cutoff].sum(axis=1), 1)
    return metrics


def _accuracy(gains: Ints, ideal: Ints, sizes: Floats, cutoffs: Sequence[int]) -> dict[str, Floats]:
    """What can be read off the gains at every rank, those of the best lists and the sizes of the ground truth."""
    metrics: dict[str, Floats] = {}
    for cutoff in cutoffs:
        hits = gains[:, :cutoff].sum(axis=1)
        metrics[f"precision_at_{cutoff}"] = hits / cutoff
        metrics[f"recall_at_{cutoff}"] = hits / sizes
        metrics[f"f_measure_at_{cutoff}"] = 2 * hits / (cutoff + sizes)
        metrics[f"ndcg_at_{cutoff}"] = _discounted(gains[:, :cutoff]) / _discounted(ideal[:, :cutoff])
    return metrics


def mean_metrics(metrics: dict[str, Floats]) -> dict[str, float]:
    """Average every metric over users: F-measure is the mean of per-user F, not F of the means."""
    return {name: float(values.mean()) for name, values in metrics.items()}


def _keys(rows: Ragged, num_ids: int) -> Ints:
    """One number for every (row, value), ordered by row first."""
    keys: Ints = np.repeat(np.arange(len(rows)), np.diff(rows.offsets)) * num_ids + rows.values
    return keys


def _counts_of(keys: Ints, known: Ints, counts: Ints) -> Ints:
    """``counts`` of each key, 0 where it is not among the sorted ``known``; same shape as ``keys``."""
    if not len(known):
        return np.zeros(keys.shape, dtype=np.int64)
    places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[places] == keys, counts[places], 0)


def _ideal_gains(rows: Ints, counts: Ints, shape: tuple[int, int]) -> Ints:
    """Gains of the best possible lists: every user's counts, largest first; int64 ``shape``."""
    order = np.lexsort((-counts, rows))
    starts = np.searchsorted(rows, np.arange(shape[0]))
    ranks = np.arange(len(rows)) - starts[rows]
    gains = np.zeros(shape, dtype=np.int64)
    fits = ranks < shape[1]
    gains[rows[fits], ranks[fits]] = counts[order][fits]
    return gains


def _discounted(gains: Ints) -> Floats:
    """Discounted cumulative gain of every list: float64 (E,)."""
    discounted: Floats = gains @ (1 / np.log2(np.arange(gains.shape[1]) + 2.0))
    return discounted


def _check_lists(recommended: Ints, truths: Ragged, histories: Ragged, cutoffs: Sequence[int], truth: str) -> None:
    if recommended.ndim != 2 or not len(recommended) == len(truths) == len(histories):
        raise ValueError(f"{recommended.shape} recommended, {len(truths)} truths, {len(histories)} histories; each needs one row a user")
    if not len(recommended):
        raise ValueError("no users to judge; at least 1 is needed")
    if not len(cutoffs) or min(cutoffs) < 1 or max(cutoffs) > recommended.shape[1]:
        raise ValueError(f"cutoffs are {list(cutoffs)}; allowed are 1 .. {recommended.shape[1]}, the length of the lists")
    if truth not in ("multiset", "set"):
        raise ValueError(f"truth is {truth!r}; allowed are 'multiset' and 'set'")
    empty = np.flatnonzero(np.diff(truths.offsets) == 0)
    if len(empty):
        raise ValueError(f"rows {empty[:5].tolist()} have no ground truth; every user needs at least 1 behaviour")
    ordered = np.sort(recommended, axis=1)
    repeated = np.flatnonzero(((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1))
    if len(repeated):
        raise ValueError(f"the lists of rows {repeated[:5].tolist()} repeat an item; each item may be recommended once")

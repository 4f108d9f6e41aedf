"""Which child of a node each of its items goes to: Algorithm 2, line 5.

Maximise the sum of ``weights[item, child]`` such that no child gets more items than its capacity. Three methods:

* ``greedy``: the paper's best child with rebalance (see :func:`jtm_core.transport.greedy_children`);
* ``regret``: surplus leaves where it loses least, at prices that settle demand; typically 1e-4 below the optimum, on small problems
  of heavy tails up to 1e-2;
* ``exact``: the optimum up to rounding; a few times the work of ``regret``.

We leave the paper in the last two: weights are sums over samples, so the greedy order evicts popular items first and
often ends below the tree it started from. With two children ``regret`` and ``exact`` are the same sort.

Ties go to the old child, then to the lowest child or item. Items without samples have equal weights everywhere: they
fill holes only, and stay where they were if there is room, under ``greedy`` in any case.
"""

from typing import Any, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jtm_core.codes import Codes
from jtm_core.threads import run_chunks
from jtm_core.transport import auction_children, cancel_cycles, greedy_children

Weights = NDArray[np.floating[Any]]
Method = Literal["greedy", "regret", "exact"]

_METHODS = ("greedy", "regret", "exact")
_REGRET_PRECISION = 3e-3
_EXACT_PRECISION = 1e-3
_SMALL = 1000
"""Fewer items than this are not worth a second thread."""
_BLOCKS = 64
"""Runs of nodes that threads take one after the other."""


def assign_children(weights: Weights, capacities: Codes, old_children: Codes, method: Method) -> Codes:
    """Hand the items of one node to its children.

    Parameters
    ----------
    weights : float64 or float32 array (num_items, num_children)
        What each item is worth under each child: summed log-probabilities, finite.
    capacities : int64 array (num_children,)
        Most items each child may hold; 0 closes a child; together at least ``num_items``.
    old_children : int64 array (num_items,)
        Where the items were, -1 for a new one.
    method : "greedy", "regret" or "exact"
        See the module's text.

    Returns
    -------
    int64 array (num_items,)
        Child of every item.

    Raises
    ------
    ValueError
        If shapes do not fit, the items do not fit the capacities, a weight is not finite or the method is unknown.

    Examples
    --------
    >>> weights = np.array([[-1.0, -9.0], [-2.0, -3.0], [-2.0, -8.0]])
    >>> assign_children(weights, np.array([2, 1]), np.array([0, 0, 1]), "exact")
    array([0, 1, 0])
    """
    return assign_many(weights, np.zeros(len(weights), dtype=np.int64), np.asarray(capacities)[None, :], old_children, method)


def assign_many(weights: Weights, parents: Codes, capacities: Codes, old_children: Codes, method: Method) -> Codes:
    """Hand the items of all nodes of a level to their children, the nodes in parallel.

    The result does not depend on the number of threads: nodes share nothing. Weights are not copied, except for
    ``exact``, one node's at a time.

    Parameters
    ----------
    weights : float64 or float32 array (num_items, num_children)
        As in :func:`assign_children`, items sorted by parent.
    parents : int64 array (num_items,)
        Position of each item's node, 0 .. num_parents - 1, never falling.
    capacities : int64 array (num_parents, num_children)
        Most items each child of each node may hold.
    old_children : int64 array (num_items,)
        Where the items were, -1 for a new one or one from another parent.
    method : "greedy", "regret" or "exact"
        See the module's text.

    Returns
    -------
    int64 array (num_items,)
        Child of every item, 0 .. num_children - 1, below its own parent.

    Raises
    ------
    ValueError
        As in :func:`assign_children`, or if ``parents`` is not sorted.
    """
    _check_problem(weights, parents, capacities, old_children, method)
    if method != "greedy" and weights.shape[1] == 2:
        return _halve_groups(weights, parents, capacities, old_children)
    weights, capacities, old = np.ascontiguousarray(weights), capacities.astype(np.int64), old_children.astype(np.int64)
    num_blocks = _BLOCKS if len(weights) > _SMALL else 1
    bounds = np.unique(np.linspace(0, len(capacities), 1 + num_blocks, dtype=np.int64))
    starts = np.searchsorted(parents, np.arange(len(capacities) + 1)).astype(np.int64)
    children = np.empty(len(weights), dtype=np.int64)

    def assign_block(block: int) -> None:
        nodes = slice(bounds[block], bounds[block + 1])
        edges = starts[bounds[block] : bounds[block + 1] + 1]
        rows = slice(edges[0], edges[-1])
        children[rows] = _assign_groups(weights[rows], edges - edges[0], capacities[nodes], old[rows], _METHODS.index(method))

    run_chunks(assign_block, len(bounds) - 1)
    return children


def assigned_weight(weights: Weights, children: Codes) -> float:
    """Sum of the weights of the children that items were given: what an assignment maximises."""
    return float(np.take_along_axis(weights, np.asarray(children)[:, None], axis=1).sum(dtype=np.float64))


def gap_to_optimum(weights: Weights, capacities: Codes, children: Codes) -> float:
    """Share of the optimum that an assignment of one node's items falls short of; 0 is optimal.

    Parameters
    ----------
    weights, capacities
        As in :func:`assign_children`.
    children : int64 array (num_items,)
        The assignment to judge.

    Returns
    -------
    float
        ``(optimum - achieved) / |optimum|``; the bare difference if the optimum is 0.
    """
    optimum = assigned_weight(weights, assign_children(weights, capacities, children, "exact"))
    shortfall = max(0.0, optimum - assigned_weight(weights, children))
    return shortfall / abs(optimum) if optimum else shortfall


@njit(fastmath=False, cache=True, nogil=True)
def _assign_groups(weights: Weights, starts: Codes, capacities: Codes, old_children: Codes, method: int) -> Codes:
    """Assign each parent's rows ``starts[p]:starts[p + 1]`` by the method's number."""
    children = np.empty(len(weights), dtype=np.int64)
    for parent in range(len(capacities)):
        first, last = starts[parent], starts[parent + 1]
        rows, old, limits = weights[first:last], old_children[first:last], capacities[parent]
        if method == 0:
            chosen = greedy_children(rows, limits, old)
        elif method == 1:
            chosen = auction_children(rows, limits, old, _REGRET_PRECISION)
        else:
            chosen = cancel_cycles(rows.astype(np.float64), limits, auction_children(rows, limits, old, _EXACT_PRECISION))
        for row in range(last - first):
            children[first + row] = chosen[row]
    return children


def _halve_groups(weights: Weights, parents: Codes, capacities: Codes, old_children: Codes) -> Codes:
    """Exact optimum for two children: a sort by what the left one is worth more; among equals the old child decides, then the id."""
    advantages = weights[:, 0].astype(np.float64) - weights[:, 1]
    sides = np.array([1, 0, 2])[old_children + 1]
    counts = np.bincount(parents, minlength=len(capacities))
    prefer_left = np.bincount(parents[(advantages > 0) | ((advantages == 0) & (sides < 2))], minlength=len(capacities))
    num_left = np.maximum(counts - capacities[:, 1], np.minimum(capacities[:, 0], prefer_left))
    order = np.lexsort((sides, -advantages, parents))
    ranks = np.arange(len(order)) - (np.cumsum(counts) - counts)[parents]
    children = np.empty(len(order), dtype=np.int64)
    children[order] = ranks >= num_left[parents]
    return children


def _check_problem(weights: Weights, parents: Codes, capacities: Codes, old_children: Codes, method: str) -> None:
    if method not in _METHODS:
        raise ValueError(f"method is {method!r}; allowed are {', '.join(_METHODS)}")
    if weights.ndim != 2 or capacities.ndim != 2 or weights.shape[1] != capacities.shape[1] or not capacities.size:
        raise ValueError(f"weights {weights.shape} and capacities {capacities.shape} must have the same number of children, at least 1")
    if not len(weights) == len(parents) == len(old_children):
        raise ValueError(f"{len(weights)} rows of weights, {len(parents)} parents, {len(old_children)} old children; one each an item")
    if len(old_children) and not -1 <= old_children.min() <= old_children.max() < weights.shape[1]:
        raise ValueError(f"old children span {old_children.min()} .. {old_children.max()}; allowed are -1 .. {weights.shape[1] - 1}")
    if not np.isfinite(weights.sum(dtype=np.float64)):
        raise ValueError("some weight is not finite; allowed are finite sums of log-probabilities, a large negative one for unseen items")
    _check_room(parents, capacities)


def _check_room(parents: Codes, capacities: Codes) -> None:
    if len(parents) and ((np.diff(parents) < 0).any() or parents[0] < 0 or parents[-1] >= len(capacities)):
        raise ValueError(f"parents must rise within 0 .. {len(capacities) - 1}; got {parents.min()} .. {parents.max()}, or unsorted")
    if capacities.min() < 0:
        raise ValueError(f"a capacity is {capacities.min()}; allowed are 0 and more")
    counts, room = np.bincount(parents, minlength=len(capacities)), capacities.sum(axis=1)
    crowded = np.flatnonzero(counts > room)
    if len(crowded):
        raise ValueError(f"{counts[crowded[0]]} items under parent {crowded[0]}; its children hold {room[crowded[0]]} at most")

"""Kernels that hand the items of one node to its children: the transportation problem, compiled.

All of them take float weights (C items, K children), int64 capacities (K,) that sum to at least C and int64 old children
(C,) with -1 for "none", and return int64 children (C,) within the capacities. They trust their arguments:
:mod:`jtm_core.assignment` is the door.

References
----------
Bertsekas & Castanon, The auction algorithm for the transportation problem, Annals of OR 20 (1989).
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jtm_core.codes import Codes

Weights = NDArray[np.floating[Any]]

BIDS_PER_ITEM = 100
"""An auction stops after this many bids an item on average; who is left then takes the best open child."""


@njit(fastmath=False, cache=True, nogil=True)
def greedy_children(weights: Weights, capacities: Codes, old_children: Codes) -> Codes:
    """The paper's greedy assignment with rebalance (JTM, Algorithm 2, line 5), as public ports do it.

    Every item goes to its best child. Then the most overfull child not yet processed keeps the items it held before
    ("lazy"), the heavier first, then others by weight; its surplus goes on to the next best child not yet processed.
    """
    num_items, num_children = weights.shape
    room = capacities.copy()
    is_open = capacities > 0
    children = np.empty(num_items, dtype=np.int64)
    for item in range(num_items):
        children[item] = _best_child(weights[item], is_open, old_children[item])
        room[children[item]] -= 1
    for _ in range(num_children):
        overfull = np.argmin(room)
        if room[overfull] >= 0:
            break
        is_open[overfull] = False
        keepers = _keepers_first(weights, np.flatnonzero(children == overfull), old_children, overfull)
        for item in keepers[capacities[overfull] :]:
            children[item] = _best_child(weights[item], is_open, old_children[item])
            room[children[item]] -= 1
        room[overfull] = 0
    return children


@njit(fastmath=False, cache=True, nogil=True)
def _best_child(row: Weights, is_open: NDArray[np.bool_], old_child: np.int64) -> int:
    """Open child of largest weight; of equal ones the old child, then the lowest."""
    best = -1
    for child in range(len(row)):
        if is_open[child] and (best < 0 or row[child] > row[best] or (row[child] == row[best] and child == old_child)):
            best = child
    return best


@njit(fastmath=False, cache=True, nogil=True)
def _keepers_first(weights: Weights, members: Codes, old_children: Codes, child: np.int64) -> Codes:
    """Members of a child in the order it keeps them: those of old before newcomers, then the heavier, then the lower id."""
    losses = np.empty(len(members))
    for place, item in enumerate(members):
        losses[place] = -weights[item, child]
    by_weight = members[np.argsort(losses, kind="mergesort")]
    ordered, num_ordered = np.empty_like(members), 0
    for wants_old in (True, False):
        for item in by_weight:
            if (old_children[item] == child) == wants_old:
                ordered[num_ordered] = item
                num_ordered += 1
    return ordered


@njit(fastmath=False, cache=True, nogil=True)
def auction_children(weights: Weights, capacities: Codes, old_children: Codes, precision: float) -> Codes:
    """Assign by regret: an overfull child lets go whom it costs least to sit elsewhere, at prices that rise with demand.

    Every item bids for its best child the price at which its second best would be as good, plus an increment; a full
    child evicts its lowest bid. The sum of weights ends within ``C * increment`` of the optimum, where the increment is
    ``precision`` times the mean of what items stand to lose (best weight minus mean weight). Items whose weights are
    all equal do not bid: they keep their old child where it has room and fill holes elsewhere.
    """
    num_items = len(weights)
    stakes = _stakes(weights, capacities)
    increment = precision * stakes.sum() / max(1, (stakes > 0).sum())
    children = np.full(num_items, -1, dtype=np.int64)
    prices = np.where(capacities > 0, 0.0, np.inf)
    ends, sizes = np.cumsum(capacities), np.zeros(len(capacities), dtype=np.int64)
    all_bids, all_bidders = np.empty(ends[-1]), np.empty(ends[-1], dtype=np.int64)
    bids_left = BIDS_PER_ITEM * num_items
    for item in range(num_items):
        bidder = item if stakes[item] > 0 else -1
        while bidder >= 0 and bids_left > 0:
            bids_left -= 1
            child, bid = _bid(weights[bidder], prices, old_children[bidder])
            children[bidder] = child
            bids = all_bids[ends[child] - capacities[child] : ends[child]]
            bidders = all_bidders[ends[child] - capacities[child] : ends[child]]
            if sizes[child] < capacities[child]:
                sizes[child] += 1
                _push(bids, bidders, sizes[child], bid + increment, bidder)
                bidder = -1
            else:
                evicted = bidders[0]
                _replace_lowest(bids, bidders, bid + increment, bidder)
                children[evicted] = -1
                bidder = evicted
            if sizes[child] == capacities[child]:
                prices[child] = bids[0]
    _fill_holes(weights, capacities - sizes, old_children, stakes, children)
    return children


@njit(fastmath=False, cache=True, nogil=True)
def _stakes(weights: Weights, capacities: Codes) -> Weights:
    """What every item stands to lose: best weight minus mean weight over usable children; 0 if all are equal."""
    stakes = np.zeros(len(weights))
    num_usable = (capacities > 0).sum()
    for item in range(len(weights)):
        lowest, highest, total = np.inf, -np.inf, 0.0
        for child in range(len(capacities)):
            if capacities[child] > 0:
                weight = weights[item, child]
                lowest, highest, total = min(lowest, weight), max(highest, weight), total + weight
        stakes[item] = highest - total / num_usable if highest > lowest else 0.0
    return stakes


@njit(fastmath=False, cache=True, nogil=True)
def _bid(row: Weights, prices: Weights, old_child: int) -> tuple[int, float]:
    """Child of largest weight minus price, and the price that would make the second best as good."""
    child, first, second = -1, -np.inf, -np.inf
    for candidate in range(len(row)):
        value = row[candidate] - prices[candidate]
        if value > first or (value == first and candidate == old_child and value > -np.inf):
            child, first, second = candidate, value, first
        elif value > second:
            second = value
    return child, prices[child] + (first - second if second > -np.inf else 0.0)


@njit(fastmath=False, cache=True, nogil=True)
def _push(bids: Weights, bidders: Codes, size: int, bid: float, bidder: int) -> None:
    """Put a bid into the last place of a heap of ``size`` and let it rise."""
    place = size - 1
    while place > 0 and bids[(place - 1) // 2] > bid:
        parent = (place - 1) // 2
        bids[place], bidders[place] = bids[parent], bidders[parent]
        place = parent
    bids[place], bidders[place] = bid, bidder


@njit(fastmath=False, cache=True, nogil=True)
def _replace_lowest(bids: Weights, bidders: Codes, bid: float, bidder: int) -> None:
    """Put a bid in the place of the lowest one of a full heap and let it sink."""
    size, place = len(bids), 0
    while 2 * place + 1 < size:
        lower = 2 * place + 1
        if lower + 1 < size and bids[lower + 1] < bids[lower]:
            lower += 1
        if bids[lower] >= bid:
            break
        bids[place], bidders[place] = bids[lower], bidders[lower]
        place = lower
    bids[place], bidders[place] = bid, bidder


@njit(fastmath=False, cache=True, nogil=True)
def _fill_holes(weights: Weights, room: Codes, old_children: Codes, stakes: Weights, children: Codes) -> None:
    """Seat who has no child yet: those with something to lose on their best open child, then the others, on their old one first."""
    for item in range(len(weights)):
        if children[item] < 0 and stakes[item] > 0:
            children[item] = _best_child(weights[item], room > 0, old_children[item])
            room[children[item]] -= 1
    for item in range(len(weights)):
        old_child = old_children[item]
        if children[item] < 0 and old_child >= 0 and room[old_child] > 0:
            children[item] = old_child
            room[old_child] -= 1
    for item in range(len(weights)):
        if children[item] < 0:
            children[item] = _best_child(weights[item], room > 0, np.int64(-1))
            room[children[item]] -= 1


@njit(fastmath=False, cache=True, nogil=True)
def cancel_cycles(weights: Weights, capacities: Codes, children: Codes) -> Codes:
    """Turn any feasible assignment into an optimal one by moving items round cycles of children that gain.

    An assignment is optimal if and only if no such cycle is left (Klein 1967); an empty place moves like an item of
    weight 0. Exact up to rounding: gains below 1e-12 of the largest weight that can change are not followed.
    """
    children = children.copy()
    num_children = len(capacities)
    smallest_gain = 1e-12 * _largest_at_stake(weights, _stakes(weights, capacities))
    losses = np.empty((num_children, num_children))
    movers = np.empty((num_children, num_children), dtype=np.int64)
    is_stale = capacities > 0
    losses[:] = np.inf
    while is_stale.any():
        _forget_moves(capacities, children, is_stale, losses, movers)
        _find_moves(weights, capacities, children, is_stale, losses, movers)
        previous = _gaining_cycles(losses, smallest_gain)
        for child in range(num_children):
            source = previous[child]
            is_stale[child] = source >= 0
            if source >= 0 and movers[source, child] >= 0:
                children[movers[source, child]] = child
    return children


@njit(fastmath=False, cache=True, nogil=True)
def _largest_at_stake(weights: Weights, stakes: Weights) -> float:
    """Largest absolute weight of the items whose weights are not all equal."""
    largest = 0.0
    for item in range(len(weights)):
        if stakes[item] > 0:
            for weight in weights[item]:
                largest = max(largest, abs(weight))
    return largest


@njit(fastmath=False, cache=True, nogil=True)
def _forget_moves(capacities: Codes, children: Codes, is_stale: NDArray[np.bool_], losses: Weights, movers: Codes) -> None:
    """Leave stale children with no move out but that of an empty place, which costs nothing."""
    room = capacities.copy()
    for child in children:
        room[child] -= 1
    for child in range(len(capacities)):
        if is_stale[child]:
            movers[child] = -1
            for other in range(len(capacities)):
                losses[child, other] = 0.0 if room[child] > 0 and capacities[other] > 0 else np.inf


@njit(fastmath=False, cache=True, nogil=True)
def _find_moves(weights: Weights, capacities: Codes, children: Codes, is_stale: NDArray[np.bool_], losses: Weights, movers: Codes) -> None:
    """Find what it costs at least to move an item from stale children to every other, and which item that is."""
    for item in range(len(children)):
        own = children[item]
        if is_stale[own]:
            row = weights[item]
            for other in range(len(capacities)):
                if row[own] - row[other] < losses[own, other] and capacities[other] > 0:
                    losses[own, other], movers[own, other] = row[own] - row[other], item


@njit(fastmath=False, cache=True, nogil=True)
def _gaining_cycles(losses: Weights, smallest_gain: float) -> Codes:
    """Cycles of negative loss without a common child (Bellman-Ford): for each child on one its predecessor, else -1."""
    num_children = len(losses)
    distances = np.zeros(num_children)
    previous = np.empty(num_children, dtype=np.int64)
    previous[:] = -1
    for _ in range(num_children):
        has_changed = False
        for source in range(num_children):
            for child in range(num_children):
                distance = distances[source] + losses[source, child]
                if distance < distances[child] - smallest_gain and source != child:
                    distances[child], previous[child], has_changed = distance, source, True
        if not has_changed or _keep_cycles(previous):
            break
    if not _keep_cycles(previous):
        previous[:] = -1
    return previous


@njit(fastmath=False, cache=True, nogil=True)
def _keep_cycles(previous: Codes) -> bool:
    """Set the successor of every node off a cycle to -1, if there is a cycle at all; tells whether there is."""
    num_nodes = len(previous)
    seen_by, on_cycle = np.zeros(num_nodes, dtype=np.int64), np.zeros(num_nodes, dtype=np.bool_)
    for start in range(num_nodes):
        node = start
        while node >= 0 and seen_by[node] == 0:
            seen_by[node] = start + 1
            node = previous[node]
        while node >= 0 and seen_by[node] == start + 1 and not on_cycle[node]:
            on_cycle[node] = True
            node = previous[node]
    if not on_cycle.any():
        return False
    for node in range(num_nodes):
        if not on_cycle[node]:
            previous[node] = -1
    return True

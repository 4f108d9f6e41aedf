"""From a segment's summed log-probabilities to the new assignment, a block of parents at a time.

Rows of sums come in leaf order, so the items under a node lie side by side and the blocks stream by: at most the rows of
one block, or of the largest node, are in memory at a time, in float32.

Shape letters: N items of a block, C children: descendants of a node on the segment's last level.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jtm_core.assignment import Method, assign_many, gap_to_optimum
from jtm_core.codes import Codes
from jtm_core.segments import Ints, ShardSums, level_positions, run_bounds
from jtm_core.tree import TreeIndex

Floats = NDArray[np.float64]

ITEMS_PER_BLOCK = 1 << 17
"""Parents are assigned together until they hold so many items."""
SAMPLED_PARENTS = 8
SAMPLED_NUMBERS = 1 << 16
"""A sampled parent has at most so many weights (items x children), so that its optimum is found in no time."""


@dataclass(frozen=True, slots=True)
class Reassignment:
    """What became of one segment.

    Parameters
    ----------
    tree : TreeIndex
        With the same used leaves; items of one descendant keep their order below it. No node's sum of weights falls.
    num_nodes, num_kept : int
        Nodes with more than one item, and those of them that kept their items' places.
    gaps : float64 array
        Share of the optimum that sampled nodes fall short of: nodes spread evenly over those small enough.
    """

    tree: TreeIndex
    num_nodes: int
    num_kept: int
    gaps: Floats


class PieceReader:
    """Hands out the rows of shards, however those are cut, item by item.

    Parameters
    ----------
    sums : iterable of ShardSums
        In shard order.
    pieces_of_item : int64 array (num_items,)
        How many rows belong to each item, items in leaf order.
    num_children : int
    """

    def __init__(self, sums: Iterable[ShardSums], pieces_of_item: Ints, num_children: int) -> None:
        self._sums, self._counts, self._num_children = iter(sums), pieces_of_item, num_children
        self._rows: NDArray[np.float32] = np.zeros((0, num_children), dtype=np.float32)
        self._next_item = 0

    def next_weights(self, items: Ints) -> NDArray[np.float32]:
        """Weights of the next items in leaf order: float32 (N, C), 0 for items without samples.

        Pieces of one item are added in order in float64.
        """
        counts = self._counts[self._next_item : self._next_item + len(items)]
        self._next_item += len(items)
        owners, is_long = np.repeat(np.arange(len(items)), counts), counts > 1
        number = np.cumsum(is_long) - 1
        weights = np.zeros((len(items), self._num_children), dtype=np.float32)
        totals = np.zeros((int(is_long.sum()), self._num_children))
        for low, rows in self._take(len(owners)):
            own = owners[low : low + len(rows)]
            is_part = is_long[own]
            weights[own[~is_part]] = rows[~is_part]
            np.add.at(totals, number[own[is_part]], rows[is_part])
        weights[is_long] = totals
        return weights

    def _take(self, count: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The next ``count`` rows as they lie in the shards, and how many came before."""
        taken = 0
        while taken < count:
            if not len(self._rows):
                self._rows = self._next_shard()
            rows, self._rows = self._rows[: count - taken], self._rows[count - taken :]
            yield taken, rows
            taken += len(rows)

    def _next_shard(self) -> NDArray[np.float32]:
        shard = next(self._sums, None)
        if shard is None or shard.weights.shape[1] != self._num_children:
            came = "nothing more" if shard is None else f"sums of {shard.weights.shape[1]} children"
            raise ValueError(f"{came} came from the shards; sums of {self._num_children} children for every piece are needed")
        return shard.weights

    def finish(self) -> None:
        """Use up what is left; ValueError if it belongs to no item."""
        left = len(self._rows) + sum(len(shard.weights) for shard in self._sums)
        if left:
            raise ValueError(f"{left} rows came from the shards beyond those of all pieces")


def reassign(
    tree: TreeIndex, upper: int, lower: int, method: Method, next_weights: Callable[[Ints], NDArray[np.floating[Any]]]
) -> Reassignment:
    """Hand the items under each node of the upper level to its descendants on the lower one.

    Parameters
    ----------
    tree : TreeIndex
    upper, lower : int
        Levels.
    method : "greedy", "regret" or "exact"
        See :mod:`jtm_core.assignment`.
    next_weights : callable
        Asked for all items in leaf order, block by block: ids int64 (N,) -> float (N, 2 ** (lower - upper)), what each is worth
        under each descendant of its node.
    """
    order, gap = tree.items_in_leaf_order(), lower - upper
    nodes = level_positions(tree.leaf_of_item[order], tree.height, upper)
    first_rows = np.flatnonzero(np.concatenate([[True], nodes[1:] != nodes[:-1], [True]]))
    capacities = tree.capacities(lower).reshape(-1, 1 << gap)[nodes[first_rows[:-1]]]
    old = level_positions(tree.leaf_of_item[order], tree.height, lower) & ((1 << gap) - 1)
    is_sampled = _sampled_nodes(np.diff(first_rows), 1 << gap)
    chosen, num_kept = np.empty_like(old), 0
    gaps: list[float] = []
    for low, high in _blocks(np.diff(first_rows)):
        rows, own = slice(first_rows[low], first_rows[high]), first_rows[low : high + 1] - first_rows[low]
        block = Block(next_weights(order[rows]), own, capacities[low:high], old[rows])
        chosen[rows], kept = block.assign(method)
        num_kept += kept
        gaps.extend(block.gap(chosen[rows], node) for node in np.flatnonzero(is_sampled[low:high]).tolist())
    leaf_of_item = np.empty_like(tree.leaf_of_item)
    leaf_of_item[order[np.lexsort((chosen, nodes))]] = tree.leaf_of_item[order]
    num_nodes = int((np.diff(first_rows) > 1).sum())
    return Reassignment(TreeIndex(leaf_of_item, tree.height), num_nodes, num_kept, np.array(gaps))


@dataclass(frozen=True, slots=True)
class Block:
    """Nodes assigned together.

    Parameters
    ----------
    weights : float array (N, C)
    first_rows : int64 array (nodes + 1,)
        Which items are under each node.
    capacities : int64 array (nodes, C)
    old_children : int64 array (N,)
    """

    weights: NDArray[np.floating[Any]]
    first_rows: Ints
    capacities: Codes
    old_children: Codes

    def assign(self, method: Method) -> tuple[Codes, int]:
        """Children (N,), the old ones in every node where they weigh no less; the number of those nodes that had a choice."""
        sizes = np.diff(self.first_rows)
        parents = np.repeat(np.arange(len(sizes)), sizes)
        chosen = assign_many(self.weights, parents, self.capacities, self.old_children, method)

        def totals(children: Codes) -> Floats:
            own = np.take_along_axis(self.weights, children[:, None], axis=1)[:, 0]
            sums: Floats = np.bincount(parents, weights=own, minlength=len(sizes)).astype(np.float64)
            return sums

        is_kept = totals(self.old_children) >= totals(chosen)
        return np.where(is_kept[parents], self.old_children, chosen), int((is_kept & (sizes > 1)).sum())

    def gap(self, children: Codes, node: int) -> float:
        """Share of the optimum that a node's items fall short of."""
        rows = slice(self.first_rows[node], self.first_rows[node + 1])
        return gap_to_optimum(self.weights[rows].astype(np.float64), self.capacities[node], children[rows])


def _blocks(sizes: Ints) -> Iterator[tuple[int, int]]:
    """Runs of nodes, each until it holds :data:`ITEMS_PER_BLOCK` items."""
    bounds = run_bounds(sizes, ITEMS_PER_BLOCK)
    yield from zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)


def _sampled_nodes(sizes: Ints, num_children: int) -> NDArray[np.bool_]:
    """Up to :data:`SAMPLED_PARENTS` nodes, spread evenly over those that have a choice and are small enough."""
    small = np.flatnonzero((sizes > 1) & (sizes * num_children <= SAMPLED_NUMBERS))
    is_sampled = np.zeros(len(sizes), dtype=np.bool_)
    is_sampled[small[np.linspace(0, len(small) - 1, min(SAMPLED_PARENTS, len(small))).astype(np.int64)]] = True
    return is_sampled

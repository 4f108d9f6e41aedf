"""Learning a new tree for a fixed model: Algorithm 2 of the paper.

From the root down, ``gap`` levels at a time, the items under each node are handed to its descendants on the segment's
last level such that the summed log-probability of their paths is largest. Each node of the segment is scored once per
sample and added along paths. User features stay those of the old tree throughout.

Where we leave the paper:

* Inner-node vectors follow the items (:mod:`jtm_core.carry`). Once a segment has moved items, the vectors further down
  belong to items that are gone; the paths below look bad, and the objective of the whole tree gains less or falls. So
  after each segment the items keep their old order below their new nodes and the vectors there are carried over, before
  the next segment is learned.
* The objective is *measured* before (old tree, its vectors) and after (new tree, carried vectors). Within a node the
  order the items came in is kept unless the new assignment weighs more; a tree whose objective is not above the old
  one's is not taken, and learning starts again one segment further down. So the objective never falls.
* Items that were never a target have equal weights everywhere: they fill holes and keep their place if it is free.
* Levels above the first trained one add nothing to the objective.

Shape letters: S samples, C nodes of one level below one node.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from jtm_core.assignment import Method, assign_many
from jtm_core.behaviours import Ints, Ragged
from jtm_core.carry import carry_inner_vectors
from jtm_core.codes import first_code
from jtm_core.config import TreeLearningConfig
from jtm_core.features import Samples, all_samples
from jtm_core.model import JtmNetwork
from jtm_core.scoring import NodeTable, Scorer, Windows, make_scorer, sample_windows
from jtm_core.tree import TreeIndex, match_siblings, moved_shares

Floats = NDArray[np.float64]

_SCORES_PER_BLOCK = 1 << 19


@dataclass(frozen=True, slots=True)
class SegmentReport:
    """One step of Algorithm 2.

    Parameters
    ----------
    upper_level, lower_level : int
        Items of each node on the upper level were handed to its descendants on the lower one.
    objective_before, objective_after : float
        Sum over samples and the segment's levels of log p of the target's ancestor, on the old and the new tree.
    num_nodes, num_kept : int
        Nodes on the upper level with more than one item, and those of them that kept their old assignment.
    """

    upper_level: int
    lower_level: int
    objective_before: float
    objective_after: float
    num_nodes: int
    num_kept: int


@dataclass(frozen=True, slots=True)
class LearnedTree:
    """What tree learning leaves.

    Parameters
    ----------
    tree : TreeIndex
        The new tree, siblings ordered as in the old one as far as possible; the old one if it scores better.
    segments : tuple of SegmentReport
    objective_before, objective_after : float
        Totals over the segments; after is never below before.
    is_new : bool
        False if the old tree was kept whole.
    moved_shares : float64 array (height + 1,)
        Share of items whose ancestor changed, per level, swaps of siblings not counted.
    raw_moved_shares : float64 array (height + 1,)
        The same with swaps counted, as a comparison of codes before siblings are matched would have it.
    num_samples : int
        Samples used.
    """

    tree: TreeIndex
    segments: tuple[SegmentReport, ...]
    objective_before: float
    objective_after: float
    is_new: bool
    moved_shares: Floats
    raw_moved_shares: Floats
    num_samples: int


@dataclass(frozen=True, slots=True)
class TargetSamples:
    """Samples sorted by target, and how much each counts.

    Parameters
    ----------
    samples : Samples
        Targets never fall.
    factors : float64 array (S,)
        Above 1 where a cap on samples per item left some out.
    """

    samples: Samples
    factors: Floats


def target_samples(histories: Ragged, target: str, minimum_history: int, maximum: int | None, seed: int, iteration: int) -> TargetSamples:
    """All training samples sorted by target; of an item with more than ``maximum``, that many evenly spaced ones."""
    samples = all_samples(histories, target, minimum_history, seed, iteration)
    order = np.argsort(samples.targets, kind="stable")
    targets = samples.targets[order]
    counts = np.bincount(targets)
    rank = np.arange(len(targets)) - (np.cumsum(counts) - counts)[targets]
    limit = np.minimum(counts, maximum or counts.max(initial=0))[targets]
    is_used = rank * limit // counts[targets] != (rank - 1) * limit // counts[targets]
    return TargetSamples(samples.take(order[is_used]), (counts[targets] / limit)[is_used])


class TreeLearner:
    """One run of Algorithm 2.

    Parameters
    ----------
    network : JtmNetwork
        Fixed; trained on ``tree`` from ``first_level`` down.
    tree : TreeIndex
        The old tree.
    items : int64 array (N,)
        Flat histories that the samples point into.
    samples : TargetSamples
    config : TreeLearningConfig
    first_level : int
    """

    def __init__(
        self, network: JtmNetwork, tree: TreeIndex, items: Ints, samples: TargetSamples, config: TreeLearningConfig, first_level: int
    ) -> None:
        self._network, self._tree, self._config, self._first_level = network, tree, config, first_level
        self._samples, self._factors = samples.samples, samples.factors
        self._windows: Windows = sample_windows(items, samples.samples, network.config.window_sizes)

    def learn(self, report_progress: Callable[[float], None] = lambda share: None) -> LearnedTree:
        """Run all segments; ``report_progress`` is told the share of work done, 0 .. 1."""
        old, borders = self._tree, [*range(0, self._tree.height, self._config.gap), self._tree.height]
        before = self._objective(old)
        for start in range(len(borders) - 1):
            new, kept = self._learn_from(borders[start:], report_progress)
            after = self._objective(new)
            if after.sum() > before.sum():
                break
        else:
            new, after, kept = old, before, {}
        segments = tuple(_report(pair, before, after, kept.get(pair[0], (0, 0))) for pair in pairwise(borders))
        matched = match_siblings(old, new)
        return LearnedTree(
            tree=matched,
            segments=segments,
            objective_before=float(before.sum()),
            objective_after=float(after.sum()),
            is_new=bool(kept),
            moved_shares=moved_shares(old, matched),
            raw_moved_shares=moved_shares(old, new),
            num_samples=len(self._samples),
        )

    def _learn_from(self, borders: list[int], report_progress: Callable[[float], None]) -> tuple[TreeIndex, dict[int, tuple[int, int]]]:
        """Learn the segments between ``borders`` one after the other; counts of nodes and kept ones by upper level."""
        tree, height = self._tree, self._tree.height
        counts: dict[int, tuple[int, int]] = {}
        for upper, lower in pairwise(borders):
            nodes = NodeTable(carry_inner_vectors(self._network, self._tree, tree), tree)
            weights = self._weigh(nodes, upper, lower, partial(_report_share, report_progress, upper / height, lower / height))
            tree, counts[upper] = reassign(tree, weights, upper, lower, self._config.assignment)
        return tree, counts

    def _objective(self, tree: TreeIndex) -> Floats:
        """Sum over samples of log p of the target's ancestor on each level of a tree with carried vectors: float64 (height + 1,)."""
        scorer = self._scorer(NodeTable(carry_inner_vectors(self._network, self._tree, tree), tree))
        totals = np.zeros(tree.height + 1)
        for level in range(self._first_level, tree.height + 1):
            codes = tree.ancestors(level)
            for block in self._blocks(1):
                own = codes[self._samples.targets[block]][:, None]
                totals[level] += (
                    self._factors[block] @ _log_probabilities(scorer, self._windows.part(block.start, block.stop), level, own)[:, 0]
                )
        return totals

    def _weigh(self, nodes: NodeTable, upper: int, lower: int, report_progress: Callable[[float], None]) -> Floats:
        """``w[c, m]`` of Algorithm 2 for every item and every descendant of its node: float64 (num_items, 2 ** (lower - upper))."""
        scorer, targets, parents = self._scorer(nodes), self._samples.targets, nodes.tree.ancestors(upper)
        weights = np.zeros((nodes.tree.num_items, 1 << (lower - upper)))
        for block in self._blocks(weights.shape[1]):
            items, windows = targets[block], self._windows.part(block.start, block.stop)
            paths = np.zeros((len(items), 1))
            for level in range(upper + 1, lower + 1):
                paths = np.repeat(paths, 2, axis=1)
                if level >= self._first_level:
                    first = ((parents[items] + 1) << (level - upper)) - 1
                    paths += _log_probabilities(scorer, windows, level, first[:, None] + np.arange(paths.shape[1]))
            firsts = np.flatnonzero(np.concatenate([[True], items[1:] != items[:-1]]))
            weights[items[firsts]] += np.add.reduceat(paths * self._factors[block, None], firsts, axis=0)
            report_progress(block.stop / len(targets))
        return weights

    def _scorer(self, nodes: NodeTable) -> Scorer:
        """Scores nodes of a tree for users who are described by the old one."""
        return make_scorer(self._network, self._tree, nodes)

    def _blocks(self, nodes_per_sample: int) -> Iterator[slice]:
        step = max(1, _SCORES_PER_BLOCK // nodes_per_sample)
        for low in range(0, len(self._samples), step):
            yield slice(low, min(low + step, len(self._samples)))


def _report_share(report_progress: Callable[[float], None], low: float, high: float, share: float) -> None:
    report_progress(low + share * (high - low))


def _report(borders: tuple[int, int], before: Floats, after: Floats, counts: tuple[int, int]) -> SegmentReport:
    levels = slice(borders[0] + 1, borders[1] + 1)
    return SegmentReport(*borders, float(before[levels].sum()), float(after[levels].sum()), *counts)


def _log_probabilities(scorer: Scorer, windows: Windows, level: int, codes: Ints) -> Floats:
    """Logarithm of p of nodes of a level: log sigmoid of the logits, float64 (S, C)."""
    logits = scorer.score_level(windows, level, codes).astype(np.float64)
    return -np.logaddexp(0, -logits)


def reassign(tree: TreeIndex, weights: Floats, upper: int, lower: int, method: Method) -> tuple[TreeIndex, tuple[int, int]]:
    """Hand the items under each node of the upper level to its descendants on the lower one.

    Parameters
    ----------
    tree : TreeIndex
    weights : float64 array (num_items, 2 ** (lower - upper))
        What each item is worth under each descendant of its node.
    upper, lower : int
        Levels.
    method : "greedy", "regret" or "exact"
        See :mod:`jtm_core.assignment`.

    Returns
    -------
    tree : TreeIndex
        With the same used leaves; items of one descendant keep their order below it. No node's sum of weights falls.
    counts : (int, int)
        Nodes with more than one item, and those of them that kept their items' places.
    """
    gap, height = lower - upper, tree.height
    order = tree.items_in_leaf_order()
    used, position, sizes = np.unique(tree.ancestors(upper)[order], return_inverse=True, return_counts=True)
    first_children = ((used + 1) << gap) - 1
    capacities = tree.capacities(lower)[first_children[:, None] + np.arange(1 << gap) - first_code(lower)]
    old_children = tree.ancestors(lower)[order] - first_children[position]
    chosen = assign_many(weights[order], position, capacities, old_children, method)
    chosen, num_kept = _keep_where_better(weights[order], position, chosen, old_children, sizes)
    leaves = np.sort(tree.leaf_of_item)
    leaf_of_item = np.empty_like(tree.leaf_of_item)
    leaf_of_item[order[np.lexsort((np.arange(len(order)), chosen, position))]] = leaves
    return TreeIndex(leaf_of_item, height), (int((sizes > 1).sum()), num_kept)


def _keep_where_better(weights: Floats, parents: Ints, chosen: Ints, old: Ints, sizes: Ints) -> tuple[Ints, int]:
    """Take the old children back in every node where they weigh no less; also the number of those nodes with a choice."""

    def totals(children: Ints) -> Floats:
        own = np.take_along_axis(weights, children[:, None], axis=1)[:, 0]
        sums: Floats = np.bincount(parents, weights=own, minlength=len(sizes)).astype(np.float64)
        return sums

    is_kept = totals(old) >= totals(chosen)
    return np.where(is_kept[parents], old, chosen).astype(np.int64), int((is_kept & (sizes > 1)).sum())

"""Learning a new tree for a fixed model: Algorithm 2 of the paper.

From the root down, ``gap`` levels at a time, the items under each node are handed to its descendants on the segment's
last level such that the summed log-probability of their paths is largest. Each node of the segment is scored once per
sample and added along paths. User features stay those of the old tree throughout, and so does which node of an inner level a user's
behaviours match: the one whose place they had in the old tree. So a node is known by its place, and the tree that is returned has the
places that were measured; siblings are put in the old tree's order to count moves, for nothing else.

Where we leave the paper:

* Inner-node vectors follow the items (:mod:`jtm_core.carry`). Once a segment has moved items, the vectors further down
  belong to items that are gone; the paths below look bad, and the objective of the whole tree gains less or falls. So
  after each segment the items keep their old order below their new nodes and the vectors there are carried over, before
  the next segment is learned.
* All segments are learned again from the new tree, with the vectors it would have, as long as the objective rises, ``sweeps`` times at
  most. The first time the vectors further down are those of items that came together by chance.
* The objective is *measured* before (old tree, its vectors) and after (new tree, carried vectors); that of the leaves, whose
  vectors move with their items, is any tree's and is measured once. Within a node the
  order the items came in is kept unless the new assignment weighs more; a tree whose objective is not above the old
  one's is not taken, and learning starts again one segment further down, from the old tree. So the objective never falls.
* Items that were never a target have equal weights everywhere: they fill holes and keep their place if it is free.
* Levels above the first trained one add nothing to the objective. The first segment reaches down to that level at least, also where
  that is more than ``gap``: one that ended above it would weigh nothing, and what lies under its nodes could never leave them.

Shape letters: S samples, C nodes of one level below one node.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Ints, Ragged
from jtm_core.config import TreeLearningConfig
from jtm_core.learned_tree import LearnedTree, SegmentReport
from jtm_core.model import JtmNetwork
from jtm_core.reassignment import PieceReader, Reassignment, reassign
from jtm_core.segment_levels import history_shape
from jtm_core.segment_pass import Pass, Problem, make_pass
from jtm_core.segments import PIECE_SAMPLES, Pieces, SegmentWork, ShardSums, cut_pieces, run_bounds, segment_borders
from jtm_core.target_samples import TargetSamples, target_samples
from jtm_core.tree import TreeIndex, match_siblings, moved_shares

__all__ = ["LearnedTree", "SegmentReport", "TargetSamples", "TreeLearner", "target_samples"]

Floats = NDArray[np.float64]
Run = Callable[[SegmentWork], Iterable[ShardSums]]

SHARD_SAMPLES = 1 << 18
_SUMS_AT_A_TIME = 1 << 24
"""Numbers that a pass adds up before they are put together: 128 MB."""
_MEASURE_SHARE = 0.05
"""Of the work, roughly, for progress alone."""


class TreeLearner:
    """One run of Algorithm 2.

    Equal arguments make equal learners in any process: :meth:`learn` decides and assigns, :meth:`weigh` does the bulk of the
    work, a shard of samples at a time, wherever that is.

    Parameters
    ----------
    network : JtmNetwork
        Fixed; trained on ``tree`` from ``first_level`` down.
    tree : TreeIndex
        The old tree.
    histories : Ragged
        What the samples point into.
    samples : TargetSamples
    config : TreeLearningConfig
    first_level : int

    Raises
    ------
    ValueError
        If the first trained level lies too deep, see :func:`jtm_core.segments.segment_borders`.
    """

    def __init__(
        self, network: JtmNetwork, tree: TreeIndex, histories: Ragged, samples: TargetSamples, config: TreeLearningConfig, first_level: int
    ) -> None:
        self._tree, self._config, self._first_level, self._factors = tree, config, first_level, samples.factors
        self._borders = segment_borders(tree.height, config.gap, first_level)
        self._offsets = np.searchsorted(samples.samples.targets, np.arange(tree.num_items + 1))
        shape = history_shape(network.config.window_sizes, samples.samples)
        self._problem = Problem(network, tree, histories.values, histories.offsets, samples.samples, shape, config.precision)
        self._last: _Planned | None = None

    def learn(
        self,
        report_progress: Callable[[int, float], None] = lambda sweep, share: None,
        run: Run | None = None,
        samples_per_shard: int = SHARD_SAMPLES,
    ) -> LearnedTree:
        """Run all segments.

        Parameters
        ----------
        report_progress : callable
            Is told after every shard which sweep is under way, from 1, and what share of it is done, 0 .. 1. Those that begin further
            down count as well; how many there will be nobody knows.
        run : callable, optional
            Gives the sums of all shards of a work, in shard order; an iterator is used up as it comes. In this process by default.
        samples_per_shard : int
            About; the result does not depend on it.
        """
        old, height = self._tree, self._tree.height
        borders = self._borders
        passes = _Passes(run or self._run_here, self._num_samples, height, report_progress, samples_per_shard)
        before = np.zeros(height + 1)
        step = _Candidate(old, before, {}, 0)
        last = len(borders) - 2
        starts = range(last + 1) if self._first_level < height else [last]  # where only leaves weigh, nothing is to be gained
        for start in starts:
            found = self._sweep(borders[start:], passes, before, start == starts[0])
            if found.objective > float(before.sum()):
                step = found
                break
        return LearnedTree(
            tree=step.tree,
            segments=tuple(_report(pair, before, step.levels, step.segments.get(pair[0])) for pair in pairwise(borders)),
            objective_before=float(before.sum()),
            objective_after=step.objective,
            num_sweeps=step.num_sweeps,
            moved_shares=moved_shares(old, match_siblings(old, step.tree)),
            raw_moved_shares=moved_shares(old, step.tree),
            num_samples=self._num_samples,
        )

    def num_shards(self, work: SegmentWork) -> int:
        """How many shards a work has: 0 without samples."""
        return len(self._planned(work).shards) - 1

    def shard_samples(self, work: SegmentWork, shard_number: int) -> int:
        """How many samples a shard holds."""
        return int(self._planned(work).shard(shard_number).sizes.sum())

    def weigh(self, work: SegmentWork, shard_number: int) -> ShardSums:
        """Do one shard of a work: the same work and number give the same bits, whatever else was done before, and where.

        Raises
        ------
        ValueError
            If there is no such shard, or the work belongs to another tree.
        """
        planned = self._planned(work)
        pieces = planned.shard(shard_number)
        sums = ShardSums(np.zeros((len(pieces.items), work.num_children), np.float32), np.zeros((len(pieces.items), len(work.levels))))
        step = max(1, _SUMS_AT_A_TIME // (2 * work.num_children + len(work.levels)))
        for low in range(0, len(pieces.items), step):
            rows = slice(low, low + step)
            self._add_up(planned, pieces.part(low, low + step), ShardSums(sums.weights[rows], sums.levels[rows]))
        return sums

    @property
    def _num_samples(self) -> int:
        return len(self._problem.samples)

    def _run_here(self, work: SegmentWork) -> Iterator[ShardSums]:
        return (self.weigh(work, number) for number in range(self.num_shards(work)))

    def _planned(self, work: SegmentWork) -> "_Planned":
        """What is prepared for a work; that of the last one is kept."""
        if self._last is None or (self._last.work is not work and self._last.work.digest != work.digest):
            if len(work.leaf_of_item) != self._tree.num_items or work.lower_level > self._tree.height:
                raise ValueError(
                    f"the work has {len(work.leaf_of_item)} items and goes down to level {work.lower_level}; "
                    f"the tree has {self._tree.num_items} items and height {self._tree.height}"
                )
            self._last = None
            pieces = cut_pieces(self._offsets, work.leaf_of_item)
            self._last = _Planned(work, pieces, run_bounds(pieces.sizes, work.samples_per_shard), make_pass(self._problem, work))
        return self._last

    def _add_up(self, planned: "_Planned", pieces: Pieces, out: ShardSums) -> None:
        """Score some pieces, and put their levels together along paths."""
        work, factors = planned.work, self._factors[pieces.items][:, None]
        levels = [level for level in work.levels if level >= self._first_level]
        paths = np.zeros(out.weights.shape)
        for level, sums in zip(levels, planned.scores.add_up(pieces, levels), strict=True):
            out.levels[:, level - work.upper_level - 1] = sums[:, -1] * factors[:, 0]
            if work.num_children:
                paths += np.repeat(sums[:, :-1], 1 << (work.lower_level - level), axis=1)
        out.weights[:] = paths * factors

    def _sweep(self, borders: list[int], passes: "_Passes", before: Floats, measures_old: bool) -> "_Candidate":
        """The best tree of all sweeps over the segments between ``borders``; ``before`` receives the old tree's objective by level."""
        best = self._learn_from(self._tree, borders, passes, before, measures_old)
        while best.num_sweeps < self._config.sweeps:
            again = self._learn_from(best.tree, borders, passes, before, False)
            if again.objective <= best.objective:
                break
            best = replace(again, num_sweeps=best.num_sweeps + 1)
        return best

    def _learn_from(self, tree: TreeIndex, borders: list[int], passes: "_Passes", before: Floats, measures_old: bool) -> "_Candidate":
        """Learn the segments between ``borders``, one after the other, beginning with a tree as it is."""
        steps: dict[int, Reassignment] = {}
        passes.sweep += 1
        for upper, lower in pairwise(borders):
            work = SegmentWork("weigh", upper, lower, tree.leaf_of_item, measures_old, passes.samples_per_shard)
            sums = passes.run(work, before if measures_old else None)
            pieces_of_item = -(-np.diff(self._offsets)[tree.items_in_leaf_order()] // PIECE_SAMPLES)
            reader = PieceReader(sums, pieces_of_item, work.num_children)
            steps[upper] = reassign(tree, upper, lower, self._config.assignment, reader.next_weights)
            reader.finish()
            tree = steps[upper].tree
        return _Candidate(tree, self._measure(tree, passes, before[-1]), steps, 1)

    def _measure(self, tree: TreeIndex, passes: "_Passes", leaves: float) -> Floats:
        """Sum over samples of log p of the target's ancestor on each level of a tree with carried vectors: float64 (height + 1,).

        ``leaves`` is that of the old tree's leaves. An item takes its vector along and users stay as they are, so it is any tree's.
        """
        totals = np.zeros(tree.height + 1)
        if tree.height > 1:
            work = SegmentWork("measure", 0, tree.height - 1, tree.leaf_of_item, False, passes.samples_per_shard)
            for _ in passes.run(work, totals):
                pass
        totals[-1] = leaves
        return totals


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A tree, its objective by level, what became of its segments in the last sweep, by upper level, and how many sweeps made it."""

    tree: TreeIndex
    levels: Floats
    segments: dict[int, Reassignment]
    num_sweeps: int

    @property
    def objective(self) -> float:
        return float(self.levels.sum())


@dataclass(frozen=True, slots=True)
class _Planned:
    """What a work needs in a process: pieces, where shards begin among them, and the pass."""

    work: SegmentWork
    pieces: Pieces
    shards: Ints
    scores: Pass

    def shard(self, number: int) -> Pieces:
        if not 0 <= number < len(self.shards) - 1:
            raise ValueError(f"shard {number} is asked for; the work has the shards 0 .. {len(self.shards) - 2}")
        return self.pieces.part(self.shards[number], self.shards[number + 1])


@dataclass(slots=True)
class _Passes:
    """Runs works and tells how far the run has come."""

    run_work: Run
    num_samples: int
    height: int
    report_progress: Callable[[int, float], None]
    samples_per_shard: int
    sweep: int = 0

    def run(self, work: SegmentWork, totals: Floats | None) -> Iterator[ShardSums]:
        """The shards' sums as they come; ``totals`` receives their levels, piece after piece."""
        low, high = 1 - _MEASURE_SHARE, 1.0
        if work.kind == "weigh":
            low, high = (low * level / self.height for level in (work.upper_level, work.lower_level))
        num_shards = max(1, -(-self.num_samples // self.samples_per_shard))
        for number, sums in enumerate(self.run_work(work), start=1):
            if totals is not None and len(sums.levels):
                part = totals[work.upper_level + 1 : work.lower_level + 1]
                part[:] = np.add.accumulate(np.concatenate([part[None], sums.levels]))[-1]
            yield sums
            self.report_progress(self.sweep, low + (high - low) * min(1.0, number / num_shards))
        self.report_progress(self.sweep, high)


def _report(borders: tuple[int, int], before: Floats, after: Floats, step: Reassignment | None) -> SegmentReport:
    levels, gaps = slice(borders[0] + 1, borders[1] + 1), step.gaps if step else np.zeros(0)
    return SegmentReport(
        *borders,
        objective_before=float(before[levels].sum()),
        objective_after=float(after[levels].sum()),
        num_nodes=step.num_nodes if step else 0,
        num_kept=step.num_kept if step else 0,
        optimality_gap_mean=float(gaps.mean()) if len(gaps) else float("nan"),
        optimality_gap_largest=float(gaps.max()) if len(gaps) else float("nan"),
        num_sampled=len(gaps),
    )

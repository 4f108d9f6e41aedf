"""What tree learning tells of itself: the new tree, the objective before and after, who moved."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jtm_core.tree import TreeIndex

Floats = NDArray[np.float64]


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
        Nodes on the upper level with more than one item, and those of them that the last sweep left as they were; 0 where none was asked.
    optimality_gap_mean, optimality_gap_largest : float
        Share of the optimum that the assignment falls short of, over ``num_sampled`` nodes small enough to be solved exactly;
        nan if there are none.
    num_sampled : int
    """

    upper_level: int
    lower_level: int
    objective_before: float
    objective_after: float
    num_nodes: int
    num_kept: int
    optimality_gap_mean: float
    optimality_gap_largest: float
    num_sampled: int


@dataclass(frozen=True, slots=True)
class LearnedTree:
    """What tree learning leaves.

    Parameters
    ----------
    tree : TreeIndex
        The new tree, its nodes in the places that the objective was measured with; the old one if it scores better.
    segments : tuple of SegmentReport
    objective_before, objective_after : float
        Totals over the segments; after is never below before.
    num_sweeps : int
        Times that all segments were learned for this tree; 0 if the old tree was kept.
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
    num_sweeps: int
    moved_shares: Floats
    raw_moved_shares: Floats
    num_samples: int

    @property
    def is_new(self) -> bool:
        """False if the old tree was kept whole."""
        return self.num_sweeps > 0

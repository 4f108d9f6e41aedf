"""Summed log-probabilities of nodes per piece of samples: the pass that Algorithm 2 spends its time in.

:class:`FusedPass` runs the kernels of :mod:`jtm_core.segment_kernels` on the CPU. :class:`ScorerPass` asks any scorer, so
it serves other devices and attention, and is the readable twin.

Users are described by the old tree and its vectors throughout. The nodes are those of the current tree, whose inner
vectors are carried over from the old one (:mod:`jtm_core.carry`), a level at a time.

Shape letters: P pieces, C nodes of one level below one node.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import item_weights
from jtm_core.bfloat16 import pack_head
from jtm_core.carry import carry_inner_vectors
from jtm_core.codes import first_code
from jtm_core.config import Precision
from jtm_core.features import Samples
from jtm_core.model import JtmNetwork
from jtm_core.network_arrays import half_weights, head_weights
from jtm_core.scoring import NodeTable, Scorer, make_scorer
from jtm_core.segment_kernels import NodeSide, add_chunk
from jtm_core.segment_levels import HistoryShape, carried_level, moved_items, project_level
from jtm_core.segment_matches import NO_POSITIONS, ChunkTold
from jtm_core.segment_near import NearSide, near_of_pieces, near_side
from jtm_core.segment_users import NO_TERMS, PieceRows, UserSide, list_terms
from jtm_core.segments import Ints, Pieces, SegmentWork, level_positions, run_bounds
from jtm_core.threads import run_chunks
from jtm_core.tree import TreeIndex
from jtm_core.windows import sample_windows

Sums = NDArray[np.float64]
Floats = NDArray[np.float32]

CHUNK_SAMPLES = 1024
"""Samples that a thread takes at a time, about."""
_SCORES_PER_BLOCK = 1 << 19


@dataclass(frozen=True, slots=True)
class Problem:
    """What does not change while a tree is learned.

    Parameters
    ----------
    network : JtmNetwork
    tree : TreeIndex
        The old tree.
    items : int64 array (N,)
        Flat histories.
    rows : int64 array
        Where these begin and end.
    samples : Samples
        Sorted by target.
    shape : HistoryShape
        Of the samples.
    precision : "float32" or "bfloat16"
        Of the products behind the first layer.
    users : dict
        Users' side by level, for passes to share: it is the old tree's throughout.
    """

    network: JtmNetwork
    tree: TreeIndex
    items: Ints
    rows: Ints
    samples: Samples
    shape: HistoryShape
    precision: Precision = "float32"
    users: dict[int, UserSide] = field(default_factory=dict, compare=False)
    near: NearSide = field(init=False, compare=False)
    """Items near the samples, for passes to share."""

    def __post_init__(self) -> None:
        reading = self.network.reading
        object.__setattr__(self, "near", near_side(reading.neighbours, reading.near_edges, self.rows, len(self.samples)))


class Pass(Protocol):
    """One work's scores, summed over samples."""

    def add_up(self, pieces: Pieces, levels: list[int]) -> list[Sums]:
        """Sum log p over the samples of each piece.

        Parameters
        ----------
        pieces : Pieces
        levels : list of int
            Of the work's segment.

        Returns
        -------
        list of float64 array (P, C + 1), one a level
            Per descendant of the piece's upper node, unused ones anything finite; the last column is that of one node more:
            the piece's own in the old tree if the work measures it, in the current tree if nothing else is scored.
        """
        ...


def make_pass(problem: Problem, work: SegmentWork) -> Pass:
    """The fastest pass for where the network lies and what it is.

    Raises
    ------
    ValueError
        If the precision is bfloat16 and there is attention, another device than the CPU, or a CPU that cannot multiply it.
    """
    is_plain = problem.network.vectors.device.type == "cpu" and not problem.network.config.attention
    if problem.precision != "float32" and not is_plain:
        raise ValueError(f"precision is {problem.precision!r}; with attention or off the CPU tree learning allows 'float32' only")
    return FusedPass(problem, work) if is_plain else ScorerPass(problem, work)


class FusedPass:
    """The pass on the CPU; levels are prepared when they are first asked for and kept."""

    def __init__(self, problem: Problem, work: SegmentWork) -> None:
        self._problem, self._work = problem, work
        self._reads_matches = problem.network.config.window_matches
        head = head_weights(problem.network)
        if self._reads_matches:
            num_told = len(problem.shape.window_ends) - 1 + len(problem.network.reading.neighbour_windows)
            head = head._replace(match_1=_last_windows(head.match_1, num_told))
        self._head = pack_head(head) if problem.precision == "bfloat16" else head
        self._halves = half_weights(problem.network)
        self._vectors = problem.network.vectors.detach().numpy()
        new = TreeIndex(work.leaf_of_item, problem.tree.height)
        self._moved = moved_items(problem.tree, new, item_weights(problem.items, problem.tree.num_items))
        self._is_old = np.array_equal(work.leaf_of_item, problem.tree.leaf_of_item)
        self._nodes: dict[int, NodeSide] = {}

    def add_up(self, pieces: Pieces, levels: list[int]) -> list[Sums]:
        """See :meth:`Pass.add_up`."""
        width = [self._num_columns(level) + 1 for level in levels]
        sums = [np.zeros((len(pieces.items), columns)) for columns in width]
        bounds = run_bounds(pieces.sizes, CHUNK_SAMPLES)
        for level in levels:
            self._prepare(level)
        rows = [self._piece_rows(pieces, level) for level in levels]
        users, nodes = [self._problem.users[level] for level in levels], [self._nodes[level] for level in levels]

        def add(chunk: int) -> None:
            part = slice(bounds[chunk], bounds[chunk + 1])
            own = [PieceRows(*(array[part] for array in level_rows)) for level_rows in rows]
            reading = users if self._reads_matches else [side for side in users if len(side.projected)]
            terms = list_terms(own[0], reading[0]) if reading else NO_TERMS
            told = ChunkTold(terms, near_of_pieces(own[0], users[0], self._problem.near), self._problem.near.edges)
            for place in range(len(levels)):
                add_chunk(own[place], told, users[place], nodes[place], self._head, sums[place][part])

        run_chunks(add, len(bounds) - 1 if levels else 0)
        for level, level_sums in zip(levels, sums, strict=True):
            if self._finds_own(level):
                own = level_positions(self._work.leaf_of_item[pieces.items], self._problem.tree.height, level)
                level_sums[:, -1] = level_sums[np.arange(len(own)), own & (level_sums.shape[1] - 2)]
        return sums

    def _finds_own(self, level: int) -> bool:
        """Whether a piece's own node in the old tree is weighed anyway: any in the old tree, a leaf in all of them."""
        work = self._work
        return work.kind == "weigh" and work.measures_old and (self._is_old or level == self._problem.tree.height)

    def _num_columns(self, level: int) -> int:
        return 1 << (level - self._work.upper_level) if self._work.kind == "weigh" else 0

    def _prepare(self, level: int) -> None:
        if level not in self._problem.users:
            self._problem.users[level] = self._user_side(level)
        if level not in self._nodes:
            self._nodes[level] = self._node_side(level)

    def _user_side(self, level: int) -> UserSide:
        network, tree, samples = self._problem.network, self._problem.tree, self._problem.samples
        stays_item = network.config.features == "flat" or level == tree.height
        first = first_code(tree.height if stays_item else level)
        vectors = self._vectors[first : first + (tree.num_items if stays_item else 1 << level)]
        weight, ends = self._halves.users, self._problem.shape.window_ends
        weight = weight[len(weight) - (len(ends) - 1) * vectors.shape[1] :]
        return UserSide(
            items=np.asarray(self._problem.items),
            starts=np.asarray(samples.starts),
            cuts=np.asarray(samples.cuts),
            window_ends=ends,
            leaf_positions=(tree.leaf_of_item - first_code(tree.height)).astype(np.int32),
            steps=-1 if stays_item else tree.height - level,
            vectors=vectors,
            weight=weight,
            bias=self._halves.bias,
            projected=project_level(vectors, weight, self._problem.shape),
        )

    def _node_side(self, level: int) -> NodeSide:
        tree, leaves = self._problem.tree, self._work.leaf_of_item
        first_item = first_code(tree.height)
        positions = level_positions(leaves, tree.height, level)
        if level == tree.height:
            table, used = self._vectors[first_item:], np.sort(positions)
            rows, matched = np.argsort(positions), positions
        else:
            table = carried_level(self._vectors, self._moved, level)
            used = rows = np.flatnonzero(np.bincount(positions, minlength=1 << level))
            matched = level_positions(tree.leaf_of_item, tree.height, level)
            matched = matched[:0] if self._problem.network.config.features == "flat" else matched
        is_weighed = self._work.kind == "weigh"
        columns = used & (self._num_columns(level) - 1) if is_weighed else np.zeros(0, dtype=np.int64)
        first_own = first_item if level == tree.height else first_code(level)
        own_table = self._vectors[first_own:] if is_weighed else table
        position_of_item = matched.astype(np.int32) if self._reads_matches else NO_POSITIONS
        return NodeSide(table, rows, columns, used, position_of_item, level == tree.height, own_table, self._halves.nodes)

    def _piece_rows(self, pieces: Pieces, level: int) -> PieceRows:
        """Which nodes every piece is scored with."""
        tree, work = self._problem.tree, self._work
        nothing = np.zeros(len(pieces.items), dtype=np.int64)
        own = work.leaf_of_item if work.kind == "measure" else tree.leaf_of_item
        own_positions = level_positions(own[pieces.items], tree.height, level)
        own_rows = pieces.items if level == tree.height else own_positions
        if work.kind == "measure":
            return PieceRows(pieces.firsts, pieces.sizes, nothing, nothing, own_rows, own_positions)
        parents = level_positions(work.leaf_of_item[pieces.items], tree.height, work.upper_level)
        used = self._nodes[level].positions
        firsts, lasts = (np.searchsorted(used, (parents + more) << (level - work.upper_level)) for more in (0, 1))
        scores_own = work.measures_old and not self._finds_own(level)
        return PieceRows(pieces.firsts, pieces.sizes, firsts, lasts, own_rows if scores_own else nothing - 1, own_positions)


def _last_windows(weights: Floats, count: int) -> Floats:
    """The match layer's weights by the inputs of the last ``count`` windows: float32 (2 * W, H) -> (2 * count, H)."""
    own = weights.reshape(2, -1, weights.shape[1])
    return np.ascontiguousarray(own[:, own.shape[1] - count :]).reshape(2 * count, -1)


class ScorerPass:
    """The pass by any scorer, block by block."""

    def __init__(self, problem: Problem, work: SegmentWork) -> None:
        network, old = problem.network, problem.tree
        self._problem, self._work, self._tree = problem, work, TreeIndex(work.leaf_of_item, old.height)
        carried = carry_inner_vectors(network, old, self._tree, item_weights(problem.items, old.num_items))
        self._new, self._old = (make_scorer(network, old, NodeTable(*nodes)) for nodes in ((carried, self._tree), (network, old)))

    def add_up(self, pieces: Pieces, levels: list[int]) -> list[Sums]:
        """See :meth:`Pass.add_up`."""
        return [self._add_up_level(pieces, level) for level in levels]

    def _add_up_level(self, pieces: Pieces, level: int) -> Sums:
        num_columns = 1 << (level - self._work.upper_level) if self._work.kind == "weigh" else 0
        sums = np.zeros((len(pieces.items), num_columns + 1))
        bounds = run_bounds(pieces.sizes, max(1, _SCORES_PER_BLOCK // (num_columns + 1)))
        for low, high in pairwise(bounds.tolist()):
            part = pieces.part(low, high)
            if num_columns:
                first = ((self._tree.ancestors(self._work.upper_level)[part.items] + 1) << (level - self._work.upper_level)) - 1
                sums[low:high, :-1] = self._sum_block(self._new, part, level, first[:, None] + np.arange(num_columns))
            if not num_columns or self._work.measures_old:
                scorer, tree = (self._old, self._problem.tree) if num_columns else (self._new, self._tree)
                sums[low:high, -1:] = self._sum_block(scorer, part, level, tree.ancestors(level)[part.items][:, None])
        return sums

    def _sum_block(self, scorer: Scorer, pieces: Pieces, level: int, codes: Ints) -> Sums:
        """Log p of each piece's nodes (P, C), summed over its samples."""
        ends = np.cumsum(pieces.sizes)
        number = np.arange(ends[-1]) - np.repeat(ends - pieces.sizes, pieces.sizes)
        samples = self._problem.samples.take(np.repeat(pieces.firsts, pieces.sizes) + number)
        windows = sample_windows(self._problem.items, samples, self._problem.network.reading.of_training(self._problem.rows))
        logits = scorer.score_level(windows, level, np.repeat(codes, pieces.sizes, axis=0)).astype(np.float64)
        sums: Sums = np.add.reduceat(-np.logaddexp(0, -logits), ends - pieces.sizes, axis=0)
        return sums

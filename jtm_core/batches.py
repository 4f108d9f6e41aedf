"""What one training step works on, as plain arrays: behaviours, windows, negatives and the rows to score.

Shape letters: S samples, T behaviours, K near items of a sample, L levels, R rows per sample (one positive and the negatives of every
level).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Ints, Ragged
from jtm_core.codes import ancestors_up, first_code
from jtm_core.features import Samples, window_bounds
from jtm_core.history_matches import Told
from jtm_core.kernels import MASKED, Rows
from jtm_core.sampling import NegativeSampler
from jtm_core.tree import TreeIndex
from jtm_core.windows import Near, Reading, Windows

CHUNK_SAMPLES = 64
"""Samples of a chunk of rows, at least."""


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """One step's samples on all trained levels.

    Parameters
    ----------
    table : NodeRows
        Which rows of the table stand for what on each level.
    runs : int64 array
        Where each user's behaviours begin among the T.
    windows : Windows
        Of the S samples over the T behaviours.
    codes : int64 array
        Of every node scored: negatives level by level, block by block, then the positives (L, S).
    rows : Rows
        Pairs of (level * S + sample, index into ``codes``), a sample's rows together.
    """

    table: "NodeRows"
    runs: Ints
    windows: Windows
    codes: Ints
    rows: Rows
    behaviours: Ints = field(init=False)
    """Table row by which each behaviour stands on each level: int64 (L, T)."""
    nodes: Ints = field(init=False)
    """Table rows of the nodes scored."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "behaviours", self.table.of_behaviours(self.windows.items))
        object.__setattr__(self, "nodes", self.table.of_nodes(self.codes))

    @property
    def num_samples(self) -> int:
        """S."""
        return len(self.windows)

    @property
    def num_levels(self) -> int:
        """L."""
        return len(self.behaviours)

    @property
    def table_rows(self) -> Ints:
        """All rows of the table whose vectors the step reads, some more than once."""
        return np.concatenate([self.behaviours.ravel(), self.nodes])

    def told(self, near_edges: Ints) -> Told:
        """What matches are looked for in; ``near_edges`` are the borders of windows of near items."""
        windows, table = self.windows, self.table
        return Told(windows.items, windows.bounds, windows.near, near_edges, table.leaf_of_item)


def gather_runs(items: Ints, samples: Samples, window_sizes: tuple[int, ...]) -> tuple[Ragged, Ints]:
    """Cut out the behaviours that the samples' windows touch, each user's stretch once.

    Returns
    -------
    runs : Ragged
        A row of items for each run of neighbouring samples of one user.
    bounds : int64 array (S, W + 1)
        The windows as positions in ``runs.values``.
    """
    bounds = window_bounds(samples.starts, samples.cuts, window_sizes)
    first = np.flatnonzero(np.concatenate([[True], samples.starts[1:] != samples.starts[:-1]]))
    low, high = np.minimum.reduceat(bounds[:, 0], first), np.maximum.reduceat(bounds[:, -1], first)
    offsets = np.concatenate([[0], np.cumsum(high - low)])
    run_of_sample = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(bounds))))
    positions = np.arange(offsets[-1]) + np.repeat(low - offsets[:-1], high - low)
    return Ragged(items[positions], offsets), bounds + (offsets[:-1] - low)[run_of_sample][:, None]


class NodeRows:
    """Which rows of the table stand for nodes and behaviours on some levels of one tree.

    Attributes
    ----------
    leaf_of_item : int64 array
        Codes.
    steps : int64 array (L,)
        How far above the leaves each level lies; -1 where no behaviour stands by the row of a node.
    """

    def __init__(self, tree: TreeIndex, levels: range, features: str) -> None:
        self._tree, self._levels, self._is_flat, self._item_of_leaf = tree, levels, features == "flat", tree.item_of_leaf()
        self.leaf_of_item, self.steps = tree.leaf_of_item, tree.height - np.array(levels)
        if self._is_flat:
            self.steps[self.steps > 0] = -1

    def lift(self, items: Ints) -> Ints:
        """Codes of the items' ancestors on every trained level: int64 (L, len(items))."""
        leaves = self._tree.leaf_of_item[items]
        return np.stack([ancestors_up(leaves, self._tree.height - level) for level in self._levels])

    def of_behaviours(self, items: Ints) -> Ints:
        """Table row by which each behaviour stands on every trained level: int64 (L, len(items))."""
        behaviours = items + first_code(self._tree.height)
        if self._is_flat:
            return np.broadcast_to(behaviours, (len(self._levels), len(items)))
        lifted = self.lift(items)
        lifted[-1] = behaviours
        return lifted

    def of_near(self, near: Near) -> Ints:
        """As :meth:`of_behaviours` of near items (S, K): int64 (L, S, K), -1 where there is none."""
        rows = self.of_behaviours(np.maximum(near, 0).ravel().astype(np.int64))
        return np.where(near < 0, -1, rows.reshape(len(rows), *near.shape))

    def of_nodes(self, codes: Ints) -> Ints:
        """Table rows of used nodes: by code, on the leaf level by item."""
        first, rows = first_code(self._tree.height), codes.copy()
        is_leaf = codes >= first
        rows[is_leaf] = first + self._item_of_leaf[codes[is_leaf] - first]
        return rows


def chunk_edges(num_samples: int, block: int, rows_per_sample: int) -> NDArray[np.int64]:
    """Borders of chunks of rows: whole blocks of samples, :data:`CHUNK_SAMPLES` samples or a little more."""
    size = block * -(-CHUNK_SAMPLES // block)
    return np.append(np.arange(0, num_samples, size), num_samples) * rows_per_sample


def equal_share(num_samples: int, block: int, rank: int, size: int) -> slice:
    """The ``rank``-th of ``size`` equal shares of a batch's samples, in whole blocks; perhaps empty."""
    num_blocks = -(-num_samples // block)
    first, last = (min(num_blocks * part // size * block, num_samples) for part in (rank, rank + 1))
    return slice(first, last)


class BatchMaker:
    """Turns samples into :class:`TrainingBatch`; what depends only on tree and settings is computed once."""

    reads_network = False
    """Whether the nodes drawn depend on the network as it is."""

    def __init__(self, tree: TreeIndex, sampler: NegativeSampler, features: str, reading: Reading, block: int) -> None:
        self._sampler, self._reading, self._block = sampler, reading, block
        self._table = NodeRows(tree, sampler.levels, features)
        counts = np.array(sampler.counts)
        self._level_of_row = np.repeat(np.arange(len(counts)), counts + 1)
        self._place_of_row = np.concatenate([np.arange(-1, count) for count in counts])

    @property
    def rows_per_sample(self) -> int:
        """(sample, node) rows of one sample, its positives included."""
        return len(self._level_of_row)

    def share(self, num_samples: int, rank: int, size: int) -> slice:
        """Which of a batch's samples are the ``rank``-th of ``size`` equal shares: whole blocks of negatives, perhaps none."""
        return equal_share(num_samples, self._block, rank, size)

    def make(self, items: Ints, samples: Samples, rng: np.random.Generator, share: slice | None = None) -> TrainingBatch:
        """Build the batch of some samples over the flat ``items``, drawing its negatives from ``rng``.

        Parameters
        ----------
        items : int64 array (N,)
        samples : Samples
            At least one.
        rng : Generator
        share : slice, optional
            The samples that the batch is to hold, one of :meth:`share` and not empty; they come with the negatives that they have in the
            whole batch.
        """
        negatives = self._sampler.draw(rng, -(-len(samples) // self._block))
        if share is not None:
            samples = samples.part(share)
            negatives = [codes[share.start // self._block : -(-share.stop // self._block)] for codes in negatives]
        runs, bounds = gather_runs(items, samples, self._reading.window_sizes)
        positives = self._table.lift(samples.targets)
        codes = np.concatenate([drawn.ravel() for drawn in negatives] + [positives.ravel()])
        windows = Windows(runs.values, bounds, self._reading.near(items, samples.starts, samples.cuts))
        return TrainingBatch(self._table, runs.offsets, windows, codes, self._make_rows(positives, negatives, codes))

    def _make_rows(self, positives: Ints, negatives: list[Ints], codes: Ints) -> Rows:
        num_levels, num_samples = positives.shape
        counts = np.array(self._sampler.counts)
        starts = np.concatenate([[0], np.cumsum([codes.size for codes in negatives])])
        block = np.arange(num_samples) // self._block
        level, place, is_positive = self._level_of_row, self._place_of_row, self._place_of_row < 0
        nodes = (starts[level] + place)[None, :] + block[:, None] * counts[level]
        nodes[:, is_positive] = starts[-1] + np.arange(num_levels) * num_samples + np.arange(num_samples)[:, None]
        labels = np.where(codes[nodes] == positives.T[:, level], np.float32(MASKED), np.float32(0))
        labels[:, is_positive] = 1
        users = level * num_samples + np.arange(num_samples)[:, None]
        chunks = chunk_edges(num_samples, self._block, self.rows_per_sample)
        by_code, offsets = self._sampler.offsets, np.zeros(nodes.size, dtype=np.float32)
        if by_code is not None:
            offsets = by_code[codes][nodes.ravel()]
        return Rows(users.astype(np.int32).ravel(), nodes.astype(np.int32).ravel(), labels.ravel(), offsets, chunks)

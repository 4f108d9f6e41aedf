"""How the work of tree learning is cut: segments of levels, pieces of samples, shards of pieces.

An item's samples are cut into *pieces*, counted from the item's own first sample; whatever is summed is summed within
pieces first, and pieces are added in order. A *shard* is a run of whole pieces, items lying in the leaf order of the
current tree, so that the items under one node lie side by side. No sum depends on where shards begin and end.

Shape letters: S samples, P pieces, C nodes of a segment's last level below one node.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jtm_core.codes import Codes, first_code

Ints = NDArray[np.int64]

PIECE_SAMPLES = 1024
"""Most samples of one item that are summed in one go."""
MOST_LEVELS = 12
"""Of a segment: 2**12 weights an item are 16 kB."""


def segment_borders(height: int, gap: int, first_level: int) -> list[int]:
    """Levels on which segments begin and end, ascending, the root and the leaves among them.

    The first segment is ``gap`` levels long or reaches down to the first trained level, whichever is further: one that ended above that
    would weigh nothing. Where leaves alone were trained it is as long as any.

    Raises
    ------
    ValueError
        If the first trained level lies below :data:`MOST_LEVELS` and above the leaves.

    Examples
    --------
    >>> segment_borders(9, 3, 2), segment_borders(9, 3, 4), segment_borders(9, 3, 9)
    ([0, 3, 6, 9], [0, 4, 7, 9], [0, 3, 6, 9])
    """
    if MOST_LEVELS < first_level < height:
        raise ValueError(
            f"the first trained level is {first_level}, of a tree of height {height}; tree learning allows 1 .. {MOST_LEVELS}: set a "
            "narrower evaluation.small_beam_width, or training.first_level"
        )
    return [0, *range(max(gap, first_level if first_level < height else 0), height, gap), height]


@dataclass(frozen=True, slots=True)
class SegmentWork:
    """One pass over all samples: everything a process needs to know beside the :class:`~jtm_core.tree_learning.TreeLearner`.

    Parameters
    ----------
    kind : "weigh" or "measure"
        ``weigh`` scores every node of the segment's subtrees (Algorithm 2, line 5), ``measure`` only those on the items' own paths.
    upper_level, lower_level : int
        The segment: levels ``upper_level + 1 .. lower_level``.
    leaf_of_item : int64 array (num_items,)
        The current assignment.
    measures_old : bool
        ``weigh`` also sums the old tree's paths, with the old vectors; ``measure`` has no use for it.
    samples_per_shard : int
        About how many samples a shard holds; 1 or more. Bits do not depend on it.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    kind: Literal["weigh", "measure"]
    upper_level: int
    lower_level: int
    leaf_of_item: Codes
    measures_old: bool
    samples_per_shard: int

    def __post_init__(self) -> None:
        if self.kind not in ("weigh", "measure"):
            raise ValueError(f"kind is {self.kind!r}; allowed are weigh and measure")
        if not 0 <= self.upper_level < self.lower_level:
            raise ValueError(f"levels are {self.upper_level} and {self.lower_level}; the upper must be 0 or more and above the lower")
        if self.samples_per_shard < 1:
            raise ValueError(f"samples_per_shard is {self.samples_per_shard}; allowed are 1 and more")

    @property
    def levels(self) -> range:
        """Levels of the segment."""
        return range(self.upper_level + 1, self.lower_level + 1)

    @property
    def num_children(self) -> int:
        """Columns of the sums' weights: descendants of a node on the lower level, 0 if only paths are measured."""
        return 1 << (self.lower_level - self.upper_level) if self.kind == "weigh" else 0

    @property
    def digest(self) -> str:
        """sha256 over everything: equal for equal works."""
        head = f"{self.kind}/{self.upper_level}/{self.lower_level}/{self.measures_old}/{self.samples_per_shard}/"
        return hashlib.sha256(head.encode() + np.ascontiguousarray(self.leaf_of_item, dtype="<i8").tobytes()).hexdigest()


class ShardSums(NamedTuple):
    """What a pass over one shard gives; logarithms of p, summed over each piece's samples and times the item's factor."""

    weights: NDArray[np.float32]
    """(P, C): paths from below the upper node to each descendant on the lower level; (P, 0) if only paths are measured."""
    levels: NDArray[np.float64]
    """(P, levels of the segment): the item's own path, level by level; 0 where it was not asked for."""


class Pieces(NamedTuple):
    """Pieces of samples in the leaf order of their items, items without samples left out."""

    items: Ints
    """(P,)."""
    firsts: Ints
    """(P,): first sample."""
    sizes: Ints
    """(P,): samples, 1 .. :data:`PIECE_SAMPLES`."""

    def part(self, low: int, high: int) -> "Pieces":
        """Pieces ``low .. high - 1`` (views)."""
        return Pieces(self.items[low:high], self.firsts[low:high], self.sizes[low:high])


def cut_pieces(offsets: Ints, leaf_of_item: Codes) -> Pieces:
    """Cut every item's samples.

    Parameters
    ----------
    offsets : int64 array (num_items + 1,)
        Item ``c`` has the samples ``offsets[c] .. offsets[c + 1] - 1``.
    leaf_of_item : int64 array (num_items,)
        Gives the order.

    Examples
    --------
    >>> cut_pieces(np.array([0, 1500, 1500, 1503]), np.array([5, 4, 3])).sizes
    array([   3, 1024,  476])
    """
    order = np.argsort(leaf_of_item)
    counts = np.diff(offsets)[order]
    num_pieces = -(-counts // PIECE_SAMPLES)
    items, counts = np.repeat(order, num_pieces), np.repeat(counts, num_pieces)
    rank = np.arange(len(items)) - np.repeat(np.cumsum(num_pieces) - num_pieces, num_pieces)
    return Pieces(items, offsets[items] + rank * PIECE_SAMPLES, np.minimum(counts - rank * PIECE_SAMPLES, PIECE_SAMPLES))


def run_bounds(sizes: Ints, samples_per_run: int) -> Ints:
    """Where to cut pieces into runs of about so many samples: int64 (number of runs + 1,), from 0 to ``len(sizes)``.

    A run begins with the first piece that begins at or behind a multiple of ``samples_per_run``.

    Examples
    --------
    >>> run_bounds(np.array([3, 3, 3, 3]), 5)
    array([0, 2, 4])
    """
    begins = np.cumsum(sizes) - sizes
    total = int(begins[-1] + sizes[-1]) if len(sizes) else 0
    return np.unique(np.append(np.searchsorted(begins, np.arange(0, total, samples_per_run)), len(sizes)))


def level_positions(leaf_of_item: Codes, height: int, level: int) -> Ints:
    """Position on a level, 0 .. 2**level - 1, of the node above each item."""
    positions: Ints = (leaf_of_item - first_code(height)) >> (height - level)
    return positions

"""Negatives: nodes of a level that are not the sample's own, drawn evenly (TDM, section 3.3) or by popularity.

Only *used* nodes, those with an item under them, are drawn; even draws without replacement. A draw is shared by a
block of samples; with blocks of one sample this is the paper's own draw. A node of the draw that is a sample's positive
is masked in the loss, so the positive is never its own negative.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Ints
from jtm_core.codes import ancestors_up, first_code
from jtm_core.tree import TreeIndex


def negatives_per_level(total: int, num_used: list[int]) -> list[int]:
    """Divide the negatives of a sample over the levels, more near the leaves.

    The shape follows TDM's open code (1, 2, 3, ..., 25, 30, 76, 200 over 22 levels): two fifths on the leaf level, 15 %
    on the one above, the rest rising evenly from the first level; never more than a level has other nodes.

    Parameters
    ----------
    total : int
        Negatives per sample over all levels.
    num_used : list of int
        Used nodes on each trained level, first level first.

    Returns
    -------
    list of int
        At least 1 per level that has a second node. What a small level cannot take goes to larger ones, so the sum is
        ``total`` wherever the tree is large enough and ``total`` not below the number of levels.

    Examples
    --------
    >>> negatives_per_level(20, [2, 4, 8, 16])
    [1, 3, 3, 13]
    """
    num_levels = len(num_used)
    limits = np.array(num_used) - 1
    shares = np.arange(1, num_levels + 1, dtype=np.float64)
    if num_levels > 2:
        shares[:-2] *= 0.45 / shares[:-2].sum()
        shares[-2:] = 0.15, 0.40
    counts = np.minimum(np.maximum(np.round(total * shares / shares.sum()), 1).astype(np.int64), limits)
    for level in reversed(range(num_levels)):
        missing = total - int(counts.sum())
        counts[level] = np.clip(counts[level] + missing, min(1, limits[level]), limits[level])
    return [int(count) for count in counts]


@numba.njit(fastmath=False, cache=True)
def _floyd(uniforms: NDArray[np.float64], size: int, out: Ints) -> None:
    """Fill each row of ``out`` with distinct numbers below ``size`` (Floyd's sampling)."""
    rows, count = out.shape
    for row in range(rows):
        for k in range(count):
            top = size - count + k
            pick = min(int(uniforms[row, k] * (top + 1)), top)
            for earlier in range(k):
                if out[row, earlier] == pick:
                    pick = top
                    break
            out[row, k] = pick


def draw_without_replacement(rng: np.random.Generator, size: int, shape: tuple[int, int]) -> Ints:
    """Rows of distinct numbers below ``size``, every subset equally likely: int64 of ``shape``.

    Raises
    ------
    ValueError
        If a row asks for more numbers than there are.
    """
    if shape[1] > size:
        raise ValueError(f"{shape[1]} distinct numbers below {size} were asked for")
    out = np.empty(shape, dtype=np.int64)
    _floyd(rng.random(shape), size, out)
    return out


class NegativeSampler:
    """Draws the negatives of all trained levels of one tree, evenly."""

    offsets: NDArray[np.float32] | None = None
    """By code of a node, the logarithm of how much likelier it is drawn than by an even draw; None if all are drawn evenly."""

    def __init__(self, tree: TreeIndex, first_level: int, total: int) -> None:
        self.levels = range(first_level, tree.height + 1)
        self._used = [tree.used_nodes(level) for level in self.levels]
        self.counts = negatives_per_level(total, [len(used) for used in self._used])

    def draw(self, rng: np.random.Generator, num_blocks: int) -> list[Ints]:
        """Node codes per level, each int64 (num_blocks, count of that level)."""
        return [
            used[draw_without_replacement(rng, len(used), (num_blocks, count))] for used, count in zip(self._used, self.counts, strict=True)
        ]


class PopularitySampler(NegativeSampler):
    """Draws the nodes of a level in proportion to the behaviours of the items under them, one added to each item; with replacement.

    Seen so, popular nodes must be told from each other and rare ones cost few draws. A network trained on such negatives as they come
    would rank by what is likelier *than popular*; :attr:`offsets`, taken off its logits in the loss, leave the logits themselves
    those of an even draw (noise-contrastive estimation: Gutmann and Hyvarinen 2010, section 2; Mnih and Teh 2012).

    Parameters
    ----------
    tree : TreeIndex
    first_level, total : int
        As of :class:`NegativeSampler`.
    counts : int64 array (num_items,)
        Behaviours of each item in training.
    """

    def __init__(self, tree: TreeIndex, first_level: int, total: int, counts: Ints) -> None:
        super().__init__(tree, first_level, total)
        self._running, self.offsets = [], np.zeros(first_code(tree.height + 1), dtype=np.float32)
        for level, used in zip(self.levels, self._used, strict=True):
            above = ancestors_up(tree.leaf_of_item, tree.height - level) - first_code(level)
            weights = np.bincount(above, weights=counts + 1.0)[used - first_code(level)]
            shares = weights / weights.sum()
            self._running.append(np.cumsum(shares))
            self.offsets[used] = np.log(shares * len(used))

    def draw(self, rng: np.random.Generator, num_blocks: int) -> list[Ints]:
        """Node codes per level, each int64 (num_blocks, count of that level)."""
        drawn = []
        for used, running, count in zip(self._used, self._running, self.counts, strict=True):
            places = np.searchsorted(running, rng.random((num_blocks, count)), side="right")
            drawn.append(used[np.minimum(places, len(used) - 1)])
        return drawn

"""Negatives: nodes of a level that are not the sample's own, drawn evenly (TDM, section 3.3).

Only *used* nodes, those with an item under them, are drawn, without replacement within a draw. A draw is shared by a
block of samples; with blocks of one sample this is the paper's own draw. A node of the draw that is a sample's positive
is masked in the loss, so the positive is never its own negative.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Ints
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


@numba.njit(cache=True)
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
    """Draws the negatives of all trained levels of one tree."""

    def __init__(self, tree: TreeIndex, first_level: int, total: int) -> None:
        self.levels = range(first_level, tree.height + 1)
        self._used = [tree.used_nodes(level) for level in self.levels]
        self.counts = negatives_per_level(total, [len(used) for used in self._used])

    def draw(self, rng: np.random.Generator, num_blocks: int) -> list[Ints]:
        """Node codes per level, each int64 (num_blocks, count of that level)."""
        return [
            used[draw_without_replacement(rng, len(used), (num_blocks, count))] for used, count in zip(self._used, self.counts, strict=True)
        ]

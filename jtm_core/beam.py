"""Beam search down the tree, and the full leaf scan it is measured against.

On each level the ``beam_width`` best-scored nodes are kept and their children are the candidates of the next one, so a
query scores about ``2 * beam_width`` nodes a level. By the max-heap property (TDM, eq. 2) the search is exact if every
level is ordered right. A node's rank is its own logit, never a product along the path. Levels with fewer nodes than the
beam never prune, so the search starts at ``floor(log2(beam_width))``, or lower if the levels there are not trained.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Ints, Ragged
from jtm_core.codes import ancestors_up, children_of, first_code
from jtm_core.scoring import Scorer, Windows
from jtm_core.tree import TreeIndex

Floats = NDArray[np.float32]

USERS_PER_BLOCK = 256
"""Users searched together; bounds the memory."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Items of each user, best first.

    Parameters
    ----------
    items : int64 array (S, C)
        -1 fills places without an item, after all others.
    logits : float32 array (S, C)
    """

    items: Ints
    logits: Floats


def start_level(tree: TreeIndex, beam_width: int, first_level: int) -> int:
    """Level whose nodes are the first candidates."""
    return min(tree.height, max(first_level, beam_width.bit_length() - 1))


class BeamSearch:
    """Retrieves by beam search with one scorer, over the whole tree or an allowed set of items.

    Parameters
    ----------
    scorer : Scorer
    beam_width : int
        Nodes kept per level, at least 1.
    first_level : int
        First level the network was trained on.
    allowed : bool array (num_items,), optional
        Only these items may be returned; nodes without any of them are not searched.

    Raises
    ------
    ValueError
        If the beam is narrower than 1 or no item is allowed.
    """

    def __init__(self, scorer: Scorer, beam_width: int, first_level: int, allowed: NDArray[np.bool_] | None = None) -> None:
        tree = scorer.tree
        if beam_width < 1:
            raise ValueError(f"beam_width is {beam_width}; allowed are 1 and more")
        if allowed is not None and not allowed.any():
            raise ValueError("allowed holds no item; at least 1 must be")
        leaves = tree.leaf_of_item if allowed is None else tree.leaf_of_item[allowed]
        self._scorer, self._beam_width = scorer, beam_width
        self._leaf_items = tree.item_of_leaf()
        self.levels = range(start_level(tree, beam_width, first_level), tree.height + 1)
        self._used = {level: np.zeros(1 << level, dtype=np.bool_) for level in self.levels}
        for level, used in self._used.items():
            used[ancestors_up(leaves, tree.height - level) - first_code(level)] = True

    def walk(self, windows: Windows) -> Iterator[tuple[int, Ints, Floats]]:
        """Search level by level.

        Yields
        ------
        level, codes, logits
            The candidates of each level: int64 and float32 (S, C), codes -1 with logits -inf where there is none; on inner
            levels only the ``beam_width`` kept ones, in no order.
        """
        codes = self._first_candidates(len(windows))
        for level in self.levels:
            logits = self._scorer.score_level(windows, level, codes)
            if level < self.levels[-1]:
                kept, kept_logits = _best(codes, logits, self._beam_width)
                yield level, kept, kept_logits
                codes = self._candidates_below(kept, level + 1)
            else:
                yield level, codes, logits

    def rank(self, windows: Windows) -> Ranking:
        """All candidates of the leaf level, up to ``2 * beam_width`` items, best first; ties go to the smaller code."""
        return self.rank_with_levels(windows)[0]

    def rank_with_levels(self, windows: Windows) -> tuple[Ranking, dict[int, Ints]]:
        """As :meth:`rank`, and the codes that each level kept (the ``beam_width`` best leaves on the last one)."""
        kept: dict[int, Ints] = {}
        for level, codes, logits in self.walk(windows):
            kept[level] = _best(codes, logits, self._beam_width)[0]
        return _ranked(codes, logits, self._leaf_items), kept

    @property
    def tree(self) -> TreeIndex:
        """The tree searched."""
        return self._scorer.tree

    def _first_candidates(self, num_users: int) -> Ints:
        level = self.levels[0]
        codes = np.flatnonzero(self._used[level]) + first_code(level)
        return np.broadcast_to(codes, (num_users, len(codes)))

    def _candidates_below(self, codes: Ints, level: int) -> Ints:
        children = children_of(codes).reshape(len(codes), -1)
        is_used = np.repeat(codes >= 0, 2, axis=1) & self._used[level][np.maximum(children - first_code(level), 0)]
        return np.where(is_used, children, -1)


def _best(codes: Ints, logits: Floats, count: int) -> tuple[Ints, Floats]:
    """The ``count`` best candidates of each row, in no order."""
    if codes.shape[1] <= count:
        return codes, logits
    best = np.argpartition(-logits, count - 1, axis=1)[:, :count]
    return np.take_along_axis(codes, best, axis=1), np.take_along_axis(logits, best, axis=1)


def _ranked(codes: Ints, logits: Floats, leaf_items: Ints) -> Ranking:
    """Sort leaves by logit, then code."""
    order = np.lexsort((codes, -logits), axis=1)
    codes, logits = np.take_along_axis(codes, order, axis=1), np.take_along_axis(logits, order, axis=1)
    first = len(leaf_items) - 1
    return Ranking(np.where(codes >= 0, leaf_items[np.maximum(codes - first, 0)], -1), logits)


def full_scan(scorer: Scorer, windows: Windows, count: int) -> Ranking:
    """Score every leaf and keep the ``count`` best: what search would return if it never pruned."""
    tree = scorer.tree
    codes, leaf_items = np.sort(tree.leaf_of_item), tree.item_of_leaf()
    parts = []
    for low in range(0, len(windows), step := max(1, (1 << 24) // tree.num_items)):
        part = windows.part(low, min(low + step, len(windows)))
        logits = scorer.score_level(part, tree.height, codes)
        parts.append(_ranked(*_best(np.broadcast_to(codes, logits.shape), logits, count), leaf_items))
    return Ranking(np.concatenate([part.items for part in parts]), np.concatenate([part.logits for part in parts]))


def without_items(items: Ints, excluded: Ragged, num_items: int, count: int) -> Ints:
    """Drop each user's excluded items from ranked lists and cut them to ``count``.

    Parameters
    ----------
    items : int64 array (S, C)
        Best first, -1 for none.
    excluded : Ragged of S rows
    num_items : int
        Above every item id.
    count : int
        Length of the lists returned; short ones are filled with -1.

    Returns
    -------
    int64 array (S, count)

    Examples
    --------
    >>> without_items(np.array([[3, 1, 2]]), Ragged(np.array([1]), np.array([0, 1])), 4, 2)
    array([[3, 2]])
    """
    keys = np.repeat(np.arange(len(excluded)), np.diff(excluded.offsets)) * num_items + excluded.values
    is_out = np.isin(np.arange(len(items))[:, None] * num_items + items, keys) | (items < 0)
    order = np.argsort(is_out, axis=1, kind="stable")[:, :count]
    kept = np.where(np.take_along_axis(is_out, order, axis=1), -1, np.take_along_axis(items, order, axis=1))
    return np.pad(kept, ((0, 0), (0, max(0, count - kept.shape[1]))), constant_values=-1)

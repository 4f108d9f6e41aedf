"""Beam search down the tree, and the full leaf scan it is measured against.

On each level the ``beam_width`` best-scored nodes are kept and their children are the candidates of the next one, so a
query scores about ``2 * beam_width`` nodes a level. By the max-heap property (TDM, eq. 2) the search is exact if every
level is ordered right. A node's rank is its own logit, never a product along the path. Levels with fewer nodes than the
beam never prune, so the search starts at ``floor(log2(beam_width))``, or lower if the levels there are not trained.
"""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from jtm_core.beam_kernels import Plan
from jtm_core.behaviours import Ints, Ragged
from jtm_core.codes import ancestors_up, children_of, first_code
from jtm_core.fused_search import FusedSearch, fused_scan
from jtm_core.scoring import FusedScorer, Scorer
from jtm_core.tree import TreeIndex
from jtm_core.windows import Windows

Floats = NDArray[np.float32]

USERS_PER_BLOCK = 256
"""Users searched together; bounds the memory."""
LEAVES_PER_BLOCK = 1 << 14
"""Leaves that a full scan scores at a time, where the kernels do not apply."""


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
        self._scorer, self.beam_width = scorer, beam_width
        self._leaf_items = tree.item_of_leaf()
        self.levels = range(start_level(tree, beam_width, first_level), tree.height + 1)
        self._allow(allowed)

    def walk(self, windows: Windows) -> Iterator[tuple[int, Ints, Floats]]:
        """Search level by level.

        Yields
        ------
        level, codes, logits
            The candidates of each level: int64 and float32 (S, C), codes -1 with logits -inf where there is none; on inner
            levels only the ``beam_width`` kept ones, in no order.
        """
        codes = np.broadcast_to(self._start, (len(windows), len(self._start)))
        for level in self.levels:
            logits = self._scorer.score_level(windows, level, codes)
            if level < self.levels[-1]:
                kept, kept_logits = _best(codes, logits, self.beam_width)
                yield level, kept, kept_logits
                codes = self.candidates_below(kept, level + 1)
            else:
                yield level, codes, logits

    def rank(self, windows: Windows, count: int | None = None) -> Ranking:
        """The ``count`` best items, by default all candidates of the leaf level; best first, ties go to the smaller code.

        There are at most ``2 * beam_width`` candidates; -1 fills what is left.
        """
        if self._fused is not None:
            found = self._fused.search(windows, self._fused.most_leaves if count is None else count)
            return Ranking(found.items, found.logits)
        ranking = self.walked(windows)[0]
        return ranking if count is None else _cut(ranking, count)

    def rank_with_levels(self, windows: Windows) -> tuple[Ranking, dict[int, Ints]]:
        """As :meth:`rank`, and the codes that each level kept: ascending, -1 behind.

        The last level keeps the ``beam_width`` best leaves.
        """
        if self._fused is None:
            ranking, kept = self.walked(windows)
            return _cut(ranking, max(ranking.items.shape[1], self.beam_width)), kept
        found = self._fused.search(windows, max(self._fused.most_leaves, self.beam_width), keeps_levels=True)
        return Ranking(found.items, found.logits), {level: found.kept[:, place] for place, level in enumerate(self.levels)}

    def walked(self, windows: Windows) -> tuple[Ranking, dict[int, Ints]]:
        """What :meth:`rank_with_levels` gives, by :meth:`walk`: for any scorer, and the fused search's readable twin."""
        kept: dict[int, Ints] = {}
        for level, codes, logits in self.walk(windows):
            kept[level] = _best(codes, logits, self.beam_width)[0]
        return _ranked(codes, logits, self._leaf_items), kept

    def renewed(self, scorer: Scorer) -> "BeamSearch":
        """The same search by another scorer of the same tree, say after the weights changed; what depends on the tree alone is kept."""
        search = copy(self)
        search._scorer, search._fused = scorer, None
        search._fused = search._make_fused() if isinstance(scorer, FusedScorer) else None
        return search

    def restricted_to(self, allowed: NDArray[np.bool_]) -> "BeamSearch":
        """The same search for those of its items that are allowed: bool (num_items,); the scorer is shared.

        Raises
        ------
        ValueError
            If none is left.
        """
        search = copy(self)
        search._allow(allowed if self.allowed is None else self.allowed & allowed)
        return search

    def widened(self, beam_width: int) -> "BeamSearch":
        """The same search by a beam at least as wide; what depends on the tree alone is shared."""
        if beam_width == self.beam_width:
            return self
        search = copy(self)
        search.beam_width = beam_width
        search.levels = range(max(self.levels[0], start_level(self.tree, beam_width, 0)), self.levels.stop)
        top = first_code(search.levels[0])
        search._start = top + np.flatnonzero(self._is_used[top : 2 * top + 1])
        search._fused = search._make_fused() if self._fused is not None else None
        return search

    @property
    def most_scores(self) -> int:
        """Nodes that a walk scores for a user at most."""
        counts = [len(self._start)]
        for _ in self.levels[1:]:
            counts.append(2 * min(counts[-1], self.beam_width))
        return sum(counts)

    @property
    def tree(self) -> TreeIndex:
        """The tree searched."""
        return self._scorer.tree

    def candidates_below(self, codes: Ints, level: int) -> Ints:
        """Children, on ``level``, of what the level above kept: int64 (S, 2 * C), -1 where there is none that may be searched."""
        children = children_of(codes).reshape(len(codes), -1)
        is_used = np.repeat(codes >= 0, 2, axis=1) & self._is_used[np.maximum(children, first_code(level))]
        return np.where(is_used, children, -1)

    def _allow(self, allowed: NDArray[np.bool_] | None) -> None:
        """Set which items may be returned, and so which nodes are searched."""
        if allowed is not None and not allowed.any():
            raise ValueError("allowed holds no item; at least 1 must be")
        leaves = self.tree.leaf_of_item if allowed is None else self.tree.leaf_of_item[allowed]
        self.allowed, self._is_used = allowed, np.zeros(first_code(self.tree.height + 1), dtype=np.bool_)
        for level in self.levels:
            self._is_used[ancestors_up(leaves, self.tree.height - level)] = True
        top = first_code(self.levels[0])
        self._start = top + np.flatnonzero(self._is_used[top : 2 * top + 1])
        self._fused = self._make_fused() if isinstance(self._scorer, FusedScorer) else None

    def _make_fused(self) -> FusedSearch:
        plan = Plan(self._start, self._is_used, self.levels[0], self.levels[-1], self.beam_width)
        return FusedSearch(cast(FusedScorer, self._scorer), plan)


def _best(codes: Ints, logits: Floats, count: int) -> tuple[Ints, Floats]:
    """The ``count`` best candidates of each row, in the order they stand, -1 behind; of equal logits the first."""
    best = np.sort(np.argsort(-logits, axis=1, kind="stable")[:, :count], axis=1)
    codes, logits = np.take_along_axis(codes, best, axis=1), np.take_along_axis(logits, best, axis=1)
    order = np.argsort(codes < 0, axis=1, kind="stable")
    return np.take_along_axis(codes, order, axis=1), np.take_along_axis(logits, order, axis=1)


def _ranked(codes: Ints, logits: Floats, leaf_items: Ints) -> Ranking:
    """Sort leaves by logit, then code."""
    order = np.lexsort((codes, -logits), axis=1)
    codes, logits = np.take_along_axis(codes, order, axis=1), np.take_along_axis(logits, order, axis=1)
    first = len(leaf_items) - 1
    return Ranking(np.where(codes >= 0, leaf_items[np.maximum(codes - first, 0)], -1), logits)


def _cut(ranking: Ranking, count: int) -> Ranking:
    """The first ``count`` places, places without an item added where there are fewer."""
    padding = ((0, 0), (0, max(0, count - ranking.items.shape[1])))
    items, logits = ranking.items[:, :count], ranking.logits[:, :count]
    return Ranking(np.pad(items, padding, constant_values=-1), np.pad(logits, padding, constant_values=-np.inf))


def full_scan(scorer: Scorer, windows: Windows, count: int) -> Ranking:
    """Score every leaf and keep the ``count`` best: what search would return if it never pruned.

    Leaves are scored in blocks and only each user's best so far are kept, so memory grows with ``count``, not with the items.

    Parameters
    ----------
    scorer : Scorer
    windows : Windows
        S users.
    count : int
        1 and more; -1 fills places beyond the number of items.

    Returns
    -------
    Ranking
        (S, count), ties go to the smaller code.

    Raises
    ------
    ValueError
        If ``count`` is below 1.
    """
    if count < 1:
        raise ValueError(f"count is {count}; allowed are 1 and more")
    if isinstance(scorer, FusedScorer):
        found = fused_scan(scorer, windows, count)
        return Ranking(found.items, found.logits)
    parts = [_scanned(scorer, part, count) for _, part in blocks_of(windows)]
    return Ranking(np.concatenate([part.items for part in parts]), np.concatenate([part.logits for part in parts]))


def _scanned(scorer: Scorer, windows: Windows, count: int) -> Ranking:
    """The full scan of one block of users by any scorer: the fused scan's twin."""
    leaves, leaf_items = np.sort(scorer.tree.leaf_of_item), scorer.tree.item_of_leaf()
    codes, logits = np.empty((len(windows), 0), dtype=np.int64), np.empty((len(windows), 0), dtype=np.float32)
    for low in range(0, len(leaves), LEAVES_PER_BLOCK):
        block = leaves[low : low + LEAVES_PER_BLOCK]
        codes = np.concatenate([codes, np.broadcast_to(block, (len(windows), len(block)))], axis=1)
        logits = np.concatenate([logits, scorer.score_level(windows, scorer.tree.height, block)], axis=1)
        codes, logits = _best(codes, logits, count)
    return _cut(_ranked(codes, logits, leaf_items), count)


def blocks_of(windows: Windows) -> list[tuple[int, Windows]]:
    """Users in blocks, with the number of users before each."""
    return [(low, windows.part(low, min(low + USERS_PER_BLOCK, len(windows)))) for low in range(0, len(windows), USERS_PER_BLOCK)]


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
    return drop_items(Ranking(items, np.zeros(items.shape, dtype=np.float32)), excluded, num_items, count).items


def drop_items(ranking: Ranking, excluded: Ragged, num_items: int, count: int) -> Ranking:
    """As :func:`without_items`, of items with their logits."""
    keys = np.repeat(np.arange(len(excluded)), np.diff(excluded.offsets)) * num_items + excluded.values
    is_out = np.isin(np.arange(len(ranking.items))[:, None] * num_items + ranking.items, keys) | (ranking.items < 0)
    order = np.argsort(is_out, axis=1, kind="stable")[:, :count]
    items, logits = np.take_along_axis(ranking.items, order, axis=1), np.take_along_axis(ranking.logits, order, axis=1)
    is_out = np.take_along_axis(is_out, order, axis=1)
    return _cut(Ranking(np.where(is_out, -1, items), np.where(is_out, np.float32(-np.inf), logits)), count)

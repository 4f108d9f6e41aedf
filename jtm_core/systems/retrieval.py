"""A trained network as a recommender: by beam search, or by a full scan of the leaves."""

import numpy as np

from jtm_core.baselines.protocol import check_query
from jtm_core.beam import BeamSearch, blocks_of, full_scan, without_items
from jtm_core.behaviours import Ints, Ragged, take_slices
from jtm_core.model import JtmNetwork
from jtm_core.scoring import Windows, make_scorer, windows_of
from jtm_core.tree import TreeIndex


class BeamRecommender:
    """Lists what a beam of one width finds.

    Without excluded items a list is what :class:`~jtm_core.beam.BeamSearch` finds, at most about twice the beam's width.
    Excluded items are taken out of that; a user whose list they made shorter is searched again by beams of twice the width,
    until it is as long as without them or no item is left. So a user's list depends on this user alone.

    Parameters
    ----------
    network : JtmNetwork
        Trained on ``tree`` from ``first_level`` down; must not change afterwards.
    tree : TreeIndex
    first_level : int
    beam_width : int
        At least 1.
    """

    def __init__(self, network: JtmNetwork, tree: TreeIndex, first_level: int, beam_width: int) -> None:
        self.network, self.tree, self.first_level, self.beam_width = network, tree, first_level, beam_width
        self._scorer = make_scorer(network, tree)
        self._search = BeamSearch(self._scorer, beam_width, first_level)

    def recommend(self, histories: Ragged, num_recommended: int, excluded: Ragged | None = None) -> Ints:
        """List the best leaves found; see :class:`jtm_core.baselines.protocol.Recommender`."""
        check_query(histories, num_recommended, excluded, self.tree.num_items)
        lists = np.full((len(histories), num_recommended), -1, dtype=np.int64)
        for low, part in blocks_of(windows_of(histories, self.network.config.window_sizes)):
            rows = slice(low, low + len(part))
            if excluded is None:
                lists[rows] = self._search.rank(part, num_recommended).items
            else:
                self._fill_filtered(lists[rows], part, _rows(excluded, np.arange(low, low + len(part))))
        return lists

    def _fill_filtered(self, lists: Ints, windows: Windows, excluded: Ragged) -> None:
        """Fill the lists of one block of users, leaving their excluded items out."""
        num_items, count = self.tree.num_items, lists.shape[1]
        found = self._search.rank(windows).items
        lists[:] = without_items(found, excluded, num_items, count)
        wanted = np.minimum(np.minimum(_lengths(found), count), num_items - _num_distinct(excluded, num_items))
        width, short = self.beam_width, np.flatnonzero(_lengths(lists) < wanted)
        while len(short):
            width *= 2
            wider = BeamSearch(self._scorer, width, self.first_level).rank(Windows(windows.items, windows.bounds[short])).items
            lists[short] = without_items(wider, _rows(excluded, short), num_items, count)
            short = short[_lengths(lists[short]) < wanted[short]]


class ScanRecommender:
    """Lists the best of all leaves: what a beam would find if it never lost anything.

    Parameters
    ----------
    network : JtmNetwork
        Trained on ``tree``, at least on its leaf level; must not change afterwards.
    tree : TreeIndex
    """

    def __init__(self, network: JtmNetwork, tree: TreeIndex) -> None:
        self.network, self.tree = network, tree
        self._scorer = make_scorer(network, tree)

    def recommend(self, histories: Ragged, num_recommended: int, excluded: Ragged | None = None) -> Ints:
        """List the best leaves; see :class:`jtm_core.baselines.protocol.Recommender`."""
        check_query(histories, num_recommended, excluded, self.tree.num_items)
        lists = np.full((len(histories), num_recommended), -1, dtype=np.int64)
        for low, part in blocks_of(windows_of(histories, self.network.config.window_sizes)):
            rows = slice(low, low + len(part))
            if excluded is None:
                lists[rows] = full_scan(self._scorer, part, num_recommended).items
                continue
            banned = _rows(excluded, np.arange(low, low + len(part)))
            count = min(self.tree.num_items, num_recommended + int(_num_distinct(banned, self.tree.num_items).max()))
            lists[rows] = without_items(full_scan(self._scorer, part, count).items, banned, self.tree.num_items, num_recommended)
        return lists


def _rows(ragged: Ragged, rows: Ints) -> Ragged:
    return take_slices(ragged.values, ragged.offsets[rows], np.diff(ragged.offsets)[rows])


def _lengths(lists: Ints) -> Ints:
    """Items of each list: int64 (E,)."""
    lengths: Ints = (lists >= 0).sum(axis=1)
    return lengths


def _num_distinct(rows: Ragged, num_items: int) -> Ints:
    """Distinct items of each row: int64 (E,)."""
    keys = np.unique(np.repeat(np.arange(len(rows)), np.diff(rows.offsets)) * num_items + rows.values)
    return np.bincount(keys // num_items, minlength=len(rows))

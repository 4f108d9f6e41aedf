"""A trained network as a recommender: by beam search, or by a full scan of the leaves."""

import numpy as np

from jtm_core.baselines.protocol import check_query
from jtm_core.beam import BeamSearch, blocks_of, full_scan, without_items
from jtm_core.behaviours import Ints, Ragged
from jtm_core.model import JtmNetwork
from jtm_core.scoring import make_scorer
from jtm_core.tree import TreeIndex
from jtm_core.widening import widening_of
from jtm_core.windows import windows_of


class BeamRecommender:
    """Lists what a beam of one width finds (:class:`~jtm_core.beam.BeamSearch`), at most about twice the beam's width.

    Excluded items do not make a list shorter: see :class:`jtm_core.widening.Widening`.

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
        self._widening = widening_of(BeamSearch(make_scorer(network, tree), beam_width, first_level))

    def recommend(self, histories: Ragged, num_recommended: int, excluded: Ragged | None = None) -> Ints:
        """List the best leaves found; see :class:`jtm_core.baselines.protocol.Recommender`."""
        check_query(histories, num_recommended, excluded, self.tree.num_items)
        windows = windows_of(histories, self.network.reading)
        return self._widening.rank(windows, num_recommended, excluded).items


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
        num_items = self.tree.num_items
        check_query(histories, num_recommended, excluded, num_items)
        lists = np.full((len(histories), num_recommended), -1, dtype=np.int64)
        for low, part in blocks_of(windows_of(histories, self.network.reading)):
            rows = slice(low, low + len(part))
            if excluded is None:
                lists[rows] = full_scan(self._scorer, part, num_recommended).items
            else:
                banned = excluded.rows(low, low + len(part))
                count = min(num_items, num_recommended + int(np.diff(banned.offsets).max()))
                lists[rows] = without_items(full_scan(self._scorer, part, count).items, banned, num_items, num_recommended)
        return lists

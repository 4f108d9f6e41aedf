"""What fitting gives: a recommender with the record of its rounds; of JTM and its relatives also the network and the tree."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from jtm_core.baselines.protocol import Recommender
from jtm_core.behaviours import Ints, Ragged
from jtm_core.model import JtmNetwork
from jtm_core.systems.retrieval import BeamRecommender, ScanRecommender
from jtm_core.systems.rounds import Round
from jtm_core.tree import TreeIndex


class FittedSystem(Recommender, Protocol):
    """A recommender that tells how it was trained."""

    @property
    def rounds(self) -> tuple[Round, ...]:
        """One record an iteration; empty where nothing was trained in rounds."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PlainSystem:
    """A recommender that has no tree to search, or none that JTM's beam searches.

    Parameters
    ----------
    recommender : Recommender
    rounds : tuple of Round
    """

    recommender: Recommender
    rounds: tuple[Round, ...] = ()

    def recommend(self, histories: Ragged, num_recommended: int, excluded: Ragged | None = None) -> Ints:
        """See :class:`jtm_core.baselines.protocol.Recommender`."""
        return self.recommender.recommend(histories, num_recommended, excluded)


@dataclass(frozen=True, eq=False)
class TreeSystem:
    """A network and the tree it was trained on, searched by a beam.

    Parameters
    ----------
    network : JtmNetwork
    tree : TreeIndex
        Those of the iteration with the best validation recall.
    first_level : int
        First level that was trained and is searched.
    beam_width : int
    rounds : tuple of Round
    """

    network: JtmNetwork
    tree: TreeIndex
    first_level: int
    beam_width: int
    rounds: tuple[Round, ...]

    def recommend(self, histories: Ragged, num_recommended: int, excluded: Ragged | None = None) -> Ints:
        """See :class:`jtm_core.baselines.protocol.Recommender`."""
        return self._search.recommend(histories, num_recommended, excluded)

    def with_beam(self, width: int) -> BeamRecommender:
        """The same network and tree searched by a beam of another width."""
        return BeamRecommender(self.network, self.tree, self.first_level, width)

    def full_scan(self) -> ScanRecommender:
        """The same network asked about every leaf."""
        return ScanRecommender(self.network, self.tree)

    @cached_property
    def _search(self) -> BeamRecommender:
        return self.with_beam(self.beam_width)

"""Small set-ups that the tests of the numeric core share."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Ragged, TrainingHistories, item_weights
from jtm_core.codes import height_for
from jtm_core.config import ModelConfig
from jtm_core.experiment import counted_neighbours
from jtm_core.features import Samples, draw_samples, make_horizon, sample_order
from jtm_core.model import JtmNetwork, make_network
from jtm_core.seeding import generator
from jtm_core.tree import TreeIndex, tree_from_order

SMALL_MODEL = ModelConfig(window_sizes=(3, 2, 1, 1), embedding_width=8, hidden_widths=(16, 8, 4), inner_product=False, window_matches=False)

NEAR: dict[str, Any] = {"window_matches": True, "neighbour_windows": (2, 4)}
"""Dials of a network that is told of items near the histories."""


@dataclass
class SmallWorld:
    """A random tree, a random network that fits it, and random histories."""

    histories: TrainingHistories
    tree: TreeIndex
    network: JtmNetwork

    @property
    def weights(self) -> NDArray[np.float64]:
        """How much each item counts."""
        return item_weights(self.histories.values, self.tree.num_items)


def small_world(num_items: int = 21, num_users: int = 12, seed: int = 0, config: ModelConfig = SMALL_MODEL) -> SmallWorld:
    """Histories of 2 to 14 behaviours; vectors large enough that scores differ."""
    rng = generator(seed, "small-world")
    lengths = rng.integers(2, 15, num_users)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    histories = TrainingHistories.without_context(Ragged(rng.integers(0, num_items, offsets[-1]), offsets))
    tree = tree_from_order(rng.permutation(num_items), height_for(num_items))
    network = make_network(config, num_items, tree.height, rng, counted_neighbours(lambda: histories, num_items, config))
    network.vectors.data *= 10
    return SmallWorld(histories, tree, network)


def all_samples(histories: TrainingHistories, horizon_share: float, minimum_history: int, seed: int, *counters: int) -> Samples:
    """Every sample once, users in the order they lie; a horizon is drawn from ``seed`` and ``counters``, 0 takes the next item."""
    order = sample_order(histories, minimum_history, None)
    horizon = make_horizon(horizon_share, generator(seed, "tree-horizon", *counters))
    return draw_samples(histories, order, 0, order.num_samples, horizon)

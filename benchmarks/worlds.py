"""Data of any size with the skew of real logs: Zipf popularity, categories, users who stay in a few of them."""

from dataclasses import dataclass

import numpy as np

from jtm_core.behaviours import Ints, Ragged
from jtm_core.codes import height_for
from jtm_core.config import ModelConfig
from jtm_core.first_tree import order_by_category
from jtm_core.model import JtmNetwork, make_network
from jtm_core.tree import TreeIndex, tree_from_order

ITEMS_PER_CATEGORY = 64


@dataclass(frozen=True)
class BenchmarkWorld:
    """Histories, a category tree and an untrained network of the paper's shape."""

    histories: Ragged
    tree: TreeIndex
    network: JtmNetwork


def make_world(num_items: int, lengths: Ints, seed: int = 1) -> BenchmarkWorld:
    """Draw histories of given lengths.

    Parameters
    ----------
    num_items : int
    lengths : int64 array (U,)
        Behaviours of each user.
    seed : int
    """
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ranks = np.minimum((num_items ** rng.random(offsets[-1]) - 1).astype(np.int64), num_items - 1)
    homes = np.repeat(rng.integers(0, num_items, len(lengths)), lengths)
    nearby = (homes + rng.integers(0, 4 * ITEMS_PER_CATEGORY, len(homes))) % num_items
    items = np.where(rng.random(len(homes)) < 0.5, rng.permutation(num_items)[ranks], nearby)
    tree = tree_from_order(order_by_category(np.arange(num_items) // ITEMS_PER_CATEGORY, rng), height_for(num_items))
    return BenchmarkWorld(Ragged(items, offsets), tree, make_network(ModelConfig(), num_items, tree.height, rng))

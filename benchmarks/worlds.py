"""Data of any size with the skew of real logs, an untrained network of the paper's shape, a tree by category.

Categories have sizes that fall off as a power law; within a category and over all, popularity is Zipf's; a user stays
in three categories for most behaviours and takes from everywhere for the rest. Item ids say nothing of either.
"""

from dataclasses import dataclass

import numpy as np

from jtm_core.behaviours import Ints, Ragged, TrainingHistories
from jtm_core.codes import height_for
from jtm_core.config import ModelConfig
from jtm_core.experiment import counted_neighbours
from jtm_core.first_tree import order_by_category
from jtm_core.model import JtmNetwork, make_network
from jtm_core.tree import TreeIndex, tree_from_order

ITEMS_PER_CATEGORY = 256
FAVOURITES = 3
AT_HOME = 0.7


@dataclass(frozen=True)
class BenchmarkWorld:
    """Histories, a category tree and an untrained network of the paper's shape."""

    histories: TrainingHistories
    tree: TreeIndex
    network: JtmNetwork


def _zipf(rng: np.random.Generator, sizes: Ints) -> Ints:
    """A rank below each size, rank r drawn with a share near 1 / (r + 1)."""
    ranks: Ints = ((sizes + 1.0) ** rng.random(len(sizes)) - 1).astype(np.int64)
    return np.minimum(ranks, sizes - 1)


def category_borders(num_items: int, rng: np.random.Generator) -> Ints:
    """Where each category begins among items ordered by category: int64 (number of categories + 1,), every one with an item."""
    count = max(1, num_items // ITEMS_PER_CATEGORY)
    shares = rng.permutation((np.arange(count) + 10.0) ** -0.8)
    borders = np.round(np.concatenate([[0], np.cumsum(shares)]) / shares.sum() * (num_items - count)).astype(np.int64)
    return borders + np.arange(count + 1)


def draw_histories(num_items: int, lengths: Ints, borders: Ints, rng: np.random.Generator) -> Ragged:
    """Histories of given lengths over items ordered by category, the most popular of each first."""
    num_behaviours, sizes = int(lengths.sum()), np.diff(borders)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    homes = np.searchsorted(borders, rng.integers(0, num_items, (len(lengths), FAVOURITES)), side="right") - 1
    home = homes[np.repeat(np.arange(len(lengths)), lengths), _zipf(rng, np.full(num_behaviours, FAVOURITES))]
    anywhere = np.searchsorted(borders, rng.integers(0, num_items, num_behaviours), side="right") - 1
    category = np.where(rng.random(num_behaviours) < AT_HOME, home, anywhere)
    return Ragged(borders[category] + _zipf(rng, sizes[category]), offsets)


def make_world(num_items: int, lengths: Ints, seed: int = 1, config: ModelConfig | None = None) -> BenchmarkWorld:
    """Draw histories of given lengths.

    Parameters
    ----------
    num_items : int
    lengths : int64 array (U,)
        Behaviours of each user.
    seed : int
    config : ModelConfig, optional
        The default one without.
    """
    rng = np.random.default_rng(seed)
    borders = category_borders(num_items, rng)
    ordered = draw_histories(num_items, lengths, borders, rng)
    names = rng.permutation(num_items)
    categories = np.empty(num_items, dtype=np.int64)
    categories[names] = np.repeat(np.arange(len(borders) - 1), np.diff(borders))
    tree = tree_from_order(order_by_category(categories, rng), height_for(num_items))
    histories, model = TrainingHistories.without_context(Ragged(names[ordered.values], ordered.offsets)), config or ModelConfig()
    network = make_network(model, num_items, tree.height, rng, counted_neighbours(lambda: histories, num_items, model))
    return BenchmarkWorld(histories, tree, network)


def usual_lengths(num_users: int, seed: int = 0) -> Ints:
    """Lengths of histories: log-normal, 10 to 200, 35 on average."""
    drawn = np.random.default_rng(seed).lognormal(3.3, 0.7, num_users)
    return np.clip(drawn, 10, 200).astype(np.int64)

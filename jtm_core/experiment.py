"""The pieces of Algorithm 1 as one experiment's config asks for them.

The flow's steps and the systems that are compared in memory (:mod:`jtm_core.systems`) call the same functions here, so that
both run the same experiment: the same seeds, purposes and settings, and in the end the same bits.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np

from jtm_core.baselines.item_cf import ItemCF
from jtm_core.behaviours import Ints, Ragged, TrainingHistories
from jtm_core.codes import first_code, height_for
from jtm_core.config import JtmConfig, ModelConfig
from jtm_core.cooccurrence import cooccurrence_vectors
from jtm_core.evaluation import Questions, validate
from jtm_core.first_tree import order_by_category, random_order
from jtm_core.model import JtmNetwork, make_network
from jtm_core.neighbours import NUM_NEIGHBOURS, Neighbours, users_of_items
from jtm_core.seeding import generator
from jtm_core.target_samples import TargetSamples, target_samples
from jtm_core.training import Training, TrainingPlan
from jtm_core.tree import TreeIndex, tree_from_order
from jtm_core.two_means import two_means_order


def planting_method(categories: Ints, config: JtmConfig) -> Literal["category", "random", "two_means"]:
    """How the first tree is planted: as ``first_tree.method`` says, but by 2-means where that is by category and categories tell little.

    They do where fewer than half of the items have a known one, or all of these the same.

    Examples
    --------
    >>> planting_method(np.array([-1, -1, -1, 4, 3]), JtmConfig()), planting_method(np.array([-1, -1, 4, 3]), JtmConfig())
    ('two_means', 'category')
    """
    asked, known = config.first_tree.method, categories[categories >= 0]
    tells_little = 2 * len(known) < len(categories) or len(np.unique(known)) < 2
    return "two_means" if asked == "category" and tells_little else asked


def planted_tree(categories: Ints, read_histories: Callable[[], Ragged], config: JtmConfig) -> TreeIndex:
    """The first tree over all items.

    Parameters
    ----------
    categories : int64 array (num_items,)
        Category of every item, -1 unknown; where they tell little the tree is planted by 2-means (:func:`planting_method`).
    read_histories : callable
        Gives the training histories; called only where the tree depends on them.
    config : JtmConfig
        Of it ``first_tree``, ``model.embedding_width`` and ``seed`` count.
    """
    rng, num_items = generator(config.seed, "first_tree"), len(categories)
    method = planting_method(categories, config)
    if method == "category":
        order = order_by_category(categories, rng)
    elif method == "random":
        order = random_order(num_items, rng)
    else:
        order = two_means_order(cooccurrence_vectors(read_histories(), num_items, config.model.embedding_width, rng), rng)
    return tree_from_order(order, height_for(num_items))


def counted_neighbours(read_histories: Callable[[], Ragged], num_items: int, config: ModelConfig) -> Neighbours | None:
    """Neighbours of all items in training histories, which are read only for networks that are told of any; None for others."""
    if not config.neighbour_windows or not config.window_matches:
        return None
    histories = read_histories()
    counted = ItemCF.fit(histories, num_items, NUM_NEIGHBOURS)
    users = users_of_items(histories.values, histories.offsets, num_items)
    return Neighbours.of_cosines(counted.items, counted.similarities, counted.offsets, users)


def new_network(tree: TreeIndex, config: JtmConfig, neighbours: Neighbours | None) -> JtmNetwork:
    """A network that nothing has trained yet; of the config ``model`` and ``seed`` count."""
    return make_network(config.model, tree.num_items, tree.height, generator(config.seed, "network"), neighbours)


def make_training(
    network: JtmNetwork, tree: TreeIndex, histories: TrainingHistories, asked: Questions, plan: TrainingPlan, config: JtmConfig
) -> Training:
    """The training of one iteration, judged by validation users after each epoch.

    Parameters
    ----------
    network : JtmNetwork
        Start; not changed.
    tree : TreeIndex
    histories : TrainingHistories
    asked : Questions
        Validation users.
    plan : TrainingPlan
    config : JtmConfig
        Of it ``training`` and ``evaluation`` count.
    """
    judge = partial(validate, tree=tree, asked=asked, config=config.evaluation, first_level=plan.first_level)
    return Training(network, tree, histories, config.training, plan, judge)


def learning_samples(iteration: int, histories: TrainingHistories, config: JtmConfig) -> TargetSamples:
    """The samples that tree learning weighs; of the config ``training``, ``tree_learning`` and ``seed`` count."""
    training, maximum = config.training, config.tree_learning.maximum_samples_per_item
    return target_samples(histories, training.reach, training.minimum_history, maximum, config.seed, iteration)


def clustered_tree(iteration: int, network: JtmNetwork, old: TreeIndex, seed: int) -> TreeIndex:
    """The tree of balanced 2-means on a model's item vectors (TDM, section 3.4), as high as the old one."""
    item_vectors = network.vectors.detach().cpu().numpy()[first_code(old.height) :]
    return tree_from_order(two_means_order(item_vectors, generator(seed, "tree-clusters", iteration)), old.height)


def what_a_system_reads(config: JtmConfig) -> JtmConfig:
    """The parts that fitting a system may depend on, all others at their defaults: the same lists whatever those are."""
    return JtmConfig(
        first_tree=config.first_tree,
        model=config.model,
        training=config.training,
        tree_learning=config.tree_learning,
        evaluation=config.evaluation,
        iterations=config.iterations,
        seed=config.seed,
    )

"""Plant the first tree, or extend that of an earlier version by the items that are new."""

from typing import TYPE_CHECKING

from jtm_core.config import JtmConfig
from tasks.artefacts import read_categories, read_data, read_network, read_tree, read_vocabulary, save_network, save_tree
from tasks.caching import step, step_logger
from tasks.references import DataReferences, GrownTree, VersionRef
from tasks.store import Store, open_store

if TYPE_CHECKING:
    from jtm_core.tree import TreeIndex


@step(run_name="plant-tree-{data.name}", uses=("first_tree", "model", "seed"))
def plant_tree(data: DataReferences, config: JtmConfig, parent: VersionRef | None) -> GrownTree:
    """Make the tree that iteration 0 trains on.

    Parameters
    ----------
    data : DataReferences
    config : JtmConfig
    parent : VersionRef or None
        A version to start warm from: its items keep their places, new ones go beside items of their category, and its
        model is extended alike, the neighbours that it reads counted anew. None plants a first tree.

    Raises
    ------
    ValueError
        If the parent's network was made by other settings than ``config.model``.
    """
    store = open_store()
    if parent is not None:
        return _extended(store, data, config, parent)
    keys = read_vocabulary(store, data.items).keys
    return GrownTree(tree=save_tree(store, _planted(store, data, config), keys), start=None, report=None)


def _extended(store: Store, data: DataReferences, config: JtmConfig, parent: VersionRef) -> GrownTree:
    from jtm_core.behaviours import training_histories
    from jtm_core.carry import extend_network
    from jtm_core.experiment import counted_neighbours
    from jtm_core.first_tree import extend_tree

    network, old = read_network(store, parent.model), read_tree(store, parent.tree)
    if network.config != config.model:
        raise ValueError(
            f"version {parent.version} has the model settings {network.config}, this run {config.model}; "
            "give the same ones to start warm, or start from no version"
        )
    new = extend_tree(old, data.num_items, read_categories(store, data))
    neighbours = counted_neighbours(lambda: training_histories(*read_data(store, data)), data.num_items, config.model)
    extended = extend_network(network, old, new, neighbours)
    return GrownTree(tree=save_tree(store, new, read_vocabulary(store, data.items).keys), start=save_network(store, extended), report=None)


def _planted(store: Store, data: DataReferences, config: JtmConfig) -> "TreeIndex":
    from jtm_core.behaviours import training_histories
    from jtm_core.experiment import planted_tree, planting_method

    categories = read_categories(store, data)
    method = planting_method(categories, config)
    if method != config.first_tree.method:
        step_logger().warning(
            "fewer than half of the items have a category, or all the same one, so the first tree is planted by %s", method
        )
    return planted_tree(categories, lambda: training_histories(*read_data(store, data)), config)

"""Learn the tree for a fixed model: the second half of an iteration of Algorithm 1, with Algorithm 2 inside."""

from typing import TYPE_CHECKING, Any

from jtm_core.config import JtmConfig
from tasks.artefacts import read_data, read_network, read_tree, read_vocabulary, save_network, save_report, save_tree
from tasks.caching import step, step_logger
from tasks.progress import Progress, artifact_key
from tasks.references import DataReferences, GrownTree, ModelRef, TreeRef
from tasks.store import Store, open_store

if TYPE_CHECKING:
    from jtm_core.model import JtmNetwork
    from jtm_core.tree import TreeIndex
    from jtm_core.tree_learning import LearnedTree


@step(run_name="learn-tree-{data.name}-{iteration:02d}", uses=("training", "tree_learning", "evaluation", "seed"))
def learn_tree(iteration: int, data: DataReferences, tree: TreeRef, model: ModelRef, config: JtmConfig) -> GrownTree:
    """Learn a tree with the current model, and carry the model's inner-node vectors over to it.

    Parameters
    ----------
    iteration : int
        1 or more; part of every random draw.
    data : DataReferences
    tree : TreeRef
        The tree it was trained on; the new one is compared with it.
    model : ModelRef
        Stays fixed.
    config : JtmConfig

    Returns
    -------
    GrownTree
        Its report is JSON: objective before and after, in total and per segment, and moved shares per level.
    """
    from jtm_core.carry import carry_inner_vectors

    store = open_store()
    network, old = read_network(store, model), read_tree(store, tree)
    learned = _learn(store, iteration, data, network, old, config)
    gain, moved = learned.objective_after - learned.objective_before, learned.moved_shares[-1]
    step_logger().info(
        "%d samples; objective %.6g, gain %.4g; %.1f %% of items moved", learned.num_samples, learned.objective_after, gain, 100 * moved
    )
    return GrownTree(
        tree=save_tree(store, learned.tree, read_vocabulary(store, data.items).keys),
        start=save_network(store, carry_inner_vectors(network, old, learned.tree)),
        report=save_report(store, "tree-learning", report_of(learned)),
    )


def _learn(
    store: Store, iteration: int, data: DataReferences, network: "JtmNetwork", tree: "TreeIndex", config: JtmConfig
) -> "LearnedTree":
    from jtm_core.behaviours import training_histories
    from jtm_core.tree_learning import TreeLearner, target_samples

    histories = training_histories(*read_data(store, data))
    training, learning = config.training, config.tree_learning
    maximum = learning.maximum_samples_per_item
    samples = target_samples(histories, training.target, training.minimum_history, maximum, config.seed, iteration)
    learner = TreeLearner(network, tree, histories.values, samples, learning, config.first_level)
    num_samples = len(samples.factors)
    with Progress(artifact_key("learn-tree", data.name, f"{iteration:02d}"), "samples") as progress:
        return learner.learn(lambda share: progress.show(share * num_samples, num_samples))


def report_of(learned: "LearnedTree") -> dict[str, Any]:
    """What tree learning did, as JSON values."""
    return {
        "objective_before": learned.objective_before,
        "objective_after": learned.objective_after,
        "is_new": learned.is_new,
        "num_samples": learned.num_samples,
        "moved_shares": [float(share) for share in learned.moved_shares],
        "raw_moved_shares": [float(share) for share in learned.raw_moved_shares],
        "segments": [
            {
                "level_from": segment.upper_level,
                "level_to": segment.lower_level,
                "objective_before": segment.objective_before,
                "objective_after": segment.objective_after,
                "kept_parents": segment.num_kept,
                "num_parents": segment.num_nodes,
            }
            for segment in learned.segments
        ],
    }

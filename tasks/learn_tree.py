"""Learn the tree for a fixed model: the second half of an iteration of Algorithm 1, with Algorithm 2 inside.

Two other methods stand beside it for comparison: TDM's re-clustering, and keeping the tree.

The work is cut into shards of about ``config.execution.shard_samples`` samples; finished ones are kept until the step is
done (:mod:`tasks.shards`), so a killed tree learning loses one shard at most per process, and ends with the same tree.
"""

import math
from typing import TYPE_CHECKING, Any

from jtm_core.config import JtmConfig
from tasks.artefacts import read_data, read_network, read_tree, read_vocabulary, save_network, save_report, save_tree
from tasks.caching import checkpoint_path, step, step_logger
from tasks.costs import count_work
from tasks.progress import Progress, artifact_key
from tasks.references import DataReferences, GrownTree, ModelRef, TreeRef
from tasks.shard_runs import ShardRun, runs_elsewhere, submitting
from tasks.shards import LearningJob, ShardFolder, drawn_samples, make_learner
from tasks.store import Store, open_store

if TYPE_CHECKING:
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
        Its report is JSON: objective before and after, in total and per segment, and moved shares per level. Methods other than
        ``joint`` measure no objective and have no report.
    """
    if config.tree_learning.method == "fixed":
        return GrownTree(tree=tree, start=model, report=None)
    if config.tree_learning.method == "two_means":
        return _clustered(iteration, data, tree, model, config.seed)
    return _learned(iteration, data, tree, model, config)


def _clustered(iteration: int, data: DataReferences, tree: TreeRef, model: ModelRef, seed: int) -> GrownTree:
    """The tree of balanced 2-means on the model's item vectors (TDM, section 3.4)."""
    from jtm_core.experiment import clustered_tree

    store = open_store()
    old = read_tree(store, tree)
    new = clustered_tree(iteration, read_network(store, model), old, seed)
    carried = _carried(store, data, model, old, new)
    return GrownTree(tree=save_tree(store, new, read_vocabulary(store, data.items).keys), start=carried, report=None)


def _learned(iteration: int, data: DataReferences, tree: TreeRef, model: ModelRef, config: JtmConfig) -> GrownTree:
    """The tree of Algorithm 2."""
    store = open_store()
    folder = ShardFolder(checkpoint_path().with_suffix(".shards"))
    learned = _learn(store, LearningJob(iteration, data, tree, model, config, folder.path.relative_to(store.home).as_posix()), folder)
    gain, moved = learned.objective_after - learned.objective_before, learned.moved_shares[-1]
    step_logger().info(
        "%d samples; objective %.6g, gain %.4g in %d sweeps; %.1f %% of items moved",
        learned.num_samples,
        learned.objective_after,
        gain,
        learned.num_sweeps,
        100 * moved,
    )
    grown = GrownTree(
        tree=save_tree(store, learned.tree, read_vocabulary(store, data.items).keys),
        start=_carried(store, data, model, read_tree(store, tree), learned.tree),
        report=save_report(store, "tree-learning", report_of(learned)),
    )
    folder.remove()
    return grown


def _carried(store: Store, data: DataReferences, model: ModelRef, old: "TreeIndex", new: "TreeIndex") -> ModelRef:
    """Keep the model with its inner-node vectors carried over to the new tree."""
    from jtm_core.behaviours import item_weights, training_histories
    from jtm_core.carry import carry_inner_vectors

    weights = item_weights(training_histories(*read_data(store, data)).values, new.num_items)
    return save_network(store, carry_inner_vectors(read_network(store, model), old, new, weights))


def _learn(store: Store, job: LearningJob, folder: ShardFolder) -> "LearnedTree":
    """Run Algorithm 2 over the shards."""
    execution, samples = job.config.execution, drawn_samples(store, job)
    if runs_elsewhere(execution):
        folder.write_samples(*samples)
        samples = folder.read_samples()
    learner, num_samples = make_learner(store, job, *samples), len(samples[1].samples)
    title = artifact_key("learn-tree", job.data.name, f"{job.iteration:02d}")
    with Progress(title, "samples") as progress, submitting(execution) as submit:
        run = ShardRun(learner, folder, job, submit)

        def show(sweep: int, share: float) -> None:
            progress.show((sweep - 1 + share) * num_samples, sweep * num_samples, f"sweep {sweep}")

        learned = learner.learn(show, run, execution.shard_samples)
    count_work("samples", num_samples)
    if run.num_found:
        step_logger().info("%d shards were found finished", run.num_found)
    return learned


def report_of(learned: "LearnedTree") -> dict[str, Any]:
    """What tree learning did, as JSON values."""
    return {
        "objective_before": learned.objective_before,
        "objective_after": learned.objective_after,
        "is_new": learned.is_new,
        "num_sweeps": learned.num_sweeps,
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
                "optimality_gap_mean": _number_or_none(segment.optimality_gap_mean),
                "optimality_gap_largest": _number_or_none(segment.optimality_gap_largest),
                "sampled_parents": segment.num_sampled,
            }
            for segment in learned.segments
        ],
    }


def _number_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None

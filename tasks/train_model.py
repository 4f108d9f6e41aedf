"""Train the model on a fixed tree: the first half of an iteration of Algorithm 1, resumable at any batch.

While it trains, everything needed to go on is written to ``$JTM_HOME/checkpoints/<step key>.safetensors`` every
``JTM_CHECKPOINT_SECONDS``; a run that finds such a file goes on from it, to the same weights as if never stopped.
"""

import math
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jtm_core.config import JtmConfig
from tasks.artefacts import on_device, read_data, read_network, read_tree, save_network, save_report
from tasks.caching import checkpoint_path, step, step_logger
from tasks.progress import Progress, artifact_key
from tasks.references import DataReferences, GrownTree, TrainedModel
from tasks.settings import checkpoint_seconds
from tasks.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from jtm_core.model import JtmNetwork
    from jtm_core.training import Training, TrainingResult
    from jtm_core.tree import TreeIndex


@step(run_name="train-model-{data.name}-{iteration:02d}", uses=("model", "training", "evaluation", "seed"))
def train_model(iteration: int, data: DataReferences, grown: GrownTree, config: JtmConfig) -> TrainedModel:
    """Train on a tree, from new weights or from those that the tree comes with.

    Parameters
    ----------
    iteration : int
        0 for the first tree; part of every random draw.
    data : DataReferences
    grown : GrownTree
        Its tree stays fixed; its model, if any, is the start.
    config : JtmConfig

    Returns
    -------
    TrainedModel
        Weights of the epoch with the best validation recall, and the curves.
    """
    store, checkpoint = open_store(), checkpoint_path()
    num_epochs = config.training.later_epochs if grown.start else config.training.epochs
    training = _resumed(_training_maker(store, iteration, data, grown, config, num_epochs), checkpoint)
    _run(training, checkpoint, num_epochs, artifact_key("train-model", data.name, f"{iteration:02d}"))
    result = training.result()
    recalls = ", ".join(f"{validation.recall:.4f}" for validation in result.validations)
    step_logger().info(
        "%d rows; loss %.4f; validation recall by epoch %s; best is %d", result.num_rows, result.losses[-1], recalls, result.best_epoch
    )
    for warning in result.warnings:
        step_logger().warning(warning)
    trained = TrainedModel(model=save_network(store, result.network), curves=save_report(store, "curves", curves_of(result)))
    checkpoint.unlink(missing_ok=True)
    return trained


def _training_maker(
    store: Store, iteration: int, data: DataReferences, grown: GrownTree, config: JtmConfig, num_epochs: int
) -> "Callable[[], Training]":
    from jtm_core.behaviours import training_histories
    from jtm_core.evaluation import questions_of, validate
    from jtm_core.training import Training, TrainingPlan

    behaviours, split = read_data(store, data)
    tree = read_tree(store, grown.tree)
    network = read_network(store, grown.start) if grown.start else _new_network(tree, config)
    asked = questions_of(behaviours, split.validation, network.config.window_sizes)
    judge = partial(validate, tree=tree, asked=asked, config=config.evaluation, first_level=config.first_level)
    plan = TrainingPlan(first_level=config.first_level, num_epochs=num_epochs, seed=config.seed, iteration=iteration)
    return lambda: Training(network, tree, training_histories(behaviours, split), config.training, plan, judge)


def _new_network(tree: "TreeIndex", config: JtmConfig) -> "JtmNetwork":
    from jtm_core.model import make_network
    from jtm_core.seeding import generator

    return on_device(make_network(config.model, tree.num_items, tree.height, generator(config.seed, "network")))


def _resumed(make: "Callable[[], Training]", checkpoint: Path) -> "Training":
    """A training that goes on from the checkpoint, or a new one if there is none that can be read."""
    import torch

    from jtm_core.formats.arrays import read_arrays

    training = make()
    if not checkpoint.is_file():
        return training
    try:
        training.restore({name: torch.from_numpy(array) for name, array in read_arrays(checkpoint)[0].items()})
    except (ValueError, KeyError, RuntimeError) as error:
        step_logger().warning("checkpoint %s cannot be used, training begins anew: %s", checkpoint, error)
        return make()
    step_logger().info("training goes on from checkpoint %s", checkpoint)
    return training


def _run(training: "Training", checkpoint: Path, num_epochs: int, title: str) -> None:
    """Train to the end, saving the state from time to time."""
    saved, interval = time.monotonic(), checkpoint_seconds()
    with Progress(title, "rows") as progress:
        for state in training.steps():
            done = (state.epoch - 1) * state.num_batches + state.batch
            total_rows = state.num_rows * num_epochs * state.num_batches / done
            progress.show(state.num_rows, total_rows, f"epoch {state.epoch} of {num_epochs}, loss {state.loss:.4f}")
            if time.monotonic() - saved >= interval:
                _save(training, checkpoint)
                saved = time.monotonic()


def _save(training: "Training", checkpoint: Path) -> None:
    from jtm_core.formats.arrays import write_arrays

    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(checkpoint, {name: tensor.detach().cpu().numpy() for name, tensor in training.state().items()}, {"kind": "training"})


def curves_of(result: "TrainingResult") -> dict[str, Any]:
    """Curves and diagnosis as JSON values; steps of the loss are hundredths of an epoch."""
    points_per_epoch = max(len(result.loss_curve) // max(len(result.losses), 1), 1)
    last = result.validations[result.best_epoch - 1]
    return {
        "loss": [[round(100 * (place + 1) / points_per_epoch), _finite(loss)] for place, loss in enumerate(result.loss_curve)],
        "epoch_loss": [_finite(loss) for loss in result.losses],
        "validation_recall": [[epoch, validation.recall] for epoch, validation in enumerate(result.validations, start=1)],
        "diagnosis": {
            "best_epoch": result.best_epoch,
            "num_rows": result.num_rows,
            "final_loss": _finite(result.losses[-1]),
            "score_spread": _finite(last.score_spread),
            "list_overlap": _finite(last.list_overlap),
            "num_warnings": len(result.warnings),
        },
        "warnings": result.warnings,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

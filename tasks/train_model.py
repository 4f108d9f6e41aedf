"""Train the model on a fixed tree: the first half of an iteration of Algorithm 1, resumable at any batch.

While it trains, everything needed to go on is written to ``$JTM_HOME/checkpoints/<step key>.safetensors`` every
``JTM_CHECKPOINT_SECONDS``, more rarely where writing takes long; a run that finds such a file goes on from it, to the same
weights as if never stopped. Several processes can train together (:mod:`tasks.parallel_training`); the checkpoint is the same.
"""

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jtm_core.config import JtmConfig
from jtm_core.formats.atomic import discard
from tasks.artefacts import read_data, read_network, read_tree, save_network, save_report
from tasks.caching import checkpoint_path, step, step_logger
from tasks.checkpoints import Pace
from tasks.costs import count_work
from tasks.parallel_training import is_parallel, train_in_processes
from tasks.progress import Progress, artifact_key
from tasks.references import DataReferences, GrownTree, TrainedModel
from tasks.store import Store, open_store
from tasks.training_jobs import Listener, TrainingJob

if TYPE_CHECKING:
    from jtm_core.peers import Peers
    from jtm_core.training import Training, TrainingResult


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
    job = TrainingJob(iteration, data, grown, config, checkpoint.relative_to(store.home).as_posix())
    with Progress(artifact_key("train-model", data.name, f"{iteration:02d}"), "rows") as progress:
        listener = _StepListener(progress, is_resumed=checkpoint.is_file())
        if is_parallel(config.execution.training_processes):
            trained: TrainedModel | None = train_in_processes(store, job, listener)
        else:
            trained = train_here(store, job, listener)
    assert trained is not None
    discard(checkpoint)
    return trained


class _StepListener:
    """Shows a training as this step's progress and in its log, and counts its rows.

    Of a resumed training the rows before the kill are not this step's; nor counted is the first batch after it, which cannot be told apart.
    """

    def __init__(self, progress: Progress, *, is_resumed: bool) -> None:
        self._progress, self._counted = progress, None if is_resumed else 0

    def show(self, done: float, total: float, note: str) -> None:
        if self._counted is not None:
            count_work("rows", int(done) - self._counted)
        self._counted = int(done)
        self._progress.show(done, total, note)

    def tell(self, level: int, text: str) -> None:
        step_logger().log(level, text)


def train_here(store: Store, job: TrainingJob, listener: Listener, peers: "Peers | None" = None) -> TrainedModel | None:
    """Train in this process, alone or as one of several; what was made, or None in all processes but the first."""
    training, checkpoint = _new_training(store, job), store.home / job.checkpoint
    _restore(training, checkpoint, listener)
    if peers is not None:
        training.join(peers)
    is_first = peers is None or peers.rank == 0
    _run(training, checkpoint if is_first else None, job.num_epochs, listener)
    result = training.result()
    if not is_first:
        return None
    recalls = ", ".join(f"{validation.recall:.4f}" for validation in result.validations)
    words = f"{result.num_rows} rows; loss {result.losses[-1]:.4f}; validation recall by epoch {recalls}; best is {result.best_epoch}"
    listener.tell(logging.INFO, words)
    for warning in result.warnings:
        listener.tell(logging.WARNING, warning)
    return TrainedModel(model=save_network(store, result.network), curves=save_report(store, "curves", curves_of(result)))


def _new_training(store: Store, job: TrainingJob) -> "Training":
    from jtm_core.behaviours import training_histories
    from jtm_core.evaluation import questions_of
    from jtm_core.experiment import counted_neighbours, make_training, new_network
    from jtm_core.model import on_device
    from jtm_core.training import TrainingPlan

    config = job.config
    behaviours, split = read_data(store, job.data)
    tree = read_tree(store, job.grown.tree)
    histories = training_histories(behaviours, split, job.newest_share)
    if job.grown.start:
        network = read_network(store, job.grown.start)
    else:
        network = on_device(new_network(tree, config, counted_neighbours(lambda: histories, tree.num_items, config.model)))
    asked = questions_of(behaviours, split.validation, network.reading)
    plan = TrainingPlan(first_level=config.first_level, num_epochs=job.num_epochs, seed=config.seed, iteration=job.iteration)
    return make_training(network, tree, histories, asked, plan, config)


def _restore(training: "Training", checkpoint: Path, listener: Listener) -> None:
    """Go on from the checkpoint, if there is one that can be read."""
    import torch

    from jtm_core.formats.arrays import read_arrays

    if not checkpoint.is_file():
        return
    try:
        training.restore({name: torch.from_numpy(array) for name, array in read_arrays(checkpoint)[0].items()})
    except ValueError as error:
        listener.tell(logging.WARNING, f"checkpoint {checkpoint} cannot be used, training begins anew: {error}")
    else:
        listener.tell(logging.INFO, f"training goes on from checkpoint {checkpoint}")


def _run(training: "Training", checkpoint: Path | None, num_epochs: int, listener: Listener) -> None:
    """Train to the end, saving the state from time to time if there is a place for it."""
    pace = Pace()
    for state in training.steps():
        done = (state.epoch - 1) * state.num_batches + state.batch
        total_rows = state.num_rows * num_epochs * state.num_batches / done
        listener.show(state.num_rows, total_rows, f"epoch {state.epoch} of {num_epochs}, loss {state.loss:.4f}")
        if checkpoint is not None and pace.is_due:
            with pace.saving():
                _save(training, checkpoint)


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

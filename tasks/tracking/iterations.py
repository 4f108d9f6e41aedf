"""A nested run per iteration: everything one version of tree and model leaves, logged once however often it is asked."""

from collections.abc import Mapping

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from tasks.tracking import tags as names
from tasks.tracking.artefacts import upload_files, upload_table
from tasks.tracking.batches import log_missing_metrics, log_params, log_tags, metrics_at_step, metrics_of_curves
from tasks.tracking.client import tracking_client
from tasks.tracking.nested import nested_run
from tasks.tracking.records import Iteration, TreeLearning
from tasks.tracking.series import segment_rows


def _iteration_run(client: MlflowClient, parent_run_id: str, iteration: int) -> Run:
    """The nested run of an iteration, made with the parent's params and its data and code tags if it is not there."""
    parent = client.get_run(parent_run_id)
    run = nested_run(client, parent, {names.KIND: "iteration", names.ITERATION: str(iteration)}, f"iteration {iteration:02d}")
    log_params(client, run, {"iteration": str(iteration), **parent.data.params})
    return run


def log_iteration(parent_run_id: str, record: Iteration) -> str:
    """Log one iteration: on a nested run everything, on the parent its metrics with step = iteration.

    May be repeated after a kill at any moment: metrics are never doubled, missing ones and missing files are completed,
    and a call for an iteration that is complete does nothing.

    Parameters
    ----------
    parent_run_id : str
    record : Iteration

    Returns
    -------
    str
        Id of the nested run, finished.

    Raises
    ------
    ValueError
        If the iteration was logged before with other digests, or a file is missing.
    """
    client = tracking_client()
    run = _iteration_run(client, parent_run_id, record.number)
    run_id = str(run.info.run_id)
    _check_same_version(run, record)
    if run.data.tags.get(names.IS_COMPLETE) == "true":
        return run_id
    log_tags(client, run_id, {**record.tags, names.IS_ACCEPTED: str(record.is_accepted).lower()})
    _log_metrics(client, run, record)
    upload_files(client, run_id, record.artefacts)
    if record.learning and record.learning.segments:
        upload_table(client, run_id, "tree_learning_steps", segment_rows(record.learning))
    client.set_terminated(run_id, status="FINISHED")
    log_tags(client, run_id, {names.IS_COMPLETE: "true"})  # last: whatever a kill left out is done by the next call
    return run_id


def _check_same_version(run: Run, record: Iteration) -> None:
    for name, value in record.tags.items():
        known = run.data.tags.get(name, value)
        if known != value:
            where = f"iteration {record.number} was logged in run {run.info.run_id}"
            raise ValueError(f"{where} with {name} = {known}, now it is {value}; to start over, delete the experiment's run in MLflow")


def _log_metrics(client: MlflowClient, run: Run, record: Iteration) -> None:
    moment = run.info.start_time  # the same at every repetition, so that not even two writers at once double a point
    at_step = metrics_at_step(iteration_metrics(record), record.number, moment)
    log_missing_metrics(client, run, at_step + metrics_of_curves(record.curves, moment))
    log_missing_metrics(client, client.get_run(run.data.tags[names.PARENT_RUN]), at_step)


def iteration_metrics(record: Iteration) -> dict[str, float]:
    """All metrics of an iteration that have one value: those handed in, and those of tree learning.

    Raises
    ------
    ValueError
        If a metric has the name of a curve, or of one of tree learning's: MLflow would mix them.
    """
    derived = {"is_accepted": float(record.is_accepted), **(_learning_metrics(record.learning) if record.learning else {})}
    twice = sorted(set(record.metrics) & (set(derived) | set(record.curves)))
    if twice:
        raise ValueError(f"metrics {twice} of iteration {record.number} have the names of curves or derived metrics; rename them")
    return {**record.metrics, **derived}


def _learning_metrics(learning: TreeLearning) -> Mapping[str, float]:
    moved = {f"tree_learning/moved_share/level_{level:02d}": share for level, share in enumerate(learning.moved_shares) if level}
    return {
        "tree_learning/objective_before": learning.objective_before,
        "tree_learning/objective_after": learning.objective_after,
        "tree_learning/objective_gain": learning.objective_after - learning.objective_before,
        **({"tree_learning/moved_share": learning.moved_shares[-1]} if learning.moved_shares else {}),
        **moved,
    }

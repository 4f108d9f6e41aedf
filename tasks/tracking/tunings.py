"""A search for settings in MLflow: a nested run per trial, the table and the chosen settings on the parent."""

from collections.abc import Mapping, Sequence

from tasks.tracking import tags as names
from tasks.tracking.artefacts import upload_bytes, upload_table
from tasks.tracking.batches import log_missing_metrics, log_params, metrics_at_step
from tasks.tracking.client import tracking_client
from tasks.tracking.nested import nested_run
from tasks.tracking.params import flatten_params
from tasks.tracking.records import Row


def log_trial_run(parent_run_id: str, trial: tuple[str, int], dials: Mapping[str, object], metrics: Mapping[str, float]) -> str:
    """Log one trial as a nested run; may be repeated.

    Parameters
    ----------
    parent_run_id : str
    trial : tuple of str and int
        System and number.
    dials : mapping
        What was set otherwise than in the shared settings.
    metrics : mapping of str to float

    Returns
    -------
    str
        Id of the nested run, finished.
    """
    client, (system, number) = tracking_client(), trial
    identity = {names.KIND: "trial", names.SYSTEM: system, names.VARIATION: str(number)}
    run = nested_run(client, client.get_run(parent_run_id), identity, f"{system} trial {number:03d}")
    log_params(client, run, {"system": system, **flatten_params(dict(dials))})
    log_missing_metrics(client, run, metrics_at_step(metrics, 0, run.info.start_time))
    client.set_terminated(run.info.run_id, status="FINISHED")
    return str(run.info.run_id)


def log_tuning(run_id: str, rows: Sequence[Row], tuned: str) -> None:
    """Log the table of all trials and the chosen settings, ``tuned.json``, on the parent run."""
    client = tracking_client()
    upload_table(client, run_id, "trials", rows)
    upload_bytes(client, run_id, {"tuned.json": tuned.encode()})

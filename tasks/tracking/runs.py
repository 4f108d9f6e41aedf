"""The parent run: one experiment from its first check to its report, found again after a kill by its run key."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Literal

from mlflow.entities import Dataset, DatasetInput, InputTag, Run
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.tracking import MlflowClient

from tasks.tracking import tags as names
from tasks.tracking.batches import log_missing_metrics, log_params, log_tags, metrics_at_step
from tasks.tracking.client import tracking_client, tracking_uri
from tasks.tracking.nested import nested_run
from tasks.tracking.params import flatten_params
from tasks.tracking.records import DataInput

_RESUMABLE = ("RUNNING", "SCHEDULED", "FAILED", "KILLED")
_DIGEST_SIZE = 36  # MLflow's limit for data sets; the whole digest is in the tag and the profile
_SHORT = 12
EndStatus = Literal["FINISHED", "FAILED", "KILLED"]


def open_parent_run(experiment_id: str, key: str, name: str, config: object, tags: Mapping[str, str]) -> str:
    """Continue the unfinished run of this key, or create one.

    The newest run with the key decides: running, failed or killed it is continued (and is RUNNING again); finished, or
    if there is none, a new run starts.

    Parameters
    ----------
    experiment_id : str
        From :func:`tasks.tracking.client.ensure_experiment`.
    key : str
        What makes two runs the same experiment: a digest over config, data and code.
    name : str
        Run name in the UI.
    config : dataclass instance or mapping
        Logged as flattened params; see :func:`tasks.tracking.params.flatten_params`. What changes nothing of what comes out, as where
        the work is done, is a tag instead (``jtm.execution.training_processes``), which a continued run may replace.
    tags : mapping of str to str
        E.g. ``jtm.code_fingerprint``, of which the beginning is a param as well: MLflow's comparison shows no tags.

    Returns
    -------
    str
        Run id.

    Raises
    ------
    ValueError
        If the continued run was logged with other params, or the key is empty.
    """
    if not key:
        raise ValueError("the run key is empty; give a digest over config, data and code")
    client = tracking_client()
    run = _resumable_run(client, experiment_id, key)
    if run is None:
        all_tags = {**tags, names.RUN_KEY: key, names.KIND: "experiment"}
        run = client.create_run(experiment_id, tags=all_tags, run_name=name)
    else:
        client.update_run(run.info.run_id, status="RUNNING")
        log_tags(client, run.info.run_id, tags)
    inputs = {"input.code_fingerprint": tags[names.CODE_FINGERPRINT][:_SHORT]} if names.CODE_FINGERPRINT in tags else {}
    params, everything = flatten_params(config, only_keyed=True), flatten_params(config)
    log_params(client, run, {**inputs, **params})
    log_tags(client, run.info.run_id, {f"jtm.{name}": value for name, value in everything.items() if name not in params})
    return str(run.info.run_id)


def find_finished_run(experiment_id: str, key: str) -> str | None:
    """Id of the newest run of a key, if it is finished: what would be logged under its key again is there."""
    newest = _newest_run(tracking_client(), experiment_id, key)
    return str(newest.info.run_id) if newest and newest.info.status == "FINISHED" else None


def _resumable_run(client: MlflowClient, experiment_id: str, key: str) -> Run | None:
    newest = _newest_run(client, experiment_id, key)
    return newest if newest and newest.info.status in _RESUMABLE else None


def _newest_run(client: MlflowClient, experiment_id: str, key: str) -> Run | None:
    wanted = names.tag_filter({names.RUN_KEY: key, names.KIND: "experiment"})
    newest = client.search_runs([experiment_id], wanted, max_results=1, order_by=["attributes.start_time DESC"])
    return newest[0] if newest else None


def mark_killed(key: str) -> list[str]:
    """End as KILLED the runs of a key that are still open, in whatever experiment, and what is open of those nested in them.

    Returns
    -------
    list of str
        Ids of the parent runs; a later :func:`open_parent_run` with their key continues them.
    """
    client = tracking_client()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    parents = _open_runs(client, experiments, {names.RUN_KEY: key, names.KIND: "experiment"})
    for parent in parents:
        nested = _open_runs(client, [parent.info.experiment_id], {names.PARENT_RUN: parent.info.run_id})
        for run in (*nested, parent):
            finish_run(run.info.run_id, "KILLED")
    return [str(parent.info.run_id) for parent in parents]


def _open_runs(client: MlflowClient, experiment_ids: list[str], tags: Mapping[str, str]) -> list[Run]:
    return list(client.search_runs(experiment_ids, f"{names.tag_filter(tags)} and attributes.status = 'RUNNING'"))


def link_to_prefect(run_id: str, flow_run_id: str, flow_run_url: str) -> None:
    """Point from a run to the Prefect flow run that writes it: two tags, and a link in the description."""
    tags = {names.FLOW_RUN_ID: flow_run_id, names.FLOW_RUN_URL: flow_run_url}
    log_tags(tracking_client(), run_id, {**tags, names.NOTE: f"Prefect flow run: [{flow_run_id}]({flow_run_url})"})


def log_data_input(run_id: str, data: DataInput) -> None:
    """Log the data set as the run's input: name, place, digest and counts, not a row of it.

    The beginning of the digest is a param too, so that the comparison of two runs shows when their data differ.

    Raises
    ------
    ValueError
        If the run stands on other data already.
    """
    client = tracking_client()
    log_params(client, client.get_run(run_id), {"input.data_digest": data.digest[:_SHORT]})
    profile = json.dumps({**data.counts, "sha256": data.digest})
    source = json.dumps({"uri": data.uri})
    dataset = Dataset(data.name, data.digest[:_DIGEST_SIZE], source_type="local", source=source, profile=profile)
    client.log_inputs(run_id, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", data.context)])])
    log_tags(client, run_id, {names.DATA_NAME: data.name, names.DATA_DIGEST: data.digest})


def log_summary(run_id: str, metrics: Mapping[str, float], prefix: str = "best/") -> None:
    """Log metrics of the parent that belong to no iteration: of the version it ends with, or by ``prefix`` of its start or baselines.

    The parent's other metrics show the last iteration's value, which may be one that was refused.
    """
    client = tracking_client()
    run = client.get_run(run_id)
    values = {f"{prefix}{name}": value for name, value in metrics.items()}
    log_missing_metrics(client, run, metrics_at_step(values, 0, run.info.start_time))


@contextmanager
def record_system_metrics(run_id: str, seconds: float = 10.0) -> Iterator[None]:
    """Log processor, memory, disk and network use of this machine while the block runs, as ``system/...``.

    They go to a run of their own, ``machine``, nested under the given one: on the experiment's run they would be listed
    first among what differs between two experiments, and always differ.

    Parameters
    ----------
    run_id : str
        An experiment's or an iteration's run. After a kill the same ``machine`` run goes on from its last point.
    seconds : float
        Between two points.
    """
    client = tracking_client()
    machine = nested_run(client, client.get_run(run_id), {names.KIND: "machine"}, "machine").info.run_id
    client.update_run(machine, status="RUNNING")  # the monitor of an ended run stops by itself
    monitor = SystemMetricsMonitor(machine, sampling_interval=seconds, resume_logging=True, tracking_uri=tracking_uri())  # type: ignore[no-untyped-call]
    monitor.start()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        monitor.finish()  # type: ignore[no-untyped-call]
        with suppress(MlflowException):  # a machine run left open is no reason to fail an experiment
            client.set_terminated(machine)


@contextmanager
def ending_run(run_id: str) -> Iterator[None]:
    """End a run with the block: FINISHED, or FAILED where it raises; that this failed too is noted on what it raised."""
    try:
        yield
    except BaseException as error:
        try:
            finish_run(run_id, "FAILED")
        except Exception as second:  # noqa: BLE001 (the first error is the one to raise)
            error.add_note(f"MLflow run {run_id} could not be marked as failed: {second}")
        raise
    finish_run(run_id)


def finish_run(run_id: str, status: EndStatus = "FINISHED") -> None:
    """End a run; FAILED and KILLED ones are continued by the next :func:`open_parent_run` with their key."""
    tracking_client().set_terminated(run_id, status=status)

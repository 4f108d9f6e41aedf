"""Which version is in service, where experiments are compared: a tag on the runs of its iteration, and whether MLflow serves any.

Here and not in :mod:`tasks.tracking.registered_models`, as every release asks and what makes a model takes seconds to import.
"""

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from tasks.tracking import tags as names
from tasks.tracking.client import tracking_client

_KINDS = ("iteration", "system")
"""Kinds of runs that a version has; an evaluation of it is none."""


def mark_released(version: str, data_name: str) -> list[str]:
    """Tag the runs of a version, iterations or systems, as those of what is released of a data set, and those of no other version of it.

    Parameters
    ----------
    version : str
        Name of the version; experiments and comparisons that found it again have a run of it each.
    data_name : str

    Returns
    -------
    list of str
        Ids of the version's runs; none if they were deleted, or logged elsewhere.
    """
    client, own_ids = tracking_client(), runs_of(version)
    marked = _runs_with(names.IS_RELEASED, "true")
    for run_id in own_ids:
        client.set_tag(run_id, names.IS_RELEASED, "true")
    for run in marked:
        if run.info.run_id not in own_ids and run.data.tags.get(names.DATA_NAME) == data_name:
            client.set_tag(run.info.run_id, names.IS_RELEASED, "false")
    return own_ids


def runs_of(version: str) -> list[str]:
    """Ids of a version's runs, iterations or systems, the newest first; none if they were deleted, or logged elsewhere."""
    found = sorted(_runs_with(names.VERSION, version), key=lambda run: run.info.start_time, reverse=True)
    return [run.info.run_id for run in found]


def model_tags(name: str) -> dict[str, str] | None:
    """Tags of a registered model; None if there is no such model."""
    try:
        return dict(tracking_client().get_registered_model(name).tags)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        return None


def _runs_with(tag: str, value: str) -> list[Run]:
    client = tracking_client()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = [client.search_runs(experiments, names.tag_filter({names.KIND: kind, tag: value})) for kind in _KINDS]
    return [run for runs in found for run in runs]

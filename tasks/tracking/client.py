"""The one door to the MLflow server: client, experiments and addresses in its UI."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

_ML_EXPERIMENT = {"mlflow.experimentKind": "custom_model_development"}  # else the UI opens on its pages for language models
_TRAINING_PAGES = "workflowType=machine_learning"  # the same choice in an address


def tracking_uri() -> str:
    """Address of the MLflow server, from the environment.

    Raises
    ------
    ValueError
        If ``MLFLOW_TRACKING_URI`` is not set: MLflow would silently write to a new database in the current directory.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if not uri:
        raise ValueError(
            "MLFLOW_TRACKING_URI is not set; give the MLflow server's address, e.g. http://127.0.0.1:5000"
            " (`make run` and `make serve-ui` set it)"
        )
    return uri.rstrip("/") if uri.startswith("http") else uri


def tracking_client() -> MlflowClient:
    """Make a client of that server; it keeps no active run, so it may be used from any thread."""
    return MlflowClient(tracking_uri=tracking_uri())


def ensure_experiment(name: str) -> str:
    """Find the experiment of that name, or create it.

    Safe against two processes creating it at once: the loser of the race takes the winner's.

    Parameters
    ----------
    name : str
        Experiment name, e.g. ``jtm``.

    Returns
    -------
    str
        Experiment id.

    Raises
    ------
    ValueError
        If the name is empty, or an experiment of that name was deleted.
    """
    if not name.strip():
        raise ValueError(f"experiment name is {name!r}; it must not be empty")
    client = tracking_client()
    found = client.get_experiment_by_name(name) or _create_experiment(client, name)
    if found.lifecycle_stage != "active":
        raise ValueError(f"experiment {name!r} (id {found.experiment_id}) is deleted in MLflow; restore it there or choose another name")
    return str(found.experiment_id)


def _create_experiment(client: MlflowClient, name: str) -> Experiment:
    try:
        client.create_experiment(name, artifact_location=_artefact_folder(tracking_uri()), tags=_ML_EXPERIMENT)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    found = client.get_experiment_by_name(name)
    if found is None:
        raise RuntimeError(f"experiment {name!r} was created and is gone; is the MLflow database being deleted?")
    return found


def _artefact_folder(uri: str) -> str | None:
    """For a database used without a server the folder beside it, else MLflow would write into the current directory."""
    path = uri.removeprefix("sqlite:///")
    return None if path == uri else (Path(path).resolve().parent / "artefacts").as_uri()


def run_url(run_id: str) -> str:
    """Address of a run's page in MLflow's UI; the tracking URI itself where that is no server."""
    experiment_id = tracking_client().get_run(run_id).info.experiment_id
    return page(f"experiments/{experiment_id}/runs/{run_id}?{_TRAINING_PAGES}")


def compare_url(run_ids: Sequence[str]) -> str:
    """Address of the page that lays runs side by side and shows which params differ.

    Raises
    ------
    ValueError
        If fewer than two runs are given.
    """
    if len(run_ids) < 2:
        raise ValueError(f"a comparison needs at least 2 runs, got {list(run_ids)}")
    client = tracking_client()
    experiments = sorted({client.get_run(run_id).info.experiment_id for run_id in run_ids})
    return page(f"compare-runs?runs={_json_list(run_ids)}&experiments={_json_list(experiments)}&{_TRAINING_PAGES}")


def _json_list(words: Sequence[str]) -> str:
    return quote("[" + ",".join(f'"{word}"' for word in words) + "]")


def page(path: str) -> str:
    """Address of a page of the UI; the tracking URI itself where that is no server."""
    uri = tracking_uri()
    return f"{uri}/#/{path}" if uri.startswith("http") else uri

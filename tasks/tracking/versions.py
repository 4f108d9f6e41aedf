"""Versions as MLflow remembers them: the last one accepted on a data set, and one by its name."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from tasks.tracking import tags as names
from tasks.tracking.client import tracking_client
from tasks.tracking.records import RecordedVersion


def last_accepted_version(data_name: str) -> RecordedVersion | None:
    """Find the newest complete version the validation gate took on for a data set, in any experiment.

    Parameters
    ----------
    data_name : str
        As logged by :func:`tasks.tracking.runs.log_data_input`.

    Returns
    -------
    RecordedVersion or None
        None if there is none; runs deleted in MLflow do not count.
    """
    return _newest({names.DATA_NAME: data_name, names.IS_ACCEPTED: "true"})


def find_version(version: str) -> RecordedVersion:
    """Find a version by its ``jtm.version`` tag; the newest where several runs made the same.

    Raises
    ------
    ValueError
        If no complete iteration has it.
    """
    found = _newest({names.VERSION: version})
    if found is None:
        raise ValueError(f"version {version!r} is not in MLflow; take the tag {names.VERSION} of a finished iteration's run")
    return found


def download_artefact(run_id: str, name: str, destination: Path) -> Path:
    """Fetch a file of a run, e.g. ``tree.parquet``, into a folder that exists; returns where it lies."""
    return Path(tracking_client().download_artifacts(run_id, str(PurePosixPath(name)), str(destination)))


def _newest(equal: Mapping[str, str]) -> RecordedVersion | None:
    client = tracking_client()
    wanted = names.tag_filter({names.KIND: "iteration", names.IS_COMPLETE: "true", **equal})
    found = client.search_runs(_experiment_ids(client), wanted, max_results=1, order_by=["attributes.start_time DESC"])
    return _as_version(found[0]) if found else None


def _experiment_ids(client: MlflowClient) -> list[str]:
    ids: list[str] = []
    token: str | None = None
    while token is None or token:
        page = client.search_experiments(page_token=token)
        ids += [str(experiment.experiment_id) for experiment in page]
        token = page.token or ""
    return ids


def _as_version(run: Run) -> RecordedVersion:
    tags = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
    return RecordedVersion(
        run_id=run.info.run_id,
        parent_run_id=run.data.tags[names.PARENT_RUN],
        iteration=int(run.data.tags[names.ITERATION]),
        tags=tags,
    )

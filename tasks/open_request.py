"""What is asked of a version beside its own log: found and made sure of before any log is read."""

import tempfile
from dataclasses import replace
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from jtm_core.config import DataConfig, EvaluationConfig
from jtm_core.lists_config import ListsConfig
from tasks.references import BacktestRequest, ListsRequest, SourceRef, VersionRef
from tasks.versions import find_served, recorded_config, require_servable


@task(task_run_name="open-request-{data_name}", cache_policy=NO_CACHE, persist_result=False)
def open_request(data_name: str, version: str, lists: ListsConfig, path: str, log: str) -> tuple[VersionRef, ListsRequest]:
    """Find the version that lists, and how it reads a log: as it read the one that it was made from.

    Raises
    ------
    UnknownVersionError
        If nothing is released, or no such version of this data set is recorded.
    BrokenArtefactError
        If it is not whole any more.
    ValueError
        If the beam is too narrow for so many items, or the path is no place for a Parquet file.
    """
    served = find_served(data_name, version)
    require_servable(served, *(() if log else (served.data.log,)))
    config = recorded_config(served)
    _require_place(Path(path))
    return served, ListsRequest(
        version=served.version,
        data=_reading(config.data, log),
        lists=lists.resolved(config.evaluation),
        path=path,
    )


@task(task_run_name="open-backtest-{data_name}", cache_policy=NO_CACHE, persist_result=False)
def open_backtest(
    data_name: str, version: str, log: str, since: int | None, evaluation: EvaluationConfig | None, num_users: int
) -> tuple[VersionRef, BacktestRequest]:
    """Find the version that is asked, and how it reads a newer log and judges: as it was itself, where nothing else is given.

    Raises
    ------
    UnknownVersionError
        If nothing is released, or no such version of this data set is recorded.
    BrokenArtefactError
        If it is not whole any more.
    """
    served = find_served(data_name, version)
    require_servable(served)
    config = recorded_config(served)
    return served, BacktestRequest(
        version=served.version,
        data=_reading(config.data, log),
        evaluation=evaluation or config.evaluation,
        since=since,
        num_users=num_users,
        seed=config.seed,
    )


def log_of(version: VersionRef) -> SourceRef:
    """The log that a version was made from, which is in the store."""
    return SourceRef(name=version.data.name, sha256=version.data.log.sha256, path="")


def _reading(own: DataConfig, log: str) -> DataConfig:
    """How a newer log is read: as a version's own was, but for where that ended; the own log needs no file."""
    return replace(own, path=log, category_path="", latest_time=None if log else own.latest_time)


def _require_place(path: Path) -> None:
    if not path.is_absolute() or path.suffix != ".parquet" or path.is_dir():
        raise ValueError(f"path is {str(path)!r}; it must be the absolute path of a file that ends with .parquet")
    folder = next(folder for folder in path.parents if folder.exists())
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(f"path is {str(path)!r}, where nothing can be written: {error}") from error

"""Whose lists are wanted, and the file they go to."""

import shutil
import tempfile
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from tasks.references import UserListsRef, VersionRef, WantedLists
from tasks.retrievers import beam_width_of
from tasks.store import open_store
from tasks.versions import find_served, require_whole


@task(task_run_name="open-served-{data_name}", cache_policy=NO_CACHE, persist_result=False)
def open_served(data_name: str, version: str, wanted: WantedLists, path: str) -> VersionRef:
    """Find the version to recommend by, and make sure of what is asked of it before any log is read.

    Raises
    ------
    UnknownVersionError
        If nothing is released, or no such version of this data set is recorded.
    BrokenArtefactError
        If it is not whole any more.
    ValueError
        If the beam is too narrow for so many items, or the path is no place for a Parquet file.
    """
    found = find_served(data_name, version)
    data = found.data
    require_whole(found, found.tree, found.model, data.items, data.behaviours, data.split)
    width = beam_width_of(found, wanted.beam_width)
    if not 1 <= wanted.count <= width:
        raise ValueError(f"count is {wanted.count}; allowed are 1 .. {width}, the beam's width: ask for fewer items or set beam_width")
    _require_place(Path(path))
    return found


@task(task_run_name="deliver-lists", cache_policy=NO_CACHE, persist_result=False)
def deliver_lists(lists: UserListsRef, path: str) -> None:
    """Put lists where they are wanted; what stood there stays until all of them are there."""
    from jtm_core.formats.atomic import atomic_path

    with atomic_path(Path(path)) as temporary:
        shutil.copyfile(open_store().path(lists), temporary)
    get_run_logger().info("the lists are in %s", path)


def _require_place(path: Path) -> None:
    if not path.is_absolute() or path.suffix != ".parquet" or path.is_dir():
        raise ValueError(f"path is {str(path)!r}; it must be the absolute path of a file that ends with .parquet")
    folder = next(folder for folder in path.parents if folder.exists())
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(f"path is {str(path)!r}, where nothing can be written: {error}") from error

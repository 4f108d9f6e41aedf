"""What earlier runs left: the version to start warm from, and the one whose volume this log is compared with."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from jtm_core.config import JtmConfig
from tasks.references import IngestedLog, VersionRef
from tasks.versions import find_version, released


@task(task_run_name="find-start-{config.data.name}", cache_policy=NO_CACHE, persist_result=False)
def find_start(start_from: str, config: JtmConfig) -> VersionRef | None:
    """Find the version to start warm from, before anything is read.

    Parameters
    ----------
    start_from : str
        Name of a version, empty for none.
    config : JtmConfig

    Raises
    ------
    UnknownVersionError
        If ``start_from`` is not recorded.
    """
    return find_version(start_from) if start_from else None


@task(task_run_name="look-back-{config.data.name}", cache_policy=NO_CACHE, persist_result=False)
def look_back(ingested: IngestedLog, config: JtmConfig) -> VersionRef | None:
    """Find what the last finished run of this data set ended with, if it was made from another log than this one.

    Versions made from the same log are no comparison for its volume.
    """
    previous = released(config.data.name)
    return previous if previous and previous.data.log != ingested.log else None

"""What earlier runs left: the version to start warm from, and the one whose volume this log is compared with."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from jtm_core.config import JtmConfig
from tasks.references import IngestedLog, VersionRef
from tasks.versions import find_version, released


@task(task_run_name="look-back-{config.data.name}", cache_policy=NO_CACHE, persist_result=False)
def look_back(start_from: str, ingested: IngestedLog, config: JtmConfig) -> tuple[VersionRef | None, VersionRef | None]:
    """Find the versions this run stands beside.

    Parameters
    ----------
    start_from : str
        Name of a version, empty for none.
    ingested : IngestedLog
        The log of this run; versions made from the same one are no comparison for its volume.
    config : JtmConfig

    Returns
    -------
    parent, previous : VersionRef or None
        Where to start warm from; what the last finished run of this data set ended with, if it was made from another log.

    Raises
    ------
    UnknownVersionError
        If ``start_from`` is not recorded.
    """
    parent, previous = find_version(start_from) if start_from else None, released(config.data.name)
    return parent, previous if previous and previous.data.log != ingested.log else None

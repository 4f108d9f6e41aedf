"""Release a version that somebody names, whatever it is worth."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from tasks.versions import find_version, release, released, require_servable


@task(task_run_name="release-{name}", cache_policy=NO_CACHE, persist_result=False)
def release_named(name: str) -> str:
    """Release a recorded version if all that serving and retraining need of it is there.

    Returns
    -------
    str
        Name of the data set.

    Raises
    ------
    UnknownVersionError
        If it is not recorded in this ``JTM_HOME``.
    BrokenArtefactError
        If it is not whole any more; what was released stays so.
    """
    version = find_version(name)
    require_servable(version, version.data.users)
    before = released(version.data.name)
    release(version)
    get_run_logger().info("released %s of %s, in place of %s", name, version.data.name, before.version if before else "none")
    return version.data.name

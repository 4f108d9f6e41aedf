"""Show in MLflow which version is in service."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from tasks.versions import released


@task(task_run_name="mark-released-{data_name}", cache_policy=NO_CACHE, persist_result=False)
def mark_released(data_name: str) -> None:
    """Tag the MLflow runs of what is released of a data set, whatever was released before; repeating it changes nothing."""
    from tasks.tracking import releases

    version = released(data_name)
    if version and not releases.mark_released(version.version, data_name):
        get_run_logger().warning("MLflow has no run of %s, which is released; was it deleted, or is this another server?", version.version)

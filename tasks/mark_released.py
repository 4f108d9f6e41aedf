"""Show in MLflow which version is in service."""

from prefect.logging import get_run_logger

from tasks.outside import outside_task
from tasks.versions import released


@outside_task("mark-released-{data_name}")
def mark_released(data_name: str) -> None:
    """Tag the MLflow runs of what is released of a data set, whatever was released before; repeating it changes nothing."""
    from tasks.tracking import releases

    version = released(data_name)
    if version and not releases.mark_released(version.version, data_name):
        get_run_logger().warning("MLflow has no run of %s, which is released; was it deleted, or is this another server?", version.version)

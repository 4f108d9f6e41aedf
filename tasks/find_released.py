"""The version a retraining starts from."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from jtm_core.config import JtmConfig
from tasks.versions import released


@task(task_run_name="find-released-{config.data.name}", cache_policy=NO_CACHE, persist_result=False)
def find_released(config: JtmConfig) -> str:
    """Name of the version of this data set that is released, empty if there is none."""
    version = released(config.data.name)
    if version is None:
        get_run_logger().info("nothing of %s is released yet; a first tree will be planted", config.data.name)
        return ""
    get_run_logger().info("starting warm from version %s", version.version)
    return version.version

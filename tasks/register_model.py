"""Have MLflow serve a version."""

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from jtm_core.lists_config import ListsConfig
from tasks.outside import outside_task
from tasks.progress import artifact_key
from tasks.registrations import register
from tasks.versions import find_served, require_servable


@outside_task("register-model-{data_name}")
def register_model(data_name: str, version: str, lists: ListsConfig) -> None:
    """Register a version, with all that serving needs of it, and say how it is served.

    Raises
    ------
    UnknownVersionError
        If nothing is released, or no such version of this data set is recorded.
    BrokenArtefactError
        If it is not whole any more.
    ValueError
        If the beam is too narrow for so many items, or MLflow has no run of the version.
    """
    served = find_served(data_name, version)
    require_servable(served)
    made = register(served, lists)
    address = f"models:/{made.name}@released" if made.is_released else f"models:/{made.name}/{made.number}"
    get_run_logger().info("version %s is number %s of MLflow's model %s", served.version, made.number, made.name)
    create_markdown_artifact(
        f"Version `{served.version}` is number {made.number} of [{made.name}]({made.page}) in MLflow. To serve it:\n\n"
        f"    .venv/bin/mlflow models serve -m {address} --env-manager local --port 5001\n",
        key=artifact_key("register", data_name),
        description="Registered",
    )

"""Show in MLflow which version is in service."""

from prefect.logging import get_run_logger

from tasks.outside import outside_task
from tasks.registrations import register, registered_lists
from tasks.versions import released


@outside_task("mark-released-{data_name}")
def mark_released(data_name: str) -> None:
    """Tag the MLflow runs of what is released of a data set, and have MLflow serve it, if it serves the data set at all.

    It does not matter what was released before; repeating it changes nothing.

    Raises
    ------
    ValueError
        If the registered model's lists cannot be made by what is released, which stays so.
    """
    from tasks.tracking import releases

    version = released(data_name)
    if version is None:
        return
    if not releases.mark_released(version.version, data_name):
        get_run_logger().warning("MLflow has no run of %s, which is released; was it deleted, or is this another server?", version.version)
    elif lists := registered_lists(data_name):
        try:
            made = register(version, lists)
        except ValueError as error:
            text = f"{version.version} is released, but the registered model of {data_name} does not mean it: {error}"
            raise ValueError(f"{text}; run register-model with lists that it can make") from error
        get_run_logger().info("MLflow's model %s means %s by released, its number %s", made.name, version.version, made.number)

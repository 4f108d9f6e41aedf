"""Go back to an earlier version, or take a try-out into service."""

from prefect import flow

from tasks.mark_released import mark_released
from tasks.release_named import release_named


@flow(name="release-version", flow_run_name="release-{version}")
def release_version(version: str) -> None:
    """Release a recorded version: it is what is served from now on, and what the next retraining starts from.

    Args:
        version: Name of the version, as in its manifest and in MLflow's tag ``jtm.version``.
    """
    mark_released(release_named(version))

"""Have MLflow serve what is released."""

from prefect import flow

from jtm_core.lists_config import ListsConfig
from tasks import register_model as registering

DEFAULT = ListsConfig()


@flow(name="register-model", flow_run_name="register-{data_name}")
def register_model(data_name: str, version: str = "", lists: ListsConfig = DEFAULT) -> None:
    """Register a version as a model of MLflow that holds all it needs; from then on all that is released of its data set is registered.

    Args:
        data_name: The data.name of the runs.
        version: Name of another version than what is released; it has a number of its own and is served by that.
        lists: How lists are made where a call does not say.
    """
    registering.register_model(data_name, version, lists)

"""Versions in MLflow's model registry: a registered model for each data set, one of its numbers for each version that was registered."""

from collections.abc import Mapping
from importlib.metadata import version as installed
from pathlib import Path

import pandas as pd
from mlflow import pyfunc
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import AnyType, Array, ColSpec, DataType, ParamSchema, ParamSpec, Schema

from tasks.tracking.client import page, tracking_client

RELEASED = "released"
"""The alias of what is released."""
NEEDED = (
    "annotated-types",
    "llvmlite",
    "mlflow",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "safetensors",
    "scipy",
    "threadpoolctl",
    "torch",
)
"""Distributions that a served model imports."""
_SCRIPT = Path(__file__).parent / "served_model.py"


def interface_of(key: int | str, count: int, without_seen: bool) -> tuple[ModelSignature, pd.DataFrame]:
    """What a served model takes and gives, and a call for an example.

    Ids are of whatever kind the log has, which the model itself is strict about.

    Parameters
    ----------
    key : int or str
        An item of the log.
    count : int
        Items of a list that asks for no number.
    without_seen : bool
        Whether a list that does not say leaves out items of the history.
    """
    ids = Array(AnyType())  # type: ignore[no-untyped-call]  # not of long: MLflow takes an empty list for one of objects, and refuses it
    signature = ModelSignature(
        inputs=Schema([ColSpec(ids, "history"), ColSpec(ids, "exclude", required=False)]),
        outputs=Schema([ColSpec(ids, "items"), ColSpec(Array(DataType.float), "logits"), ColSpec(DataType.boolean, "is_personal")]),
        params=ParamSchema(
            [ParamSpec("count", DataType.integer, count), ParamSpec("without_seen", DataType.boolean, without_seen)],
        ),
    )
    return signature, pd.DataFrame({"history": [[key]]})


def log_model(run_id: str, name: str, folder: Path, interface: tuple[ModelSignature, pd.DataFrame], tags: Mapping[str, str]) -> str:
    """Log a version's folder as a model of a run and register it, with all that serving needs: code, and names of distributions.

    Parameters
    ----------
    run_id : str
        Run that the model is of.
    name : str
        Registered model; made if there is none.
    folder : Path
        From :func:`jtm_core.formats.served_folders.write_served`.
    interface : tuple of ModelSignature and DataFrame
        What it takes and gives, and a call for an example.
    tags : mapping of str to str
        Of the registered number, by which :func:`find_number` finds it again; set last, so that none is found that was broken off.

    Returns
    -------
    str
        Its number in the registry.
    """
    client = tracking_client()
    experiment_id = client.get_run(run_id).info.experiment_id  # else MLflow takes the process's own, and there is none
    logged = client.create_logged_model(experiment_id, name, source_run_id=run_id, tags=dict(tags))
    made = Model.log(
        artifact_path=None,
        flavor=pyfunc,
        run_id=run_id,
        model_id=logged.model_id,
        registered_model_name=name,
        python_model=str(_SCRIPT),
        artifacts={"version": str(folder)},
        code_paths=[str(_SCRIPT.parents[2] / "jtm_core")],
        signature=interface[0],
        input_example=interface[1],
        pip_requirements=[f"{package}=={installed(package).partition('+')[0]}" for package in NEEDED],
    )
    number = str(made.registered_model_version)
    for tag, value in tags.items():
        client.set_model_version_tag(name, number, tag, value)
    return number


def find_number(name: str, tags: Mapping[str, str]) -> str | None:
    """The latest number of a registered model that has these tags, None if there is none."""
    found: list[ModelVersion] = tracking_client().search_model_versions(f"name = '{name}'")
    alike = (str(one.version) for one in found if one.status == "READY" and tags.items() <= one.tags.items())
    return max(alike, key=int, default=None)


def tag_model(name: str, tags: Mapping[str, str]) -> None:
    """Say of a registered model what it is of, and how its numbers are made."""
    for tag, value in tags.items():
        tracking_client().set_registered_model_tag(name, tag, value)


def point_released(name: str, number: str) -> None:
    """Have the alias ``released`` mean this number."""
    tracking_client().set_registered_model_alias(name, RELEASED, number)


def model_page(name: str, number: str) -> str:
    """Address of a number's page in MLflow's UI; the tracking URI itself where that is no server."""
    return page(f"models/{name}/versions/{number}")

"""A comparison from end to end on a small log: what it leaves, that it resumes, and that a failure does not spread."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowRunFilter, FlowRunFilterId
from prefect.states import State

from flows.compare_systems import compare_systems

DATA_NAME = "compared"
SYSTEMS = ["popularity", "tdm", "jtm-j", "jtm-h", "jtm"]

Parameters = dict[str, dict[str, Any]]


def artifacts_of(state: State[Any]) -> dict[str, Any]:
    """Latest artifact of every key that a flow run left."""
    run = ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id])
    with get_client(sync_client=True) as client:
        return {artifact.key: artifact for artifact in client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=run))}


def task_runs_of(state: State[Any]) -> dict[str, str]:
    """Name of every task run of a flow run -> name of its final state."""
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id])))
    return {run.name: run.state_name for run in runs}


@pytest.fixture(scope="module")
def comparison(parameters: Parameters) -> Parameters:
    """Flow parameters: five systems, two seeds, one varied dial."""
    sensitivity = {"gaps": [2, 7], "negatives": [10]}
    return {"config": {"shared": parameters["config"], "systems": SYSTEMS, "seeds": [1, 2], "beams": [5, 20], "sensitivity": sensitivity}}


@pytest.fixture(scope="module")
def compared(environment: Mapping[str, str], comparison: Parameters) -> State[Any]:
    """The first run; later tests go on from what it left."""
    return compare_systems(**comparison, return_state=True)


def test_a_comparison_leaves_its_table_and_its_links(compared: State[Any]) -> None:
    assert compared.is_completed()
    rows = json.loads(artifacts_of(compared)["results"].data)
    assert [row["system"] for row in rows] == SYSTEMS
    assert [row["seeds"] for row in rows] == [1, 2, 2, 2, 2]

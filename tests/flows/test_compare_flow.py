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
from jtm_core.systems import fitting
from tasks.track_run import COMPARISONS

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


def test_every_run_is_nested_under_the_comparison_with_the_report_beside(compared: State[Any], mlflow_uri: str) -> None:
    client = MlflowClient(tracking_uri=mlflow_uri)
    experiment = client.get_experiment_by_name(COMPARISONS)
    runs = client.search_runs([experiment.experiment_id])
    nested = [run for run in runs if run.data.tags.get("jtm.kind") == "system"]
    found = sorted((run.data.tags["jtm.system"], run.data.tags["jtm.seed"]) for run in nested if run.data.tags["jtm.variation"] == "none")
    learned = [(system, seed) for system in SYSTEMS[1:] for seed in ("1", "2")]
    assert found == sorted([("popularity", "1"), *learned])
    (parent,) = {run.data.tags["mlflow.parentRunId"] for run in nested}
    assert {"report.html", "figures", "tables"} <= {file.path for file in client.list_artifacts(parent)}


def test_a_comparison_run_again_repeats_nothing(compared: State[Any], comparison: Parameters) -> None:
    again = compare_systems(**comparison, return_state=True)
    states = task_runs_of(again)
    fitted = [state for name, state in states.items() if name.startswith(("fit-system", "search-tree", "judge-lists"))]
    assert fitted
    assert set(fitted) == {"Cached"}
    tables = [json.loads(artifacts_of(state)["results"].data) for state in (compared, again)]
    assert tables[0] == tables[1]


def test_a_failing_system_stops_no_other(comparison: Parameters, compared: State[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    fit = fitting.fit_system

    def failing(name: str, *rest: Any) -> Any:
        if name == "item-cf":
            raise MemoryError("no room for neighbours")
        return fit(name, *rest)

    monkeypatch.setattr(fitting, "fit_system", failing)
    config = {**comparison["config"], "systems": ["item-cf", "popularity", "jtm"], "sensitivity": {}}
    state = compare_systems(config=config, return_state=True)
    assert state.is_failed()
    assert "item-cf" in str(state.message)
    artifacts = artifacts_of(state)
    assert [row["system"] for row in json.loads(artifacts["results"].data)] == ["popularity", "jtm"]
    assert "no room for neighbours" in artifacts[f"comparison-{DATA_NAME}"].data

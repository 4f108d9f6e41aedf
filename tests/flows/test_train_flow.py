"""The flows from end to end on a small log, against a real Prefect server and a real MLflow store."""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from flow_states import artifacts_of, task_runs_of
from mlflow.tracking import MlflowClient
from prefect.exceptions import ParameterTypeError
from prefect.states import State

from flows.evaluate_version import evaluate_version
from flows.prune_store import prune_store
from flows.release_version import release_version
from flows.retrain_jtm import retrain_jtm
from flows.train_jtm import train_jtm
from tasks.pass_gate import DataRefusedError
from tasks.references import VersionRef
from tasks.store import open_store
from tasks.versions import UnknownVersionError, all_versions, find_version, released

DATA_NAME = "small"

Parameters = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def trained(environment: Mapping[str, str], parameters: Parameters) -> State[Any]:
    """The first run; later tests go on from what it left."""
    return train_jtm(**parameters, return_state=True)


def with_changes(parameters: Parameters, part: str, **changes: Any) -> Parameters:
    """Parameters with some dials of one part set otherwise."""
    config = parameters["config"]
    return {"config": {**config, part: {**config[part], **changes}}}


def test_a_run_leaves_versions_results_and_links(trained: State[Any]) -> None:
    assert trained.is_completed()
    artifacts = artifacts_of(trained)
    rows = json.loads(artifacts["results"].data)
    assert [row["system"] for row in rows[:7]] == [
        "popularity",
        "recent-popularity",
        "personal-popularity",
        "item-cf",
        "item-cf-bm25",
        "JTM, iteration 0",
        "JTM, iteration 1",
    ]
    assert rows[7]["system"].startswith("full scan")
    assert {"train-model-small-01", "learn-tree-small-01", "mlflow-small", "check-report-log"} <= set(artifacts)
    manifest = open_store().read_json(released(DATA_NAME).manifest)
    assert manifest["gate"]["is_accepted"]
    assert round(manifest["metrics"]["test"]["recall_at_10"], 5) == next(row["R@10"] for row in rows if row["gate"] == "best")


def test_run_names_carry_iteration_and_data_set(trained: State[Any]) -> None:
    assert {"train-model-small-00", "learn-tree-small-01", "evaluate-model-small-01"} <= set(task_runs_of(trained))


def test_mlflow_has_a_run_with_one_nested_run_per_iteration(trained: State[Any], mlflow_uri: str) -> None:
    client = MlflowClient(tracking_uri=mlflow_uri)
    experiment = client.get_experiment_by_name("jtm")
    wanted = f"tags.`prefect.flow_run_id` = '{trained.state_details.flow_run_id}'"
    runs = client.search_runs([experiment.experiment_id], wanted)
    parents = [run for run in runs if run.data.tags["jtm.kind"] == "experiment"]
    assert [run.info.status for run in parents] == ["FINISHED"]
    metrics = parents[0].data.metrics
    for row in json.loads(artifacts_of(trained)["results"].data)[:4]:
        recalls = [metrics[f"test/baselines{name}/recall_at_10_{row['system']}"] for name in ("", "_filtered")]
        assert recalls == pytest.approx([row["R@10"], row["R@10 unseen"]], abs=1e-5)
    assert sorted(run.data.tags["jtm.iteration"] for run in runs if run.data.tags["jtm.kind"] == "iteration") == ["0", "1"]


def test_time_memory_and_throughput_of_every_phase_are_logged(trained: State[Any], mlflow_uri: str) -> None:
    client = MlflowClient(tracking_uri=mlflow_uri)
    wanted = f"tags.`prefect.flow_run_id` = '{trained.state_details.flow_run_id}'"
    runs = client.search_runs([client.get_experiment_by_name("jtm").experiment_id], wanted)
    of_kind = {run.data.tags["jtm.kind"] + run.data.tags.get("jtm.iteration", ""): run.data.metrics for run in runs}
    for name in ("phase/train_model/seconds", "phase/train_model/peak_memory_gb", "phase/learn_tree/seconds"):
        assert of_kind["iteration1"][name] == of_kind["experiment"][name] > 0
    of_iteration = {name for name, value in of_kind["iteration1"].items() if value > 0}
    assert {f"phase/{work}_per_second" for work in ("train_model/rows", "learn_tree/samples", "evaluate_model/users")} <= of_iteration
    assert of_kind["experiment"]["phase/ingest_log/rows_per_second"] > 0 < of_kind["experiment"]["phase/prepare_behaviours/rows_per_second"]
    assert "phase/learn_tree/seconds" not in of_kind["iteration0"]
    assert of_kind["experiment"]["phase/ingest_log/seconds"] < of_kind["experiment"]["phase/total_seconds"]
    assert 0 < of_kind["experiment"]["phase/orchestration_share"] < 1
    rows = json.loads(artifacts_of(trained)["costs"].data)
    assert ["train-model", 1] in [[row["step"], row["iteration"]] for row in rows]


def test_a_longer_run_repeats_nothing(trained: State[Any], parameters: Parameters) -> None:
    longer = {"config": {**parameters["config"], "iterations": 2}}
    states = task_runs_of(train_jtm(**longer, return_state=True))
    computed = {"ingest", "check", "prepare", "plant", "train", "learn", "evaluate", "compare"}
    found = {name: state for name, state in states.items() if name.split("-")[0] in computed}
    new = {"train-model-small-02", "learn-tree-small-02", "evaluate-model-small-02"}
    assert {name for name, state in found.items() if state != "Cached"} == {*new, "check-settings-small"}
    assert len(found) == 16


def recorded_versions() -> list[VersionRef]:
    return [version for versions in all_versions() for version in versions if version.data.name == DATA_NAME]


def released_in_mlflow(mlflow_uri: str) -> set[str]:
    client = MlflowClient(tracking_uri=mlflow_uri)
    wanted = f"tags.`jtm.is_released` = 'true' and tags.`jtm.data_name` = '{DATA_NAME}'"
    found = client.search_runs([client.get_experiment_by_name("jtm").experiment_id], wanted)
    return {run.data.tags["jtm.version"] for run in found}


def test_a_try_out_is_released_by_its_name_alone(trained: State[Any], parameters: Parameters, mlflow_uri: str) -> None:
    best = released(DATA_NAME)
    (open_store().home / "released" / f"{DATA_NAME}.json").unlink()
    assert train_jtm(**parameters, may_release=False, return_state=True).is_completed()
    assert released(DATA_NAME) is None
    other = next(version for version in recorded_versions() if version.version != best.version)
    for version in (other, best):
        assert release_version(version.version, return_state=True).is_completed()
        assert released(DATA_NAME) == version
        assert released_in_mlflow(mlflow_uri) == {version.version}


def test_a_pruning_shows_what_would_go(trained: State[Any]) -> None:
    old = open_store().save_json("counts", "of a run that nobody remembers")
    os.utime(open_store().path(old), (time.time() - 2 * 86400,) * 2)
    for may_delete, says in ((False, "Nothing is deleted"), (True, "Deleted: 0 versions, results of 0 steps and 1 artefacts")):
        state = prune_store(keep_days=1, may_delete=may_delete, return_state=True)
        assert says in artifacts_of(state)["pruning"].description
        assert (open_store().home / old.uri).exists() != may_delete
    with pytest.raises(ParameterTypeError, match="keep_days: Input should be greater than or equal to 1"):
        prune_store(keep_days=0)


def test_bad_data_stop_the_run_before_training(environment: Mapping[str, str], parameters: Parameters) -> None:
    state = train_jtm(**with_changes(parameters, "data", latest_time=1_000_600), return_state=True)
    assert state.is_failed()
    with pytest.raises(DataRefusedError, match="time_in_range"):
        state.result()
    artifacts = artifacts_of(state)
    assert "time_in_range" in artifacts["check-report-log-text"].data
    assert not any((key or "").startswith("train-model") for key in artifacts)


def test_a_precision_the_machine_lacks_stops_the_run_before_any_work(
    environment: Mapping[str, str], parameters: Parameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jtm_core.bfloat16.has_bfloat16", lambda: False)
    state = train_jtm(**with_changes(parameters, "training", precision="bfloat16"), return_state=True)
    assert state.is_failed()
    assert not any(name.startswith(("ingest-log", "train-model")) for name in task_runs_of(state))
    with pytest.raises(ValueError, match=r"training\.precision is 'bfloat16', but this CPU"):
        state.result()


def test_a_start_that_nobody_recorded_stops_the_run_before_any_work(environment: Mapping[str, str], parameters: Parameters) -> None:
    state = train_jtm(**parameters, start_from="small-00-abc", return_state=True)
    assert state.is_failed()
    assert not any(name.startswith("ingest-log") for name in task_runs_of(state))
    with pytest.raises(UnknownVersionError, match="version 'small-00-abc' is not recorded"):
        state.result()


def test_a_run_that_fails_at_its_end_releases_nothing(trained: State[Any], parameters: Parameters, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next try starts from the same version, so it goes on with the same run."""

    def fails(*_: Any) -> None:
        raise ValueError("MLflow is away")

    (pointer,) = (open_store().home / "released").iterdir()
    pointer.unlink()  # a longer run of an earlier test may have released a version that this run does not come to
    assert train_jtm(**parameters, return_state=True).is_completed()
    before = released(DATA_NAME)
    assert before is not None
    pointer.unlink()
    with monkeypatch.context() as patch:
        patch.setattr("tasks.track_run.log_costs", fails)
        assert train_jtm(**parameters, return_state=True).is_failed()
    assert released(DATA_NAME) is None
    assert train_jtm(**parameters, return_state=True).is_completed()
    assert released(DATA_NAME) == before


def test_retraining_keeps_ids_and_starts_from_the_released_version(
    trained: State[Any], parameters: Parameters, make_log: Callable[..., Path], tmp_path: Path, mlflow_uri: str
) -> None:
    before = released(DATA_NAME)
    grown = make_log(tmp_path / "grown.csv", num_users=70, num_items=48, seed=3)
    state = retrain_jtm(**with_changes(parameters, "data", path=str(grown)), return_state=True)
    assert state.is_completed()
    after = released(DATA_NAME)
    assert (after.data.num_users, after.data.num_items) == (70, 48)
    store = open_store()
    versions = [find_version(path.stem) for path in sorted((store.home / "versions").rglob("*.json"))]
    first = [version for version in versions if version.iteration == 0 and version.data == after.data]
    assert [store.read_json(version.manifest)["parent"] for version in first] == [before.version]
    client = MlflowClient(tracking_uri=mlflow_uri)
    told = client.search_runs([client.get_experiment_by_name("jtm").experiment_id], f"tags.`jtm.start_from` = '{before.version}'")
    assert ["start/validation_recall" in run.data.metrics for run in told] == [True]


def test_a_recorded_version_can_be_measured_again(trained: State[Any]) -> None:
    version = released(DATA_NAME)
    evaluation = {"cutoffs": [5, 10], "beam_width": 16, "small_beam_width": 5}
    state = evaluate_version(version.version, users="validation", evaluation=evaluation, return_state=True)
    assert state.is_completed()
    rows = json.loads(artifacts_of(state)["results"].data)
    assert [row["search"] for row in rows] == ["beam", "small beam", "full scan", "beam, seen items left out"]
    assert 0 < rows[0]["recall_at_10"] <= 1


def test_an_unknown_version_is_named(environment: Mapping[str, str]) -> None:
    state = evaluate_version("no-such-version", return_state=True)
    assert "version 'no-such-version' is not recorded" in str(state.message)

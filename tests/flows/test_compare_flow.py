"""A comparison and a search for settings from end to end on a small log: what they leave, that they resume, that failures do not spread."""

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flow_states import artifacts_of, task_runs_of
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from prefect.states import State

from benchmarks.collect_comparison import finished_comparison
from benchmarks.recorded_intervals import recorded_contrasts
from flows.compare_systems import compare_systems
from flows.release_version import release_version
from flows.retrain_jtm import retrain_jtm
from flows.train_jtm import train_jtm
from flows.tune_systems import tune_systems
from jtm_core.behaviours import evaluation_histories
from jtm_core.formats.arrays import read_arrays
from tasks.artefacts import read_data, read_vocabulary
from tasks.failures import RunsFailedError
from tasks.open_retriever import open_retriever
from tasks.store import open_store
from tasks.tracking.comparison_series import contrast_rows
from tasks.versions import all_versions, find_version, released

DATA_NAME = "compared"
SYSTEMS = ["popularity", "item-cf", "tdm", "jtm"]

Parameters = dict[str, dict[str, Any]]


def runs_of(state: State[Any], uri: str, experiment: str, kind: str) -> list[Run]:
    """MLflow runs of a kind that a flow run wrote."""
    client = MlflowClient(tracking_uri=uri)
    wanted = f"tags.`prefect.flow_run_id` = '{state.state_details.flow_run_id}' and tags.`jtm.kind` = '{kind}'"
    return list(client.search_runs([client.get_experiment_by_name(experiment).experiment_id], wanted))


@pytest.fixture(scope="module")
def comparison(parameters: Parameters) -> Parameters:
    """Flow parameters: four systems, two seeds, one varied dial."""
    shared = {**parameters["config"], "training": {**parameters["config"]["training"], "epochs": 1}}
    return {
        "config": {
            "shared": shared,
            "systems": SYSTEMS,
            "reference": "tdm",
            "seeds": [1, 2],
            "beams": [5, 20],
            "sensitivity": {"gaps": [2, 7]},
        }
    }


@pytest.fixture(scope="module")
def compared(environment: Mapping[str, str], comparison: Parameters) -> State[Any]:
    """The first run; later tests go on from what it left."""
    return compare_systems(**comparison, return_state=True)


def test_a_comparison_leaves_its_table_and_its_links(compared: State[Any]) -> None:
    assert compared.is_completed()
    artifacts = artifacts_of(compared)
    rows = json.loads(artifacts["results"].data)
    assert [(row["system"], row["seeds"]) for row in rows] == [("popularity", 1), ("item-cf", 1), ("tdm", 2), ("jtm", 2)]
    link = re.search(r"\(([^)]*)/artifacts/report\.html([^)]*)\)", artifacts["comparison-compared"].data)
    assert link, "what follows a ? in the run's address comes last"
    assert f"{link[1]}{link[2]}" in artifacts["mlflow-compared"].data
    assert {"check-report-log", "fit-system-compared-jtm-1", "mlflow-compared"} <= set(artifacts)


def test_mlflow_has_a_nested_run_per_system_and_seed(compared: State[Any], mlflow_uri: str, tmp_path: Path) -> None:
    (parent,) = runs_of(compared, mlflow_uri, "jtm-comparisons", "experiment")
    assert parent.info.status == "FINISHED"
    nested = runs_of(compared, mlflow_uri, "jtm-comparisons", "system")
    found = sorted((run.data.tags["jtm.system"], run.data.tags["jtm.seed"], run.data.tags["jtm.variation"]) for run in nested)
    seeded = [(system, seed, "none") for system in ("jtm", "tdm") for seed in "12"]
    assert found == sorted([("popularity", "1", "none"), ("item-cf", "1", "none"), *seeded, ("jtm", "1", "tree_learning.gap=2")])
    (jtm,) = (run for run in nested if run.data.tags["jtm.system"] == "jtm" and run.data.tags["jtm.seed"] == "2")
    assert {"test/recall_at_10", "test/beam_0020/recall_at_10", "time/fit_seconds", "round/objective_after"} <= set(jtm.data.metrics)
    assert (jtm.data.params["seed"], jtm.data.params["system"]) == ("2", "jtm")
    page = Path(MlflowClient(tracking_uri=mlflow_uri).download_artifacts(parent.info.run_id, "report.html", str(tmp_path))).read_text()
    shown = {row["system"]: row["R@10"] for row in json.loads(artifacts_of(compared)["results"].data)}
    assert all(f"<td>{text}</td>" in page for text in shown.values())


def test_recorded_lists_say_the_same_differences_again(compared: State[Any], mlflow_uri: str, tmp_path: Path) -> None:
    client = MlflowClient(tracking_uri=mlflow_uri)
    (parent,) = runs_of(compared, mlflow_uri, "jtm-comparisons", "experiment")
    _, systems = finished_comparison(client, DATA_NAME, parent.info.run_id)
    reference, contrasts = recorded_contrasts(client, parent, systems)
    table = Path(client.download_artifacts(parent.info.run_id, "tables/differences.csv", str(tmp_path))).read_text()
    assert reference == "tdm"
    assert list(csv.DictReader(table.splitlines())) == contrast_rows(contrasts, "difference", "system")
    other, contrasts = recorded_contrasts(client, parent, systems, "jtm")
    (gain,) = (one.mean for one in contrasts if (one.name, one.measure) == ("tdm", "test/recall_at_10"))
    recalls = {name: [run.data.metrics["test/recall_at_10"] for run in systems if run.data.tags["jtm.system"] == name] for name in SYSTEMS}
    assert (other, gain) == ("jtm", pytest.approx(sum(recalls["tdm"]) / 2 - sum(recalls["jtm"]) / 2))
    with pytest.raises(LookupError, match=r"reference is 'als'; comparison .* has popularity, item-cf, tdm, jtm"):
        recorded_contrasts(client, parent, systems, "als")
    parent.data.params["shared.evaluation.cutoffs"] = "10, 1000"  # beyond any default beam
    _, contrasts = recorded_contrasts(client, parent, systems)
    assert {one.measure for one in contrasts} == {f"test/{seen}recall_at_{cutoff}" for seen in ("", "filtered/") for cutoff in (10, 1000)}
    seedless = [run for run in systems if run.data.tags["jtm.system"] == "popularity"]
    with pytest.raises(LookupError, match="none of the 1 runs"):
        recorded_contrasts(client, parent, seedless)


@pytest.fixture(scope="module")
def recorded(compared: State[Any], mlflow_uri: str) -> dict[tuple[str, str], Run]:
    """Nested runs that are recorded as versions, by system and seed, variations left out."""
    nested = [run for run in runs_of(compared, mlflow_uri, "jtm-comparisons", "system") if run.data.tags["jtm.variation"] == "none"]
    return {(run.data.tags["jtm.system"], run.data.tags["jtm.seed"]): run for run in nested if "jtm.version" in run.data.tags}


def test_what_a_beam_searches_is_recorded_and_the_best_by_validation_users_offered(compared: State[Any], mlflow_uri: str) -> None:
    nested = runs_of(compared, mlflow_uri, "jtm-comparisons", "system")
    versions = {run.data.tags["jtm.version"]: run for run in nested if "jtm.version" in run.data.tags}
    assert {run.data.tags["jtm.system"] for run in versions.values()} == {"tdm", "jtm"}
    assert len(versions) == 5, "two systems by two seeds, and what was varied"
    recalls = {name: run.data.metrics["validation/recall_at_10"] for name, run in versions.items()}
    assert {name: find_version(name).deciding_recall for name in recalls} == pytest.approx(recalls)
    offered = re.search(r"`(compared-[^`]*)`", artifacts_of(compared)["comparison-compared"].data)
    assert offered, "the text in Prefect names it"
    plain = {name: recalls[name] for name, run in versions.items() if run.data.tags["jtm.variation"] == "none"}
    assert plain[offered[1]] == max(plain.values())


def test_what_wins_is_released_and_served(recorded: dict[tuple[str, str], Run], mlflow_uri: str, tmp_path: Path) -> None:
    """Served lists are those that the comparison judged."""
    run = recorded["jtm", "2"]
    assert release_version(run.data.tags["jtm.version"], return_state=True).is_completed()
    version = released(DATA_NAME)
    assert version is not None
    assert (version.version, version.system) == (run.data.tags["jtm.version"], "jtm")
    client = MlflowClient(tracking_uri=mlflow_uri)
    assert client.get_run(run.info.run_id).data.tags["jtm.is_released"] == "true"
    judged, _ = read_arrays(Path(client.download_artifacts(run.info.run_id, "lists.safetensors", str(tmp_path))))
    behaviours, split = read_data(open_store(), version.data)
    known, keys = evaluation_histories(behaviours, split.test), read_vocabulary(open_store(), version.data.items).keys.to_pylist()
    retriever = open_retriever(DATA_NAME)
    for user, listed in enumerate(judged["test"]):
        history = [keys[item] for item in known.row(user)]
        assert retriever.recommend(history, len(listed)).items == [keys[item] for item in listed]


def test_what_wins_is_learned_on_from(recorded: dict[tuple[str, str], Run], comparison: Parameters) -> None:
    """A retraining goes on from it; another system's network is refused by the setting that differs."""
    name = recorded["jtm", "2"].data.tags["jtm.version"]
    assert release_version(name, return_state=True).is_completed()
    config = {**comparison["config"]["shared"], "iterations": 0}
    assert retrain_jtm(config=config, return_state=True).is_completed()
    (versions,) = all_versions()
    assert open_store().read_json(versions[-1].manifest)["parent"] == name
    with pytest.raises(ValueError, match=r"was made with model\.features = flat, now it is hierarchical"):
        train_jtm(config=config, start_from=recorded["tdm", "1"].data.tags["jtm.version"])


def test_run_again_it_does_only_what_is_new(compared: State[Any], comparison: Parameters) -> None:
    more = {"config": {**comparison["config"], "systems": [*SYSTEMS, "jtm-h"], "seeds": [1]}}
    states = task_runs_of(compare_systems(**more, return_state=True))
    computed = ("ingest-", "check-", "prepare-", "fit-", "search-", "judge-", "contrast-")
    done = {name for name, state in states.items() if name.startswith(computed) and state != "Cached"}
    new = {f"{step}-compared-jtm-h-1" for step in ("fit-system", "search-tree", "judge-lists")}
    assert done == {*new, "check-settings-compared", "contrast-systems-compared"}


def test_a_system_that_fails_does_not_stop_the_others(
    compared: State[Any], comparison: Parameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What learns on a tree is refused; popularity is not touched by it."""

    def refuse(*arguments: object) -> None:
        raise ValueError("this network is refused")

    monkeypatch.setattr("jtm_core.systems.joint.JointLearning.run", refuse)
    config = {**comparison["config"], "systems": ["popularity", "tdm", "jtm"], "seeds": [3], "sensitivity": {}}
    state = compare_systems(config=config, return_state=True)
    assert state.is_failed()
    with pytest.raises(RunsFailedError, match=r"tdm, seed 3: ValueError: this network is refused"):
        state.result()
    artifacts = artifacts_of(state)
    assert [row["system"] for row in json.loads(artifacts["results"].data)] == ["popularity"]
    assert "jtm, seed 3" in artifacts["comparison-compared"].data


def test_tuning_ends_with_settings_that_a_comparison_takes(
    environment: Mapping[str, str], comparison: Parameters, mlflow_uri: str, tmp_path: Path
) -> None:
    config = {"shared": comparison["config"]["shared"], "systems": ["popularity", "item-cf", "jtm-h"], "trials": 2}
    state = tune_systems(config=config, return_state=True)
    assert state.is_completed()
    rows = json.loads(artifacts_of(state)["trials"].data)
    assert [(row["system"], row["trial"]) for row in rows] == [
        ("popularity", 0),
        *((system, trial) for system in ("item-cf", "jtm-h") for trial in (0, 1)),
    ]
    best = {row["system"]: row["trial"] for row in rows if row["chosen"]}
    assert set(best) == {"popularity", "item-cf", "jtm-h"}
    (parent,) = runs_of(state, mlflow_uri, "jtm-tunings", "experiment")
    assert len(runs_of(state, mlflow_uri, "jtm-tunings", "trial")) == len(rows)
    chosen = MlflowClient(tracking_uri=mlflow_uri).download_artifacts(parent.info.run_id, "tuned.json", str(tmp_path))
    tuned = json.loads(Path(chosen).read_text())
    assert compare_systems.validate_parameters({"config": {**comparison["config"], **tuned}})["config"].tuned[0].system == "popularity"


def test_a_trial_that_fails_does_not_stop_the_others(
    environment: Mapping[str, str], comparison: Parameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise ValueError("this network is refused")

    monkeypatch.setattr("jtm_core.systems.joint.JointLearning.run", refuse)
    config = {"shared": {**comparison["config"]["shared"], "seed": 7}, "systems": ["tdm", "popularity"], "trials": 1, "seed": 7}
    state = tune_systems(config=config, return_state=True)
    assert state.is_failed()
    with pytest.raises(RunsFailedError, match=r"tdm, seed 7: ValueError: this network is refused"):
        state.result()
    artifacts = artifacts_of(state)
    assert [(row["system"], row["chosen"]) for row in json.loads(artifacts["trials"].data)] == [("popularity", "chosen"), ("tdm", "failed")]
    assert '"popularity"' in artifacts["tuned-compared"].data

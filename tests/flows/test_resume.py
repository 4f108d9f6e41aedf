"""``kill -9`` in training, tree learning, recording and fitting, in runs, retrainings and comparisons: run again, the end is the same."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from flows.compare_systems import compare_systems
from flows.retrain_jtm import retrain_jtm
from flows.train_jtm import train_jtm

DATA_NAME = "killed"
ENTRY, AGAIN = "flows.train_jtm:train_jtm", "flows.retrain_jtm:retrain_jtm"
COMPARISON = "flows.compare_systems:compare_systems"
DEADLINE = 300.0

Start = Callable[..., "subprocess.Popen[str]"]


def wait_until(process: "subprocess.Popen[str]", log: Path, happens: Callable[[], bool]) -> None:
    """Look fifty times a second; a process that ends first is an error."""
    end = time.monotonic() + DEADLINE
    while not happens():
        assert process.poll() is None, f"the run ended before the moment came:\n{log.read_text()[-3000:]}"
        assert time.monotonic() < end, f"the moment did not come within {DEADLINE} s:\n{log.read_text()[-3000:]}"
        time.sleep(0.02)


def kill_when(moment: Callable[[Path], bool], process: "subprocess.Popen[str]", log: Path) -> None:
    """Kill a run as soon as a moment has come, of which its log may tell."""
    wait_until(process, log, partial(moment, log))
    process.kill()
    process.wait()


def is_running(log: Path, step: str) -> bool:
    """Whether the log shows that a task run began and not that it ended."""
    text = log.read_text()
    return f"'{step}" in text and not re.search(f"'{step}[^']*' - Finished", text)


def finish(process: "subprocess.Popen[str]", log: Path) -> str:
    """Wait for the end of a run that is to succeed, and return its log."""
    assert process.wait(DEADLINE) == 0, log.read_text()[-5000:]
    return log.read_text()


def versions_in(home: Path) -> dict[str, Any]:
    """Every version recorded: its digests and its decision, by name."""
    pointers = [json.loads(path.read_text()) for path in home.glob("versions/*/*.json")]
    return {pointer["version"]["version"]: pointer["version"] for pointer in pointers}


def released_in(home: Path) -> str:
    """Name of the one version that is released."""
    (pointer,) = (home / "released").glob("*.json")
    return str(json.loads(pointer.read_text())["version"])


@pytest.fixture
def longer(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a training of many small batches, so that there is time to kill it."""
    training = {**parameters["config"]["training"], "epochs": 4, "later_epochs": 2, "patience": 4, "batch_samples": 16}
    return {"config": {**parameters["config"], "training": training}}


@pytest.fixture
def straight(place: Path, environment: Mapping[str, str], longer: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Versions of a run that nobody killed, in a ``JTM_HOME`` and with data of its own name in MLflow."""
    with monkeypatch.context() as patch:
        patch.setenv("JTM_HOME", str(place / "straight"))
        assert train_jtm(**longer, return_state=True).is_completed()
    return versions_in(place / "straight")


def test_killed_runs_end_with_the_digests_of_a_straight_one(
    start: Start, environment: Mapping[str, str], straight: dict[str, Any], longer: dict[str, Any], place: Path
) -> None:
    home, logs = Path(environment["JTM_HOME"]), [place / f"run-{number}.log" for number in range(4)]
    moments: list[Callable[[Path], bool]] = [
        lambda log: any(home.glob("checkpoints/*.safetensors")),
        lambda log: is_running(log, f"learn-tree-{DATA_NAME}-01"),
        lambda log: is_running(log, f"log-version-{DATA_NAME}-01"),
    ]
    for moment, log in zip(moments, logs, strict=False):
        kill_when(moment, start(ENTRY, longer, environment, log), log)
    last = finish(start(ENTRY, longer, environment, logs[-1]), logs[-1])

    assert versions_in(home) == straight
    assert len(straight) == 2
    assert "training goes on from checkpoint" in logs[1].read_text()
    assert f"'train-model-{DATA_NAME}-01' - Finished in state Cached" in last
    assert list(home.glob("checkpoints/*")) == []

    client = MlflowClient(tracking_uri=environment["MLFLOW_TRACKING_URI"])
    experiments = runs_of(client, "tags.`jtm.kind` = 'experiment'")
    assert [run.info.status for run in experiments] == ["FINISHED", "FINISHED"]  # the straight one, and one for all that were killed
    for run in experiments:
        nested = runs_of(client, f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
        iterations = [other.data.tags["jtm.iteration"] for other in nested if other.data.tags["jtm.kind"] == "iteration"]
        assert sorted(iterations) == ["0", "1"]
        assert len(nested) == 3  # and the machine's, which all of them share
        assert [point.step for point in client.get_metric_history(run.info.run_id, "test/recall_at_10")] == [0, 1]


def test_a_killed_retraining_goes_on_from_the_version_it_started_from(
    start: Start,
    environment: Mapping[str, str],
    longer: dict[str, Any],
    place: Path,
    make_log: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    homes, logs = (place / "straight", Path(environment["JTM_HOME"])), [place / f"again-{number}.log" for number in range(3)]
    for home in homes:
        monkeypatch.setenv("JTM_HOME", str(home))
        assert train_jtm(**longer, return_state=True).is_completed()
    make_log(place / "log.csv", num_users=80)  # the first 60 as they were
    monkeypatch.setenv("JTM_HOME", str(homes[0]))
    assert retrain_jtm(**longer, return_state=True).is_completed()

    before = versions_in(homes[1])
    moments: list[Callable[[Path], bool]] = [
        lambda _: any(homes[1].glob("checkpoints/*.safetensors")),
        lambda log: is_running(log, f"learn-tree-{DATA_NAME}-01"),
    ]
    for moment, log in zip(moments, logs, strict=False):
        kill_when(moment, start(AGAIN, longer, environment, log), log)
        assert released_in(homes[1]) in before
    finish(start(AGAIN, longer, environment, logs[-1]), logs[-1])

    assert len(before) == 2
    assert len(versions_in(homes[1])) == 4
    assert versions_in(homes[1]) == versions_in(homes[0])
    assert released_in(homes[1]) == released_in(homes[0])
    assert "training goes on from checkpoint" in logs[1].read_text()
    assert list(homes[1].glob("checkpoints/*")) == []


def test_a_killed_comparison_goes_on_within_the_fit_it_was_at(
    start: Start, environment: Mapping[str, str], longer: dict[str, Any], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the first training and in the second; the lists, the tree and the weights are those of a straight run."""
    comparison = {"config": {"shared": longer["config"], "systems": ["jtm"], "seeds": [1], "beams": [5]}}
    homes, logs = (place / "straight", Path(environment["JTM_HOME"])), [place / f"compared-{number}.log" for number in range(3)]
    with monkeypatch.context() as patch:
        patch.setenv("JTM_HOME", str(homes[0]))
        assert compare_systems(**comparison, return_state=True).is_completed()
    for name, log in zip(("training-0", "training-1"), logs, strict=False):
        kill_when(partial(keeps, homes[1], name), start(COMPARISON, comparison, environment, log), log)
    finish(start(COMPARISON, comparison, environment, logs[-1]), logs[-1])

    assert "the fit goes on from checkpoint" in logs[1].read_text()
    assert "rounds.safetensors" in logs[2].read_text()
    assert fitted_in(homes[1]) == fitted_in(homes[0])
    assert list(homes[1].glob("checkpoints/*")) == []


def keeps(home: Path, name: str, log: Path) -> bool:
    """Whether a fit has kept something under a name."""
    return any(home.glob(f"checkpoints/*.fit/{name}.safetensors"))


def fitted_in(home: Path) -> dict[str, Any]:
    """What the one fit of a home made, without what it took."""
    records = [json.loads(path.read_text()) for path in home.glob("steps/*.json")]
    (result,) = (record["result"] for record in records if record["step"] == "fit-system")
    return {name: value for name, value in result.items() if name != "timings"}


def runs_of(client: MlflowClient, wanted: str) -> list[Run]:
    """Runs on this test's data."""
    experiment = client.get_experiment_by_name("jtm").experiment_id
    return list(client.search_runs([experiment], f"tags.`jtm.data_name` = '{DATA_NAME}' and {wanted}"))

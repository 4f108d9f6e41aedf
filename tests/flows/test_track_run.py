"""An experiment's run in MLflow where two start it at once, where it fails, and where its process is killed."""

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from mlflow.tracking import MlflowClient
from prefect import flow

from jtm_core.config import JtmConfig
from tasks.locks import one_at_a_time
from tasks.references import SourceRef
from tasks.track_run import Tracked, open_run, tracked_run
from tasks.tracking.nested import nested_run

SOURCE = SourceRef(name="log.csv", sha256="1" * 64, path="log.csv")


@pytest.mark.parametrize("fails", [False, True])
def test_a_second_start_waits_for_the_first(
    fails: bool, environment: Mapping[str, str], mlflow_uri: str, flow_log: pytest.LogCaptureFixture
) -> None:
    """Where the first one fails the second continues its run, otherwise it has a run of its own; either ends as it should."""
    entered, may_end = Event(), Event()
    run_ids: list[str] = []

    @flow
    def experiment(config: JtmConfig) -> None:
        with tracked_run(config, SOURCE, "") as run:
            run_ids.append(run.run_id)
            entered.set()
            assert may_end.wait(60)
            if fails and len(run_ids) == 1:
                raise RuntimeError("out of memory")

    config = JtmConfig(seed=10 + fails)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(experiment, config)
        assert entered.wait(60)
        second = pool.submit(experiment, config)
        wait_until(lambda: "another run is at this experiment" in flow_log.text)
        client = MlflowClient(tracking_uri=mlflow_uri)
        assert len(run_ids) == 1
        assert client.get_run(run_ids[0]).info.status == "RUNNING"
        may_end.set()
        second.result(60)
    assert bool(first.exception()) == fails
    assert (run_ids[0] == run_ids[1]) == fails
    assert {client.get_run(run_id).info.status for run_id in run_ids} == {"FINISHED"}
    assert not list((Path(environment["JTM_HOME"]) / "runs").iterdir())


@pytest.mark.parametrize(("error", "expected"), [(ValueError("bad"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_a_run_that_is_stopped_is_told_from_one_that_fails(
    error: BaseException, expected: str, environment: Mapping[str, str], mlflow_uri: str
) -> None:
    run_ids: list[str] = []

    @flow
    def experiment(config: JtmConfig) -> None:
        with tracked_run(config, SOURCE, "") as run:
            run_ids.append(run.run_id)
            raise error

    with pytest.raises(type(error)):
        experiment(JtmConfig(seed=20))
    assert MlflowClient(tracking_uri=mlflow_uri).get_run(run_ids[0]).info.status == expected


def test_what_a_killed_process_left_running_is_ended_by_whatever_runs_next(environment: Mapping[str, str], mlflow_uri: str) -> None:
    """A log that has grown since makes the next run another experiment, which would leave the killed one running for ever."""
    client, runs = MlflowClient(tracking_uri=mlflow_uri), Path(environment["JTM_HOME"]) / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    opened: dict[str, str] = {}
    run_ids: list[str] = []

    @flow
    def stopped(config: JtmConfig) -> None:
        for name in ("killed", "alive"):
            what = Tracked("jtm", name, name, config)
            opened[name] = open_run(what, f"key-of-{name}").run_id

    @flow
    def experiment(config: JtmConfig, source: SourceRef) -> None:
        with tracked_run(config, source, "") as run:
            run_ids.append(run.run_id)

    def status(run_id: str) -> str:
        return str(client.get_run(run_id).info.status)

    stopped(JtmConfig(seed=30))
    nested = nested_run(client, client.get_run(opened["killed"]), {"jtm.kind": "machine"}, "machine").info.run_id
    (runs / "key-of-killed.lock").touch()
    with one_at_a_time(runs / "key-of-alive.lock", "an experiment", logging.getLogger()):
        experiment(JtmConfig(seed=30), SOURCE)
        assert status(opened["alive"]) == "RUNNING"
    assert {status(opened["killed"]), status(nested)} == {"KILLED"}
    assert status(run_ids[0]) == "FINISHED"
    assert not list(runs.iterdir())
    killed = opened["killed"]
    stopped(JtmConfig(seed=30))
    assert opened["killed"] == killed, "it can still be gone on with"


def wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition, at most so long."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)

"""The same experiment started twice at once: the second waits, so that one MLflow run is never written by two."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from mlflow.tracking import MlflowClient
from prefect import flow

from jtm_core.config import JtmConfig
from tasks.references import SourceRef
from tasks.track_run import tracked_run

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


def wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition, at most so long."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)

"""One experiment against a real MLflow server: artefacts travel over HTTP, addresses lead to its pages."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tasks.tracking.client import compare_url, ensure_experiment, run_url, tracking_client
from tasks.tracking.iterations import log_iteration
from tasks.tracking.records import Iteration
from tasks.tracking.reports import log_results_table
from tasks.tracking.runs import finish_run, open_parent_run


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait_until_healthy(address, server):
    end = time.monotonic() + 240  # 8 s on an idle machine
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return False


@pytest.fixture
def address(tmp_path, monkeypatch):
    """Start a server of our own on a free port, and stop it afterwards."""
    port = _free_port()
    places = ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", str(tmp_path / "artefacts")]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *places]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with (
        (tmp_path / "server.log").open("w") as log,
        subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True) as server,
    ):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}/")
        try:
            assert _wait_until_healthy(f"http://127.0.0.1:{port}", server), (tmp_path / "server.log").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, signal.SIGKILL)  # its workers too; the store is thrown away with tmp_path


def test_an_experiment_over_http(address, tmp_path):
    experiment_id = ensure_experiment("jtm")
    weights = tmp_path / "weights"
    weights.write_bytes(bytes(range(256)) * 4096)
    run_id = open_parent_run(experiment_id, key="k", name="first", config={"seed": 1}, tags={})
    record = Iteration(number=1, is_accepted=True, metrics={"test/recall_at_10": 0.5}, artefacts={"model.safetensors": weights})
    nested = log_iteration(run_id, record)
    assert log_iteration(run_id, record) == nested
    log_results_table(run_id, [{"system": "JTM", "recall_at_10": 0.5}])
    finish_run(run_id)

    fetched = tracking_client().download_artifacts(nested, "model.safetensors", str(tmp_path))
    assert Path(fetched).read_bytes() == weights.read_bytes()
    assert [(point.step, point.value) for point in tracking_client().get_metric_history(run_id, "test/recall_at_10")] == [(1, 0.5)]
    assert run_url(run_id) == f"{address}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"
    assert compare_url([run_id, nested]).startswith(f"{address}/#/compare-runs?runs=%5B%22{run_id}%22")

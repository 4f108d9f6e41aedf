"""One Prefect server and one MLflow database for all flow tests; a small log, a config and a ``JTM_HOME`` for each."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, temporary_settings
from prefect.testing.utilities import prefect_test_harness

ROOT = Path(__file__).parents[2]
RUNNER = """
import json, sys
from importlib import import_module
module, name = sys.argv[1].split(":")
getattr(import_module(module), name)(**json.loads(sys.argv[2]))
"""


@pytest.fixture(scope="session", autouse=True)
def _prefect_server() -> Iterator[None]:
    with temporary_settings({PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 120}), prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Location of an MLflow database with its tables made."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"
    MlflowClient(tracking_uri=uri).search_experiments()
    return uri


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a test module: its log, its ``home``, MLflow's files."""
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def environment(place: Path, mlflow_uri: str) -> Iterator[Mapping[str, str]]:
    """Environment of runs with a ``JTM_HOME`` of their own, also set for this process."""
    wanted = {
        "JTM_HOME": str(place / "home"),
        "MLFLOW_TRACKING_URI": mlflow_uri,
        "JTM_CHECKPOINT_SECONDS": "0",
        "JTM_PROGRESS_SECONDS": "0.2",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in wanted.items():
            patch.setenv(name, value)
        patch.chdir(place)  # MLflow puts artefacts of a plain database beside the process
        yield wanted


@pytest.fixture
def start(place: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start a flow in a process of its own, against the test's Prefect server; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start_flow(entry: str, parameters: Mapping[str, object], environment: Mapping[str, str], log: Path) -> "subprocess.Popen[str]":
        child = {**os.environ, **environment, "PREFECT_API_URL": str(PREFECT_API_URL.value()), "PYTHONPATH": str(ROOT)}
        child |= {"PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "DEBUG", "PREFECT_LOGGING_COLORS": "false"}
        command = [sys.executable, "-c", RUNNER, entry, json.dumps(parameters)]
        with log.open("w") as output:
            started.append(subprocess.Popen(command, env=child, cwd=place, stdout=output, stderr=subprocess.STDOUT, text=True))
        return started[-1]

    yield start_flow
    for process in started:
        process.kill()
        process.wait()


def write_log(path: Path, num_users: int = 60, num_items: int = 40, seed: int = 0) -> Path:
    """Write a log of users who stay within one of four groups of items, in the schema of UserBehavior."""
    rng = np.random.default_rng(seed)
    lines = []
    for user in range(num_users):
        items = (user % 4) * (num_items // 4) + rng.integers(0, num_items // 4, size=12)
        lines += [f"{user},{item},{item % 5},pv,{1_000_000 + 60 * place}" for place, item in enumerate(items)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def parameters(place: Path, request: pytest.FixtureRequest) -> dict[str, dict[str, object]]:
    """Flow parameters for that log, as they come from ``prefect.yaml`` or the UI's form; a training takes a second."""
    log = write_log(place / "log.csv")
    return {
        "config": {
            "data": {"name": request.module.DATA_NAME, "path": str(log), "format": "user_behavior", "duplicates": "keep_all"},
            "split": {"num_validation_users": 6, "num_test_users": 6},
            "model": {"window_sizes": [4, 2, 1], "embedding_width": 8, "hidden_widths": [16, 8, 8]},
            "training": {"epochs": 2, "later_epochs": 1, "batch_samples": 64, "negatives": 20, "negatives_block": 8},
            "evaluation": {"cutoffs": [5, 10], "beam_width": 10, "small_beam_width": 5},
            "iterations": 1,
        }
    }


@pytest.fixture
def make_log() -> Callable[..., Path]:
    """Writer of such logs."""
    return write_log


@pytest.fixture
def flow_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What flow runs log; Prefect's loggers hand nothing up by themselves."""
    logger = logging.getLogger("prefect.flow_runs")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)

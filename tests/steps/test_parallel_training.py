"""Training in several processes through torch's launcher: the same model, resumable, and no hanging when one dies."""

import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from jtm_core.config import DataConfig, EvaluationConfig, ExecutionConfig, JtmConfig, TrainingConfig
from tasks import parallel_training
from tasks.artefacts import read_network
from tasks.fetch_log import fetch_log
from tasks.ingest_log import ingest_log
from tasks.plant_tree import plant_tree
from tasks.prepare_behaviours import prepare_behaviours
from tasks.references import DataReferences, GrownTree, TrainedModel
from tasks.store import open_store
from tasks.train_model import train_model
from tasks.training_jobs import TrainingJob, hear, job_from_text, job_text

ROOT = Path(__file__).parents[2]
TWO = ExecutionConfig(training_processes=2)


@dataclasses.dataclass(frozen=True)
class Planted:
    """A planted tree to train on."""

    data: DataReferences
    grown: GrownTree
    config: JtmConfig

    def train(self, execution: ExecutionConfig) -> TrainedModel:
        """Train anew, whatever was kept."""
        config = dataclasses.replace(self.config, execution=execution)
        key = train_model.key(0, self.data, self.grown, config)
        (open_store().home / "steps" / f"{key}.json").unlink(missing_ok=True)
        return train_model.compute(0, self.data, self.grown, config)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of temporary files of this process and those it starts."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)  # asks TMPDIR again
    return folder


@pytest.fixture
def planted(home: Path, temporary: Path, make_config: Callable[..., JtmConfig]) -> Planted:
    training = TrainingConfig(epochs=3, batch_samples=64, negatives=20, negatives_block=8)
    config = make_config(training=training)
    data = prepare_behaviours.compute(ingest_log.compute(fetch_log.fn(config), config), config, None)
    return Planted(data, plant_tree.compute(data, config, None), config)


@pytest.fixture
def long_training(planted: Planted) -> Planted:
    """One that takes some seconds, and leaves a checkpoint at every batch."""
    training = dataclasses.replace(planted.config.training, epochs=10, batch_samples=16, patience=10)
    return dataclasses.replace(planted, config=dataclasses.replace(planted.config, training=training))


def ranks_of(process: psutil.Process) -> list[psutil.Process]:
    """The training's processes below ``process``."""
    found = []
    for child in process.children(recursive=True):
        with_words = " ".join(child.cmdline()) if child.is_running() else ""
        if "tasks.train_rank" in with_words and "torch.distributed.run" not in with_words:
            found.append(child)
    return found


def wait_until(happens: Callable[[], object], what: str, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, f"{what} did not come within {seconds} s"
        time.sleep(0.02)


def test_two_processes_learn_what_one_learns(planted: Planted, home: Path, temporary: Path) -> None:
    store = open_store()
    alone, together = planted.train(ExecutionConfig()), planted.train(TWO)
    curves = [store.read_json(trained.curves) for trained in (alone, together)]
    np.testing.assert_allclose(*([loss for _, loss in curve["loss"]] for curve in curves), rtol=1e-4)
    np.testing.assert_allclose(*([recall for _, recall in curve["validation_recall"]] for curve in curves), atol=0.02)
    networks = [read_network(store, trained.model) for trained in (alone, together)]
    np.testing.assert_allclose(*(network.vectors.detach().numpy() for network in networks), atol=2e-3)
    assert planted.train(TWO) == together, "two processes give the same bits each time"
    assert list((home / "checkpoints").glob("*")) == []
    assert list(temporary.glob("*elastic*")) == list(temporary.glob("jtm-*")) == [], "the launcher's notes are removed"


def test_the_number_of_processes_does_not_make_a_step_new(planted: Planted) -> None:
    config = dataclasses.replace(planted.config, execution=TWO)
    assert train_model.key(0, planted.data, planted.grown, config) == train_model.key(0, planted.data, planted.grown, planted.config)


STARTER = """
import sys
from tasks.train_model import train_model
from tasks.training_jobs import job_from_text
job = job_from_text(open(sys.argv[1]).read())
train_model.compute(job.iteration, job.data, job.grown, job.config)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Planted], "subprocess.Popen[bytes]"]]:
    """Starts a training by two processes in a process of its own."""
    started = list["subprocess.Popen[bytes]"]()

    def begin(planted: Planted) -> "subprocess.Popen[bytes]":
        config = dataclasses.replace(planted.config, execution=TWO)
        (tmp_path / "job.json").write_text(job_text(TrainingJob(0, planted.data, planted.grown, config, "unused")))
        environment = {**os.environ, "JTM_CHECKPOINT_SECONDS": "0", "PYTHONPATH": str(ROOT)}
        with (tmp_path / "starter.log").open("w") as log:
            process = subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path / "job.json")], env=environment, stderr=log)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


def test_a_killed_starter_takes_its_processes_along_and_is_resumed_to_the_same_bits(
    long_training: Planted, home: Path, start: Callable[[Planted], "subprocess.Popen[bytes]"]
) -> None:
    expected = long_training.train(TWO)
    key = train_model.key(0, long_training.data, long_training.grown, long_training.config)
    (home / "steps" / f"{key}.json").unlink()
    process = start(long_training)
    wait_until(lambda: list((home / "checkpoints").glob("*.safetensors")) or process.poll() is not None, "a checkpoint")
    ranks = ranks_of(psutil.Process(process.pid))
    assert len(ranks) == 2
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(ranks, timeout=60)
    assert alive == [], "no process is left behind"
    assert list((home / "checkpoints").glob("*.safetensors"))
    assert long_training.train(TWO) == expected


def test_a_process_that_dies_ends_the_step_with_an_error(long_training: Planted, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("JTM_CHECKPOINT_SECONDS", "0")
    killed = list[int]()

    def kill_the_second() -> None:
        me = psutil.Process()
        wait_until(lambda: list((home / "checkpoints").glob("*.safetensors")), "a checkpoint")
        rank = next(rank for rank in ranks_of(me) if rank.environ()["RANK"] == "1")
        rank.send_signal(signal.SIGKILL)
        killed.append(rank.pid)

    killer = threading.Thread(target=kill_the_second)
    killer.start()
    with pytest.raises(RuntimeError, match=r"training in .* failed with exit code 1; the end of .*job\.log"):
        long_training.train(TWO)
    killer.join()
    assert killed
    assert ranks_of(psutil.Process()) == []


def test_an_error_in_a_process_is_told(planted: Planted) -> None:
    path = open_store().path(planted.data.split)
    path.write_bytes(b"no split")
    with pytest.raises(RuntimeError, match=r"BrokenArtefactError: split .* is broken"):
        planted.train(TWO)


@pytest.mark.parametrize(("interval", "is_every_batch"), [("0", True), ("0.0001", False)])
def test_slow_checkpoints_are_rare(planted: Planted, monkeypatch: pytest.MonkeyPatch, interval: str, is_every_batch: bool) -> None:
    saved = list[int]()

    def save(training: object, checkpoint: Path) -> None:
        saved.append(1)
        time.sleep(0.3)  # so the next one comes 6 seconds later

    monkeypatch.setenv("JTM_CHECKPOINT_SECONDS", interval)
    monkeypatch.setattr("tasks.train_model._save", save)
    planted.train(ExecutionConfig())
    num_batches = 3 * -(-48 * 11 // 64)
    assert len(saved) == (num_batches if is_every_batch else 1)


def test_a_job_crosses_the_border_whole(planted: Planted) -> None:
    config = dataclasses.replace(planted.config, data=DataConfig(name="other"), evaluation=EvaluationConfig())
    job = TrainingJob(3, planted.data, planted.grown, config, "checkpoints/x.safetensors")
    assert job_from_text(job_text(job)) == job


def test_lines_of_other_origin_go_to_the_log() -> None:
    lines = list[tuple[object, ...]]()

    class Listener:
        def show(self, *values: object) -> None:
            lines.append(("show", *values))

        def tell(self, *values: object) -> None:
            lines.append(("tell", *values))

    assert hear("a library talks\n", Listener()) is None
    assert hear("3\n", Listener()) is None
    assert hear('{"done": 3, "total": 4, "note": "x"}\n', Listener()) is None
    assert lines == [("tell", 20, "a library talks"), ("tell", 20, "3"), ("show", 3, 4, "x")]


def free_port() -> int:
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def test_a_second_machine_joins_by_torchrun(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    here = planted.train(TWO)
    options = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    monkeypatch.setenv("JTM_TORCHRUN", " ".join([*options, "--node-rank=0"]))
    command = [sys.executable, "-m", "torch.distributed.run", *options, "--node-rank=1", "-m", "tasks.train_rank"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as joining:
        try:
            assert planted.train(ExecutionConfig()) == here
            assert joining.wait(60) == 0, joining.stderr.read()
        finally:
            joining.kill()


def test_a_launcher_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_training, "_STOP_SECONDS", 0.2)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    with (
        (tmp_path / "errors").open("w") as errors,
        parallel_training._running([sys.executable, "-c", deaf], dict(os.environ), errors.fileno()) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "deaf\n"
    assert process.returncode == -signal.SIGKILL

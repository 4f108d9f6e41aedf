"""Tree learning by shards: the same tree wherever they are weighed, and finished shards are never weighed again."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from jtm_core.config import ExecutionConfig, JtmConfig, TreeLearningConfig
from jtm_core.segments import SegmentWork, ShardSums
from jtm_core.tree_learning import TreeLearner
from tasks.fetch_log import fetch_log
from tasks.ingest_log import ingest_log
from tasks.learn_tree import learn_tree
from tasks.plant_tree import plant_tree
from tasks.prepare_behaviours import prepare_behaviours
from tasks.references import DataReferences, GrownTree, TrainedModel
from tasks.shards import LearningJob, ShardFolder, ShardOrder, drawn_samples, job_text, weigh_shard
from tasks.store import open_store
from tasks.train_model import train_model

ROOT = Path(__file__).parents[2]
SHARD_SAMPLES = 100


@dataclasses.dataclass(frozen=True)
class Made:
    """What a tree is learned from."""

    data: DataReferences
    grown: GrownTree
    trained: TrainedModel
    config: JtmConfig

    def arguments(self, **execution: object) -> tuple[int, DataReferences, object, object, JtmConfig]:
        config = dataclasses.replace(self.config, execution=ExecutionConfig(**{"shard_samples": SHARD_SAMPLES, **execution}))
        return 1, self.data, self.grown.tree, self.trained.model, config

    def learn(self, **execution: object) -> GrownTree:
        """Learn anew, whatever was kept of finished steps."""
        arguments = self.arguments(**execution)
        (open_store().home / "steps" / f"{learn_tree.key(*arguments)}.json").unlink(missing_ok=True)
        return learn_tree.compute(*arguments)


@pytest.fixture
def made(home: Path, make_config: Callable[..., JtmConfig]) -> Made:
    config = make_config(tree_learning=TreeLearningConfig(gap=2))
    data = prepare_behaviours.compute(ingest_log.compute(fetch_log.fn(config), config), config, None)
    grown = plant_tree.compute(data, config, None)
    return Made(data, grown, train_model.compute(0, data, grown, config), config)


def shards_in(home: Path) -> dict[Path, int]:
    """Finished shards and when their files were written."""
    return {path: path.stat().st_mtime_ns for path in home.glob("checkpoints/*.shards/*/[0-9]*.safetensors")}


def wait_until(happens: Callable[[], object], what: str, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, f"{what} did not come within {seconds} s"
        time.sleep(0.005)


class Killed(BaseException):
    """Stands in for ``kill -9``."""


def counting(monkeypatch: pytest.MonkeyPatch, die_after: int | None = None) -> list[tuple[str, int]]:
    """Shards weighed in this process from now on; after some of them the process dies."""
    weigh, weighed = TreeLearner.weigh, list[tuple[str, int]]()

    def counted(self: TreeLearner, work: SegmentWork, number: int) -> ShardSums:
        if len(weighed) == die_after:
            raise Killed
        weighed.append((work.digest, number))
        return weigh(self, work, number)

    monkeypatch.setattr(TreeLearner, "weigh", counted)
    return weighed


def test_a_killed_tree_learning_goes_on_with_the_next_shard(made: Made, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        every = counting(patch)
        expected = made.learn()
    assert len(set(every)) == len(every) > 12, "several passes of several shards"
    for die_after in (1, 5, len(every) - 1):
        with monkeypatch.context() as patch:
            counting(patch, die_after)
            with pytest.raises(Killed):
                made.learn()
        before = shards_in(home)
        assert len(before) == die_after
        with monkeypatch.context() as patch:
            rest = counting(patch)
            assert made.learn() == expected
        assert rest == every[die_after:], "no shard is weighed twice, none is left out"
        assert shards_in(home) == {}
    assert list((home / "checkpoints").glob("*")) == []


def test_the_size_of_shards_does_not_change_the_tree(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    small = made.learn()
    arguments = made.arguments()
    config = dataclasses.replace(made.config, execution=ExecutionConfig())
    assert learn_tree.key(*arguments[:4], config) == learn_tree.key(*arguments)
    (open_store().home / "steps" / f"{learn_tree.key(*arguments)}.json").unlink()
    assert learn_tree.compute(*arguments[:4], config) == small


def test_processes_give_the_same_bits(made: Made, home: Path) -> None:
    assert made.learn(tree_processes=2) == made.learn()
    assert list((home / "checkpoints").glob("*")) == []


@pytest.mark.parametrize("damage", [b"", b"not a shard"])
def test_a_damaged_shard_is_weighed_again(made: Made, home: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes) -> None:
    with monkeypatch.context() as patch:
        every = counting(patch)
        expected = made.learn()
    with monkeypatch.context() as patch:
        counting(patch, 4)
        with pytest.raises(Killed):
            made.learn()
    first, second = sorted(shards_in(home))[:2]
    second.write_bytes(damage or first.read_bytes())  # a file of the right form that belongs to another shard
    with monkeypatch.context() as patch:
        rest = counting(patch)
        assert made.learn() == expected
    assert len(rest) == len(every) - 3


@pytest.fixture
def folder(made: Made, home: Path) -> tuple[ShardFolder, LearningJob, SegmentWork]:
    """Samples and a pass, ready for a worker."""
    job = LearningJob(*made.arguments(), "checkpoints/own.shards")
    folder = ShardFolder(home / job.folder)
    folder.write_samples(*drawn_samples(open_store(), job))
    from tasks.artefacts import read_tree

    work = SegmentWork("weigh", 0, 2, read_tree(open_store(), made.grown.tree).leaf_of_item, False, SHARD_SAMPLES)
    folder.write_work(work)
    return folder, job, work


def test_samples_and_passes_come_back(folder: tuple[ShardFolder, LearningJob, SegmentWork]) -> None:
    shards, job, work = folder
    assert shards.read_work(work.digest).digest == work.digest
    histories, samples = drawn_samples(open_store(), job)
    histories_read, samples_read = shards.read_samples()
    np.testing.assert_array_equal(histories.values, histories_read.values)
    np.testing.assert_array_equal(histories.offsets, histories_read.offsets)
    np.testing.assert_array_equal(samples.factors, samples_read.factors)
    for name in ("starts", "cuts", "targets"):
        np.testing.assert_array_equal(getattr(samples.samples, name), getattr(samples_read.samples, name))


def test_a_pass_under_a_wrong_name_is_refused(folder: tuple[ShardFolder, LearningJob, SegmentWork]) -> None:
    shards, _, work = folder
    (shards.path / work.digest).rename(shards.path / ("0" * 64))
    with pytest.raises(ValueError, match=f"holds the pass {work.digest}; its name says 000"):
        shards.read_work("0" * 64)


def test_a_worker_with_other_code_is_refused(folder: tuple[ShardFolder, LearningJob, SegmentWork]) -> None:
    _, job, work = folder
    with pytest.raises(RuntimeError, match="install the same version"):
        weigh_shard(ShardOrder(job_text(job), work.digest, 0, "0" * 64))


STARTER = """
import sys
from pydantic import TypeAdapter
from tasks.learn_tree import learn_tree
from tasks.shards import LearningJob
if __name__ == "__main__":
    job = TypeAdapter(LearningJob).validate_json(open(sys.argv[1]).read())
    learn_tree.compute(job.iteration, job.data, job.tree, job.model, job.config)
"""


def test_killed_processes_leave_nothing_running_and_are_resumed(made: Made, home: Path, tmp_path: Path) -> None:
    expected = made.learn()
    (home / "steps" / f"{learn_tree.key(*made.arguments())}.json").unlink()
    (tmp_path / "starter.py").write_text(STARTER)
    (tmp_path / "job.json").write_text(job_text(LearningJob(*made.arguments(tree_processes=2), "unused")))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, str(tmp_path / "starter.py"), str(tmp_path / "job.json")], env=environment)
    try:
        wait_until(lambda: len(shards_in(home)) >= 3 or process.poll() is not None, "three shards")
        children = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    before = shards_in(home)
    assert len(before) >= 3
    weighed = list[Path]()
    write = ShardFolder.write

    def noted(self: ShardFolder, digest: str, number: int, sums: ShardSums) -> None:
        weighed.append(self._shard(digest, number))
        write(self, digest, number, sums)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ShardFolder, "write", noted)
        assert made.learn() == expected
    assert not set(weighed) & set(before)


def test_a_process_that_dies_is_an_error(made: Made, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill_one() -> None:
        wait_until(lambda: shards_in(home), "a shard", 30.0)
        spawned = [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
        spawned[0].kill()

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(RuntimeError, match="a process that weighed shards of the tree learning died"):
        made.learn(tree_processes=2, shard_samples=10)
    killer.join()


@pytest.fixture
def dask(home: Path) -> Iterator[str]:
    """Address of a scheduler with two workers, each a process started by Dask's own command."""
    place = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(home / "d.json"))
    with Running("dask", "scheduler", *place):
        wait_until(lambda: (home / "d.json").is_file() and (home / "d.json").stat().st_size, "the scheduler")
        address = json.loads((home / "d.json").read_text())["address"]
        worker = ("dask", "worker", address, "--nthreads", "1", "--no-dashboard", "--local-directory", str(home / "dask"))
        with Running(*worker), Running(*worker):
            wait_for_workers(address, 2)
            yield address


class Running:
    """A command that ends with the block."""

    def __init__(self, *command: str) -> None:
        self.command = command

    def __enter__(self) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        program = str(Path(sys.executable).with_name(self.command[0]))
        self.process = subprocess.Popen([program, *self.command[1:]], env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        return self.process

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def wait_for_workers(address: str, number: int) -> None:
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(number, timeout=60)


def test_dask_workers_give_the_same_bits(made: Made, home: Path, dask: str) -> None:
    assert made.learn(dask_scheduler=dask) == made.learn()
    assert list((home / "checkpoints").glob("*")) == []


def test_an_error_on_a_dask_worker_is_raised_here(made: Made, dask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.shard_runs.package_fingerprint", lambda package: "0" * 64)
    with pytest.raises(RuntimeError, match="install the same version"):
        made.learn(dask_scheduler=dask)


def test_a_lost_dask_worker_is_replaced_by_the_other(made: Made, home: Path, dask: str) -> None:
    lost = list[int]()

    def kill_one() -> None:
        wait_until(lambda: len(shards_in(home)) >= 2, "two shards", 30.0)
        nanny = next(child for child in psutil.Process().children() if {"dask", "worker"} <= {Path(w).name for w in child.cmdline()})
        worker = next(child for child in nanny.children() if "spawn_main" in " ".join(child.cmdline()))
        worker.kill()
        lost.append(worker.pid)

    killer = threading.Thread(target=kill_one)
    killer.start()
    grown = made.learn(dask_scheduler=dask, shard_samples=10)
    killer.join()
    assert lost
    assert grown == made.learn()


def test_a_scheduler_that_is_not_there_is_named(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.shard_runs.SCHEDULER_SECONDS", 1.0)
    with pytest.raises(RuntimeError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        made.learn(dask_scheduler="tcp://127.0.0.1:9")

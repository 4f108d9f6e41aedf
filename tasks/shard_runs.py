"""Where shards of tree learning are weighed: in this process, in processes on this machine, or by Dask's workers.

The order in which shards are done is free; they are handed on in their own order, so the result does not depend on it.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Protocol

from jtm_core.config import ExecutionConfig
from tasks.fingerprints import package_fingerprint
from tasks.shards import LearningJob, ShardFolder, ShardOrder, job_text, weigh_shard

if TYPE_CHECKING:
    from jtm_core.segments import SegmentWork, ShardSums
    from jtm_core.tree_learning import TreeLearner


SCHEDULER_SECONDS = 30.0
"""How long a Dask scheduler may take to answer."""


class Pending(Protocol):
    """A shard under way: a future of :mod:`concurrent.futures` or of Dask."""

    def result(self) -> Any:
        """Wait for its end; raises what went wrong there."""
        ...

    def cancel(self) -> Any:
        """Give it up."""
        ...


Submit = Callable[[ShardOrder], Pending]


class ShardRun:
    """Gives the learner the sums of all shards of a pass, weighing those that are not on the disk yet.

    Parameters
    ----------
    learner : TreeLearner
    folder : ShardFolder
    job : LearningJob
    submit : callable, optional
        Has a shard weighed elsewhere; without it this process does it.
    """

    def __init__(self, learner: "TreeLearner", folder: ShardFolder, job: LearningJob, submit: Submit | None) -> None:
        self._learner, self._folder, self._submit = learner, folder, submit
        self._job, self._code = job_text(job), package_fingerprint("jtm_core")
        self.num_found = 0
        """Shards that were on the disk already."""

    def __call__(self, work: "SegmentWork") -> "Iterator[ShardSums]":
        """Sums of the shards of a pass, in their order."""
        digest, num_shards = work.digest, self._learner.num_shards(work)
        there = {number for number in range(num_shards) if self._folder.has(digest, number)}
        self.num_found += len(there)
        pending = self._begun(work, [number for number in range(num_shards) if number not in there]) if self._submit else {}
        try:
            for number in range(num_shards):
                if number in pending:
                    pending.pop(number).result()
                yield self._sums(work, digest, number)
        finally:
            for future in pending.values():
                future.cancel()

    def _begun(self, work: "SegmentWork", numbers: list[int]) -> dict[int, Pending]:
        assert self._submit is not None
        self._folder.write_work(work)
        return {number: self._submit(ShardOrder(self._job, work.digest, number, self._code)) for number in numbers}

    def _sums(self, work: "SegmentWork", digest: str, number: int) -> "ShardSums":
        """A shard from the disk, weighed here if it is not there whole."""
        sums = self._folder.read(digest, number)
        if sums is None:
            sums = self._learner.weigh(work, number)
            self._folder.write(digest, number, sums)
        return sums


def runs_elsewhere(execution: ExecutionConfig) -> bool:
    """Whether shards are weighed in other processes."""
    return bool(execution.dask_scheduler) or execution.tree_processes > 1


@contextmanager
def submitting(execution: ExecutionConfig) -> Iterator[Submit | None]:
    """What has shards weighed where the settings say; None for this process."""
    if execution.dask_scheduler:
        with _on_dask(execution.dask_scheduler) as submit:
            yield submit
    elif execution.tree_processes > 1:
        with _in_processes(execution.tree_processes) as submit:
            yield submit
    else:
        yield None


@contextmanager
def _in_processes(number: int) -> Iterator[Submit]:
    from jtm_core.threads import available_cores

    threads = max(1, available_cores() // number)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(number, mp_context=context, initializer=_begin_process, initargs=(threads,))
    try:
        yield lambda order: pool.submit(weigh_shard, order)
    except BrokenProcessPool as error:
        raise RuntimeError("a process that weighed shards of the tree learning died; run again, finished shards are kept") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_process(threads: int) -> None:
    """Hold a new process to its share of the cores, and let it end when the one that started it is gone."""
    from jtm_core.threads import set_num_threads

    set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _on_dask(address: str) -> Iterator[Submit]:
    """Workers of a Dask scheduler; each holds its kernels to the threads it was started with.

    A worker that is lost has its shards done by another (by Dask itself); an error in a worker is raised here.

    Raises
    ------
    RuntimeError
        If the scheduler does not answer, or has no worker.
    """
    from distributed import Client

    try:
        client = Client(address, timeout=SCHEDULER_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:  # ValueError: no address
        raise RuntimeError(f"no Dask scheduler answers at {address} (execution.dask_scheduler): {error}") from error
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise RuntimeError(f"the Dask scheduler at {address} has no workers; start some with `dask worker {address}`")
        yield lambda order: client.submit(_weigh_on_dask, order, pure=False)


def _weigh_on_dask(order: ShardOrder) -> None:
    from distributed import get_worker

    from jtm_core.threads import num_threads, set_num_threads

    threads = get_worker().state.nthreads
    if num_threads() != threads:
        set_num_threads(threads)
    weigh_shard(order)

"""The threads of our own that the kernels run on.

numba's OpenMP layer and OpenBLAS do not bear each other in one process, so kernels release the interpreter's lock, chunks
of work run on one pool of this process, and BLAS keeps to the calling thread meanwhile. What a kernel computes must not
depend on how many threads there are: chunks are cut by the input alone, or where a cut changes nothing.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import Lock
from typing import Any

import scipy.linalg.cython_blas  # noqa: F401  (scipy's BLAS; loaded here so that the controller below knows and holds it too)
import torch
from threadpoolctl import ThreadpoolController

_BLAS = ThreadpoolController()


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Threads:
    """The pool, made when it is first needed, and who holds BLAS to one thread."""

    def __init__(self) -> None:
        self.number, self.lock = available_cores(), Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._holders, self._limit = 0, ExitStack()

    def forget(self) -> None:
        """Begin anew in a process that was forked off: the pool's threads are not there, nor is who holds the lock."""
        self.lock, self._pool = Lock(), None
        self._holders, self._limit = 0, ExitStack()

    def pool(self) -> ThreadPoolExecutor:
        with self.lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.number, thread_name_prefix="jtm-kernel")
            return self._pool

    def resize(self, number: int) -> None:
        with self.lock:
            old, self._pool, self.number = self._pool, None, number
        if old is not None:
            old.shutdown(wait=True)

    def hold(self) -> None:
        with self.lock:
            if not self._holders:
                limit: AbstractContextManager[Any] = _BLAS.limit(limits=1, user_api="blas")
                self._limit.enter_context(limit)
            self._holders += 1

    def release(self) -> None:
        with self.lock:
            self._holders -= 1
            if not self._holders:
                self._limit.close()


_THREADS = _Threads()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_THREADS.forget)


def num_threads() -> int:
    """Threads that kernels of this process run on; at first as many as there are cores."""
    return _THREADS.number


def set_num_threads(number: int) -> None:
    """Hold the kernels of this process to so many threads from now on; call it while none runs.

    One of several processes on a machine should take its share of the cores. Results do not change by it.

    Parameters
    ----------
    number : int
        1 or more.

    Raises
    ------
    ValueError
        If ``number`` is below 1.
    """
    if number < 1:
        raise ValueError(f"the number of threads is {number}; allowed are 1 and more")
    _THREADS.resize(number)


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Keep BLAS to the calling thread; may be entered by many threads at once, the last to leave gives BLAS its threads back."""
    _THREADS.hold()
    try:
        yield
    finally:
        _THREADS.release()


def run_chunks(work: Callable[[int], None], num_chunks: int) -> None:
    """Call ``work(k)`` for every chunk, on :func:`num_threads` threads; BLAS keeps to the calling thread."""
    with single_threaded_blas():
        if num_chunks == 1 or num_threads() == 1:
            for k in range(num_chunks):
                work(k)
        else:
            numbers = iter(range(num_chunks))  # each thread takes the next one: cheaper than a future for every chunk

            def take(_: int) -> None:
                for k in numbers:
                    try:
                        work(k)
                    except BaseException:
                        deque(numbers, maxlen=0)  # nothing is left for the other threads
                        raise

            list(_THREADS.pool().map(take, range(min(num_threads(), num_chunks))))


@contextmanager
def single_threaded_torch() -> Iterator[None]:
    """Keep torch's operators to the calling thread."""
    number = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(number)

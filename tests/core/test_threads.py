"""The pool of threads and the hold on BLAS."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from jtm_core.threads import num_threads, run_chunks, set_num_threads, single_threaded_blas


def blas_threads() -> set[int]:
    """Threads of numpy's and scipy's BLAS, which the kernels call; other libraries bring one of their own when they are imported."""
    known = [library for library in threadpool_info() if library["user_api"] == "blas" and "openblas" in Path(library["filepath"]).name]
    return {int(library["num_threads"]) for library in known if "scipy" in Path(library["filepath"]).name}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_chunks_run_once_each_on_so_many_threads(number: int) -> None:
    before, seen, threads, together = num_threads(), [], set(), threading.Barrier(number, timeout=60)

    def work(k: int) -> None:
        together.wait()
        seen.append(k)
        threads.add(threading.get_ident())

    try:
        set_num_threads(number)
        run_chunks(work, 12)
    finally:
        set_num_threads(before)
    assert sorted(seen) == list(range(12))
    assert len(threads) == number


def test_after_an_error_no_chunk_is_begun() -> None:
    begun: list[int] = []

    def work(k: int) -> None:
        begun.append(k)
        time.sleep(0.002)
        if k == 0:
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        run_chunks(work, 1000)
    assert len(begun) < 1000


def test_no_threads_are_refused() -> None:
    with pytest.raises(ValueError, match="the number of threads is 0; allowed are 1 and more"):
        set_num_threads(0)


def test_an_error_in_a_chunk_comes_out_and_gives_blas_back() -> None:
    before = blas_threads()

    def work(k: int) -> None:
        raise ArithmeticError(f"chunk {k}")

    with pytest.raises(ArithmeticError):
        run_chunks(work, 2)
    assert blas_threads() == before


def test_holds_that_overlap_give_blas_back_when_the_last_one_ends() -> None:
    before = blas_threads()
    first, second = single_threaded_blas(), single_threaded_blas()
    first.__enter__()
    second.__enter__()
    assert blas_threads() == {1}
    first.__exit__(None, None, None)
    assert blas_threads() == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == before


def test_products_inside_a_hold_are_right() -> None:
    left = np.random.default_rng(0).random((50, 40))
    with single_threaded_blas():
        np.testing.assert_allclose(left @ left.T, np.einsum("ij,kj->ik", left, left))

"""What is recorded of every system: recall with and without seen items, users per second, seconds to build."""

import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.records import Record, emit, percentile, spread
from benchmarks.rivals.world import CUTOFFS, RivalsWorld
from jtm_core.beam import without_items
from jtm_core.behaviours import Ints, Ragged
from jtm_core.metrics import mean_metrics, metrics_at

USERS_TOGETHER = 64
SPARE = 60
"""Places more than the last cut-off, so that lists stay long enough when seen items (at most so many) are taken out."""
Recommend = Callable[[Ragged, int], Ints]
"""Histories, length of the lists -> items (E, length), best first."""


def blocks(histories: Ragged, size: int) -> Iterator[Ragged]:
    """Some users at a time."""
    for low in range(0, len(histories), size):
        yield histories.rows(low, low + size)


def judge(system: str, recommend: Recommend, world: RivalsWorld) -> None:
    """Ask a system for the lists of all test users, 64 at a time, and record how good and how fast they are."""
    recommend(next(blocks(world.test.histories, USERS_TOGETHER)), CUTOFFS[-1])
    lists, rates = [], []
    for block in blocks(world.test.histories, USERS_TOGETHER):
        begun = time.perf_counter()
        recommend(block, CUTOFFS[-1])
        rates.append(len(block) / (time.perf_counter() - begun))
        lists.append(recommend(block, CUTOFFS[-1] + SPARE))
    judge_lists(system, np.concatenate(lists), world)
    emit(Record("users_per_s", float(np.median(rates)), "users/s", {"system": system, "batch": USERS_TOGETHER} | spread(rates)))
    latency(system, recommend, world)


def latency(system: str, recommend: Recommend, world: RivalsWorld) -> None:
    """Record how long one user alone waits."""
    milliseconds = []
    for user in list(blocks(world.test.histories, 1))[:200]:
        begun = time.perf_counter()
        recommend(user, CUTOFFS[-1])
        milliseconds.append(1000 * (time.perf_counter() - begun))
    for share in (0.5, 0.99):
        emit(Record(f"latency_p{100 * share:.0f}_ms", percentile(milliseconds, share), "ms", {"system": system, "batch": 1, "calls": 200}))


def judge_lists(system: str, lists: Ints, world: RivalsWorld) -> None:
    """Record recall of lists of more than 200 items, seen items left in and taken out."""
    histories, truths = world.test.histories, world.test.truths
    kept = without_items(lists, histories, world.num_items, CUTOFFS[-1])
    for prefix, judged in (("", lists[:, : CUTOFFS[-1]]), ("filtered_", kept)):
        means = mean_metrics(metrics_at(judged, truths, histories, CUTOFFS))
        for cutoff in CUTOFFS:
            emit(Record(f"{prefix}recall_at_{cutoff}", means[f"recall_at_{cutoff}"], "share", {"system": system}))


def built(system: str, seconds: float, **about: object) -> None:
    """Record the seconds of training or building."""
    emit(Record("build_s", seconds, "s", {"system": system} | about))

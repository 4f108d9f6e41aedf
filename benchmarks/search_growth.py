"""``python -m benchmarks.search_growth --items 1500000``: one user and 64 at a time down the tree, and the full scan of the same network.

The full scan scores every leaf, 64 users at a time too where that takes seconds; its users per second do not depend on
how many are asked, so at large sizes fewer of them are.
"""

import argparse
import sys
import time
from collections.abc import Iterator

import numpy as np

from benchmarks.measures import BEAM_WIDTH, FIRST_LEVEL, first_windows
from benchmarks.records import Record, emit, percentile, rate, spread, timed
from benchmarks.worlds import BenchmarkWorld, make_world, usual_lengths
from jtm_core.beam import full_scan
from jtm_core.scoring import make_scorer
from jtm_core.serving import Retriever

LIST_LENGTH = 200
USERS_TOGETHER = 64
FEWEST_CALLS = 200
SCAN_SCORES = 50_000_000
"""Scores that a repeat of the full scan may take, about."""


def latencies(world: BenchmarkWorld, retriever: Retriever) -> Iterator[Record]:
    """One user at a time: percentiles over many calls, each for another user."""
    users = world.histories.rows(0, FEWEST_CALLS)
    seconds = []
    for call in range(-20, FEWEST_CALLS):
        begun = time.perf_counter()
        retriever.recommend(users.row(call % len(users)), LIST_LENGTH)
        if call >= 0:
            seconds.append(1000 * (time.perf_counter() - begun))
    for share in (0.5, 0.99):
        yield Record(f"search_latency_p{share * 100:.0f}_ms", percentile(seconds, share), "ms", {"batch": 1, "calls": len(seconds)})
    yield Record("search_users_per_s", 1000 / float(np.mean(seconds)), "users/s", {"batch": 1, "calls": len(seconds)})


def batches(world: BenchmarkWorld, retriever: Retriever) -> Iterator[Record]:
    """64 users at a time."""
    users = world.histories.rows(0, USERS_TOGETHER)
    seconds = timed(lambda: retriever.recommend_batch(users, LIST_LENGTH), 30)
    milliseconds = [1000 * one for one in seconds]
    for share in (0.5, 0.99):
        yield Record(f"search_latency_p{share * 100:.0f}_ms", percentile(milliseconds, share), "ms", {"batch": USERS_TOGETHER, "calls": 30})
    yield rate("search_users_per_s", USERS_TOGETHER, seconds, "users/s", batch=USERS_TOGETHER)


def scan(world: BenchmarkWorld) -> Record:
    """Every leaf scored."""
    count = max(2, min(USERS_TOGETHER, SCAN_SCORES // world.tree.num_items))
    scorer, windows = make_scorer(world.network, world.tree), first_windows(world, count)
    seconds = timed(lambda: full_scan(scorer, windows, BEAM_WIDTH), 3)
    return rate("full_scan_users_per_s", count, seconds, "users/s", batch=count)


def measured(world: BenchmarkWorld) -> Iterator[Record]:
    """All figures of one size."""
    retriever = Retriever(world.network, world.tree, BEAM_WIDTH, FIRST_LEVEL)
    yield from latencies(world, retriever)
    rates = []
    for record in batches(world, retriever):
        yield record
        rates.append(record)
    scanned = scan(world)
    yield scanned
    ratios = [rates[-1].about[key] / scanned.about[key] for key in ("minimum", "median", "maximum")]
    yield Record("search_speedup_over_full_scan", ratios[1], "times", {"batch": USERS_TOGETHER} | spread(ratios) | {"repeats": 3})


def main(arguments: list[str]) -> None:
    """Measure each size and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 1_500_000, 4_000_000])
    chosen = parser.parse_args(arguments)
    for items in chosen.items:
        for record in measured(make_world(items, usual_lengths(1000))):
            emit(Record(record.name, record.value, record.unit, {"items": items, "beam": BEAM_WIDTH} | dict(record.about)))


if __name__ == "__main__":
    main(sys.argv[1:])

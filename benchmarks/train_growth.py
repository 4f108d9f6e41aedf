"""``python -m benchmarks.train_growth --items 10000 4000000``: whole training steps over growing numbers of items.

Sizes take turns, a few steps at a time, so that a machine that slows down for a while does so for all of them. With one
size the peak memory of the process is that size's own: world, network, moments, one batch.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator

from benchmarks.measures import precision_refusal, training_steps
from benchmarks.records import Record, emit, rate, spread
from benchmarks.worlds import make_world, usual_lengths
from jtm_core.training import TrainingProgress

STEPS_PER_TURN = 4
NUM_USERS = 30_000


def turn(steps: Iterator[TrainingProgress]) -> tuple[float, int]:
    """Seconds and rows of a few steps."""
    before, begun = next(steps).num_rows, time.perf_counter()
    for _ in range(STEPS_PER_TURN - 1):
        next(steps)
    last = next(steps)
    return time.perf_counter() - begun, last.num_rows - before


def main(arguments: list[str]) -> None:
    """Measure all sizes in this process and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 4_000_000])
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--untied", action="store_true", help="without training.tied_levels")
    chosen = parser.parse_args(arguments)
    if reason := precision_refusal(chosen.precision):
        emit(Record("train_rows_per_s", None, "rows/s", {"precision": chosen.precision, "reason": reason}))
        return
    worlds = {items: make_world(items, usual_lengths(NUM_USERS)) for items in chosen.items}
    running = {items: training_steps(world, chosen.precision, not chosen.untied) for items, world in worlds.items()}
    seconds_per_row: dict[int, list[float]] = {items: [] for items in running}
    for steps in running.values():
        turn(steps)
    for _ in range(chosen.turns):
        for items, steps in running.items():
            seconds, rows = turn(steps)
            seconds_per_row[items].append(seconds / rows)
    for items, values in seconds_per_row.items():
        emit(rate("train_rows_per_s", 1, values, "rows/s", items=items, precision=chosen.precision))
    if len(running) > 1:
        small, large = min(running), max(running)
        ratios = [one / other for one, other in zip(seconds_per_row[large], seconds_per_row[small], strict=True)]
        name = f"train_time_per_row_ratio_{short(large)}_to_{short(small)}"
        emit(Record(name, statistics.median(ratios), "times", {"precision": chosen.precision} | spread(ratios)))


def short(number: int) -> str:
    """4m for 4,000,000, 10k for 10,000."""
    return f"{number // 1_000_000}m" if number >= 1_000_000 else f"{number // 1000}k" if number >= 1000 else str(number)


if __name__ == "__main__":
    main(sys.argv[1:])

"""``python -m benchmarks.quick``: the figures that every change should be looked at with, in one process."""

import numpy as np

from benchmarks import measures
from benchmarks.records import emit
from benchmarks.worlds import make_world


def main() -> None:
    """Measure and print; the first call of each function compiles or loads what it needs and is not counted."""
    peak = measures.sgemm_peak()
    world = make_world(10_000, np.random.default_rng(0).integers(10, 60, 2000))
    for records in (
        peak,
        measures.forward(world, peak[0].value or np.nan),
        measures.training(world),
        measures.search(world),
        measures.tree_learning(7, 3),
        measures.tree_learning(2, 3),
    ):
        for record in records:
            emit(record)


if __name__ == "__main__":
    main()

"""``python -m benchmarks.quick``: the figures that every change should be looked at with, in one process."""

import argparse
import sys
from dataclasses import replace

import numpy as np

from benchmarks import measures
from benchmarks.records import emit
from benchmarks.worlds import make_world
from jtm_core.config import ModelConfig
from jtm_core.presets import paper_config


def main(arguments: list[str]) -> None:
    """Measure and print; the first call of each function compiles or loads what it needs and is not counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without-product", action="store_true", help="without model.inner_product")
    parser.add_argument("--without-matches", action="store_true", help="without model.window_matches")
    parser.add_argument("--neighbours", type=int, nargs="*", default=(), metavar="ITEMS", help="model.neighbour_windows")
    parser.add_argument("--paper-windows", action="store_true", help="with the paper's model.window_sizes, which reach back over 69")
    parser.add_argument("--behaviours", type=int, nargs=2, default=(10, 60), metavar=("LOW", "BELOW"), help="of a user")
    asked = parser.parse_args(arguments)
    config = ModelConfig(
        inner_product=not asked.without_product, window_matches=not asked.without_matches, neighbour_windows=tuple(asked.neighbours)
    )
    if asked.paper_windows:
        config = replace(config, window_sizes=paper_config().model.window_sizes)
    peak = measures.sgemm_peak()
    world = make_world(10_000, np.random.default_rng(0).integers(*asked.behaviours, 2000), config=config)
    for records in (
        peak,
        measures.forward(world, peak[0].value or np.nan),
        measures.training(world),
        measures.search(world),
        measures.tree_learning(7, 3, config),
        measures.tree_learning(2, 3, config),
    ):
        for record in records:
            emit(record)


if __name__ == "__main__":
    main(sys.argv[1:])

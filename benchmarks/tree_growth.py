"""``python -m benchmarks.tree_growth --items 1000000 --samples 50000``: one sweep of Algorithm 2 over growing numbers of items.

Rows are (sample, node) scores that the definition asks for: each node of each segment once per sample, and the target's
path on the old and the new tree once. What an attempt adds that gave no better tree is not counted as work done, only
as time; ``attempts`` are not known from outside, so rows per second are a lower bound.
"""

import argparse
import sys
from itertools import pairwise

from benchmarks.records import duration, emit, rate, timed
from benchmarks.worlds import make_world, usual_lengths
from jtm_core.config import TreeLearningConfig
from jtm_core.tree_learning import TreeLearner, target_samples


def rows_of(height: int, gap: int, first_level: int, num_samples: int) -> int:
    """Scores that one pass takes."""
    nodes = 2 * (height - first_level + 1)
    for upper, lower in pairwise([*range(0, height, gap), height]):
        nodes += sum(1 << (level - upper) for level in range(max(upper + 1, first_level), lower + 1))
    return nodes * num_samples


def main(arguments: list[str]) -> None:
    """Measure each size and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--samples", type=int, default=40_000, help="at most, about")
    parser.add_argument("--gap", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args(arguments)
    for items in chosen.items:
        world = make_world(items, usual_lengths(max(2, chosen.samples // 34)))
        samples = target_samples(world.histories, 0.0, 1, None, 1, 1)
        learner = TreeLearner(world.network, world.tree, world.histories, samples, TreeLearningConfig(gap=chosen.gap, sweeps=1), 1)
        seconds = timed(learner.learn, chosen.repeats)
        rows, about = rows_of(world.tree.height, chosen.gap, 1, len(samples.samples)), {"items": items, "gap": chosen.gap}
        emit(duration("tree_learning_s", seconds, samples=len(samples.samples), **about))
        emit(rate("tree_learning_rows_per_s", rows, seconds, "rows/s", samples=len(samples.samples), **about))


if __name__ == "__main__":
    main(sys.argv[1:])

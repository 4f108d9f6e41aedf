"""``python -m benchmarks [--quick]``: one JSON object a line; the full run also writes ``benchmarks/results/``."""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from benchmarks import measures
from benchmarks.worlds import make_world

RESULTS = Path(__file__).parent / "results"


def quick() -> Iterator[measures.Record]:
    """The figures that every change should be looked at with."""
    peak = measures.sgemm_peak()
    yield from peak
    world = make_world(10_000, np.random.default_rng(0).integers(10, 60, 2000))
    yield from measures.forward(world, peak[0].value or np.nan)
    yield from measures.training(world)
    yield from measures.search(world)
    yield from measures.tree_learning(7, 1)
    yield from measures.tree_learning(2, 1)
    yield from measures.peak_memory()


def full() -> Iterator[measures.Record]:
    """The quick figures, then training and search over growing numbers of items."""
    yield from quick()
    for num_items in (10_000, 100_000, 1_000_000):
        world = make_world(num_items, np.random.default_rng(0).integers(10, 60, 2000))
        yield from measures.training(world, f"_{num_items}_items")
        yield from measures.search(world, f"_{num_items}_items")
    yield from measures.peak_memory()


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "commit": commit,
    }


def main(arguments: list[str]) -> None:
    """Measure, print and, in a full run, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes only, under a minute")
    is_quick = parser.parse_args(arguments).quick
    lines = []
    for record in quick() if is_quick else full():
        lines.append(json.dumps(asdict(record)))
        sys.stdout.write(lines[-1] + "\n")
        sys.stdout.flush()
    if not is_quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "core.jsonl").write_text("\n".join([json.dumps(machine()), *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

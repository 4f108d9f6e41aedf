"""``python -m benchmarks.cost_model``: what each phase needs at 10^6, 10^7 and 10^8 items, as a Markdown table for docs/scale.md.

Counts of bytes and floating-point operations follow from the algorithm alone; hours from dividing counts of rows and
scores by rates measured on one machine (``--rates FILE``, records of the benchmarks; the newest of a name counts). Shape of the data:
that of UserBehavior, 24 behaviours an item, 103 a user; settings of the paper: 100 negatives, gap 7, beam 400, 69 behaviours
looked back on, vectors 24 wide, hidden layers of 128, 64 and 24 units.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
RATES = ("preparation_rows_per_s", "train_rows_per_s", "tree_learning_rows_per_s", "search_users_per_s")

BEHAVIOURS_PER_ITEM, BEHAVIOURS_PER_USER = 24, 103
NEGATIVES, GAP, BEAM, WINDOWS, WIDTH = 100, 7, 400, 10, 24
FIRST, SECOND, THIRD = 128, 64, 24
HEAD_FLOPS = 2 * (FIRST * SECOND + SECOND * THIRD + THIRD)
"""Behind the split first layer, forward, per (user, node)."""
USER_FLOPS = 2 * WINDOWS * WIDTH * FIRST
"""User half, forward, per (user, level)."""
NODE_FLOPS = 2 * WIDTH * FIRST
"""Node half, forward, per node."""
BACKWARD = 3
"""Forward and backward together cost so many times the forward pass."""


@dataclass(frozen=True)
class Size:
    """One size of the problem.

    Parameters
    ----------
    num_items : int
    """

    num_items: int

    @property
    def height(self) -> int:
        """Height of the tree."""
        return max(1, (self.num_items - 1).bit_length())

    @property
    def num_levels(self) -> int:
        """Levels that are trained and searched: those on which a beam prunes."""
        return self.height - (BEAM.bit_length() - 1) + 1

    @property
    def num_behaviours(self) -> int:
        """Behaviours, each the target of a sample."""
        return BEHAVIOURS_PER_ITEM * self.num_items

    @property
    def table_bytes(self) -> int:
        """Vectors of inner nodes and items, float32."""
        return ((1 << self.height) - 1 + self.num_items) * WIDTH * 4


@dataclass(frozen=True)
class Phase:
    """What one phase handles and needs.

    Parameters
    ----------
    name : str
    work : float
        Number of units.
    unit : str
    flops : float
    memory, disk : int
        Bytes held at a time; bytes written.
    rate : str
        Name of the record that says how many units a second one machine does.
    """

    name: str
    work: float
    unit: str
    flops: float
    memory: int
    disk: int
    rate: str


def phases(size: Size) -> Iterator[Phase]:
    """Preparation, one epoch of training, one sweep of tree learning, 10^6 queries."""
    behaviours, levels = size.num_behaviours, size.num_levels
    log = behaviours * 20
    yield Phase("preparation", behaviours, "rows", 0, log, log + behaviours * 16, RATES[0])
    rows = behaviours * (NEGATIVES + levels)
    flops = BACKWARD * (rows * (HEAD_FLOPS + NODE_FLOPS) + behaviours * levels * USER_FLOPS)
    yield Phase("training, an epoch", rows, "rows", flops, 5 * size.table_bytes + behaviours * 16, 2 * size.table_bytes, RATES[1])
    scores = behaviours * scores_per_sample(size)
    flops = scores * HEAD_FLOPS + 2 * behaviours * levels * USER_FLOPS
    weights = size.num_items * (1 << GAP) * 4
    yield Phase("a sweep of tree learning", scores, "scores", flops, 2 * size.table_bytes + behaviours * 40, weights, RATES[2])
    queries = 10**6
    flops = queries * levels * (2 * BEAM * (HEAD_FLOPS + NODE_FLOPS) + USER_FLOPS)
    yield Phase("search, 10^6 users", queries, "users", flops, size.table_bytes, 0, RATES[3])


def scores_per_sample(size: Size) -> int:
    """Nodes that a sweep of tree learning scores for a sample: every trained node of the subtree of each segment, and two paths."""
    first = size.height - size.num_levels + 1
    borders = [*range(0, size.height, GAP), size.height]
    subtrees = sum(1 << (level - upper) for upper, lower in pairwise(borders) for level in range(max(upper + 1, first), lower + 1))
    return subtrees + 2 * size.num_levels


def read_rates(path: Path) -> dict[str, float]:
    """Rates among the records of one benchmark file, or of all files of a folder; the one at the most items counts.

    Raises
    ------
    ValueError
        If a rate is missing.
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    records = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    rates: dict[str, tuple[int, float]] = {}
    for record in records:
        name, value = record.get("name"), record.get("value")
        if name in RATES and value and int(record.get("items") or 0) >= rates.get(name, (-1, 0.0))[0]:
            rates[name] = int(record.get("items") or 0), float(value)
    missing = [name for name in RATES if name not in rates]
    if missing:
        raise ValueError(f"{path} has no records of {', '.join(missing)}; run `make bench` first")
    return {name: rate for name, (_, rate) in rates.items()}


def table(sizes: Sequence[Size], rates: dict[str, float]) -> str:
    """Markdown, a row per size and phase."""
    lines = ["| items | height | phase | work | FLOP | memory | written | hours |", "|---|---|---|---|---|---|---|---|"]
    for size in sizes:
        for phase in phases(size):
            hours = phase.work / rates[phase.rate] / 3600
            cells = [
                f"{size.num_items:.0e}", str(size.height), phase.name, f"{phase.work:.1e} {phase.unit}",
                f"{phase.flops:.1e}" if phase.flops else "", _gigabytes(phase.memory), _gigabytes(phase.disk), f"{hours:.2g}",
            ]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.2g} GB" if number else ""


def main(arguments: list[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=float, nargs="+", default=[1e6, 1e7, 1e8])
    parser.add_argument("--rates", type=Path, default=RESULTS, help="file or folder of benchmark records")
    options = parser.parse_args(arguments)
    rates = read_rates(options.rates)
    print(table([Size(int(number)) for number in options.items], rates))
    print("\nRates: " + "; ".join(f"{name} {rate:,.0f}" for name, rate in rates.items()))


if __name__ == "__main__":
    main(sys.argv[1:])

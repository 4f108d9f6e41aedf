"""``python -m benchmarks.rivals.world FOLDER``: the world that all systems learn and are asked about, as one file.

Users walk in their favourite subtrees of a planted tree (:mod:`jtm_core.synthetic`), so there is something to learn and
the best possible recall is known; JTM's first tree sees only coarse categories, a fifth of them wrong.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.records import Record, emit
from jtm_core.behaviours import (
    Behaviours,
    EvaluationUsers,
    Ints,
    Ragged,
    TrainingHistories,
    evaluation_histories,
    evaluation_truths,
    training_histories,
)
from jtm_core.config import SplitConfig
from jtm_core.splitting import split_users
from jtm_core.synthetic import planted_world, true_recall

FILE = "world.npz"
CUTOFFS = (50, 200)


@dataclass(frozen=True)
class Asked:
    """Users who are asked: what is known of them, what they did next."""

    histories: Ragged
    truths: Ragged


@dataclass(frozen=True)
class RivalsWorld:
    """What every system is given; categories are for JTM's first tree only."""

    histories: TrainingHistories
    categories: Ints
    validation: Asked
    test: Asked

    @property
    def num_items(self) -> int:
        """Number of items."""
        return len(self.categories)


def read_world(folder: Path) -> RivalsWorld:
    """The world that :func:`main` left."""
    with np.load(folder / FILE) as file:
        rows = {name: Ragged(file[f"{name}_values"], file[f"{name}_offsets"]) for name in ("train", "valid", "vtrue", "test", "ttrue")}
        return RivalsWorld(
            TrainingHistories.without_context(rows["train"]),
            file["categories"],
            Asked(rows["valid"], rows["vtrue"]),
            Asked(rows["test"], rows["ttrue"]),
        )


def _asked(behaviours: Behaviours, users: EvaluationUsers) -> tuple[Ragged, Ragged]:
    return evaluation_histories(behaviours, users), evaluation_truths(behaviours, users)


def main(arguments: list[str]) -> None:
    """Make the world and say how good a list can be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--users", type=int, default=30_000)
    parser.add_argument("--groups", type=int, default=128)
    parser.add_argument("--test-users", type=int, default=2000)
    chosen = parser.parse_args(arguments)
    world = planted_world(np.random.default_rng(1), chosen.users, chosen.items, chosen.groups)
    split = split_users(world.behaviours, SplitConfig(num_test_users=chosen.test_users, num_validation_users=300), 1)
    valid, test = _asked(world.behaviours, split.validation), _asked(world.behaviours, split.test)
    train = training_histories(world.behaviours, split)
    rows = {"train": train, "valid": valid[0], "vtrue": valid[1], "test": test[0], "ttrue": test[1]}
    arrays = {f"{name}_{part}": getattr(ragged, part) for name, ragged in rows.items() for part in ("values", "offsets")}
    chosen.folder.mkdir(parents=True, exist_ok=True)
    np.savez(chosen.folder / FILE, categories=world.categories, **arrays)
    about = {"system": "best possible", "items": chosen.items, "users": chosen.users, "test_users": len(split.test)}
    for cutoff in CUTOFFS:
        emit(Record(f"recall_at_{cutoff}", true_recall(world, split.test, cutoff), "share", about))


if __name__ == "__main__":
    main(sys.argv[1:])

"""``python -m benchmarks.rivals.counting popularity|item-cf FOLDER``: the systems that count, from :mod:`jtm_core.baselines`."""

import sys
import time
from pathlib import Path

from benchmarks.rivals.judging import built, judge
from benchmarks.rivals.world import read_world
from jtm_core.baselines.item_cf import ItemCF
from jtm_core.baselines.popularity import Popularity

SYSTEMS: dict[str, type[Popularity | ItemCF]] = {"popularity": Popularity, "item-cf": ItemCF}


def main(system: str, folder: str) -> None:
    """Count and judge."""
    world = read_world(Path(folder))
    begun = time.perf_counter()
    model = SYSTEMS[system].fit(world.histories, world.num_items)
    built(system, time.perf_counter() - begun)
    judge(system, model.recommend, world)


if __name__ == "__main__":
    main(*sys.argv[1:])

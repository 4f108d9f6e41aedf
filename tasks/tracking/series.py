"""What figures and reports draw, picked out of the flat metric names of an experiment."""

import re
from collections.abc import Mapping

from tasks.tracking.records import Experiment, Iteration, Row, TreeLearning

Points = list[tuple[int, float]]

SEARCHES: Mapping[str, str] = {"": "JTM, beam search", "small_beam/": "JTM, small beam", "full_scan/": "JTM, full leaf scan"}
"""Part of a metric's name -> title of the line."""

_RECALL = re.compile(r"recall_at_(\d+)")


def recall_cutoffs(experiment: Experiment) -> list[int]:
    """Cut-offs M whose recall was measured by beam search, ascending."""
    prefix = experiment.users + "/"
    names = {name.removeprefix(prefix) for iteration in experiment.iterations for name in iteration.metrics if name.startswith(prefix)}
    return sorted(int(match[1]) for match in map(_RECALL.fullmatch, names) if match)


def over_iterations(experiment: Experiment, metric: str) -> Points:
    """Values of a metric of the shown users, per iteration that has it."""
    name = f"{experiment.users}/{metric}"
    return [(iteration.number, iteration.metrics[name]) for iteration in experiment.iterations if name in iteration.metrics]


def layer_recall(experiment: Experiment, iteration: Iteration) -> Points:
    """Recall of the beam on each level, upper levels first."""
    return levels_of_metric(iteration.metrics, f"{experiment.users}/layer_recall/level_")


def levels_of_metric(metrics: Mapping[str, float], prefix: str) -> Points:
    """Values of the metrics ``<prefix><level>``, by level."""
    found = {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}
    return sorted((int(level), value) for level, value in found.items() if level.isdigit())


def spread_out(iterations: tuple[Iteration, ...], at_most: int = 8) -> list[Iteration]:
    """Pick iterations evenly, first and last among them, where a figure has no room for all."""
    if len(iterations) <= at_most:
        return list(iterations)
    last = len(iterations) - 1
    return [iterations[round(place * last / (at_most - 1))] for place in range(at_most)]


def segment_rows(learning: TreeLearning) -> list[Row]:
    """Table of the steps of tree learning: levels, objective before and after, parents that kept their assignment."""
    return [
        {
            "from level": segment.level_from,
            "to level": segment.level_to,
            "objective before": segment.objective_before,
            "objective after": segment.objective_after,
            "gain": segment.objective_after - segment.objective_before,
            "parents kept": segment.kept_parents,
            "parents": segment.num_parents,
        }
        for segment in learning.segments
    ]

"""Hold the systems of a comparison against each other, user by user; see :mod:`jtm_core.comparison`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from jtm_core.comparison_config import SEEDLESS
from jtm_core.config import EvaluationConfig, JtmConfig
from tasks.artefacts import read_data, read_lists, save_report
from tasks.caching import step
from tasks.references import DataReferences, FittedRun, ReportRef
from tasks.store import Store, open_store

if TYPE_CHECKING:
    from jtm_core.behaviours import Behaviours, EvaluationUsers
    from jtm_core.comparison import Floats

REFERENCE = "jtm"
"""The system that the others are held against, if it is among them; else the first is."""
ABLATION: Mapping[str, Mapping[str, float]] = {
    "J: jtm-j - tdm": {"jtm-j": 1, "tdm": -1},
    "H: jtm-h - tdm": {"jtm-h": 1, "tdm": -1},
    "J + H": {"jtm-j": 1, "jtm-h": 1, "tdm": -2},
    "both: jtm - tdm": {"jtm": 1, "tdm": -1},
    "both - (J + H)": {"jtm": 1, "jtm-j": -1, "jtm-h": -1, "tdm": 1},
}
"""The four cells of the paper's ablation: what is shown -> weights of the systems."""
SEEN = {"": "test", "filtered/": "test_filtered"}

Recalls = dict[int, dict[str, "Floats"]]
"""Seed -> measure -> recall of every test user: float64 (E,)."""


@step(run_name="contrast-systems-{data.name}", uses=("evaluation", "seed"))
def contrast_systems(runs: tuple[FittedRun, ...], data: DataReferences, config: JtmConfig) -> ReportRef:
    """Differences of recall with 95 % intervals over test users; a user's recall is averaged over a system's seeds first.

    Where some runs failed, each contrast takes the seeds that all its systems have, and is left out where there is none.

    Parameters
    ----------
    runs : tuple of FittedRun
        All that were finished, at least 1.
    data : DataReferences
    config : JtmConfig
        What the systems have in common.

    Returns
    -------
    ReportRef
        JSON ``{"reference": "jtm", "contrasts": [{"kind": "difference", "name": "tdm", "seeds": [1, 2], "measure": "test/recall_at_10",
        ...}]}``.
    """
    store = open_store()
    beside = beside_variations(runs)
    behaviours, split = read_data(store, data)
    recalls = {
        key: recalls_of(store, [run for run in runs if (run.system, run.variation) == key], behaviours, split.test, config.evaluation)
        for key in dict.fromkeys((run.system, run.variation) for run in runs)
    }
    systems = {system: values for (system, variation), values in recalls.items() if not variation}
    reference = REFERENCE if REFERENCE in systems else next(iter(systems), "")
    differences = {system: {system: 1.0, reference: -1.0} for system in systems if system != reference}
    contrasts = _contrasts("difference", systems, differences, config.seed)
    if all(weights.keys() <= systems.keys() for weights in ABLATION.values()):
        cells = {system: systems[system] for system in ABLATION["both - (J + H)"]}
        shared = {system: {seed: cells[system][seed] for seed in common_seeds(cells)} for system in cells}
        contrasts += _contrasts("ablation", shared, ABLATION, config.seed)
    varied = {variation: values for (_, variation), values in recalls.items() if variation}
    if beside is not None:
        first = recalls_of(store, [beside], behaviours, split.test, config.evaluation)
        against = {variation: {variation: 1.0, REFERENCE: -1.0} for variation in varied}
        contrasts += _contrasts("sensitivity", {**varied, REFERENCE: first}, against, config.seed)
    return save_report(store, "contrasts", {"reference": reference, "contrasts": contrasts})


def beside_variations(runs: Sequence[FittedRun]) -> FittedRun | None:
    """The reference's run under the seed of the variations, None if it failed or there are none."""
    seeds = {run.seed for run in runs if run.variation}
    return next((run for run in runs if run.system == REFERENCE and not run.variation and run.seed in seeds), None)


def common_seeds(recalls: Mapping[str, Mapping[int, object]]) -> list[int]:
    """Seeds that all of these have that draw random numbers, ascending, so that like is held against like where some failed."""
    seeds = [set(values) for system, values in recalls.items() if system not in SEEDLESS]
    return sorted(set.intersection(*seeds)) if seeds else []


def recalls_of(
    store: Store, runs: Sequence[FittedRun], behaviours: "Behaviours", users: "EvaluationUsers", evaluation: EvaluationConfig
) -> Recalls:
    """Recall of every test user by seed and measure."""
    from jtm_core.behaviours import evaluation_histories, evaluation_truths
    from jtm_core.metrics import metrics_at

    known, truths = (evaluation_histories(behaviours, users), evaluation_truths(behaviours, users))
    found: Recalls = {}
    for run in runs:
        lists = read_lists(store, run.lists)
        for prefix, name in SEEN.items():
            metrics = metrics_at(lists[name].astype(int), truths, known, evaluation.cutoffs, evaluation.truth)
            measures = {f"test/{prefix}recall_at_{cutoff}": metrics[f"recall_at_{cutoff}"] for cutoff in evaluation.cutoffs}
            found.setdefault(run.seed, {}).update(measures)
    return found


def _contrasts(kind: str, recalls: Mapping[str, Recalls], wanted: Mapping[str, Mapping[str, float]], seed: int) -> list[dict[str, Any]]:
    """One record a contrast and measure; the same users are drawn for all."""
    import numpy as np

    from jtm_core.comparison import intervals_over_users
    from jtm_core.seeding import generator

    columns: dict[tuple[str, str], Any] = {}
    seeds = {name: common_seeds({system: recalls[system] for system in weights}) for name, weights in wanted.items()}
    for name, weights in wanted.items():
        columns |= {(name, measure): column for measure, column in _columns(recalls, weights, seeds[name]).items()}
    if not columns:
        return []
    intervals = intervals_over_users(np.stack(list(columns.values()), axis=1), generator(seed, "bootstrap"))
    return [
        {"kind": kind, "name": name, "seeds": seeds[name], "measure": measure, **asdict(interval)}
        for (name, measure), interval in zip(columns, intervals, strict=True)
    ]


def _columns(recalls: Mapping[str, Recalls], weights: Mapping[str, float], seeds: Sequence[int]) -> "dict[str, Floats]":
    """A contrast of every user by measure; none if a system that draws random numbers has no seed of these."""
    import numpy as np

    from jtm_core.comparison import contrast

    taken = {system: [recall for seed, recall in recalls[system].items() if system in SEEDLESS or seed in seeds] for system in weights}
    if not all(taken.values()):
        return {}
    return {
        measure: contrast({system: np.stack([recall[measure] for recall in ones]) for system, ones in taken.items()}, weights)
        for measure in next(iter(taken.values()))[0]
    }

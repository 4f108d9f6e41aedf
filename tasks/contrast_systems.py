"""Hold the systems of a comparison against each other, target by target; see :mod:`jtm_core.comparison`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from jtm_core.comparison_config import SEEDLESS
from jtm_core.config import JtmConfig
from tasks.artefacts import read_data, read_lists, save_report
from tasks.caching import step
from tasks.references import DataReferences, FittedRun, ReportRef
from tasks.store import Store, open_store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from jtm_core.comparison import Floats
    from jtm_core.found_targets import Targets

REFERENCE = "jtm"
"""The system that the others are held against where none is named, if it is among them; else the first is. Variations are always its."""
ABLATION: Mapping[str, Mapping[str, float]] = {
    "J: jtm-j - tdm": {"jtm-j": 1, "tdm": -1},
    "H: jtm-h - tdm": {"jtm-h": 1, "tdm": -1},
    "J + H": {"jtm-j": 1, "jtm-h": 1, "tdm": -2},
    "both: jtm - tdm": {"jtm": 1, "tdm": -1},
    "both - (J + H)": {"jtm": 1, "jtm-j": -1, "jtm-h": -1, "tdm": 1},
}
"""The four cells of the paper's ablation: what is shown -> weights of the systems."""
SEEN = {"": "test", "filtered/": "test_filtered"}

Ranks = dict[int, dict[str, "NDArray[np.int32]"]]
"""Seed -> prefix of :data:`SEEN` -> rank of every target of the test users in these lists: int32 (N,)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What test users are asked for, and the cut-offs at which it counts."""

    targets: "Targets"
    cutoffs: tuple[int, ...]


@step(run_name="contrast-systems-{data.name}", uses=("evaluation", "seed"))
def contrast_systems(runs: tuple[FittedRun, ...], data: DataReferences, config: JtmConfig, reference: str | None) -> ReportRef:
    """Differences of recall with 95 % intervals over test users, and over these and the items they are asked for.

    A user's recall is averaged over a system's seeds first.

    Where some runs failed, each contrast takes the seeds that all its systems have, and is left out where there is none.

    Parameters
    ----------
    runs : tuple of FittedRun
        All that were finished, at least 1.
    data : DataReferences
    config : JtmConfig
        What the systems have in common.
    reference : str or None
        The system that the others are held against. Where it is None, or all its runs failed, :data:`REFERENCE` is, or the first.

    Returns
    -------
    ReportRef
        JSON ``{"reference": "jtm", "contrasts": [{"kind": "difference", "name": "tdm", "seeds": [1, 2], "measure": "test/recall_at_10",
        ...}]}``.
    """
    store = open_store()
    asked = asked_of(store, data, config.evaluation.cutoffs, config.evaluation.truth)
    ranks: dict[tuple[str, str], Ranks] = {}
    for run in runs:
        ranks.setdefault((run.system, run.variation), {})[run.seed] = ranks_of(read_lists(store, run.lists), asked.targets)
    return save_report(store, "contrasts", contrasts_between(asked, ranks, config.seed, reference))


def asked_of(store: Store, data: DataReferences, cutoffs: tuple[int, ...], truth: Literal["multiset", "set"]) -> Asked:
    """What the test users of a data set are asked for."""
    from jtm_core.behaviours import evaluation_truths
    from jtm_core.found_targets import targets_of

    behaviours, split = read_data(store, data)
    return Asked(targets_of(evaluation_truths(behaviours, split.test), truth), cutoffs)


def ranks_of(lists: Mapping[str, "NDArray[np.int32]"], targets: "Targets") -> "dict[str, NDArray[np.int32]]":
    """Where a run's lists have what test users are asked for: prefix of :data:`SEEN` -> int32 (N,)."""
    from jtm_core.found_targets import target_ranks

    return {prefix: target_ranks(lists[name], targets) for prefix, name in SEEN.items()}


def contrasts_between(asked: Asked, ranks: Mapping[tuple[str, str], Ranks], seed: int, reference: str | None = None) -> dict[str, Any]:
    """What :func:`contrast_systems` writes, from where the lists of every (system, variation) have the targets.

    Parameters
    ----------
    asked : Asked
    ranks : mapping of (system, variation) to Ranks
    seed : int
        Draws users.
    reference : str or None
        As in :func:`contrast_systems`.
    """
    systems = {system: found for (system, variation), found in ranks.items() if not variation}
    reference = next((name for name in (reference, REFERENCE, *systems) if name in systems), "")
    differences = {system: {system: 1.0, reference: -1.0} for system in systems if system != reference}
    contrasts = _contrasts("difference", asked, systems, differences, seed)
    if all(weights.keys() <= systems.keys() for weights in ABLATION.values()):
        cells = {system: systems[system] for system in ABLATION["both - (J + H)"]}
        shared = {system: {common: cells[system][common] for common in common_seeds(cells)} for system in cells}
        contrasts += _contrasts("ablation", asked, shared, ABLATION, seed)
    varied = {variation: found for (_, variation), found in ranks.items() if variation}
    beside = beside_variations(systems.get(REFERENCE, {}), varied)
    if beside:
        against = {variation: {variation: 1.0, REFERENCE: -1.0} for variation in varied}
        contrasts += _contrasts("sensitivity", asked, {**varied, REFERENCE: beside}, against, seed)
    return {"reference": reference, "contrasts": contrasts}


def beside_variations(reference: Ranks, varied: Mapping[str, Ranks]) -> Ranks:
    """The reference under the seeds of the variations; nothing if it failed there or there are none."""
    seeds = {seed for found in varied.values() for seed in found}
    return {seed: found for seed, found in reference.items() if seed in seeds}


def common_seeds(ranks: Mapping[str, Mapping[int, object]]) -> list[int]:
    """Seeds that all of these have that draw random numbers, ascending, so that like is held against like where some failed."""
    seeds = [set(values) for system, values in ranks.items() if system not in SEEDLESS]
    return sorted(set.intersection(*seeds)) if seeds else []


def _contrasts(
    kind: str, asked: Asked, ranks: Mapping[str, Ranks], wanted: Mapping[str, Mapping[str, float]], seed: int
) -> list[dict[str, Any]]:
    """One record a contrast and measure; the same users are drawn for all."""
    from jtm_core.comparison import recall_intervals
    from jtm_core.seeding import generator

    seeds = {name: common_seeds({system: ranks[system] for system in weights}) for name, weights in wanted.items()}
    chosen = {name: _of_seeds(ranks, weights, seeds[name]) for name, weights in wanted.items()}
    measures = [(prefix, cutoff) for prefix in SEEN for cutoff in asked.cutoffs]
    named = [(name, measure) for name, systems in chosen.items() if all(systems.values()) for measure in measures]
    columns = (_found(chosen[name], wanted[name], *measure) for name, measure in named)
    intervals = recall_intervals(asked.targets, columns, generator(seed, "bootstrap"))
    return [
        {"kind": kind, "name": name, "seeds": seeds[name], "measure": f"test/{prefix}recall_at_{cutoff}", **asdict(interval)}
        for (name, (prefix, cutoff)), interval in zip(named, intervals, strict=True)
    ]


def _of_seeds(ranks: Mapping[str, Ranks], systems: Iterable[str], seeds: Sequence[int]) -> dict[str, list[dict[str, "NDArray[np.int32]"]]]:
    """The runs that a contrast takes; those without randomness stand for all seeds."""
    return {system: [found for seed, found in ranks[system].items() if system in SEEDLESS or seed in seeds] for system in systems}


def _found(
    systems: Mapping[str, Sequence[Mapping[str, "NDArray[np.int32]"]]], weights: Mapping[str, float], prefix: str, cutoff: int
) -> "Floats":
    """A contrast of what was found of every target."""
    import numpy as np

    from jtm_core.comparison import contrast

    return contrast({system: np.stack([run[prefix] < cutoff for run in runs]).astype(float) for system, runs in systems.items()}, weights)

"""The search for settings: the ranges of every system, and which of their combinations are tried.

All learned systems search the same ranges, and every system gets the same number of trials. The first trial is the shared
settings as they are, so tuning never ends below them on validation users; the others are drawn at random without repetition [1]_.
What is a budget (epochs, negatives, width of vectors, windows) is no range: it is one for all.

References
----------
.. [1] J. Bergstra and Y. Bengio, Random search for hyper-parameter optimization, JMLR 2012.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from jtm_core.comparison_config import Dial, PlannedRun, SystemSettings, TuningConfig, planned_run
from jtm_core.seeding import generator
from jtm_core.systems.naming import SYSTEMS, SystemName


@dataclass(frozen=True, slots=True)
class Range:
    """A dial and the values it may take."""

    dial: str
    values: tuple[Dial, ...]


_LEARNED = (
    Range("training.learning_rate", (3e-4, 5e-4, 1e-3, 2e-3, 3e-3, 5e-3)),
    Range("training.batch_samples", (128, 256, 512, 1024, 2048)),
    Range("training.target", ("random_horizon", "next_item")),
    Range("training.horizon_share", (0.25, 0.5, 1.0)),
    Range("training.negative_draw", ("even", "popularity")),
    Range("training.tied_levels", (True, False)),
    Range("training.minimum_history", (1, 3, 5)),
)
_NEIGHBOURS = (Range("counting.num_neighbours", (10, 20, 50, 100, 200, 500, 1000, 2000)),)
_ALS = (
    Range("counting.als_factors", (16, 32, 64, 128, 256)),
    Range("counting.als_regularisation", (0.001, 0.01, 0.1, 1.0, 10.0)),
    Range("counting.als_confidence", (1.0, 2.0, 5.0, 20.0, 40.0)),
    Range("counting.als_iterations", (5, 15, 30)),
)
_OWN: Mapping[str, tuple[Range, ...]] = {"popularity": (), "item-cf": _NEIGHBOURS, "item-cf-bm25": _NEIGHBOURS, "als": _ALS}
RANGES: Mapping[SystemName, tuple[Range, ...]] = {system: _OWN.get(system, _LEARNED) for system in SYSTEMS}
"""What is searched of each system; ``jtm-paper`` trains by the paper's target, draws and rate, untied, whatever is drawn for these;
HSM has negatives of its own, and like DNN and product-DNN no levels to tie."""


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """A trial of the search.

    Parameters
    ----------
    number : int
        0 is the shared settings as they are.
    dials : dict of str to Dial
        What is set otherwise.
    planned : PlannedRun
        Whom to fit with what.
    """

    number: int
    dials: dict[str, Dial]
    planned: PlannedRun


def planned_trials(config: TuningConfig) -> tuple[PlannedTrial, ...]:
    """Every trial of every system, system by system; all under the search's one seed."""
    settings = SystemSettings(jtm=replace(config.shared, seed=config.seed), counting=config.counting)
    return tuple(
        PlannedTrial(number, dials, planned_run(system, settings, dials))
        for system in config.systems
        for number, dials in enumerate(trials_of(system, config.trials, config.seed))
    )


def trials_of(system: SystemName, num_trials: int, seed: int) -> tuple[dict[str, Dial], ...]:
    """The settings a system is tried with.

    Parameters
    ----------
    system : SystemName
    num_trials : int
        At least 1.
    seed : int
        Draws the combinations; systems of the same ranges are tried with the same ones.

    Returns
    -------
    tuple of dict
        Path of a dial -> value. The first is empty: the shared settings. Fewer than ``num_trials`` if the ranges have fewer combinations.

    Raises
    ------
    ValueError
        If ``num_trials`` is below 1.

    Examples
    --------
    >>> trials_of("popularity", 8, seed=1)
    ({},)
    """
    if num_trials < 1:
        raise ValueError(f"num_trials is {num_trials}; allowed are 1 and more")
    ranges = RANGES[system]
    combinations = prod(len(one.values) for one in ranges) if ranges else 0
    drawn = generator(seed, "tuning").permutation(combinations)[: num_trials - 1]
    return ({}, *(_combination(ranges, int(number)) for number in drawn))


def _combination(ranges: tuple[Range, ...], number: int) -> dict[str, Dial]:
    """The ``number``-th combination of the ranges, the last range turning fastest."""
    chosen: dict[str, Dial] = {}
    for one in reversed(ranges):
        number, place = divmod(number, len(one.values))
        chosen[one.dial] = one.values[place]
    return dict(reversed(chosen.items()))

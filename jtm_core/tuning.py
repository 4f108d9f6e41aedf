"""The search for settings: the ranges of every system, and which of their combinations are tried.

All learned systems search the same ranges, and every system gets the same number of trials. Where those who judge are asked for
the newest part of the log, the share of it that teaches is searched besides. The first trial is the shared settings as they are,
so tuning never ends below them on validation users; the others are drawn at random [1]_, passing over what comes to settings tried
before: a system without dials has one trial, Item-CF sixteen.
What is a budget (epochs, negatives, width of vectors, windows) is no range: it is one for all.

References
----------
.. [1] J. Bergstra and Y. Bengio, Random search for hyper-parameter optimization, JMLR 2012.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from math import prod

from jtm_core.comparison_config import Dial, PlannedRun, SystemSettings, TuningConfig, planned_run
from jtm_core.config import JtmConfig
from jtm_core.seeding import generator
from jtm_core.splitting import ASKS_FOR_THE_NEWEST
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
    Range("model.inner_product", (False, True)),
)
_NEIGHBOURS = (
    Range("counting.num_neighbours", (10, 20, 50, 100, 200, 500, 1000, 2000)),
    Range("counting.own_items", (False, True)),
)
_ALS = (
    Range("counting.als_factors", (16, 32, 64, 128, 256)),
    Range("counting.als_regularisation", (0.001, 0.01, 0.1, 1.0, 10.0)),
    Range("counting.als_confidence", (1.0, 2.0, 5.0, 20.0, 40.0)),
    Range("counting.als_iterations", (5, 15, 30)),
)
_OWN: Mapping[str, tuple[Range, ...]] = {
    "popularity": (),
    "recent-popularity": (Range("counting.recent_share", (0.001, 0.003, 0.01, 0.03, 0.1)),),
    "personal-popularity": (),
    "item-cf": _NEIGHBOURS,
    "item-cf-bm25": _NEIGHBOURS,
    "als": _ALS,
}
RANGES: Mapping[SystemName, tuple[Range, ...]] = {system: _OWN.get(system, _LEARNED) for system in SYSTEMS}
"""What is searched of each system; ``jtm-paper`` has the paper's target, draws and rate, no ties and no inner product, whatever is drawn
for these; HSM has negatives of its own, and like DNN and product-DNN no levels to tie; product-DNN is nothing but an inner product."""
_NEWEST_TAUGHT = Range("training.later_newest_share", (0.005, 0.01, 0.02, 0.05, 0.2, 1.0))
_NEWEST_COUNTED = Range("counting.newest_share", (0.001, 0.003, 0.01, 0.03, 0.1, 1.0))
_WITHOUT_TIES = frozenset({"dnn", "product-dnn", "hsm"})


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
    """Every trial of every system, system by system, all under the search's one seed; no system is tried with the same settings twice."""
    shared = SystemSettings(jtm=replace(config.shared, seed=config.seed), counting=config.counting)
    return tuple(trial for system in config.systems for trial in _trials_of(system, shared, config.trials))


def _trials_of(system: SystemName, shared: SystemSettings, num_trials: int) -> Iterator[PlannedTrial]:
    """The shared settings, then draws, passing over those that come to settings a system was tried with: fewer where there are no more."""
    made: list[PlannedRun] = []
    for dials in chain([{}], draws_of(ranges_of(system, shared.jtm), shared.jtm.seed)):
        planned = planned_run(system, shared, dials)
        if (effective := _effective(planned)) not in made:
            yield PlannedTrial(len(made), dials, planned)
            made.append(effective)
        if len(made) == num_trials:
            return


def _effective(planned: PlannedRun) -> PlannedRun:
    """The same for settings that differ only in what the system does not look at."""
    training, model = planned.settings.training, planned.settings.model
    if training.target == "next_item":
        training = replace(training, horizon_share=1.0)
    if not planned.settings.iterations:
        training = replace(training, later_newest_share=1.0)
    if planned.system in _WITHOUT_TIES:
        training = replace(training, tied_levels=False)
    if planned.system == "hsm":
        training = replace(training, negative_draw="even")
    if planned.system == "product-dnn":
        model = replace(model, inner_product=False)
    return replace(planned, settings=replace(planned.settings, training=training, model=model))


def ranges_of(system: SystemName, shared: JtmConfig) -> tuple[Range, ...]:
    """What is searched of a system: its :data:`RANGES`, and the newest share where the split asks for the newest.

    A smaller share is less training in as many epochs, so it is no budget that one system could have more of.

    Examples
    --------
    >>> from jtm_core.config import SplitConfig
    >>> [one.dial for one in ranges_of("popularity", JtmConfig(split=SplitConfig(protocol="global_time")))]
    ['counting.newest_share']
    """
    own = RANGES[system]
    if shared.split.protocol not in ASKS_FOR_THE_NEWEST or system == "recent-popularity":  # which has a share of its own
        return own
    return (*own, _NEWEST_COUNTED if system in _OWN else _NEWEST_TAUGHT)


def draws_of(ranges: tuple[Range, ...], seed: int) -> Iterator[dict[str, Dial]]:
    """Every combination of ranges in random order.

    Parameters
    ----------
    ranges : tuple of Range
    seed : int
        Draws the order; ranges of the same numbers of values have the same one.

    Yields
    ------
    dict of str to Dial
        Path of a dial -> value.

    Examples
    --------
    >>> list(draws_of((), seed=1)), len(list(draws_of(RANGES["als"], seed=1)))
    ([], 375)
    """
    combinations = prod(len(one.values) for one in ranges) if ranges else 0
    for number in generator(seed, "tuning").permutation(combinations):
        yield _combination(ranges, int(number))


def _combination(ranges: tuple[Range, ...], number: int) -> dict[str, Dial]:
    """The ``number``-th combination of the ranges, the last range turning fastest."""
    chosen: dict[str, Dial] = {}
    for one in reversed(ranges):
        number, place = divmod(number, len(one.values))
        chosen[one.dial] = one.values[place]
    return dict(reversed(chosen.items()))

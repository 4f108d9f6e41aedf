"""Every dial of a comparison of systems, and of the search for their settings; beside :mod:`jtm_core.config`, which it extends.

What makes a comparison fair is not a dial: data, split, evaluation and the seeds are one for all systems, and a system's own
settings may only touch what :data:`OWN_PARTS` lists.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from math import isfinite
from operator import ge, gt, le, lt
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MinLen

from jtm_core.config import JtmConfig, PositiveInt
from jtm_core.counting_config import CountingConfig
from jtm_core.systems.naming import SYSTEMS, SystemName, settings_of

_PYDANTIC = {"extra": "forbid", "use_attribute_docstrings": True, "allow_inf_nan": False}

Dial = bool | int | float | str
OWN_PARTS = ("model", "training", "tree_learning", "counting")
"""Parts of the settings in which systems may differ."""
SEEDLESS: frozenset[SystemName] = frozenset({"popularity", "recent-popularity", "personal-popularity", "item-cf", "item-cf-bm25"})
"""Systems that draw no random number: one run stands for all seeds."""


@dataclass(frozen=True, kw_only=True)
class SystemSettings:
    """What one system is fitted with."""

    jtm: JtmConfig = field(default_factory=JtmConfig)
    """The settings that learned systems share, with what makes the system the one it is."""
    counting: CountingConfig = field(default_factory=CountingConfig)
    """Those of the systems that count and factorise."""


@dataclass(frozen=True, kw_only=True)
class SensitivityConfig:
    """Dials of ``jtm`` that are varied one at a time, under the first seed; empty lists vary nothing."""

    __pydantic_config__ = _PYDANTIC

    gaps: tuple[Annotated[int, Ge(1), Le(12)], ...] = ()
    """Values of ``tree_learning.gap``."""
    assignments: tuple[Literal["greedy", "regret", "exact"], ...] = ()
    """Values of ``tree_learning.assignment``."""
    beam_widths: tuple[PositiveInt, ...] = ()
    """Values of ``evaluation.beam_width`` to train, choose and search with; at least the largest cut-off."""
    negatives: tuple[PositiveInt, ...] = ()
    """Values of ``training.negatives``."""

    def __post_init__(self) -> None:
        asked = self.dials()
        if len(set(asked)) != len(asked):
            raise ValueError(f"sensitivity asks for {asked}; each value may come once")

    def dials(self) -> tuple[tuple[str, Dial], ...]:
        """Every dial and value asked for."""
        asked: dict[str, tuple[Dial, ...]] = {
            "tree_learning.gap": self.gaps,
            "tree_learning.assignment": self.assignments,
            "evaluation.beam_width": self.beam_widths,
            "training.negatives": self.negatives,
        }
        return tuple((dial, value) for dial, values in asked.items() for value in values)


@dataclass(frozen=True, kw_only=True)
class OwnSettings:
    """What one system sets otherwise than the shared config, as ``tune-systems`` finds it."""

    __pydantic_config__ = _PYDANTIC

    system: SystemName = "jtm"
    """The system."""
    dials: dict[str, Dial] = field(default_factory=dict)
    """Path of a dial -> value, e.g. ``training.learning_rate``; only in the parts model, training, tree_learning and counting."""

    def __post_init__(self) -> None:
        foreign = [path for path in self.dials if path.split(".")[0] not in OWN_PARTS]
        if foreign:
            raise ValueError(f"{self.system} sets {foreign} for itself; allowed are dials in {', '.join(OWN_PARTS)}, the rest is shared")
        with_dials(SystemSettings(), self.dials)


@dataclass(frozen=True, kw_only=True)
class ComparisonConfig:
    """One comparison: systems on the same data, split, users and cut-offs, several seeds each."""

    __pydantic_config__ = _PYDANTIC

    shared: JtmConfig = field(default_factory=JtmConfig)
    """What all systems have in common; ``shared.seed`` is that of the split, for every seed below."""
    counting: CountingConfig = field(default_factory=CountingConfig)
    """Dials of the systems that count and factorise."""
    systems: Annotated[tuple[SystemName, ...], MinLen(1)] = SYSTEMS
    """Systems compared, in the order of the tables."""
    reference: SystemName | None = None
    """The system that the others are held against, one of ``systems``; None takes ``jtm`` if it is among them, else the first."""
    seeds: Annotated[tuple[int, ...], MinLen(1)] = (1, 2, 3)
    """Seeds of first tree, training and tree learning, one run each."""
    beams: tuple[PositiveInt, ...] = (25, 50, 100, 200, 400, 800)
    """Beam widths at which finished tree systems are searched again, for recall against latency; empty measures none."""
    sensitivity: SensitivityConfig = field(default_factory=SensitivityConfig)
    """What of ``jtm`` is varied besides."""
    tuned: tuple[OwnSettings, ...] = ()
    """Settings of systems' own, at most one entry a system: the ``tuned`` that ``tune-systems`` ends with."""

    def __post_init__(self) -> None:
        named = [own.system for own in self.tuned]
        for name, values in {"systems": self.systems, "seeds": self.seeds, "beams": self.beams, "tuned": tuple(named)}.items():
            if len(set(values)) != len(values):
                raise ValueError(f"{name} is {values}; each may come once")
        if not self.systems or not self.seeds:
            raise ValueError(f"systems is {self.systems}, seeds {self.seeds}; give at least 1 of each")
        if self.reference is not None and self.reference not in self.systems:
            raise ValueError(f"reference is {self.reference}, which is not among the systems {self.systems}")
        if self.beams and min(self.beams) < 1:
            raise ValueError(f"beams is {self.beams}; allowed are 1 and more")
        if self.sensitivity.dials() and "jtm" not in self.systems:
            raise ValueError(f"sensitivity varies jtm, which is not among the systems {self.systems}")
        planned_runs(self)  # refuses settings that some system cannot have


@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """The search for settings: as many trials for every system, judged by validation users only."""

    __pydantic_config__ = _PYDANTIC

    shared: JtmConfig = field(default_factory=JtmConfig)
    """As in the comparison the settings are for."""
    counting: CountingConfig = field(default_factory=CountingConfig)
    """Dials of the systems that count and factorise, as in the comparison."""
    systems: Annotated[tuple[SystemName, ...], MinLen(1)] = SYSTEMS
    """Systems to tune."""
    trials: Annotated[int, Ge(1), Le(1000)] = 8
    """Trials a system gets, its shared settings as they are among them; fewer where its ranges have fewer combinations."""
    seed: int = 1
    """Of the draw of trials, and of every training in them."""

    def __post_init__(self) -> None:
        if not self.systems or len(set(self.systems)) != len(self.systems):
            raise ValueError(f"systems is {self.systems}; give at least 1, each once")
        if not 1 <= self.trials <= 1000:
            raise ValueError(f"trials is {self.trials}; allowed are 1 .. 1000")


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One system under one seed with its settings.

    Parameters
    ----------
    system : SystemName
    settings : JtmConfig
        Whole, with the run's seed.
    counting : CountingConfig
    variation : str
        Empty, or the one dial that is set otherwise, e.g. ``tree_learning.gap=3``.
    """

    system: SystemName
    settings: JtmConfig
    counting: CountingConfig
    variation: str = ""

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.settings.seed


def planned_runs(config: ComparisonConfig) -> tuple[PlannedRun, ...]:
    """Every run of a comparison: seed by seed all systems, so that a comparison cut short compares like with like; then variations.

    A variation that sets a dial to what it is anyway is left out: the run as it is stands for it.
    """
    own = {entry.system: entry.dials for entry in config.tuned}
    seeds = [SystemSettings(jtm=replace(config.shared, seed=seed), counting=config.counting) for seed in config.seeds]
    runs = [
        planned_run(system, settings, own.get(system, {}))
        for place, settings in enumerate(seeds)
        for system in config.systems
        if place == 0 or system not in SEEDLESS
    ]
    reference = planned_run("jtm", seeds[0], own.get("jtm", {}))
    for dial, value in config.sensitivity.dials():
        settings = with_dials(SystemSettings(jtm=reference.settings), {dial: value}).jtm
        if settings != reference.settings:
            runs.append(replace(reference, settings=settings, variation=f"{dial}={value}"))
    return tuple(runs)


def planned_run(system: SystemName, shared: SystemSettings, dials: Mapping[str, Dial]) -> PlannedRun:
    """A run of a system: its own dials first, then what makes it the system it is."""
    own = with_dials(shared, dials)
    return PlannedRun(system, settings_of(system, own.jtm), own.counting)


def with_dials(settings: SystemSettings, dials: Mapping[str, Dial]) -> SystemSettings:
    """Settings with some dials set otherwise.

    Parameters
    ----------
    settings : SystemSettings
    dials : mapping of str to Dial
        Path -> value: ``counting.`` and a dial of it, or a part of :class:`jtm_core.config.JtmConfig` and a dial of that.

    Raises
    ------
    ValueError
        If a path names no dial, a value is of another kind, or the config refuses it.

    Examples
    --------
    >>> with_dials(SystemSettings(), {"training.negatives": 20}).jtm.training.negatives
    20
    """
    for path, value in dials.items():
        part, _, name = path.partition(".")
        if part == "counting":
            settings = replace(settings, counting=_with_dial(settings.counting, path, name, value))
            continue
        changed = {part: _with_dial(getattr(settings.jtm, part, None), path, name, value)}
        settings = replace(settings, jtm=replace(settings.jtm, **changed))
    return settings


def _with_dial(part: Any, path: str, name: str, value: Dial) -> Any:
    if not is_dataclass(part) or isinstance(part, type) or name not in {known.name for known in fields(part)}:
        raise ValueError(f"there is no dial {path!r}; a path is a part and a dial of it, e.g. training.learning_rate")
    _check_kind(path, getattr(part, name), value)
    _check_range(path, get_type_hints(type(part), include_extras=True)[name], value)
    return replace(part, **{name: value})


def _check_kind(path: str, before: Any, value: Dial) -> None:
    """Refuse what is of another kind than the value before; None before takes an integer."""
    kind = int if before is None else type(before)
    fits = type(value) in (int, float) if kind is float else type(value) is kind
    if not fits:
        raise ValueError(f"{path} is {value!r}; it must be of the kind of {before!r}")


def _check_range(path: str, hint: Any, value: Dial) -> None:
    """Refuse what the dial's type does not have among its words, or does not have between its bounds."""
    if get_origin(hint) is Literal and value not in get_args(hint):
        raise ValueError(f"{path} is {value!r}; allowed are {', '.join(map(str, get_args(hint)))}")
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{path} is {value!r}; it must be finite")
    bounds = {Ge: ge, Gt: gt, Le: le, Lt: lt}
    for bound in getattr(hint, "__metadata__", ()):
        for kind, holds in bounds.items():
            if isinstance(bound, kind) and not holds(value, getattr(bound, kind.__name__.lower())):
                raise ValueError(f"{path} is {value!r}; the bound is {bound}")

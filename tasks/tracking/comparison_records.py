"""What a comparison of systems leaves for people: plain frozen records of numbers, free of mlflow.

Metric names are those of a version (:mod:`tasks.tracking.records`): the users first, then the search, then the measure, e.g.
``test/recall_at_200``, ``test/filtered/recall_at_200`` (items of the known history left out), ``test/coverage_at_50``; of systems
with a tree also ``test/beam_0050/recall_at_10``, ``test/full_scan/...``, ``test/search_loss/...``, ``test/layer_recall/level_07``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tasks.tracking.records import Row

ContrastKind = Literal["difference", "ablation", "sensitivity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One joint iteration of a system that learns its tree.

    Parameters
    ----------
    iteration : int
        0 is the training on the first tree.
    validation_recall : float
        At the deciding cut-off, after training.
    recall_after_tree : float or None
        The same right after the tree step, before the model was trained on the new tree; None where no tree was learned.
    objective_before, objective_after : float or None
        Sum of log p over samples and levels under the old and the new tree, for the same model.
    moved_share : float or None
        Share of items with a new leaf, swaps of siblings not counted.
    """

    iteration: int
    validation_recall: float
    recall_after_tree: float | None = None
    objective_before: float | None = None
    objective_after: float | None = None
    moved_share: float | None = None

    @property
    def objective_gain(self) -> float | None:
        """What the tree step added to the objective; None where it was not measured."""
        if self.objective_before is None or self.objective_after is None:
            return None
        return self.objective_after - self.objective_before


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemRun:
    """One system under one seed.

    Parameters
    ----------
    system : str
    seed : int
        Of its training; data and split are the same for all.
    variation : str
        Empty, or the one dial that was set otherwise, e.g. ``tree_learning.gap=3``.
    metrics : mapping of str to float
        Means over users, flat names.
    rounds : tuple of Round
        Empty for systems without joint iterations.
    timings : mapping of str to float
        ``fit_seconds``, ``peak_memory_gb``, ``list_seconds``; ``beam_0050/milliseconds`` (median of one user at a time).
    settings : mapping of str to str
        What it was trained with, flat.
    version : str
        Name that it is recorded under; empty where no beam searches it.
    """

    system: str
    seed: int
    variation: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    rounds: tuple[Round, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A difference between systems, and its 95 % intervals over users and over users and items.

    Parameters
    ----------
    kind : "difference", "ablation" or "sensitivity"
        Of a system to the reference; of the four cells; of a variation of ``jtm`` to ``jtm`` as it is.
    name : str
        The system, the part of the ablation, the variation.
    seeds : tuple of int
        Those averaged over; none where no system of it draws random numbers.
    measure : str
        Flat name, e.g. ``test/recall_at_10``.
    mean, low, high, two_way_low, two_way_high : float
        See :class:`jtm_core.comparison.Interval`.
    """

    kind: ContrastKind
    name: str
    seeds: tuple[int, ...]
    measure: str
    mean: float
    low: float
    high: float
    two_way_low: float
    two_way_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRun:
    """A run that ended in an error; the others went on."""

    system: str
    seed: int
    variation: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is computed from the lists of all systems alike.

    Parameters
    ----------
    reference : str
        The system that the others are held against.
    cutoffs : tuple of int
    deciding : str
        Flat name of the metric of validation users that decides between rounds, e.g. ``validation/recall_at_200``.
    num_users : mapping of str to int
        Validation and test users.
    runs : tuple of SystemRun
    contrasts : tuple of Contrast
    """

    reference: str
    cutoffs: tuple[int, ...]
    deciding: str
    num_users: Mapping[str, int]
    runs: tuple[SystemRun, ...]
    contrasts: tuple[Contrast, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A whole comparison, for figures and the report.

    Parameters
    ----------
    data_name : str
    judgement : Judgement
    failures : tuple of FailedRun
    facts : mapping of str to str
        Title -> value, shown at the top of the report.
    costs : sequence of Row
        Time and memory of the steps.
    config : mapping of str to str
        Flattened config, shown at its end.
    own : sequence of Row
        What single systems set otherwise.
    """

    data_name: str
    judgement: Judgement
    failures: tuple[FailedRun, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    costs: Sequence[Row] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    own: Sequence[Row] = ()

"""What callers hand to the tracking functions: plain frozen records of numbers and paths, free of mlflow.

Metric names are flat and grouped by ``/``, which MLflow's charts turn into sections: the users they were measured on
come first, then how the tree was searched, then the metric, e.g. ``test/recall_at_200``,
``test/small_beam/recall_at_200``, ``test/layer_recall/level_10``. Empty means the main beam.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Curve = Sequence[tuple[int, float]]
"""Points (step, value), steps ascending."""

Cell = str | int | float | bool | None
Row = Mapping[str, Cell]
"""One row of a table: column title -> cell, the same columns in the same order in every row."""

TRAINING_LOSS = "training/loss"
"""Curve of the mean loss per sample over hundredths of an epoch; drawn by the loss figure."""
VALIDATION_RECALL = "training/validation_recall"
"""Curve of validation recall after each epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataInput:
    """The data set an experiment stands on; only its name, place and digest are logged, never a row.

    Parameters
    ----------
    name : str
        Short name, ``DataConfig.name``.
    uri : str
        Where it was read from.
    digest : str
        sha256 of the canonical log or of the prepared behaviours.
    counts : mapping of str to int
        Whatever describes its size, e.g. rows, users, items.
    context : str
        What it was used for.
    """

    name: str
    uri: str
    digest: str
    counts: Mapping[str, int] = field(default_factory=dict)
    context: str = "training"

    def __post_init__(self) -> None:
        if not self.name or not self.digest:
            raise ValueError(f"a data input has name {self.name!r} and digest {self.digest!r}; both must be given")


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One step of Algorithm 2: the items under the nodes of ``level_from`` were assigned to nodes of ``level_to``."""

    level_from: int
    level_to: int
    objective_before: float
    objective_after: float
    kept_parents: int
    num_parents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeLearning:
    """What learning a tree changed.

    Parameters
    ----------
    objective_before, objective_after : float
        Sum of log p over samples and levels under the old and the new assignment, for the same model.
    segments : tuple of Segment
        The steps, from the root down.
    moved_shares : tuple of float
        Share of items whose ancestor changed, per level from the root (level 0), sibling subtrees matched before counting.
    """

    objective_before: float
    objective_after: float
    segments: tuple[Segment, ...] = ()
    moved_shares: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Iteration:
    """What one iteration leaves for MLflow.

    Parameters
    ----------
    number : int
        0 is the training on the first tree.
    is_accepted : bool
        Whether the validation gate took this version on.
    metrics : mapping of str to float
        Flat names, see the module; logged on the nested run, and on the parent with step ``number``. Put the deciding
        one first: it is what MLflow's comparison page draws before anyone chooses.
    curves : mapping of str to Curve
        Within the iteration, logged on the nested run only, e.g. ``TRAINING_LOSS``.
    learning : TreeLearning or None
        None where no tree was learned (iteration 0).
    artefacts : mapping of str to Path
        Name shown in MLflow (``tree.parquet``, ``manifest.json``, ``model.safetensors`` ...) -> file to upload.
    tags : mapping of str to str
        Digests and the like: ``jtm.version``, ``jtm.tree_digest``, ``jtm.model_digest``. A repeated call must bring the same ones.

    Raises
    ------
    ValueError
        If the number is negative.
    """

    number: int
    is_accepted: bool
    metrics: Mapping[str, float]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    learning: TreeLearning | None = None
    artefacts: Mapping[str, Path] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError(f"iteration number is {self.number}; allowed are 0 and more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A whole experiment, for figures and reports.

    Parameters
    ----------
    name, data_name : str
        Titles.
    iterations : tuple of Iteration
        In order; curves and artefacts may be left out where they are not at hand.
    users : str
        Prefix of the metrics shown: ``test`` or ``validation``.
    baselines : mapping of str to mapping of str to float
        Title of a comparison line, e.g. ``popularity`` -> its metrics without prefix, e.g. ``recall_at_200``.
    results : sequence of Row
        The results table, systems as rows.
    facts : mapping of str to str
        Title -> value, shown at the top of the report (data digest, code fingerprint, links).
    costs : sequence of Row
        Time, memory and throughput of the steps so far.
    config : mapping of str to str
        Flattened config, shown at its end.
    """

    name: str
    data_name: str
    iterations: tuple[Iteration, ...]
    users: str = "test"
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    results: Sequence[Row] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    costs: Sequence[Row] = ()
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """Result of one suite of data checks.

    Parameters
    ----------
    suite : str
        Short name without spaces, e.g. ``raw_log``; names its folder and metrics.
    is_passed : bool
        False if a hard rule failed.
    num_rules, num_failed, num_warned : int
        Rules checked, hard rules failed, soft rules failed.
    files : mapping of str to Path
        Name shown in MLflow -> file, e.g. ``result.json``, ``report.html``.
    table : sequence of Row
        Rule, count, share, first offending rows.
    data_docs : Path or None
        Folder of Great Expectations' pages, uploaded whole.
    """

    suite: str
    is_passed: bool
    num_rules: int
    num_failed: int
    num_warned: int
    files: Mapping[str, Path] = field(default_factory=dict)
    table: Sequence[Row] = ()
    data_docs: Path | None = None

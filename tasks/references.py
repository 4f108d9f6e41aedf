"""What travels between steps: small frozen records that point at artefacts, never the artefacts themselves.

A reference is a kind, a path relative to ``JTM_HOME`` (so the store can move) and the sha256 of the bytes. The names
below (``TreeRef``, ``ModelRef`` ...) let mypy refuse a model where a tree is wanted. Fields marked ``LABEL`` are for
people and stay out of cache keys.
"""

from dataclasses import dataclass, field
from typing import Any, NewType

from jtm_core import gate
from jtm_core.config import DataConfig, EvaluationConfig
from jtm_core.lists_config import ListsConfig

LABEL: dict[str, Any] = {"in_key": False}
"""Metadata of fields that name or locate something without changing what is computed."""


@dataclass(frozen=True, slots=True)
class ArtefactRef:
    """An artefact in the store."""

    kind: str
    """What it is: log, behaviours, split, items, users, tree, model, or the name of a JSON report."""
    sha256: str
    """Digest of its bytes, which is also its name."""
    uri: str = field(metadata=LABEL)
    """Path relative to ``JTM_HOME``, with forward slashes."""

    def __post_init__(self) -> None:
        if len(self.sha256) != 64 or self.sha256.strip("0123456789abcdef"):
            raise ValueError(f"sha256 is {self.sha256!r}; it must be 64 hexadecimal digits")
        if self.uri.startswith("/") or ".." in self.uri.split("/"):
            raise ValueError(f"uri is {self.uri!r}; it must be relative to JTM_HOME and stay inside it")


LogRef = NewType("LogRef", ArtefactRef)
BehavioursRef = NewType("BehavioursRef", ArtefactRef)
SplitRef = NewType("SplitRef", ArtefactRef)
VocabularyRef = NewType("VocabularyRef", ArtefactRef)
TreeRef = NewType("TreeRef", ArtefactRef)
ModelRef = NewType("ModelRef", ArtefactRef)
ListsRef = NewType("ListsRef", ArtefactRef)
"""Recommended lists of evaluation users."""
ReportRef = NewType("ReportRef", ArtefactRef)
"""JSON: curves, a tree learning, an evaluation, a check report, a manifest."""


@dataclass(frozen=True, slots=True)
class SourceRef:
    """A log outside the store, as it was when it was found."""

    name: str
    """Name of the file, whose endings tell the format under ``auto``, or of the folder or pattern of several."""
    sha256: str
    """Digest of the file's bytes, of the names and bytes of several, or of the settings of a synthetic world."""
    path: str = field(metadata=LABEL)
    """Where it lies on this machine; empty for a synthetic world."""
    category_sha256: str = ""
    """Digest of the category table, empty without one."""
    category_path: str = field(default="", metadata=LABEL)
    """Where the category table lies."""


@dataclass(frozen=True, slots=True)
class IngestedLog:
    """A canonical log and what was counted while it was read."""

    log: LogRef
    num_rows: int
    log_format: str
    """Format it was read as."""
    earliest_time: int
    latest_time: int


@dataclass(frozen=True, slots=True)
class DataReferences:
    """Prepared data: who did what, and how users are split."""

    name: str = field(metadata=LABEL)
    """Name of the data set in run names and reports."""
    log: LogRef
    num_log_rows: int
    behaviours: BehavioursRef
    split: SplitRef
    items: VocabularyRef
    users: VocabularyRef
    counts: ReportRef
    """JSON of what was kept and what each filter dropped."""
    num_users: int
    num_items: int
    num_behaviours: int
    latest_time: int | None = field(default=None, metadata=LABEL)
    """Time of the last behaviour, in the log's unit; None in records older than the field."""


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What a suite of data checks found."""

    suite: str
    """log, behaviours or tree."""
    is_passed: bool
    report: ReportRef
    """JSON: the report, its text for people and its table."""
    page: ArtefactRef
    """The report as a page of its own."""
    data_docs: ArtefactRef | None
    """Great Expectations' pages as a zip file."""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """What training leaves."""

    model: ModelRef
    """Weights of the best epoch."""
    curves: ReportRef
    """JSON: loss and validation recall over the epochs, convergence diagnosis."""


@dataclass(frozen=True, slots=True)
class GrownTree:
    """A tree and the model that training on it starts from: planted, extended by new items, or learned."""

    tree: TreeRef
    start: ModelRef | None
    """The model before, its inner-node vectors carried over to this tree; None starts from new weights."""
    report: ReportRef | None
    """JSON of the tree learning: objective before and after, moved shares per level; None where no tree was learned."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one iteration made, before the gate decides about it."""

    iteration: int
    grown: GrownTree
    trained: TrainedModel
    evaluation: ReportRef
    """JSON: metrics of validation and test users."""


@dataclass(frozen=True, slots=True)
class VersionRef:
    """A recorded version: a tree with the model trained on it."""

    version: str
    """Its name: data set, iteration or system and seed, beginning of the manifest's digest."""
    data: DataReferences
    """What it was trained and judged on."""
    iteration: int
    """0 is the training on the first tree; of a comparison's run the best one."""
    tree: TreeRef
    model: ModelRef
    manifest: ReportRef
    """JSON with everything about it: parent, digests, config, objective, moved shares, decision, metrics."""
    deciding_recall: float
    """Validation recall at :func:`jtm_core.gate.deciding_cutoff`, by which the gate decides."""
    is_accepted: bool
    """False if the gate refused the tree; the loop then goes on from the best version."""
    system: str = field(default="", metadata=LABEL)
    """Of a comparison's run its system; empty for an iteration of ``train-jtm``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListsRequest:
    """Lists for everybody: by which version, from which log, how, and where to."""

    version: str
    """Name of the version that lists."""
    data: DataConfig
    """How the log is read: as the version's own was; its path is empty where it is that one."""
    lists: ListsConfig
    """With nothing left empty."""
    path: str
    """Where they are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestRequest:
    """What a version is asked about what its users did later."""

    version: str
    """Name of the version."""
    data: DataConfig
    """How the newer log is read: as the version's own was, but for a bound on where that ends."""
    evaluation: EvaluationConfig
    """Cut-offs, beams, truth and filter."""
    since: int | None
    """Behaviours after this time are asked for; None: after the last one that the version was made of."""
    num_users: int
    """Users who judge, at most."""
    seed: int
    """Of their draw: that of the version's run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenLists:
    """What was written."""

    num_users: int
    num_personal: int
    """Users with a behaviour that the version knows; the others got the most popular items."""
    known_share: float
    """Share of the log's behaviours that are of items which the version knows."""


Standing = gate.Standing[VersionRef]
"""Where the loop stands: the version it goes on from and the best one so far."""


@dataclass(frozen=True, slots=True)
class RunRef:
    """A run in MLflow."""

    run_id: str
    url: str
    """Its page in MLflow's UI."""

    def artefacts_url(self, path: str = "") -> str:
        """The page of what was logged with it: one file, or without a path all.

        Examples
        --------
        >>> RunRef("1a", "http://127.0.0.1:5000/#/experiments/2/runs/1a?workflowType=machine_learning").artefacts_url("report.html")
        'http://127.0.0.1:5000/#/experiments/2/runs/1a/artifacts/report.html?workflowType=machine_learning'
        """
        page, mark, query = self.url.partition("?")
        return f"{page}/artifacts{'/' if path else ''}{path}{mark}{query}"


@dataclass(frozen=True, slots=True)
class FittedRun:
    """One system of a comparison, fitted under one seed."""

    system: str
    seed: int
    variation: str
    """Empty, or the one dial that was set otherwise, e.g. ``tree_learning.gap=3``."""
    lists: ListsRef
    """int32 lists of validation and test users, with and without seen items."""
    rounds: ReportRef
    """JSON: rounds of training, and the settings."""
    tree: TreeRef | None
    """None for a system whose tree, if any, JTM's beam does not search."""
    model: ModelRef | None
    first_level: int | None
    """First level trained and searched."""
    timings: ReportRef = field(metadata=LABEL)
    """JSON: seconds and memory."""


@dataclass(frozen=True, slots=True)
class SearchedTree:
    """A fitted system's tree searched in several ways; empty reports where there is none."""

    metrics: ReportRef
    """JSON: recall by beam width, full scan, search loss, layer-wise recall."""
    timings: ReportRef = field(metadata=LABEL)
    """JSON: milliseconds a user by beam width."""


@dataclass(frozen=True, slots=True)
class JudgedRun:
    """A finished run of a comparison."""

    fitted: FittedRun
    searched: SearchedTree
    judgement: ReportRef
    """JSON: metrics of its lists."""
    version: str = field(default="", metadata=LABEL)
    """Name that it is recorded under; empty where no beam searches it."""

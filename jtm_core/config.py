"""Every dial of JTM, in one place.

Frozen, keyword-only dataclasses whose constructors refuse what is out of range. Prefect takes them as flow
parameters: nested dicts from ``prefect.yaml`` or the UI's form are coerced, errors come back with the field's path,
misspelt fields are refused.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

_PYDANTIC = {"extra": "forbid", "use_attribute_docstrings": True, "allow_inf_nan": False}

LogFormat = Literal["auto", "user_behavior", "amazon_ratings", "movielens", "recbole", "table", "planted_world", "noise_world"]
Precision = Literal["float32", "bfloat16"]
PositiveInt = Annotated[int, Ge(1)]
Share = Annotated[float, Ge(0), Le(1)]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which log is read, and what of it is kept."""

    __pydantic_config__ = _PYDANTIC

    name: str = "ml-100k"
    """Short name of the data set in run names, MLflow and reports."""
    path: str = ""
    """The log: a file, gzip accepted, a folder or a pattern; or ``recbole:ml-100k`` or ``recbole:ml-1m``; empty for synthetic worlds."""
    format: LogFormat = "auto"
    """``auto`` goes by the file's name; ``table`` is any CSV or Parquet file whose columns are named in ``columns``."""
    columns: dict[str, str] = field(default_factory=dict)
    """Our column (user, item, category, behaviour, rating, time) -> the file's (or a folder's), or its number from 1; "": left out."""
    category_path: str = ""
    """Optional table of two columns, item and category, for logs that carry no category."""
    behaviour_types: tuple[str, ...] = ()
    """Behaviour types kept (e.g. pv, buy, cart, fav); empty keeps all."""
    minimum_rating: float | None = None
    """Ratings below this are dropped; empty keeps all."""
    minimum_user_behaviours: PositiveInt = 10
    """Users with fewer behaviours are dropped (paper: 10)."""
    minimum_item_occurrences: PositiveInt = 1
    """Items that occur less often are dropped, before users are counted."""
    duplicates: Literal["keep_all", "keep_first", "keep_last", "drop_exact"] = "drop_exact"
    """Of a user's repeats of one item keep all, the first or the last; ``drop_exact`` drops only rows equal in user, item and time."""
    earliest_time: int | None = None
    """Behaviours before this time (the log's unit) break a hard rule; empty sets no bound."""
    latest_time: int | None = None
    """Behaviours after this time break a hard rule; empty sets no bound."""
    out_of_range: Literal["fail", "drop"] = "fail"
    """``fail`` stops the run at times outside the bounds; ``drop`` removes such rows, counts them and warns."""

    def __post_init__(self) -> None:
        _require(bool(self.name.strip()) and len(self.name) <= 100, f"name is {self.name!r}; allowed are 1 to 100 characters")
        _require(self.minimum_user_behaviours >= 1, f"minimum_user_behaviours is {self.minimum_user_behaviours}; allowed are 1 and more")
        _require(self.minimum_item_occurrences >= 1, f"minimum_item_occurrences is {self.minimum_item_occurrences}; allowed are 1 and more")
        takes_columns = not self.columns or self.format in ("auto", "table", "recbole")
        _require(takes_columns, f"columns is {self.columns}, but format {self.format} has columns of its own; set format to table")
        low = -(2**63) if self.earliest_time is None else self.earliest_time
        high = 2**63 - 1 if self.latest_time is None else self.latest_time
        _require(-(2**63) <= low <= high < 2**63, f"earliest_time {low} and latest_time {high} must rise and fit 64 bits")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How users are divided into those who teach and those who judge."""

    __pydantic_config__ = _PYDANTIC

    protocol: Literal["users", "users_newest", "time", "global_time"] = "users"
    """``users``: disjoint users, half of a history predicts the second (paper, section 4.1); ``users_newest``: disjoint, asked for
    the log's newest part; ``time``: ``train_share`` of each user trains; ``global_time``: one moment for all, nothing later trains."""
    num_validation_users: PositiveInt = 1000
    """Users drawn for validation; at most a tenth of all are taken, save under ``global_time``."""
    num_test_users: PositiveInt = 1000
    """Users drawn for the test, as those for validation. Under ``time`` all users are, of 5 behaviours or more."""
    train_share: Annotated[float, Gt(0), Lt(1)] = 0.8
    """Share before the test: of histories (``time``) or the log (``global_time``, ``users_newest``); by the first two again to validate."""

    def __post_init__(self) -> None:
        _require(0 < self.train_share < 1, f"train_share is {self.train_share}; allowed is 0 < share < 1")
        _require(min(self.num_validation_users, self.num_test_users) >= 1, "num_validation_users and num_test_users must be 1 or more")


@dataclass(frozen=True, kw_only=True)
class FirstTreeConfig:
    """How the first tree is planted."""

    __pydantic_config__ = _PYDANTIC

    method: Literal["category", "random", "two_means"] = "category"
    """``category``: side by side by category (TDM, section 3.4), as ``two_means`` where over half of the items have none, or all one;
    ``random``: a random order; ``two_means``: balanced 2-means on co-occurrence vectors."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network that scores (user, node)."""

    __pydantic_config__ = _PYDANTIC

    features: Literal["hierarchical", "flat"] = "hierarchical"
    """``hierarchical``: behaviours become their ancestors on the level (JTM, section 2.3); ``flat``: they stay items (TDM, JTM-J)."""
    window_sizes: Annotated[tuple[PositiveInt, ...], MinLen(1)] = (400, 100, 40, 20, 10, 4, 2, 1, 1, 1)
    """Behaviours per time window, oldest window first; their sum is the history's length."""
    embedding_width: PositiveInt = 24
    """Width of node and item vectors."""
    hidden_widths: tuple[PositiveInt, PositiveInt, PositiveInt] = (128, 64, 24)
    """Units of the three hidden layers."""
    attention: bool = False
    """Weight the behaviours of a window by TDM's attention unit; slower, as nothing is shared between nodes then."""
    inner_product: bool = True
    """Give the first layer the inner product of a linear map of the windows with the node's vector as well (the paper has none)."""
    window_matches: bool = True
    """Tell it how much of each window lies under the node too, so that it knows again what a user had (the paper has none)."""
    neighbour_windows: tuple[PositiveInt, ...] = ()
    """And of the items near a history (Item-CF), so many a window, nearest first; read with ``window_matches`` (the paper has none)."""

    def __post_init__(self) -> None:
        _require(min(self.window_sizes, default=0) >= 1, f"window_sizes is {self.window_sizes}; sizes must be 1 or more")
        _require(min(self.neighbour_windows, default=1) >= 1, f"neighbour_windows is {self.neighbour_windows}; sizes must be 1 or more")
        _require(self.embedding_width >= 1 and min(self.hidden_widths) >= 1, "embedding_width and hidden_widths must be 1 or more")

    @property
    def history_length(self) -> int:
        """Behaviours the model looks back on (paper: 69)."""
        return sum(self.window_sizes)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How the model is trained on a fixed tree."""

    __pydantic_config__ = _PYDANTIC

    target: Literal["next_item", "random_horizon"] = "random_horizon"
    """``next_item``: features are all behaviours before the target (paper); ``random_horizon``: the history ends at a random earlier
    point."""
    horizon_share: Annotated[float, Gt(0), Le(1)] = 1.0
    """``random_horizon``: share of the behaviours before the target, the nearest ones, that may be cut off. Choose it for each log."""
    minimum_history: PositiveInt = 1
    """Behaviours a sample's history has at least (TDM's open code: 5 on UserBehavior)."""
    epochs: PositiveInt = 6
    """Passes over the samples in the first iteration (paper's code: about 4)."""
    later_epochs: PositiveInt = 3
    """Passes in every later iteration, which starts from the model before."""
    later_newest_share: Annotated[float, Gt(0), Le(1)] = 1.0
    """Share of the log's training behaviours, the newest, that are targets in these, for logs whose taste moves on; older: history."""
    batch_samples: PositiveInt = 512
    """Samples a batch holds at most; whole histories are kept together."""
    negatives: PositiveInt = 80
    """Negatives per sample, summed over all levels, more near the leaves (paper: 100 or 200)."""
    negatives_block: PositiveInt = 64
    """Samples that share one draw of negatives; 1 draws for each sample alone as the paper does."""
    nodes: Literal["uniform", "beam"] = "uniform"
    """``beam``: negatives come also from the nodes that a beam visits, and inner targets are re-estimated (OTM)."""
    negative_draw: Literal["even", "popularity"] = "popularity"
    """Draw from all nodes of a level alike (TDM), or by the behaviours under them, which the loss corrects for, visited nodes included."""
    training_beam: PositiveInt = 400
    """``beam``: nodes kept per level by the search in training; best that of retrieval (OTM: 400). Narrow ones visit few to draw from."""
    searches: Literal["user", "sample"] = "user"
    """``beam``: search once for all samples that a batch has of a user, or for every sample (OTM), at a multiple of the time."""
    level_share: Share = 0.5
    """``beam``: share of the negatives still drawn from all nodes of a level, so that none is left unseen (OTM: 0, corrects nothing)."""
    first_level: Annotated[int, Ge(0)] = 0
    """First level trained and searched; 0 takes floor(log2(smallest beam)), above which no beam ever prunes."""
    order_noise: Annotated[float, Ge(0)] = 0.0
    """Behaviours slip back by up to this share of their history, anew each epoch: for logs whose order says little, as ratings; 0: none."""
    tied_levels: bool = True
    """Each vector is its parent's plus an offset, so a step of a node's moves all below it (ties between levels; the paper has none)."""
    learning_rate: Annotated[float, Gt(0)] = 2e-3
    """Adam's step size (paper: 1e-3)."""
    rate_schedule: Literal["constant", "linear"] = "constant"
    """``linear``: the rate falls evenly to a fiftieth over the epochs of an iteration."""
    patience: PositiveInt = 2
    """Epochs without a better validation recall before an iteration's training stops; the best epoch's weights are kept."""
    precision: Precision = "float32"
    """Of the products behind the first layer; weights, sums and moments stay float32."""

    def __post_init__(self) -> None:
        counts = ("minimum_history", "epochs", "later_epochs", "batch_samples", "negatives", "negatives_block", "training_beam", "patience")
        for name in counts:
            _require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; allowed are 1 and more")
        _require(self.order_noise >= 0, f"order_noise is {self.order_noise}; allowed are 0 and more")
        _require(self.learning_rate > 0, f"learning_rate is {self.learning_rate}; it must be above 0")
        _require(0 <= self.level_share <= 1, f"level_share is {self.level_share}; allowed are 0 .. 1")
        for name in ("horizon_share", "later_newest_share"):
            _require(0 < getattr(self, name) <= 1, f"{name} is {getattr(self, name)}; allowed is 0 < share <= 1")
        _require(self.first_level >= 0, f"first_level is {self.first_level}; allowed are 0 and more")

    @property
    def reach(self) -> float:
        """Share of the behaviours before a target that may be cut off: 0 with ``next_item``."""
        return self.horizon_share if self.target == "random_horizon" else 0.0


@dataclass(frozen=True, kw_only=True)
class TreeLearningConfig:
    """How a new tree is learned for a fixed model (Algorithm 2)."""

    __pydantic_config__ = _PYDANTIC

    method: Literal["joint", "two_means", "fixed"] = "joint"
    """``joint``: Algorithm 2; ``two_means``: TDM's balanced 2-means on the model's item vectors; ``fixed`` keeps the tree and only
    trains on, as a control. Dials below but the tolerance belong to ``joint``."""
    gap: Annotated[int, Ge(1), Le(12)] = 7
    """Levels re-assigned in one step, ``d`` of the paper (its example: 7); the first step reaches the first trained level, however far."""
    assignment: Literal["greedy", "regret", "exact"] = "regret"
    """``greedy``: the paper's best child, then rebalance; ``regret``: surplus leaves where it loses least; ``exact``: optimum (a sort
    at d = 1, a transportation problem for small nodes)."""
    sweeps: PositiveInt = 4
    """Times all segments are learned at most, each time on the vectors the last tree has, as long as the objective rises (paper: 1)."""
    maximum_samples_per_item: PositiveInt | None = None
    """Samples of one item used at most, evenly spaced over its samples and scaled up again; empty uses all."""
    precision: Precision = "float32"
    """Of the products behind the first layer while samples are scored; sums over samples stay float64."""
    validation_tolerance: Annotated[float, Ge(0)] = 0.02
    """A tree is refused if validation recall of the retrained model falls by more than this share of the best version's."""

    def __post_init__(self) -> None:
        _require(1 <= self.gap <= 12, f"gap is {self.gap}; allowed are 1 .. 12")
        _require(self.sweeps >= 1, f"sweeps is {self.sweeps}; allowed are 1 and more")
        _require(self.maximum_samples_per_item is None or self.maximum_samples_per_item >= 1, "maximum_samples_per_item must be 1 or more")
        _require(self.validation_tolerance >= 0, f"validation_tolerance is {self.validation_tolerance}; it must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How retrieval is measured."""

    __pydantic_config__ = _PYDANTIC

    cutoffs: Annotated[tuple[PositiveInt, ...], MinLen(1)] = (10, 50, 200)
    """Cut-offs M of precision, recall, F-measure, NDCG and novelty, ascending; the last one that leaves an item out decides."""
    beam_width: PositiveInt = 400
    """Nodes kept per level (paper: 400 for M = 200)."""
    small_beam_width: PositiveInt = 50
    """A second, smaller beam, reported beside the first: there the tree decides."""
    truth: Literal["multiset", "set"] = "multiset"
    """``multiset`` counts repeated ground-truth items as often as they occur, as the paper's code does; ``set`` counts each once."""
    filter_seen: bool = False
    """Leave out items of the user's known history; both ways are always reported, this one decides."""

    def __post_init__(self) -> None:
        _require(len(self.cutoffs) > 0 and min(self.cutoffs) >= 1, f"cutoffs is {self.cutoffs}; give 1 or more, each at least 1")
        _require(list(self.cutoffs) == sorted(set(self.cutoffs)), f"cutoffs is {self.cutoffs}; they must ascend")
        beam, small, last = self.beam_width, self.small_beam_width, self.cutoffs[-1]
        _require(beam >= last, f"beam_width is {beam}; it must be at least the largest cut-off {last}")
        _require(1 <= small <= beam, f"small_beam_width is {small}; allowed are 1 .. {beam}")


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """Where the work is done; no step is repeated when this changes. Trained weights differ by the rounding of sums over processes."""

    __pydantic_config__ = _PYDANTIC

    training_processes: PositiveInt = 1
    """Processes of a data-parallel training on this machine (``torch.distributed``; gloo, on GPUs nccl)."""
    tree_processes: PositiveInt = 1
    """Processes on this machine that weigh shards of tree learning side by side."""
    dask_scheduler: str = ""
    """Address of a Dask scheduler, e.g. ``tcp://host:8786``, whose workers weigh the shards instead; they must share ``JTM_HOME``."""
    shard_samples: PositiveInt = 1_000_000
    """Samples of a shard, about; a shard is what a killed tree learning loses at most."""


@dataclass(frozen=True, kw_only=True)
class JtmConfig:
    """One experiment: Algorithm 1 with everything it depends on."""

    __pydantic_config__ = _PYDANTIC

    data: DataConfig = field(default_factory=DataConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    first_tree: FirstTreeConfig = field(default_factory=FirstTreeConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    tree_learning: TreeLearningConfig = field(default_factory=TreeLearningConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig, metadata={"in_key": False})
    iterations: Annotated[int, Ge(0), Le(1000)] = 4
    """Joint iterations after the first training (paper plots 0 .. 10); 0 trains on the first tree only."""
    seed: int = 1
    """All randomness derives from it; equal seeds give equal digests."""

    def __post_init__(self) -> None:
        _require(0 <= self.iterations <= 1000, f"iterations is {self.iterations}; allowed are 0 .. 1000")

    @property
    def first_level(self) -> int:
        """First level that is trained and searched."""
        smallest = min(self.evaluation.beam_width, self.evaluation.small_beam_width)
        return self.training.first_level or max(1, smallest.bit_length() - 1)

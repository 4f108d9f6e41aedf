"""What steps cost: wall-clock time, memory, and how much they got done.

A step's cost is kept in its record beside its result, never in an artefact: artefacts are equal where the work was
equal, times are not. A flow run that finds a result already there takes over the cost of the run that made it.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import psutil

_SAMPLE_SECONDS = 0.25

_work: ContextVar[dict[str, int] | None] = ContextVar("work", default=None)
_collected: ContextVar["list[StepCost] | None"] = ContextVar("collected", default=None)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one step took.

    Parameters
    ----------
    seconds : float
        Wall-clock time.
    peak_memory_gb : float
        Most resident memory of this process and its children, in 10^9 bytes, looked at four times a second.
    work : dict of str to int
        What was done, unit -> count, e.g. ``{"rows": 1_000_000}``; empty where nothing is counted.
    """

    seconds: float
    peak_memory_gb: float
    work: dict[str, int] = field(default_factory=dict)

    @property
    def rates(self) -> dict[str, float]:
        """Work per second, unit -> rate."""
        return {unit: count / self.seconds for unit, count in self.work.items() if self.seconds > 0}


@dataclass(frozen=True, slots=True)
class StepCost:
    """Cost of one step of a flow run.

    Parameters
    ----------
    step : str
        E.g. ``"train-model"``.
    iteration : int or None
        None for steps outside the loop.
    cost : Cost
    is_kept : bool
        The result was already there; the cost is that of the run that made it.
    """

    step: str
    iteration: int | None
    cost: Cost
    is_kept: bool


class Meter:
    """Measures from its making on."""

    def __init__(self) -> None:
        self.work: dict[str, int] = {}
        self._begun, self._peak, self._stop = time.perf_counter(), 0, threading.Event()
        self._process = psutil.Process()
        self._thread = threading.Thread(target=self._watch, name="jtm-memory", daemon=True)
        self._thread.start()

    def cost(self) -> Cost:
        """What was measured until now; nothing is measured afterwards."""
        seconds = time.perf_counter() - self._begun
        self._look()
        self.stop()
        return Cost(round(seconds, 3), round(self._peak / 1e9, 4), dict(self.work))

    def stop(self) -> None:
        """End the watching of memory."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        self._look()
        while not self._stop.wait(_SAMPLE_SECONDS):
            self._look()

    def _look(self) -> None:
        self._peak = max(self._peak, sum(map(_resident_bytes, [self._process, *self._process.children(recursive=True)])))


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:  # a child that ended between being listed and being looked at
        return 0


@contextmanager
def metered() -> Iterator[Meter]:
    """Measure the block; :func:`count_work` inside it counts for this meter."""
    meter = Meter()
    token = _work.set(meter.work)
    try:
        yield meter
    finally:
        _work.reset(token)
        meter.stop()


def count_work(unit: str, count: int) -> None:
    """Tell the running step's meter that ``count`` more units of work are done; outside of a step nothing listens."""
    work = _work.get()
    if work is not None:
        work[unit] = work.get(unit, 0) + int(count)


@contextmanager
def collected_costs() -> Iterator[list[StepCost]]:
    """Collect the costs of all steps called in the block, in order."""
    costs: list[StepCost] = []
    token = _collected.set(costs)
    try:
        yield costs
    finally:
        _collected.reset(token)


def collect(cost: StepCost) -> None:
    """Add a step's cost to those of the running flow, if it collects them."""
    costs = _collected.get()
    if costs is not None:
        costs.append(cost)


def costs_so_far() -> Sequence[StepCost]:
    """Costs of the running flow's steps until now; empty where nobody collects."""
    return tuple(_collected.get() or ())


def cost_text(cost: Cost) -> str:
    """A cost in words.

    Examples
    --------
    >>> cost_text(Cost(2.0, 0.5, {"rows": 3_000_000}))
    '2.0 s, 0.50 GB at most, 1,500,000 rows per second'
    """
    rates = [f"{rate:,.0f} {unit} per second" for unit, rate in cost.rates.items()]
    return ", ".join([f"{cost.seconds:.1f} s", f"{cost.peak_memory_gb:.2f} GB at most", *rates])


def cost_metrics(costs: Sequence[StepCost]) -> dict[str, float]:
    """Flat metrics: ``phase/<step>/seconds``, ``.../peak_memory_gb`` and ``.../<unit>_per_second``.

    Of a step called more than once the sum of the seconds, the most memory, and all the work over all the seconds.

    Examples
    --------
    >>> cost_metrics([StepCost("train-model", 0, Cost(2.0, 0.5, {"rows": 8}), is_kept=False)])
    {'phase/train_model/seconds': 2.0, 'phase/train_model/peak_memory_gb': 0.5, 'phase/train_model/rows_per_second': 4.0}
    """
    metrics: dict[str, float] = {}
    for step in dict.fromkeys(one.step for one in costs):
        prefix, whole = f"phase/{step.replace('-', '_')}", _together([one.cost for one in costs if one.step == step])
        metrics |= {f"{prefix}/seconds": whole.seconds, f"{prefix}/peak_memory_gb": whole.peak_memory_gb}
        metrics |= {f"{prefix}/{unit}_per_second": rate for unit, rate in whole.rates.items()}
    return metrics


def _together(costs: Sequence[Cost]) -> Cost:
    work: Counter[str] = Counter()
    for one in costs:
        work.update(one.work)
    return Cost(sum(one.seconds for one in costs), max(one.peak_memory_gb for one in costs), dict(work))


def cost_rows(costs: Sequence[StepCost]) -> list[dict[str, str | int | float | None]]:
    """Table of costs, a row a step in the order they were called."""
    return [
        {
            "step": one.step,
            "iteration": one.iteration,
            "seconds": one.cost.seconds,
            "peak memory, GB": one.cost.peak_memory_gb,
            "throughput": ", ".join(f"{rate:,.0f} {unit}/s" for unit, rate in one.cost.rates.items()),
            "result": "kept from an earlier run" if one.is_kept else "made in this run",
        }
        for one in costs
    ]


def orchestration_share(costs: Sequence[StepCost], total_seconds: float) -> float:
    """Share of a flow run's time that went to neither data nor learning: Prefect, MLflow, the checks, 0 .. 1.

    Examples
    --------
    >>> costs = [StepCost("train-model", 0, Cost(8.0, 0.5), is_kept=False), StepCost("check-log", None, Cost(1.0, 0.5), is_kept=False)]
    >>> round(orchestration_share(costs, total_seconds=10.0), 3)
    0.2
    """
    worked = sum(one.cost.seconds for one in costs if not one.is_kept and not one.step.startswith("check-"))
    return max(0.0, 1 - worked / total_seconds) if total_seconds > 0 else 0.0

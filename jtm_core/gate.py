"""The validation gate: which versions the loop of Algorithm 1 goes on from, and which one it ends with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from jtm_core.config import EvaluationConfig


class Judged(Protocol):
    """A version whose recall was measured and about which the gate decided."""

    @property
    def deciding_recall(self) -> float:
        """Validation recall that decides between versions."""
        ...

    @property
    def is_accepted(self) -> bool:
        """False if the gate refused it."""
        ...


Version = TypeVar("Version", bound=Judged)


@dataclass(frozen=True)
class Standing(Generic[Version]):
    """Where the loop stands: the version it goes on from and the best one so far."""

    current: Version
    best: Version

    @staticmethod
    def after_version(before: "Standing[Version] | None", version: Version) -> "Standing[Version]":
        """Go on from an accepted version, from the best one where the gate refused.

        Parameters
        ----------
        before : Standing or None
            None before the first version, which is always accepted.
        version : Version
            The version just judged.
        """
        if before is None:
            return Standing(version, version)
        if not version.is_accepted:
            return Standing(before.best, before.best)
        return Standing(version, max(before.best, version, key=lambda candidate: candidate.deciding_recall))


def best_version(versions: Sequence[Version]) -> Version:
    """The accepted version of highest validation recall, the earlier of equals; at least one is accepted."""
    return max((version for version in versions if version.is_accepted), key=lambda version: version.deciding_recall)


def deciding_cutoff(cutoffs: Sequence[int], num_items: int) -> int:
    """The last cut-off that leaves an item out, else the first: a list of all items finds everything, whatever made it.

    Examples
    --------
    >>> deciding_cutoff((10, 50, 200), num_items=200), deciding_cutoff((10, 50), num_items=8)
    (50, 10)
    """
    return next((cutoff for cutoff in reversed(cutoffs) if cutoff < num_items), cutoffs[0])


def deciding_name(evaluation: EvaluationConfig, num_items: int) -> str:
    """Name of the metric that decides between versions: recall at :func:`deciding_cutoff`, of unseen items where ``filter_seen`` is set.

    Examples
    --------
    >>> deciding_name(EvaluationConfig(cutoffs=(10, 50, 200), filter_seen=True), num_items=150)
    'filtered/recall_at_50'
    """
    return f"{'filtered/' if evaluation.filter_seen else ''}recall_at_{deciding_cutoff(evaluation.cutoffs, num_items)}"


def deciding_metric(evaluation: EvaluationConfig, metrics: Mapping[str, float], num_items: int) -> str:
    """The same name, of a metric that is known to have been measured.

    Parameters
    ----------
    evaluation : EvaluationConfig
    metrics : mapping
        What was measured.
    num_items : int

    Raises
    ------
    ValueError
        If that recall was not measured.
    """
    name = deciding_name(evaluation, num_items)
    if name not in metrics:
        raise ValueError(f"{name} decides and was not measured; there are {num_items} items, the cut-offs are {evaluation.cutoffs}")
    return name


def is_within_tolerance(recall: float, best: float | None, tolerance: float) -> bool:
    """Whether a recall falls short of the best by at most a share of it; without a best every recall does.

    Examples
    --------
    >>> is_within_tolerance(0.98, best=1.0, tolerance=0.02), is_within_tolerance(0.97, best=1.0, tolerance=0.02)
    (True, False)
    """
    return best is None or recall >= best * (1 - tolerance)

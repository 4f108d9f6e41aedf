"""The loop of Algorithm 1, for every learned system alike: a round trains, the gate judges, the next one goes on from there."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import nan
from typing import Generic, TypeVar

from jtm_core.gate import Standing, is_within_tolerance

Model = TypeVar("Model")

Report = Callable[[float, float, str], None]
"""Is told epochs done, epochs in all (at most) and a few words."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one iteration did.

    Parameters
    ----------
    iteration : int
        0 is the first training.
    losses : tuple of float
        Mean loss per sample of each epoch that was run; how it is made differs from system to system.
    recalls : tuple of float
        Validation recall at the deciding cut-off after each epoch.
    recall_before : float
        The same right after the tree changed, before any training on it; nan in iteration 0 and where no tree can change.
    objective_before, objective_after : float
        Of tree learning (Algorithm 2); nan where none was measured.
    moved_share, raw_moved_share : float
        Share of items whose leaf changed, swaps of siblings not counted and counted.
    is_accepted : bool
        What the gate said.
    """

    iteration: int
    losses: tuple[float, ...]
    recalls: tuple[float, ...]
    recall_before: float = nan
    objective_before: float = nan
    objective_after: float = nan
    moved_share: float = 0.0
    raw_moved_share: float = 0.0
    is_accepted: bool = True

    @property
    def num_epochs(self) -> int:
        """Epochs that were run before patience ended."""
        return len(self.losses)

    @property
    def recall(self) -> float:
        """Validation recall of the best epoch, whose weights are kept; the gate decides by it."""
        return max(self.recalls)


@dataclass(frozen=True)
class _Version(Generic[Model]):
    model: Model
    deciding_recall: float
    is_accepted: bool


def learn_in_rounds(
    learn: Callable[[int, Model | None], tuple[Model, Round]], iterations: int, tolerance: float
) -> tuple[Model, tuple[Round, ...]]:
    """Run the iterations; what the best one left, by validation recall, and all rounds.

    Parameters
    ----------
    learn : callable (iteration, start)
        Makes one iteration's model from the accepted one before; from None in iteration 0. Must not change ``start``.
    iterations : int
        After the first.
    tolerance : float
        Share of the best recall that a version may fall short of it; if it falls further the loop goes on from the best.
    """
    standing: Standing[_Version[Model]] | None = None
    rounds: list[Round] = []
    for iteration in range(iterations + 1):
        model, made = learn(iteration, standing.current.model if standing else None)
        is_accepted = is_within_tolerance(made.recall, standing.best.deciding_recall if standing else None, tolerance)
        rounds.append(replace(made, is_accepted=is_accepted))
        standing = Standing.after_version(standing, _Version(model, made.recall, is_accepted))
    assert standing is not None
    return standing.best.model, tuple(rounds)

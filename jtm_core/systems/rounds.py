"""The loop of Algorithm 1, for every learned system alike: a round trains, the gate judges, the next one goes on from there."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import nan
from typing import Any, Generic, TypeVar

import torch

from jtm_core.gate import Standing, is_within_tolerance
from jtm_core.keeping import Keeper, State, part, prefixed, training_name

Model = TypeVar("Model")

Report = Callable[[float, float, str], None]
"""Is told epochs done, epochs in all (at most) and a few words."""

_ROUNDS = "rounds"


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
class Learner(Generic[Model]):
    """What makes the rounds of one system.

    Parameters
    ----------
    learn : callable (iteration, start)
        Makes one iteration's model from the accepted one before; from None in iteration 0. Must not change ``start``.
    pack, unpack : callable
        A model as tensors, and a model of the same bits from them.
    """

    learn: Callable[[int, Model | None], tuple[Model, Round]]
    pack: Callable[[Model], State]
    unpack: Callable[[State], Model]


@dataclass(frozen=True)
class _Version(Generic[Model]):
    iteration: int
    model: Model
    deciding_recall: float
    is_accepted: bool


def learn_in_rounds(learner: Learner[Model], iterations: int, tolerance: float, keeper: Keeper) -> tuple[Model, tuple[Round, ...]]:
    """Run the iterations; what the best one left, by validation recall, and all rounds.

    Parameters
    ----------
    learner : Learner
    iterations : int
        After the first.
    tolerance : float
        Share of the best recall that a version may fall short of it; if it falls further the loop goes on from the best.
    keeper : Keeper
        Rounds that it has kept are not run again.
    """
    rounds, standing = _kept_rounds(learner, keeper)
    for iteration in range(len(rounds), iterations + 1):
        model, made = learner.learn(iteration, standing.current.model if standing else None)
        is_accepted = is_within_tolerance(made.recall, standing.best.deciding_recall if standing else None, tolerance)
        rounds.append(replace(made, is_accepted=is_accepted))
        standing = Standing.after_version(standing, _Version(iteration, model, made.recall, is_accepted))
        keeper.keep(_ROUNDS, partial(_packed, learner, rounds, standing))
        keeper.forget(training_name(iteration))
    assert standing is not None
    return standing.best.model, tuple(rounds)


def _packed(learner: Learner[Model], rounds: Sequence[Round], standing: Standing[_Version[Model]]) -> State:
    """All rounds so far, and the models that the loop may still come back to."""
    current, best = standing.current, standing.best
    state = {"standing": torch.tensor([current.iteration, best.iteration])}
    for version in {current.iteration: current, best.iteration: best}.values():
        state |= prefixed(learner.pack(version.model), f"model-{version.iteration}.")
    for made in rounds:
        values = {name: torch.tensor(value, dtype=torch.float64) for name, value in asdict(made).items()}
        state |= prefixed(values, f"round-{made.iteration}.")
    return state


def _kept_rounds(learner: Learner[Model], keeper: Keeper) -> tuple[list[Round], Standing[_Version[Model]] | None]:
    """What :func:`_packed` packed; nothing if nothing is kept."""
    state = keeper.kept(_ROUNDS)
    if state is None:
        return [], None
    rounds: list[Round] = []
    while values := part(state, f"round-{len(rounds)}."):
        rounds.append(_round_of(values))
    places = state["standing"].tolist()
    models = {place: learner.unpack(part(state, f"model-{place}.")) for place in dict.fromkeys(places)}
    versions = [_Version(place, models[place], rounds[place].recall, rounds[place].is_accepted) for place in places]
    return rounds, Standing(*versions)


def _round_of(values: State) -> Round:
    made: dict[str, Any] = {name: tuple(tensor.tolist()) if tensor.ndim else tensor.item() for name, tensor in values.items()}
    return Round(**{**made, "iteration": int(made["iteration"]), "is_accepted": bool(made["is_accepted"])})

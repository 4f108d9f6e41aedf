"""Epochs with early stopping, for baselines.

As in :mod:`jtm_core.training`: validation users judge after every epoch, ``patience`` epochs without a better recall end the
training, and the best epoch's weights are kept. A killed training goes on after the last epoch that was kept.

torch keeps to one thread while an epoch is trained: its operators are small here, and on a machine that has other work its threads
wait for each other most of the time (an epoch of HSM on 187,000 samples of 14 levels took 18 s of processor time on one thread, 99 s
on two). So the bits do not depend on the number of threads either.
"""

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from jtm_core.behaviours import Ints, TrainingHistories
from jtm_core.config import TrainingConfig
from jtm_core.diagnosis import require_finite
from jtm_core.features import Samples, disordered, draw_samples, make_horizon, sample_order
from jtm_core.keeping import Keeper, KeepNothing, State, part, prefixed, training_name
from jtm_core.optimiser import linear_share
from jtm_core.threads import single_threaded_torch
from jtm_core.training import TrainingPlan

Network = TypeVar("Network", bound=nn.Module)
Trained_co = TypeVar("Trained_co", bound=nn.Module, covariant=True)


@dataclass(frozen=True, slots=True)
class Curve:
    """Mean loss per batch and validation recall of each epoch; no recalls where nobody was asked."""

    losses: tuple[float, ...]
    recalls: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SampleBatch:
    """One step's samples, pointing into flat ``items``, and the share of the learning rate that the step takes."""

    items: Ints
    samples: Samples
    rate_share: float


def sample_batches(
    histories: TrainingHistories, training: TrainingConfig, rng: np.random.Generator, epoch: int, num_epochs: int
) -> Iterator[SampleBatch]:
    """All samples of an epoch once, users shuffled, in batches of ``training.batch_samples``; ``rng`` draws disorder, order and horizons.

    Raises
    ------
    ValueError
        If no behaviour has enough behaviours before it.
    """
    if training.order_noise:
        histories = disordered(histories, training.order_noise, rng)
    order = sample_order(histories, training.minimum_history, rng)
    horizon = make_horizon(training.reach, rng)
    for first in range(0, order.num_samples, training.batch_samples):
        last = min(first + training.batch_samples, order.num_samples)
        samples = draw_samples(histories, order, first, last, horizon)
        done = (epoch + first / order.num_samples) / num_epochs
        yield SampleBatch(histories.values, samples, linear_share(done) if training.rate_schedule == "linear" else 1.0)


class Trainer(Protocol[Trained_co]):
    """What makes the epochs of one baseline."""

    @property
    def network(self) -> Trained_co:
        """What is trained, in place."""
        ...

    def train_epoch(self, epoch: int) -> float:
        """Train one epoch, counted from 0, and give its mean loss; of the network, the moments and the epoch alone."""
        ...

    def moments(self) -> State:
        """What the optimisers hold."""
        ...

    def restore_moments(self, state: State) -> None:
        """Go on from :meth:`moments` of a trainer of the same network."""
        ...


def _tell_nobody(epochs_done: int, recall: float) -> None:
    """For trainings that nobody watches."""


@dataclass(frozen=True)
class Oversight(Generic[Network]):
    """What stands over a training.

    Parameters
    ----------
    judge : callable (network), optional
        Validation recall of the network as it is. Without it all epochs are run and the last one's weights stay.
    tell : callable (epochs done, recall)
        Is told of each epoch that was judged.
    keeper : Keeper
        Keeps the state after an epoch.
    """

    judge: Callable[[Network], float] | None = None
    tell: Callable[[int, float], None] = _tell_nobody
    keeper: Keeper = field(default_factory=KeepNothing)


def train_patiently(trainer: Trainer[Network], plan: TrainingPlan, patience: int, oversight: Oversight[Network]) -> tuple[Network, Curve]:
    """Run epochs until they or patience are over; the trainer's network, with the weights of the best one.

    Parameters
    ----------
    trainer : Trainer
    plan : TrainingPlan
    patience : int
        Epochs without a better recall before training stops.
    oversight : Oversight
        From a state that its keeper has of this iteration's training that training goes on, to the same bits.

    Raises
    ------
    FloatingPointError
        If a loss or a weight is not finite after an epoch.
    """
    network, name = trainer.network, training_name(plan.iteration)
    past = _Past.kept(oversight.keeper, name, trainer)
    while len(past.losses) < plan.num_epochs and past.waited < patience:
        with single_threaded_torch():
            loss = trainer.train_epoch(len(past.losses))
        require_finite(loss, network, f"epoch {len(past.losses) + 1}")
        past.losses.append(loss)
        if oversight.judge is not None:
            past.add_recall(oversight.judge(network), network)
            oversight.tell(len(past.losses), past.recalls[-1])
        oversight.keeper.keep_if_due(name, lambda: past.state(trainer))
    if past.best:
        network.load_state_dict(past.best)
    return network, Curve(tuple(past.losses), tuple(past.recalls))


@dataclass(slots=True)
class _Past:
    """The epochs that were run, and the weights of the best one."""

    losses: list[float] = field(default_factory=list)
    recalls: list[float] = field(default_factory=list)
    best: State = field(default_factory=dict)

    @classmethod
    def kept(cls, keeper: Keeper, name: str, trainer: Trainer[nn.Module]) -> "_Past":
        """What a keeper has under a name, the trainer set back to it; nothing if it has nothing."""
        state = keeper.kept(name)
        if state is None:
            return cls()
        trainer.network.load_state_dict(part(state, "network."))
        trainer.restore_moments(part(state, "moments."))
        return cls(state["losses"].tolist(), state["recalls"].tolist(), part(state, "best."))

    def state(self, trainer: Trainer[nn.Module]) -> State:
        """Everything needed to go on."""
        curve = {name: torch.tensor(values, dtype=torch.float64) for name, values in (("losses", self.losses), ("recalls", self.recalls))}
        network = prefixed(trainer.network.state_dict(), "network.")
        return curve | network | prefixed(trainer.moments(), "moments.") | prefixed(self.best, "best.")

    def add_recall(self, recall: float, network: nn.Module) -> None:
        """Note an epoch's recall, and its weights if none was better or as good."""
        if not self.recalls or recall > max(self.recalls):
            self.best = copy.deepcopy(network.state_dict())
        self.recalls.append(recall)

    @property
    def waited(self) -> int:
        """Epochs since the best one."""
        return len(self.recalls) - 1 - int(np.argmax(self.recalls)) if self.recalls else 0


def moments_of(optimiser: torch.optim.Optimizer) -> State:
    """What one of torch's optimisers holds of each parameter, as tensors: numbers of steps as they are, int64 where they are ints."""
    held = optimiser.state_dict()["state"]
    return {f"{place}.{name}": torch.as_tensor(value) for place, values in held.items() for name, value in values.items()}


def restore_moments_of(optimiser: torch.optim.Optimizer, state: State) -> None:
    """Go on from :func:`moments_of` of an optimiser over the same parameters."""
    held: dict[int, dict[str, Any]] = defaultdict(dict)
    for key, tensor in state.items():
        place, name = key.split(".")
        held[int(place)][name] = tensor if tensor.is_floating_point() else int(tensor)  # int: powers of a tensor round otherwise
    optimiser.load_state_dict({**optimiser.state_dict(), "state": dict(held)})

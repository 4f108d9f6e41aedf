"""Epochs with early stopping, for baselines whose training is short enough not to need checkpoints within a round.

As in :mod:`jtm_core.training`: validation users judge after every epoch, ``patience`` epochs without a better recall end the
training, and the best epoch's weights are kept.

torch keeps to one thread while an epoch is trained: its operators are small here, and on a machine that has other work its threads
wait for each other most of the time (an epoch of HSM on 187,000 samples of 14 levels took 18 s of processor time on one thread, 99 s
on two). So the bits do not depend on the number of threads either.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from jtm_core.behaviours import Ints, Ragged
from jtm_core.config import TrainingConfig
from jtm_core.diagnosis import require_finite
from jtm_core.features import Samples, disordered, draw_samples, make_horizon, sample_order
from jtm_core.optimiser import linear_share
from jtm_core.threads import single_threaded_torch


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
    histories: Ragged, training: TrainingConfig, rng: np.random.Generator, epoch: int, num_epochs: int
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
    if not order.num_samples:
        raise ValueError(f"no behaviour has the {training.minimum_history} behaviours before it that minimum_history asks for")
    horizon = make_horizon(training.reach, rng)
    for first in range(0, order.num_samples, training.batch_samples):
        last = min(first + training.batch_samples, order.num_samples)
        samples = draw_samples(histories, order, first, last, training.minimum_history, horizon)
        done = (epoch + first / order.num_samples) / num_epochs
        yield SampleBatch(histories.values, samples, linear_share(done) if training.rate_schedule == "linear" else 1.0)


def train_patiently(
    network: nn.Module, num_epochs: int, patience: int, train_epoch: Callable[[int], float], judge: Callable[[], float] | None
) -> Curve:
    """Run epochs until they or patience are over, and leave the network with the weights of the best one.

    Parameters
    ----------
    network : Module
        Trained in place by ``train_epoch``.
    num_epochs : int
        At most.
    patience : int
        Epochs without a better recall before training stops.
    train_epoch : callable (epoch)
        Trains one epoch, counted from 0; its mean loss.
    judge : callable, optional
        Validation recall of the network as it is. Without it all epochs are run and the last one's weights stay.

    Raises
    ------
    FloatingPointError
        If a loss or a weight is not finite after an epoch.
    """
    losses: list[float] = []
    recalls: list[float] = []
    best: dict[str, Tensor] = {}
    for epoch in range(num_epochs):
        with single_threaded_torch():
            losses.append(train_epoch(epoch))
        require_finite(losses[-1], network, f"epoch {epoch + 1}")
        if judge is None:
            continue
        recall = judge()
        if not recalls or recall > max(recalls):
            best = copy.deepcopy(network.state_dict())
        recalls.append(recall)
        if len(recalls) - 1 - int(np.argmax(recalls)) >= patience:
            break
    if best:
        network.load_state_dict(best)
    return Curve(tuple(losses), tuple(recalls))

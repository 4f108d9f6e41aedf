"""Training the network on a fixed tree: the first half of Algorithm 1's loop, resumable at any batch.

Every random number comes from a generator of (seed, purpose, iteration, epoch, batch), so a training that was stopped
and restored goes on exactly as it would have. Several processes can share every batch (:mod:`jtm_core.peers`).
"""

import copy
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from jtm_core.beam_batches import make_maker
from jtm_core.behaviours import Ragged, TrainingHistories
from jtm_core.config import TrainingConfig
from jtm_core.diagnosis import require_finite, undertraining_signs
from jtm_core.features import SampleOrder, disordered, draw_samples, make_horizon, sample_order
from jtm_core.gradients import Gradients, make_gradients
from jtm_core.keeping import State, part, prefixed
from jtm_core.model import JtmNetwork
from jtm_core.optimiser import linear_share, make_adam
from jtm_core.peers import Alone, Peers, no_gradients
from jtm_core.seeding import generator
from jtm_core.tree import TreeIndex

CURVE_POINTS = 100
"""Points of the loss curve per epoch, at most."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Where in an experiment a training stands: first level trained, epochs at most, seed, iteration."""

    first_level: int
    num_epochs: int
    seed: int
    iteration: int


@dataclass(frozen=True, slots=True)
class Validation:
    """What the validation users say of a network.

    Parameters
    ----------
    recall : float
        Recall at :func:`jtm_core.gate.deciding_cutoff`, 0 .. 1.
    score_spread : float
        Mean over users of the standard deviation of the logits of their best leaves.
    list_overlap : float
        What the lists of two users have in common beyond chance; near 1 all users get one list.
    """

    recall: float
    score_spread: float
    list_overlap: float


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """How far a training is: the batch just done (counted from 1), its loss per sample, rows scored so far."""

    epoch: int
    batch: int
    num_batches: int
    num_rows: int
    loss: float


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training leaves.

    Parameters
    ----------
    network : JtmNetwork
        With the weights of the epoch with the best validation recall.
    losses : list of float
        Mean loss per sample of each epoch.
    loss_curve : list of float
        Loss per sample averaged over a hundredth of an epoch each.
    validations : list of Validation
        After each epoch.
    best_epoch : int
        Counted from 1.
    num_rows : int
        (sample, node) rows trained on.
    warnings : list of str
        Signs of under-training, in words; empty if none.
    """

    network: JtmNetwork
    losses: list[float]
    loss_curve: list[float]
    validations: list[Validation]
    best_epoch: int
    num_rows: int
    warnings: list[str]


class Training:
    """One iteration's training.

    Holds the network once, its moments (twice the network) and, from the first epoch to the last, a copy of the best weights.

    Parameters
    ----------
    network : JtmNetwork
        Start; not changed, a copy is trained.
    tree : TreeIndex
        Fixed throughout.
    histories : TrainingHistories
        What may be learned from.
    config : TrainingConfig
    plan : TrainingPlan
    validate : callable
        Judges the network after each epoch.

    Raises
    ------
    ValueError
        If the histories hold no sample.
    """

    def __init__(
        self,
        network: JtmNetwork,
        tree: TreeIndex,
        histories: TrainingHistories,
        config: TrainingConfig,
        plan: TrainingPlan,
        validate: Callable[[JtmNetwork], Validation],
    ) -> None:
        self._network, self._histories, self._config, self._plan, self._validate = copy.deepcopy(network), histories, config, plan, validate
        self._best: State = {}  # empty as long as the network itself is the best
        self._peers: Peers = Alone()
        trained = self._network, tree, config, min(plan.first_level, tree.height)
        self._optimiser, self._maker = make_adam(*trained), make_maker(*trained, histories)
        self._gradients = make_gradients(self._network, config.precision)
        self._epoch, self._batch, self._batch_losses = 0, 0, list[float]()
        self._loss_curve, self._losses, self._validations = list[float](), list[float](), list[Validation]()
        self._num_samples = sample_order(histories, config.minimum_history, None).num_samples
        self._num_batches = -(-self._num_samples // config.batch_samples)

    def join(self, peers: Peers) -> None:
        """Share every batch with other processes from now on.

        All of them are set up with the same arguments, restored from the same state if from any, and call :meth:`steps` alike. Only
        the first is asked to validate.

        Raises
        ------
        RuntimeError
            If the peers do not start from the same weights.
        """
        self._peers = peers
        peers.check_equal(self.digest(), "the network at the start")

    def steps(self) -> Iterator[TrainingProgress]:
        """Train batch by batch, validating after each epoch, until the epochs are over or patience is.

        Raises
        ------
        RuntimeError
            If the networks of several peers differ at the end of an epoch.
        FloatingPointError
            If loss or weights are not finite at the end of an epoch.
        """
        while not self._is_done():
            histories, order = self._ordered()
            while self._batch < self._num_batches:
                first = self._batch * self._config.batch_samples
                last = min(first + self._config.batch_samples, order.num_samples)
                gradients = self._batch_gradients(histories, order, first, last)
                self._optimiser.step(gradients, self._rate_share())
                self._batch_losses.append(gradients.loss)
                self._batch += 1
                yield TrainingProgress(self._epoch + 1, self._batch, self._num_batches, self._rows_done(), gradients.loss)
            self._end_epoch()

    def state(self) -> State:
        """Everything needed to go on, as tensors that :meth:`restore` takes; the large ones are not copied."""
        numbers = {
            "position": torch.tensor([self._epoch, self._batch]),
            "batch_losses": torch.tensor(self._batch_losses, dtype=torch.float64),
            "loss_curve": torch.tensor(self._loss_curve, dtype=torch.float64),
            "losses": torch.tensor(self._losses, dtype=torch.float64),
            "validations": torch.tensor(
                [[v.recall, v.score_spread, v.list_overlap] for v in self._validations], dtype=torch.float64
            ).reshape(-1, 3),
        }
        self._optimiser.refresh()
        return numbers | self._large_state() | prefixed(self._best, "best.")

    def restore(self, state: State) -> None:
        """Go on from a :meth:`state` of a training set up with the same arguments.

        Raises
        ------
        ValueError
            If the state is that of another network, or not whole; nothing is changed then.
        """
        shapes = {name: tensor.shape for name, tensor in self._large_state().items()}
        small = ("position", "batch_losses", "loss_curve", "losses", "validations")
        wrong = [name for name in shapes if name not in state or state[name].shape != shapes[name]]
        wrong += [name for name in small if name not in state]
        if wrong:
            raise ValueError(f"the state lacks {wrong[:3]} or has other shapes there; it must come from a training set up alike")
        self._epoch, self._batch = (int(number) for number in state["position"])
        self._batch_losses, self._loss_curve = state["batch_losses"].tolist(), state["loss_curve"].tolist()
        self._losses = state["losses"].tolist()
        self._validations = [Validation(*row) for row in state["validations"].tolist()]

        self._network.load_state_dict(part(state, "network."))
        self._best = part(state, "best.")
        self._optimiser.restore(part(state, "adam."))

    def digest(self) -> bytes:
        """sha256 of the weights as they are now."""
        self._optimiser.refresh()
        digest = hashlib.sha256()
        for tensor in self._network.state_dict().values():
            digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).data)
        return digest.digest()

    def result(self) -> TrainingResult:
        """What was learned; call after :meth:`steps` is exhausted."""
        if self._best:
            self._network.load_state_dict(self._best)
            self._best = {}
        recalls, last = [v.recall for v in self._validations], self._validations[-1]
        best, signs = int(np.argmax(recalls)) + 1, undertraining_signs(self._losses, recalls, last.score_spread, last.list_overlap)
        return TrainingResult(self._network, self._losses, self._loss_curve, self._validations, best, self._rows_done(), signs)

    def _ordered(self) -> tuple[TrainingHistories, SampleOrder]:
        """The histories of this epoch and the order in which their samples pass by."""
        noise = self._config.order_noise
        histories = disordered(self._histories, noise, self._generator("order-noise")) if noise else self._histories
        return histories, sample_order(histories, self._config.minimum_history, self._generator("order"))

    def _rate_share(self) -> float:
        """Share of the learning rate that the next step takes."""
        done = (self._epoch * self._num_batches + self._batch) / (self._plan.num_epochs * self._num_batches)
        return linear_share(done) if self._config.rate_schedule == "linear" else 1.0

    def _batch_gradients(self, histories: Ragged, order: SampleOrder, first: int, last: int) -> Gradients:
        """Gradients of the samples ``first .. last - 1``, of which this process computes its share."""
        horizon = make_horizon(self._config.reach, self._generator("horizon", self._batch))
        samples = draw_samples(histories, order, first, last, horizon)
        share = self._maker.share(len(samples), self._peers.rank, self._peers.size)
        weight = (share.stop - share.start) / len(samples)
        if not weight:
            return self._peers.add(no_gradients(self._network), 0.0)
        if self._maker.reads_network:
            self._optimiser.refresh()
        batch = self._maker.make(histories.values, samples, self._generator("negatives", self._batch), share)
        self._optimiser.refresh(batch.table_rows)
        return self._peers.add(self._gradients(self._network, batch), weight)

    def _large_state(self) -> State:
        return prefixed(self._network.state_dict(), "network.") | prefixed(self._optimiser.state(), "adam.")

    def _generator(self, purpose: str, *counters: int) -> np.random.Generator:
        return generator(self._plan.seed, purpose, self._plan.iteration, self._epoch, *counters)

    def _is_done(self) -> bool:
        recalls = [v.recall for v in self._validations]
        waited = len(recalls) - 1 - int(np.argmax(recalls)) if recalls else 0
        return self._epoch >= self._plan.num_epochs or waited >= self._config.patience

    def _end_epoch(self) -> None:
        self._optimiser.refresh()
        batches, losses = np.arange(self._num_batches), np.array(self._batch_losses)
        sizes = np.diff(np.append(batches * self._config.batch_samples, self._num_samples))  # the last batch may be small
        loss = float(np.average(losses, weights=sizes))
        require_finite(loss, self._network, f"epoch {self._epoch + 1} at training.learning_rate {self._config.learning_rate}")
        if self._peers.size > 1:
            self._peers.check_equal(self.digest(), f"the network after epoch {self._epoch + 1}")
        validation = Validation(*self._peers.told_by_first(self._judged))
        is_best = not self._validations or validation.recall > max(v.recall for v in self._validations)
        self._validations.append(validation)
        self._losses.append(loss)
        parts = np.array_split(batches, min(CURVE_POINTS, self._num_batches))
        self._loss_curve += [float(np.average(losses[part], weights=sizes[part])) for part in parts]
        self._epoch, self._batch, self._batch_losses = self._epoch + 1, 0, []
        if is_best:
            self._best = {} if self._is_done() else copy.deepcopy(self._network.state_dict())

    def _judged(self) -> list[float]:
        validation = self._validate(self._network)
        return [validation.recall, validation.score_spread, validation.list_overlap]

    def _rows_done(self) -> int:
        in_epoch = min(self._batch * self._config.batch_samples, self._num_samples)
        return (self._epoch * self._num_samples + in_epoch) * self._maker.rows_per_sample

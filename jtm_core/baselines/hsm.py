"""HSM: hierarchical softmax over a tree (Morin and Bengio 2005), the paper's rival with the path's product as score.

At each node of the tree the softmax over its two children says which way to go, ``p(child | parent)``, and an item's
probability is the product along its path, so that all items together have probability 1. Network, windows and user features
are JTM's with flat features (JTM, section 4.2: HSM goes without the negatives of TDM, each step's is the sibling). A child
without a used sibling has probability 1 and teaches nothing.

Where we leave the usual form: a node's vector enters the network beside the user's, as in JTM, instead of an inner product.

Search is by beam over path products from the root. A path's product never exceeds that of any part of it, yet a beam may lose
the best leaf: a good child below a bad parent. A beam as wide as the tree gives the whole order.

Shape letters: S samples or users, L levels, C nodes kept.
"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import softplus

from jtm_core.baselines.epochs import Curve, Oversight, sample_batches, train_patiently
from jtm_core.baselines.protocol import check_query
from jtm_core.batches import NodeRows, TrainingBatch, gather_runs
from jtm_core.beam import Ranking
from jtm_core.behaviours import Ints, Ragged, TrainingHistories
from jtm_core.codes import children_of, first_code
from jtm_core.config import TrainingConfig
from jtm_core.features import Samples
from jtm_core.gradients import autograd_gradients
from jtm_core.keeping import State
from jtm_core.kernels import Rows
from jtm_core.model import JtmNetwork
from jtm_core.optimiser import Adam
from jtm_core.scoring import make_scorer
from jtm_core.seeding import generator
from jtm_core.training import TrainingPlan
from jtm_core.tree import TreeIndex
from jtm_core.widening import Widening
from jtm_core.windows import Reading, Windows, windows_of

Floats = NDArray[np.float32]

_UNSEEN: Oversight[JtmNetwork] = Oversight()


class PathMaker:
    """Turns samples into batches whose rows are pairs: a node on the path of a target, then its sibling.

    Parameters
    ----------
    tree : TreeIndex
    reading : Reading
        Of training histories.
    """

    def __init__(self, tree: TreeIndex, reading: Reading) -> None:
        self._reading, self._is_used = reading, _used_nodes(tree)
        self._paths, self._leaves = (NodeRows(tree, range(first, tree.height + 1), "flat") for first in (1, tree.height))

    def make(self, items: Ints, samples: Samples) -> TrainingBatch:
        """The batch of some samples over the flat ``items``; steps of a path without a choice have no rows."""
        runs, bounds = gather_runs(items, samples, self._reading.window_sizes)
        paths = self._paths.lift(samples.targets).T
        siblings = ((paths + 1) ^ 1) - 1
        sample, level = np.nonzero(self._is_used[siblings])
        pairs = np.stack([paths[sample, level], siblings[sample, level]], axis=1)
        codes, nodes = np.unique(pairs, return_inverse=True)
        labels = np.tile(np.array([1, 0], dtype=np.float32), len(pairs))
        users, offsets = np.repeat(sample, 2).astype(np.int32), np.zeros(pairs.size, dtype=np.float32)
        rows = Rows(users, nodes.ravel().astype(np.int32), labels, offsets, np.array([0, pairs.size]))
        windows = Windows(runs.values, bounds, self._reading.near(items, samples.starts, samples.cuts))
        return TrainingBatch(self._leaves, runs.offsets, windows, codes, rows)


def path_loss(logits: Tensor, batch: TrainingBatch) -> Tensor:
    """``-log p`` of the targets' paths, mean over samples: each pair adds ``log(1 + exp(sibling - node))``."""
    pairs = logits.view(-1, 2)
    return softplus(pairs[:, 1] - pairs[:, 0]).sum() / batch.num_samples


def train_hsm(
    network: JtmNetwork,
    tree: TreeIndex,
    histories: TrainingHistories,
    training: TrainingConfig,
    plan: TrainingPlan,
    oversight: Oversight[JtmNetwork] = _UNSEEN,
) -> tuple[JtmNetwork, Curve]:
    """Train a copy of the network on the paths of a tree, from the root down.

    Of ``training`` the target, horizon_share, minimum_history, order_noise, batch_samples, learning_rate, rate_schedule and patience
    count. Equal seeds give equal bits on one machine, for any number of threads.

    Parameters
    ----------
    network : JtmNetwork
        Start, with flat features and no attention; not changed.
    tree : TreeIndex
    histories : TrainingHistories
        What may be learned from.
    training : TrainingConfig
    plan : TrainingPlan
        Its ``first_level`` plays no part: products begin at the root.
    oversight : Oversight
        Who judges, for early stopping, and what keeps the state; by default nobody and nothing.

    Raises
    ------
    ValueError
        If the network has other features or attention, or no behaviour has enough behaviours before it.
    """
    if network.config.features != "flat" or network.config.attention:
        raise ValueError(f"features are {network.config.features!r}, attention {network.config.attention}; HSM has flat ones and none")
    maker = PathMaker(tree, network.reading.of_training(histories.offsets))
    trainer = _PathTrainer(copy.deepcopy(network), maker, histories, training, plan)
    return train_patiently(trainer, plan, training.patience, oversight)


class _PathTrainer:
    """The epochs of a network, which is trained in place."""

    def __init__(
        self, network: JtmNetwork, maker: PathMaker, histories: TrainingHistories, training: TrainingConfig, plan: TrainingPlan
    ) -> None:
        self.network = network
        self._maker, self._histories, self._training, self._plan = maker, histories, training, plan
        self._optimiser = Adam(network, training.learning_rate)

    def train_epoch(self, epoch: int) -> float:
        rng, losses, sizes = generator(self._plan.seed, "hsm-epoch", self._plan.iteration, epoch), list[float](), list[int]()
        for batch in sample_batches(self._histories, self._training, rng, epoch, self._plan.num_epochs):
            gradients = autograd_gradients(self.network, self._maker.make(batch.items, batch.samples), loss_of=path_loss)
            self._optimiser.step(gradients, batch.rate_share)
            losses.append(gradients.loss)
            sizes.append(len(batch.samples))
        return float(np.average(losses, weights=sizes))

    def moments(self) -> State:
        return self._optimiser.state()

    def restore_moments(self, state: State) -> None:
        self._optimiser.restore(state)


class HierarchicalSoftmax:
    """A trained HSM, searched by beam.

    Parameters
    ----------
    network : JtmNetwork
        Must not change afterwards.
    tree : TreeIndex
    beam_width : int
        At least 1.

    Raises
    ------
    ValueError
        If the beam is narrower than 1.
    """

    def __init__(self, network: JtmNetwork, tree: TreeIndex, beam_width: int) -> None:
        if beam_width < 1:
            raise ValueError(f"beam_width is {beam_width}; allowed are 1 and more")
        self.network, self.tree, self.beam_width = network, tree, beam_width
        self._scorer, self._is_used, self._item_of_leaf = make_scorer(network, tree), _used_nodes(tree), tree.item_of_leaf()

    def with_beam(self, width: int) -> "HierarchicalSoftmax":
        """The same network and tree searched by a beam of another width."""
        return HierarchicalSoftmax(self.network, self.tree, width)

    def recommend(self, histories: Ragged, num_recommended: int, excluded: Ragged | None = None) -> Ints:
        """List the leaves of largest path product found; see :class:`jtm_core.baselines.protocol.Recommender`."""
        check_query(histories, num_recommended, excluded, self.tree.num_items)
        windows = windows_of(histories, self.network.reading)
        return Widening(self._found, self.beam_width, self.tree.num_items).rank(windows, num_recommended, excluded).items

    def log_probabilities(self, histories: Ragged) -> Floats:
        """Of every item for every user, by a walk that loses nothing: float32 (E, num_items); for small trees."""
        windows = windows_of(histories, self.network.reading)
        codes, scores = self._walk(windows, self.tree.num_items)
        by_item = np.full((len(windows), self.tree.num_items + 1), -np.inf, dtype=np.float32)
        np.put_along_axis(by_item, self._items_on(codes), scores, axis=1)  # places without an item fall on the last column
        return by_item[:, :-1]

    def _found(self, windows: Windows, width: int) -> Ranking:
        """Items of the leaves that a beam ends with and the logarithms of their path products, best first, ties to the smaller code."""
        codes, scores = self._walk(windows, width)
        order = np.lexsort((codes, -scores), axis=1)
        return Ranking(np.take_along_axis(self._items_on(codes), order, axis=1), np.take_along_axis(scores, order, axis=1))

    def _items_on(self, codes: Ints) -> Ints:
        return np.where(codes >= 0, self._item_of_leaf[np.maximum(codes - first_code(self.tree.height), 0)], -1)

    def _walk(self, windows: Windows, width: int) -> tuple[Ints, Floats]:
        """Leaves that a beam ends with and the logarithms of their path products; -1 with -inf where there is none."""
        codes, scores = np.zeros((len(windows), 1), dtype=np.int64), np.zeros((len(windows), 1), dtype=np.float32)
        for level in range(1, self.tree.height + 1):
            if scores.shape[1] > width:
                best = np.argsort(-scores, axis=1, kind="stable")[:, :width]
                codes, scores = np.take_along_axis(codes, best, axis=1), np.take_along_axis(scores, best, axis=1)
            children_SC2 = children_of(np.maximum(codes, 0))
            children_SC2 = np.where((codes >= 0)[:, :, None] & self._is_used[children_SC2], children_SC2, -1)
            logits = self._scorer.score_level(windows, level, children_SC2.reshape(len(codes), -1)).reshape(children_SC2.shape)
            scores = np.where(children_SC2 >= 0, scores[:, :, None] + _log_softmax(logits), np.float32(-np.inf)).reshape(len(codes), -1)
            codes = children_SC2.reshape(len(codes), -1)
        return codes, scores


def _used_nodes(tree: TreeIndex) -> NDArray[np.bool_]:
    """Whether each code has an item under it."""
    is_used = np.zeros(first_code(tree.height + 1), dtype=np.bool_)
    for level in range(tree.height + 1):
        is_used[tree.used_nodes(level)] = True
    return is_used


def _log_softmax(logits: Floats) -> Floats:
    """Over the last axis; nan where no child is used."""
    with torch.no_grad():
        probabilities: Floats = torch.log_softmax(torch.from_numpy(logits), dim=-1).numpy()
    return probabilities

"""Scores of nodes for users: the forward pass that search, tree learning and evaluation share.

:class:`FusedScorer` runs the tiles of :mod:`jtm_core.kernels` on the CPU; :class:`TorchScorer` is plain torch, for CUDA,
for attention, and as the readable twin.

Shape letters: S samples, C candidate nodes, W windows, T behaviours looked back on.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from jtm_core.behaviours import Ints, Ragged
from jtm_core.codes import first_code
from jtm_core.features import Samples, window_bounds
from jtm_core.gradients import head_weights
from jtm_core.kernels import run_chunks, score_rows
from jtm_core.model import JtmNetwork, attended_scores, behaviour_rows
from jtm_core.pooling import pool_windows
from jtm_core.tree import TreeIndex

Floats = NDArray[np.float32]

CACHED_NODES = 1 << 18
"""Levels of up to this many nodes keep their nodes' halves between calls (512 bytes a node)."""
_ROWS_PER_CALL = 1 << 21


@dataclass(frozen=True, slots=True)
class Windows:
    """What is known of some users: flat items and, per user, the windows' borders in them: int64 (S, W + 1)."""

    items: Ints
    bounds: Ints

    def __len__(self) -> int:
        return len(self.bounds)

    def part(self, low: int, high: int) -> "Windows":
        """Users ``low .. high - 1``."""
        return Windows(self.items, self.bounds[low:high])


def windows_of(histories: Ragged, window_sizes: tuple[int, ...]) -> Windows:
    """Windows at the end of each history."""
    return Windows(histories.values, window_bounds(histories.offsets[:-1], histories.offsets[1:], window_sizes))


def sample_windows(items: Ints, samples: Samples, window_sizes: tuple[int, ...]) -> Windows:
    """Windows before each sample's cut."""
    return Windows(items, window_bounds(samples.starts, samples.cuts, window_sizes))


class Scorer(Protocol):
    """Scores nodes of one level of one tree by one network."""

    network: JtmNetwork
    tree: TreeIndex

    def score_level(self, windows: Windows, level: int, codes: Ints) -> Floats:
        """Logits of nodes of a level.

        Parameters
        ----------
        windows : Windows
            S users.
        level : int
            Level of all nodes.
        codes : int64 array (S, C) or (C,)
            Each user's candidates, or the same for all; -1 where there is none.

        Returns
        -------
        float32 array (S, C)
            ``-inf`` for -1.
        """
        ...


@dataclass(frozen=True, slots=True)
class NodeTable:
    """Where the nodes to score are looked up, if not in the tree that describes the users.

    Parameters
    ----------
    network : JtmNetwork
        Only its table of vectors is used.
    tree : TreeIndex
        Tells which item hangs on a leaf.
    """

    network: JtmNetwork
    tree: TreeIndex


def make_scorer(network: JtmNetwork, tree: TreeIndex, nodes: NodeTable | None = None) -> Scorer:
    """The fastest scorer for where the network lies and what it is.

    Parameters
    ----------
    network : JtmNetwork
    tree : TreeIndex
        Lifts the users' behaviours.
    nodes : NodeTable, optional
        Another tree whose nodes are scored; tree learning freezes the users on the old tree and tries new ones.
    """
    is_plain = network.vectors.device.type == "cpu" and not network.config.attention
    kind = FusedScorer if is_plain else TorchScorer
    return kind(network, tree, nodes or NodeTable(network, tree))


class FusedScorer:
    """Scores on the CPU; copies of the weights are taken once, so the network must not change meanwhile."""

    def __init__(self, network: JtmNetwork, tree: TreeIndex, nodes: NodeTable) -> None:
        self.network, self.tree = network, tree
        self._node_vectors, self._leaf_items = nodes.network.vectors.detach().numpy(), nodes.tree.item_of_leaf()
        self._vectors = network.vectors.detach().numpy()
        self._user_weight = network.user_layer.weight.detach().numpy()
        self._user_bias = network.user_layer.bias.detach().numpy()
        self._node_weight = network.node_layer.weight.detach().numpy()
        self._head = head_weights(network)
        self._cached_halves: dict[int, Floats] = {}
        self._behaviour_rows: dict[int, Ints] = {}

    def score_level(self, windows: Windows, level: int, codes: Ints) -> Floats:
        """See :meth:`Scorer.score_level`."""
        users = self._user_halves(windows, level)
        halves, index = self._node_halves(level, codes)
        scores = np.empty((len(windows), codes.shape[-1]), dtype=np.float32)
        step = max(1, _ROWS_PER_CALL // max(1, codes.shape[-1]))
        for low in range(0, len(windows), step):
            part = slice(low, min(low + step, len(windows)))
            nodes = np.broadcast_to(index if codes.ndim == 1 else index[part], scores[part].shape)
            rows = np.repeat(np.arange(part.start, part.stop, dtype=np.int32), codes.shape[-1])
            scores[part] = score_rows(users, halves, rows, nodes.ravel(), self._head).reshape(nodes.shape)
        scores[np.broadcast_to(codes < 0, scores.shape)] = -np.inf
        return scores

    def _user_halves(self, windows: Windows, level: int) -> Floats:
        if level not in self._behaviour_rows:
            self._behaviour_rows[level] = behaviour_rows(self.tree, level, self.network.config.features)
        rows, count = self._behaviour_rows[level], len(windows)
        halves = np.empty((count, len(self._user_bias)), dtype=np.float32)
        num_parts = max(1, min(16, count // 64))

        def work(k: int) -> None:
            low, high = count * k // num_parts, count * (k + 1) // num_parts
            pooled = np.empty((high - low, self._user_weight.shape[1]), dtype=np.float32)
            pool_windows(self._vectors, rows, windows.items, windows.bounds[low:high], pooled)
            np.dot(pooled, self._user_weight.T, out=halves[low:high])
            halves[low:high] += self._user_bias

        run_chunks(work, num_parts)
        return halves

    def _node_halves(self, level: int, codes: Ints) -> tuple[Floats, NDArray[np.int32]]:
        """Halves of the nodes and, for every code, which of them is its."""
        first = first_code(level)
        if 1 << level > CACHED_NODES:
            unique, inverse = np.unique(np.maximum(codes, first), return_inverse=True)
            return self._halves_of(level, unique), inverse.reshape(codes.shape).astype(np.int32)
        if level not in self._cached_halves:
            self._cached_halves[level] = self._halves_of(level, first + np.arange(1 << level))
        return self._cached_halves[level], np.maximum(codes - first, 0).astype(np.int32)

    def _halves_of(self, level: int, codes: Ints) -> Floats:
        first = first_code(level)
        rows = codes if level < self.tree.height else first + np.maximum(self._leaf_items[codes - first], 0)
        halves: Floats = self._node_vectors[rows] @ self._node_weight.T
        return halves


class TorchScorer:
    """Scores with plain torch on the network's device, each user's windows written out."""

    def __init__(self, network: JtmNetwork, tree: TreeIndex, nodes: NodeTable) -> None:
        self.network, self.tree = network, tree
        self._node_vectors, self._leaf_items = nodes.network.vectors, nodes.tree.item_of_leaf()

    @torch.no_grad()
    def score_level(self, windows: Windows, level: int, codes: Ints) -> Floats:
        """See :meth:`Scorer.score_level`."""
        config, vectors = self.network.config, self.network.vectors
        length, first = config.history_length, first_code(level)
        positions = windows.bounds[:, -1:] - length + np.arange(length)
        present = positions >= windows.bounds[:, :1]
        behaviours = behaviour_rows(self.tree, level, config.features)[windows.items[np.maximum(positions, 0)]]
        safe = np.maximum(codes, first)
        nodes = np.broadcast_to(safe, (len(windows), codes.shape[-1]))
        if level == self.tree.height:
            nodes = first + np.maximum(self._leaf_items[nodes - first], 0)
        scores = np.empty(nodes.shape, dtype=np.float32)
        step = max(1, (1 << 18) // max(1, nodes.shape[1] * (length if config.attention else 1)))
        for low in range(0, len(windows), step):
            part = slice(low, low + step)
            inputs = [torch.from_numpy(np.array(array[part])).to(vectors.device) for array in (behaviours, present, nodes)]
            logits = attended_scores(self.network, vectors[inputs[0]], inputs[1], self._node_vectors[inputs[2]])
            scores[part] = logits.cpu().numpy()
        scores[np.broadcast_to(codes < 0, scores.shape)] = -np.inf
        return scores

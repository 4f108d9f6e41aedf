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

from jtm_core.behaviours import Ints
from jtm_core.bfloat16 import PackedHead, pack_head, score_rows_bfloat16
from jtm_core.codes import first_code
from jtm_core.config import ModelConfig, Precision
from jtm_core.features import last_positions
from jtm_core.history_matches import Told, find_matches, note_histories
from jtm_core.kernels import Index, score_rows
from jtm_core.model import JtmNetwork, attended_scores, behaviour_rows, window_matches
from jtm_core.network_arrays import half_weights, head_weights
from jtm_core.row_products import dot_rows
from jtm_core.threads import run_chunks
from jtm_core.tiles import NodeTables, Scoring, UserTables, pool_users
from jtm_core.tree import TreeIndex
from jtm_core.window_matches import NO_MATCHES, Histories, Matches
from jtm_core.windows import Windows

Floats = NDArray[np.float32]

CACHE_BYTES = 1 << 28
"""How much of the nodes' halves is kept if nothing else is said: the levels down to 2**17 nodes of 608 bytes."""
_ROWS_PER_CALL = 1 << 21
_NODES_PER_CHUNK = 1 << 14


def last_rows(windows: Windows, tree: TreeIndex, level: int, config: ModelConfig) -> tuple[Ints, NDArray[np.bool_]]:
    """Rows of the table of each user's last behaviours on a level, int64 (S, T), right-aligned, and whether there is one."""
    positions, present = last_positions(windows.bounds)
    items = windows.items if len(windows.items) else np.zeros(1, dtype=np.int64)
    return behaviour_rows(tree, items[positions], level, config.features), present


def near_rows(windows: Windows, tree: TreeIndex, level: int, config: ModelConfig) -> Ints:
    """Rows of the table of each user's near items on a level: int64 (S, K), -1 where there is none."""
    windows.require(sum(config.neighbour_windows) if config.window_matches else 0)
    near = windows.near.astype(np.int64).reshape(len(windows), windows.near.shape[1])
    return np.where(near < 0, -1, behaviour_rows(tree, np.maximum(near, 0), level, config.features))


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


def make_scorer(
    network: JtmNetwork,
    tree: TreeIndex,
    nodes: NodeTable | None = None,
    *,
    cache_bytes: int = CACHE_BYTES,
    precision: Precision = "float32",
) -> Scorer:
    """The fastest scorer for where the network lies and what it is.

    Parameters
    ----------
    network : JtmNetwork
    tree : TreeIndex
        Lifts the users' behaviours.
    nodes : NodeTable, optional
        Another tree whose nodes are scored; tree learning freezes the users on the old tree and tries new ones.
    cache_bytes : int
        Memory for nodes' halves that are kept between calls, on the CPU only; 0 multiplies all of them out when they are met.
        Whole levels are kept, from the root down; a level is made when it is first asked for.
    precision : "float32" or "bfloat16"
        Of the products behind the first layer.

    Raises
    ------
    ValueError
        If ``cache_bytes`` is negative, or the precision cannot be had: bfloat16 needs the CPU, one that can multiply it, and no attention.
    """
    if cache_bytes < 0:
        raise ValueError(f"cache_bytes is {cache_bytes}; allowed are 0 and more")
    nodes = nodes or NodeTable(network, tree)
    if network.vectors.device.type == "cpu" and not network.config.attention:
        return FusedScorer(network, tree, nodes, cache_bytes, precision)
    if precision != "float32":
        raise ValueError(f"precision is {precision!r}; with attention or off the CPU only 'float32' is allowed")
    return TorchScorer(network, tree, nodes)


class FusedScorer:
    """Scores on the CPU; copies of the weights are taken once, so the network must not change meanwhile."""

    def __init__(
        self, network: JtmNetwork, tree: TreeIndex, nodes: NodeTable, cache_bytes: int = CACHE_BYTES, precision: Precision = "float32"
    ) -> None:
        self.network, self.tree, self._node_tree = network, tree, nodes.tree
        item_of_leaf, (user_weight, bias, node_weight) = nodes.tree.item_of_leaf(), half_weights(network)
        num_kept = _kept_nodes(tree.height, cache_bytes // (4 * node_weight.shape[1]))
        halves = np.empty((num_kept, node_weight.shape[1]), dtype=np.float32)
        leaf_of_item = np.require(tree.leaf_of_item, dtype=np.int64, requirements=["C", "W"])
        config = network.config
        vectors = network.vectors.detach().numpy()
        near_edges = network.reading.near_edges
        users = UserTables(vectors, leaf_of_item, user_weight, bias, config.features == "flat", config.history_length, near_edges)
        head = head_weights(network)
        self._scoring = Scoring(
            users,
            NodeTables(halves, nodes.network.vectors.detach().numpy(), item_of_leaf, node_weight),
            pack_head(head) if precision == "bfloat16" else head,
        )
        self._kept_levels: set[int] = set()
        self._noted: tuple[Windows, TreeIndex, Histories] | None = None

    def scoring(self, levels: range) -> Scoring:
        """What the fused search reads, with the halves of these levels kept as far as the memory allows."""
        for level in levels:
            self._keep_halves(level)
        return self._scoring

    def score_level(self, windows: Windows, level: int, codes: Ints) -> Floats:
        """See :meth:`Scorer.score_level`."""
        users = self._user_halves(windows, level)
        halves, index = self._node_halves(level, codes)
        scores = np.empty((len(windows), codes.shape[-1]), dtype=np.float32)
        step = max(1, _ROWS_PER_CALL // max(1, codes.shape[-1], self.network.config.history_length))
        for low in range(0, len(windows), step):
            part = slice(low, min(low + step, len(windows)))
            nodes = np.broadcast_to(index if codes.ndim == 1 else index[part], scores[part].shape)
            rows = np.repeat(np.arange(part.start, part.stop, dtype=np.int32), codes.shape[-1])
            own = windows if step >= len(windows) else windows.part(part.start, part.stop)
            matches = self._matches(own, level, np.broadcast_to(codes, scores.shape)[part])
            scores[part] = self._score_rows(users, halves, (rows, nodes.ravel()), matches).reshape(nodes.shape)
        scores[np.broadcast_to(codes < 0, scores.shape)] = -np.inf
        return scores

    def _score_rows(self, users: Floats, halves: Floats, pairs: tuple[Index, Index], matches: Matches) -> Floats:
        head = self._scoring.head
        if isinstance(head, PackedHead):
            return score_rows_bfloat16(users, halves, *pairs, head, matches)
        return score_rows(users, halves, *pairs, head, matches)

    def _matches(self, windows: Windows, level: int, codes: Ints) -> Matches:
        """Of every user with each of the candidates ``codes`` (S, C), those of one user after the other."""
        config, steps = self.network.config, self.tree.height - level
        if not config.window_matches or (config.features == "flat" and steps):
            return NO_MATCHES
        histories = self._histories(windows, self.tree if steps else self._node_tree)  # a leaf is its item, in whatever tree
        users = np.repeat(np.arange(len(windows), dtype=np.int32), codes.shape[1])
        return find_matches(histories, np.array([steps]), users, np.maximum(codes.ravel(), first_code(level)))

    def _histories(self, windows: Windows, tree: TreeIndex) -> Histories:
        """What users are told, by leaf of a tree; that of the last users is kept, who are asked about on one level after the other."""
        noted = self._noted
        if noted is None or noted[0] is not windows or noted[1] is not tree:
            near_edges = self.network.reading.near_edges
            windows.require(int(near_edges[-1]))
            told = Told(windows.items, windows.bounds, windows.near, near_edges, tree.leaf_of_item)
            self._noted = noted = (windows, tree, note_histories(told))
        return noted[2]

    def _user_halves(self, windows: Windows, level: int) -> Floats:
        users, count = self._scoring.users, len(windows)
        halves = np.empty((count, len(users.bias)), dtype=np.float32)
        num_parts = max(1, min(16, count // 64))

        def work(k: int) -> None:
            low, high = count * k // num_parts, count * (k + 1) // num_parts
            pooled = np.empty((high - low, len(users.weight)), dtype=np.float32)
            pool_users(users, windows.items, windows.bounds[low:high], self.tree.height - level, pooled)
            dot_rows(pooled, users.weight, halves[low:high])
            halves[low:high] += users.bias

        run_chunks(work, num_parts)
        return halves

    def _node_halves(self, level: int, codes: Ints) -> tuple[Floats, NDArray[np.int32]]:
        """Halves of the nodes and, for every code, which of them is its."""
        first = first_code(level)
        if self._keep_halves(level):
            return self._scoring.nodes.halves[first:], np.maximum(codes - first, 0).astype(np.int32)
        unique, inverse = np.unique(np.maximum(codes, first), return_inverse=True)
        return self._halves_of(level, unique), inverse.reshape(codes.shape).astype(np.int32)

    def _keep_halves(self, level: int) -> bool:
        """Make the halves of a level if there is room for them; whether there is."""
        first, halves = first_code(level), self._scoring.nodes.halves
        if first_code(level + 1) > len(halves):
            return False
        if level not in self._kept_levels:
            edges = np.arange(first, first_code(level + 1) + _NODES_PER_CHUNK, _NODES_PER_CHUNK).clip(max=first_code(level + 1))

            def work(k: int) -> None:
                halves[edges[k] : edges[k + 1]] = self._halves_of(level, np.arange(edges[k], edges[k + 1]))

            run_chunks(work, len(edges) - 1)
            self._kept_levels.add(level)
        return True

    def _halves_of(self, level: int, codes: Ints) -> Floats:
        nodes = self._scoring.nodes
        halves = np.empty((len(codes), nodes.weight.shape[1]), dtype=np.float32)
        dot_rows(nodes.vectors[self._table_rows(level, codes)], nodes.weight, halves)
        return halves

    def _table_rows(self, level: int, codes: Ints) -> Ints:
        """Rows of the table of vectors that stand for nodes of a level, those of unused leaves anything."""
        if level < self.tree.height:
            return codes
        first = first_code(level)
        return first + np.maximum(self._scoring.nodes.item_of_leaf[codes - first], 0)


def _kept_nodes(height: int, most: int) -> int:
    """Nodes of the levels from the root down that are at most ``most`` together."""
    return first_code(min(height + 1, (most + 1).bit_length() - 1))


class TorchScorer:
    """Scores with plain torch on the network's device, each user's windows written out."""

    def __init__(self, network: JtmNetwork, tree: TreeIndex, nodes: NodeTable) -> None:
        self.network, self.tree = network, tree
        self._node_vectors, self._leaf_items = nodes.network.vectors, nodes.tree.item_of_leaf()

    @torch.no_grad()
    def score_level(self, windows: Windows, level: int, codes: Ints) -> Floats:
        """See :meth:`Scorer.score_level`."""
        config, vectors = self.network.config, self.network.vectors
        behaviours, present = last_rows(windows, self.tree, level, config)
        near, length, first = near_rows(windows, self.tree, level, config), behaviours.shape[1], first_code(level)
        safe = np.maximum(codes, first)
        nodes = np.broadcast_to(safe, (len(windows), codes.shape[-1]))
        if level == self.tree.height:
            nodes = first + np.maximum(self._leaf_items[nodes - first], 0)
        scores = np.empty(nodes.shape, dtype=np.float32)
        looks_back = config.attention or config.window_matches
        are_leaves = torch.tensor(level == self.tree.height, device=vectors.device)
        sizes = self.network.reading.sizes_of(length)
        step = max(1, (1 << 18) // max(1, nodes.shape[1] * (sum(sizes) if looks_back else 1)))
        for low in range(0, len(windows), step):
            part = slice(low, low + step)
            arrays = behaviours, present, nodes, near
            rows, there, own, close = (torch.from_numpy(np.array(array[part])).to(vectors.device) for array in arrays)
            told, is_told = torch.cat([rows, close], dim=1), torch.cat([there, close >= 0], dim=1)
            matches = window_matches(told, is_told, own, sizes, are_leaves) if config.window_matches else None
            logits = attended_scores(self.network, vectors[rows], there, self._node_vectors[own], matches)
            scores[part] = logits.cpu().numpy()
        scores[np.broadcast_to(codes < 0, scores.shape)] = -np.inf
        return scores

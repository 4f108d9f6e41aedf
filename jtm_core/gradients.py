"""Loss and gradients of one batch: fused tiles on the CPU, autograd anywhere.

:func:`autograd_gradients` is the definition, runs on CUDA and with attention; :class:`FusedGradients` gives the same
numbers several times faster on a CPU. Both leave the network unchanged. With ``precision`` "bfloat16" the products behind
the first layer take rounded inputs (on CUDA by autocast); weights, sums over rows, gradients and moments stay float32.

Rows are taken by ``embedding`` and not by ``[]``: on a CPU only its gradient adds up in one order, whatever the threads do.

Loss: binary cross-entropy of each sample's positive and negatives on each trained level (TDM, eq. 3-4; JTM, eq. 2),
divided by the number of samples.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, embedding

from jtm_core.batches import TrainingBatch
from jtm_core.behaviours import Ints
from jtm_core.bfloat16 import require_bfloat16
from jtm_core.bfloat16_training import train_rows_bfloat16
from jtm_core.config import Precision
from jtm_core.features import last_positions
from jtm_core.history_matches import find_matches, note_histories
from jtm_core.kernels import train_rows
from jtm_core.model import JtmNetwork, attended_scores, window_matches
from jtm_core.network_arrays import HalfWeights, half_weights, head_weights
from jtm_core.pooling import pool_runs, pool_runs_back
from jtm_core.row_products import dot_rows, dot_transposed
from jtm_core.threads import run_chunks

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Gradients:
    """Gradients of one batch.

    Parameters
    ----------
    loss : float
        Mean over samples.
    rows : int64 array
        Rows of the table that the batch touched, each once, ascending.
    row_gradients : float32 tensor (len(rows), D)
    dense : list of float32 tensor
        In the order of :meth:`JtmNetwork.dense_parameters`.
    """

    loss: float
    rows: Ints
    row_gradients: Tensor
    dense: list[Tensor]


def make_gradients(network: JtmNetwork, precision: Precision = "float32") -> Callable[[JtmNetwork, TrainingBatch], Gradients]:
    """The fastest engine for where the network lies and what it is: fused tiles where they apply, else autograd.

    Raises
    ------
    ValueError
        If ``precision`` is "bfloat16" on a CPU and the CPU has no AVX-512 BF16, or the network has attention.
    """
    is_cpu = network.vectors.device.type == "cpu"
    if is_cpu and not network.config.attention:
        return FusedGradients(network, precision)
    if is_cpu and precision == "bfloat16":
        raise ValueError("precision is 'bfloat16' and the network has attention; on a CPU only 'float32' is allowed with attention")
    return partial(autograd_gradients, precision=precision)


def node_loss(logits: Tensor, batch: TrainingBatch) -> Tensor:
    """Binary cross-entropy of every row that counts, its logit less its offset, over the number of samples."""
    labels, offsets = (torch.from_numpy(array).to(logits) for array in (batch.rows.labels, batch.rows.offsets))
    counted = labels >= 0
    return binary_cross_entropy_with_logits((logits - offsets)[counted], labels[counted], reduction="sum") / batch.num_samples


def autograd_gradients(
    network: JtmNetwork,
    batch: TrainingBatch,
    precision: Precision = "float32",
    loss_of: Callable[[Tensor, TrainingBatch], Tensor] = node_loss,
) -> Gradients:
    """Gradients by torch's autograd, on the network's device; with bfloat16 its matrix products are left to autocast.

    Parameters
    ----------
    network : JtmNetwork
        Not changed.
    batch : TrainingBatch
    precision : "float32" or "bfloat16"
    loss_of : callable (logits, batch)
        The loss, a tensor (), of the float32 logits of all rows.
    """
    device = network.vectors.device
    touched, inverse = np.unique(np.concatenate([batch.behaviours.ravel(), batch.nodes]), return_inverse=True)
    local = network.vectors.detach()[torch.from_numpy(touched).to(device)].requires_grad_()
    index, count = torch.from_numpy(inverse).to(device), batch.behaviours.size
    behaviours, nodes = embedding(index[:count], local).view(*batch.behaviours.shape, -1), embedding(index[count:], local)
    scorer = _attended_logits if network.config.attention else split_logits
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        logits = scorer(network, batch, behaviours, nodes)
    if precision == "bfloat16":
        logits = logits.float()
    loss = loss_of(logits, batch)
    gradients = torch.autograd.grad(loss, [local, *network.dense_parameters()])
    return Gradients(float(loss.detach()), touched, gradients[0], list(gradients[1:]))


def split_logits(network: JtmNetwork, batch: TrainingBatch, behaviours_LTD: Tensor, nodes_VD: Tensor) -> Tensor:
    """Logits of all rows through the split first layer."""
    device = nodes_VD.device
    sums = torch.cat([torch.zeros_like(behaviours_LTD[:, :1]), behaviours_LTD], dim=1).double().cumsum(dim=1)
    starts = torch.arange(len(sums), device=device).view(-1, 1, 1) * sums.shape[1]
    edges = embedding(starts + torch.from_numpy(batch.windows.bounds).to(device), sums.flatten(0, 1))
    counts = torch.from_numpy(np.maximum(np.diff(batch.windows.bounds, axis=1), 1)).to(device)
    pooled = ((edges[:, :, 1:] - edges[:, :, :-1]) / counts[None, :, :, None]).to(nodes_VD.dtype)
    halves = network.user_half(pooled.flatten(0, 1)), network.node_half(nodes_VD)
    users, nodes = (torch.from_numpy(index.astype(np.int64)).to(device) for index in (batch.rows.users, batch.rows.nodes))
    matches = None
    if network.config.window_matches:
        told, is_told = _told_rows(batch, device)
        samples, levels = users % batch.num_samples, users // batch.num_samples
        own, are_leaves = torch.from_numpy(batch.nodes).to(device)[nodes][:, None], levels[:, None] == batch.num_levels - 1
        sizes = network.reading.sizes_of(told.shape[2] - int(network.reading.near_edges[-1]))
        matches = window_matches(told[levels, samples], is_told[levels, samples], own, sizes, are_leaves)[:, 0]
    return network.logits(embedding(users, halves[0]), embedding(nodes, halves[1]), matches)


def _told_rows(batch: TrainingBatch, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows of the table of each sample's last behaviours and near items, and whether there is one: (L, S, T + K)."""
    index, present = last_positions(batch.windows.bounds)
    near = batch.table.of_near(batch.windows.near)
    rows = np.concatenate([batch.behaviours[:, index], near], axis=2)
    is_told = np.concatenate([np.broadcast_to(present, (batch.num_levels, *present.shape)), near >= 0], axis=2)
    return torch.from_numpy(rows).to(device), torch.from_numpy(is_told).to(device)


def _attended_logits(network: JtmNetwork, batch: TrainingBatch, behaviours_LTD: Tensor, nodes_VD: Tensor) -> Tensor:
    """Logits of all rows by the slow path, level by level; rows lie sample by sample, alike for all of them."""
    device = nodes_VD.device
    index, present = (torch.from_numpy(array).to(device) for array in last_positions(batch.windows.bounds))
    levels = (batch.rows.users // batch.num_samples).reshape(batch.num_samples, -1)
    nodes = torch.from_numpy(batch.rows.nodes.astype(np.int64).reshape(levels.shape)).to(device)
    node_rows, (told, is_told) = torch.from_numpy(batch.nodes).to(device), _told_rows(batch, device)
    sizes, logits = network.reading.sizes_of(index.shape[1]), []
    for level in range(batch.num_levels):
        own = nodes[:, levels[0] == level]
        are_leaves, matches = torch.tensor(level == batch.num_levels - 1, device=device), None
        if network.config.window_matches:
            matches = window_matches(told[level], is_told[level], node_rows[own], sizes, are_leaves)
        logits.append(attended_scores(network, embedding(index, behaviours_LTD[level]), present, embedding(own, nodes_VD), matches))
    return torch.cat(logits, dim=1).flatten()


@numba.njit(fastmath=False, cache=True, nogil=True)
def _number_rows(rows: Ints, seen: NDArray[np.bool_], numbers: NDArray[np.int32], touched: Ints) -> int:
    """Collect the distinct ``rows`` and clear ``seen`` again; returns how many there are."""
    count = 0
    for row in rows:
        if not seen[row]:
            seen[row] = True
            touched[count] = row
            count += 1
    touched[:count].sort()
    for place in range(count):
        numbers[touched[place]] = place
        seen[touched[place]] = False
    return count


@numba.njit(fastmath=False, cache=True, nogil=True)
def _add_rows(rows: Ints, gradient: Floats, numbers: NDArray[np.int32], out: Floats) -> None:
    for i in range(len(rows)):
        place = numbers[rows[i]]
        for d in range(out.shape[1]):
            out[place, d] += gradient[i, d]


class FusedGradients:
    """The CPU engine; keeps scratch arrays the size of the table's rows (5 bytes a row) between batches."""

    def __init__(self, network: JtmNetwork, precision: Precision = "float32") -> None:
        if precision == "bfloat16":
            require_bfloat16()
        self._train_rows = train_rows_bfloat16 if precision == "bfloat16" else train_rows
        num_rows = len(network.vectors)
        self._seen, self._numbers = np.zeros(num_rows, dtype=np.bool_), np.empty(num_rows, dtype=np.int32)

    def __call__(self, network: JtmNetwork, batch: TrainingBatch) -> Gradients:
        """Same as :func:`autograd_gradients`, within rounding."""
        vectors = network.vectors.detach().numpy()
        weights, units = half_weights(network), network.config.hidden_widths[0]
        factors = slice(units, units + network.config.embedding_width)
        pooled, user_halves = _user_halves(weights, batch, vectors)
        node_vectors = vectors[batch.nodes]
        rows = batch.rows
        if network.config.window_matches:
            histories = note_histories(batch.told(network.reading.near_edges))
            rows = rows._replace(matches=find_matches(histories, batch.table.steps, rows.users, batch.codes[rows.nodes]))
        head = self._train_rows(user_halves, _multiply(node_vectors, weights.nodes), rows, head_weights(network))
        behaviour_gradient, user_weight_gradient = _user_back(weights, batch, pooled, head.user_gradients)
        node_gradient = _multiply(head.node_gradients, np.ascontiguousarray(weights.nodes.T))
        dense = {
            "user_layer.weight": user_weight_gradient[:units],
            "user_layer.bias": head.user_gradients.sum(axis=0)[:units],
            "node_layer.weight": _multiply_transposed(head.node_gradients, node_vectors)[:units],
            "factor_layer.weight": user_weight_gradient[factors],
            "product_layer.weight": head.gradients.product_1[:, None],
            "second_layer.weight": head.gradients.matrix_2.T,
            "second_layer.bias": head.gradients.bias_2,
            "third_layer.weight": head.gradients.matrix_3.T,
            "third_layer.bias": head.gradients.bias_3,
            "output_layer.weight": head.gradients.vector_4[None],
            "output_layer.bias": head.gradients.bias_4,
            "slopes.0": head.gradients.slope_1,
            "slopes.1": head.gradients.slope_2,
            "slopes.2": head.gradients.slope_3,
            "match_layer.weight": head.gradients.match_1.T,
        }
        touched, row_gradients = self._row_gradients(batch, behaviour_gradient, node_gradient)
        scale = 1 / batch.num_samples
        names = [name for name, _ in network.named_parameters() if name != "vectors"]
        tensors = [torch.from_numpy(np.ascontiguousarray(dense[name])) * scale for name in names]
        return Gradients(head.loss * scale, touched, torch.from_numpy(row_gradients) * scale, tensors)

    def _row_gradients(self, batch: TrainingBatch, behaviours: Floats, nodes: Floats) -> tuple[Ints, Floats]:
        all_rows = batch.table_rows
        touched = np.empty(len(all_rows), dtype=np.int64)
        rows = touched[: _number_rows(all_rows, self._seen, self._numbers, touched)]
        out = np.zeros((len(rows), behaviours.shape[-1]), dtype=np.float32)
        _add_rows(batch.behaviours.ravel(), behaviours.reshape(-1, out.shape[1]), self._numbers, out)
        _add_rows(batch.nodes, nodes, self._numbers, out)
        return rows, out


def _edges(length: int) -> list[int]:
    """Borders of equal parts of a long axis, fixed by its length alone."""
    num_parts = max(1, min(8, length // 512))
    return [length * part // num_parts for part in range(num_parts + 1)]


def _multiply(rows: Floats, matrix: Floats) -> Floats:
    """``rows @ matrix``, parts of the rows side by side."""
    out, edges = np.empty((len(rows), matrix.shape[1]), dtype=np.float32), _edges(len(rows))
    run_chunks(lambda k: dot_rows(rows[edges[k] : edges[k + 1]], matrix, out[edges[k] : edges[k + 1]]), len(edges) - 1)
    return out


def _multiply_transposed(left: Floats, right: Floats) -> Floats:
    """``left.T @ right``, parts of the rows side by side, summed in order."""
    edges = _edges(len(left))
    out = np.empty((len(edges) - 1, left.shape[1], right.shape[1]), dtype=np.float32)
    run_chunks(lambda k: dot_transposed(left[edges[k] : edges[k + 1]], right[edges[k] : edges[k + 1]], out[k]), len(out))
    total: Floats = out.sum(axis=0)
    return total


def _user_halves(weights: HalfWeights, batch: TrainingBatch, vectors: Floats) -> tuple[Floats, Floats]:
    """Pooled windows (L * S, W * D) and the users' halves (L * S, H + F)."""
    pooled = np.empty((batch.num_levels * batch.num_samples, len(weights.users)), dtype=np.float32)
    halves = np.empty((len(pooled), len(weights.bias)), dtype=np.float32)

    def work(level: int) -> None:
        part = slice(level * batch.num_samples, (level + 1) * batch.num_samples)
        pool_runs(vectors, batch.behaviours[level], batch.runs, batch.windows.bounds, pooled[part])
        dot_rows(pooled[part], weights.users, halves[part])
        halves[part] += weights.bias

    run_chunks(work, batch.num_levels)
    return pooled, halves


def _user_back(weights: HalfWeights, batch: TrainingBatch, pooled: Floats, gradients: Floats) -> tuple[Floats, Floats]:
    """From the users' halves back to the behaviours (L, T, D) and the weight of both (H + F, W * D)."""
    weight = np.ascontiguousarray(weights.users.T)
    behaviours = np.empty((*batch.behaviours.shape, len(weights.nodes)), dtype=np.float32)
    weight_gradients = np.empty((batch.num_levels, *weight.shape), dtype=np.float32)

    def work(level: int) -> None:
        part = slice(level * batch.num_samples, (level + 1) * batch.num_samples)
        dot_transposed(gradients[part], pooled[part], weight_gradients[level])
        passed = np.empty_like(pooled[part])
        dot_rows(gradients[part], weight, passed)
        pool_runs_back(passed, batch.runs, batch.windows.bounds, behaviours[level])

    run_chunks(work, batch.num_levels)
    return behaviours, weight_gradients.sum(axis=0)

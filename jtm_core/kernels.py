"""The scorer's inner loops on the CPU: tiles of (user, node) pairs that stay in the cache.

Each pair is a row: an index into the user halves, an index into the node halves, a label. A tile of rows is gathered,
passed forward and, for training, straight backward again, so no activation of a whole batch is ever stored. Matrix
products are our own (:mod:`jtm_core.row_products`). Rows come in chunks that own the user and node halves they touch; chunks run on
threads of our own (:mod:`jtm_core.threads`), their parameter gradients are kept apart and added in order, so the result
does not depend on the number of threads. :meth:`JtmNetwork.logits` with autograd is the readable twin, and
:mod:`jtm_core.bfloat16` does the same with half the bytes.

Shape letters: R rows, S users' halves, V nodes' halves, H/I/J units of the three hidden layers, K chunks.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.gathering import gather_first, scatter_first
from jtm_core.row_products import dot_rows, dot_transposed
from jtm_core.threads import num_threads, run_chunks
from jtm_core.vector_backward import BACK_LANES, back_columns
from jtm_core.window_matches import NO_MATCHES, NO_WEIGHTS, Matches

Floats = NDArray[np.float32]
Index = NDArray[np.int32]

TILE_ROWS = 256
"""Rows of a tile: with 128 units its buffers take about half a megabyte, a core's level-2 cache."""
NO_PRODUCT = np.zeros(0, np.float32)
"""Weights of an inner product that a network does not have."""
MASKED = -1.0
"""Label of a row that takes no part in the loss."""


def tile_edges(num_rows: int) -> NDArray[np.int64]:
    """Borders of some chunks of rows for every thread, between tiles only, so that no row changes its tile by them."""
    num_tiles = -(-num_rows // TILE_ROWS)
    num_chunks = max(1, min(4 * num_threads(), num_tiles))
    edges: NDArray[np.int64] = np.minimum(TILE_ROWS * (num_tiles * np.arange(num_chunks + 1) // num_chunks), num_rows)
    return edges


class HeadWeights(NamedTuple):
    """Parameters behind the first layer, as contiguous arrays; matrices are (in, out)."""

    slope_1: Floats
    matrix_2: Floats
    bias_2: Floats
    slope_2: Floats
    matrix_3: Floats
    bias_3: Floats
    slope_3: Floats
    vector_4: Floats
    bias_4: Floats
    product_1: Floats = NO_PRODUCT
    """Weights of the inner product into the first layer; none without one."""
    match_1: Floats = NO_WEIGHTS
    """(2 * W, H) weights of the windows' matches; none without them."""


class Rows(NamedTuple):
    """Pairs to score: row ``r`` is user half ``users[r]`` with node half ``nodes[r]``."""

    users: Index
    nodes: Index
    labels: Floats
    offsets: Floats
    """Taken off the logits in the loss: how much likelier the row's node was drawn than by an even draw, as a logarithm."""
    chunks: NDArray[np.int64]
    """Chunk ``k`` is the rows ``chunks[k] .. chunks[k + 1] - 1``; no two chunks share a user or node half."""
    matches: Matches = NO_MATCHES
    """Of the pairs, for a network that reads them."""

    def chunk(self, number: int) -> "Rows":
        """The rows of one chunk."""
        low, high = self.chunks[number : number + 2]
        own = slice(low, high)
        chunks, matches = self.chunks[number : number + 2], self.matches.part(low, high)
        return Rows(self.users[own], self.nodes[own], self.labels[own], self.offsets[own], chunks, matches)


class Halves(NamedTuple):
    """First layer's shares of users and nodes, float32 (S, H) and (V, H), or the gradients by them.

    With an inner product both have factors behind these columns, (S, H + F) and (V, H + F); F is a multiple of
    :data:`~jtm_core.inner_products.PRODUCT_LANES`.
    """

    users: Floats
    nodes: Floats


@numba.njit(fastmath=True, cache=True, inline="always")
def _activate(values: Floats, slopes: Floats, out: Floats, rows: int) -> None:
    for i in range(rows):
        for j in range(values.shape[1]):
            value = values[i, j]
            out[i, j] = value if value > 0 else value * slopes[j]


@numba.njit(fastmath=True, cache=True, inline="always")
def activate_affine(values: Floats, bias: Floats, slopes: Floats, out: Floats, rows: int) -> None:
    """Add the bias, in place, and activate into ``out``, over the first ``rows`` rows of a tile."""
    for i in range(rows):
        for j in range(values.shape[1]):
            value = values[i, j] + bias[j]
            values[i, j] = value
            out[i, j] = value if value > 0 else value * slopes[j]


@numba.njit(fastmath=True, cache=True, inline="always")
def _activate_back(values: Floats, slopes: Floats, gradient: Floats, slope_gradient: Floats, bias_gradient: Floats, rows: int) -> None:
    whole = values.shape[1] // BACK_LANES * BACK_LANES
    for column in range(0, whole, BACK_LANES):
        back_columns((values, slopes, gradient), (slope_gradient, bias_gradient), (rows, column))
    for i in range(rows):
        for j in range(whole, values.shape[1]):
            value, upper = values[i, j], gradient[i, j]
            gradient[i, j] = upper if value > 0 else upper * slopes[j]
            slope_gradient[j] += upper * min(value, np.float32(0))
            bias_gradient[j] += gradient[i, j]


@numba.njit(fastmath=True, cache=True, inline="always")
def output_back(upper: Floats, hidden: Floats, vector: Floats, vector_gradient: Floats, rows: int) -> None:
    """Gradient of the output layer's vector; ``hidden`` becomes the gradient passed on."""
    for i in range(rows):
        for j in range(hidden.shape[1]):
            vector_gradient[j] += upper[i] * hidden[i, j]
            hidden[i, j] = upper[i] * vector[j]


@numba.njit(fastmath=True, cache=True, inline="always")
def output(hidden: Floats, vector: Floats, bias: Floats, out: Floats, rows: int) -> None:
    """The output layer: a logit per row."""
    for i in range(rows):
        total = bias[0]
        for j in range(hidden.shape[1]):
            total += hidden[i, j] * vector[j]
        out[i] = total


@numba.njit(fastmath=True, cache=True, nogil=True)
def _score(halves: Halves, users: Index, nodes: Index, weights: HeadWeights, matches: Matches, out: Floats) -> None:
    slope_1, matrix_2, bias_2, slope_2, matrix_3, bias_3, slope_3, vector_4, bias_4, product_1, match_1 = weights
    first, second = np.empty((TILE_ROWS, len(slope_1)), np.float32), np.empty((TILE_ROWS, len(slope_2)), np.float32)
    third, products = np.empty((TILE_ROWS, len(slope_3)), np.float32), np.empty(TILE_ROWS, np.float32)
    for start in range(0, len(users), TILE_ROWS):
        n = min(TILE_ROWS, len(users) - start)
        pairs = users[start : start + n], nodes[start : start + n]
        gather_first(halves, pairs, (product_1, match_1), (matches, start), products, first)
        _activate(first, slope_1, first, n)
        dot_rows(first[:n], matrix_2, second[:n])
        activate_affine(second, bias_2, slope_2, second, n)
        dot_rows(second[:n], matrix_3, third[:n])
        activate_affine(third, bias_3, slope_3, third, n)
        output(third, vector_4, bias_4, out[start : start + n], n)


def score_rows(
    user_halves: Floats, node_halves: Floats, users: Index, nodes: Index, weights: HeadWeights, matches: Matches = NO_MATCHES
) -> Floats:
    """Logits of pairs of halves.

    Parameters
    ----------
    user_halves, node_halves : float32 array (S, H), (V, H)
        First layer's shares, bias in the users'.
    users, nodes : int32 array (R,)
        Which halves a row adds.
    weights : HeadWeights
        The layers behind.
    matches : Matches
        Of the rows, for a network that reads them.

    Returns
    -------
    float32 array (R,)
    """
    out = np.empty(len(users), dtype=np.float32)
    edges = tile_edges(len(users))

    def score_chunk(k: int) -> None:
        part = slice(edges[k], edges[k + 1])
        _score(Halves(user_halves, node_halves), users[part], nodes[part], weights, matches.part(part.start, part.stop), out[part])

    run_chunks(score_chunk, len(edges) - 1)
    return out


@numba.njit(fastmath=True, cache=True, inline="always")
def binary_loss(logits: Floats, labels: Floats, offsets: Floats, gradient: Floats, rows: int) -> float:
    """Cross-entropy of labels 0 and 1 at logits less their offsets, its gradient by the logits; masked rows count nothing."""
    total = 0.0
    for i in range(rows):
        label, logit = labels[i], logits[i] - offsets[i]
        if label < 0:
            gradient[i] = 0
        else:
            tail = np.exp(-abs(logit))
            total += max(logit, np.float32(0)) - logit * label + np.log1p(tail)
            gradient[i] = (1 / (1 + tail) if logit >= 0 else tail / (1 + tail)) - label
    return total


@numba.njit(fastmath=True, cache=True, nogil=True)
def _train(halves: Halves, rows: Rows, weights: HeadWeights, gradients: Halves, sums: HeadWeights, logits: Floats) -> float:
    """Forward and backward over one chunk's tiles; gradients are added to ``sums`` and the halves' gradients."""
    slope_1, matrix_2, bias_2, slope_2, matrix_3, bias_3, slope_3, vector_4, bias_4, product_1, match_1 = weights
    slope_sum_1, matrix_sum_2, bias_sum_2, slope_sum_2, matrix_sum_3, bias_sum_3, slope_sum_3, vector_sum_4, bias_sum_4, _, _ = sums
    width_1, width_2, width_3 = len(slope_1), len(slope_2), len(slope_3)
    transposed_2, transposed_3 = np.ascontiguousarray(matrix_2.T), np.ascontiguousarray(matrix_3.T)
    value_1, active_1 = np.empty((TILE_ROWS, width_1), np.float32), np.empty((TILE_ROWS, width_1), np.float32)
    value_2, active_2 = np.empty((TILE_ROWS, width_2), np.float32), np.empty((TILE_ROWS, width_2), np.float32)
    value_3, active_3 = np.empty((TILE_ROWS, width_3), np.float32), np.empty((TILE_ROWS, width_3), np.float32)
    product_2, product_3 = np.empty((width_1, width_2), np.float32), np.empty((width_2, width_3), np.float32)
    upper, products, unused = np.empty(TILE_ROWS, np.float32), np.empty(TILE_ROWS, np.float32), np.zeros(width_1, np.float32)
    loss = 0.0
    for start in range(0, len(rows.users), TILE_ROWS):
        n = min(TILE_ROWS, len(rows.users) - start)
        users, nodes, logit = rows.users[start : start + n], rows.nodes[start : start + n], logits[start : start + n]
        gather_first(halves, (users, nodes), (product_1, match_1), (rows.matches, start), products, value_1)
        _activate(value_1, slope_1, active_1, n)
        dot_rows(active_1[:n], matrix_2, value_2[:n])
        activate_affine(value_2, bias_2, slope_2, active_2, n)
        dot_rows(active_2[:n], matrix_3, value_3[:n])
        activate_affine(value_3, bias_3, slope_3, active_3, n)
        output(active_3, vector_4, bias_4, logit, n)
        loss += binary_loss(logit, rows.labels[start : start + n], rows.offsets[start : start + n], upper, n)
        bias_sum_4[0] += upper[:n].sum()
        output_back(upper, active_3, vector_4, vector_sum_4, n)
        _activate_back(value_3, slope_3, active_3, slope_sum_3, bias_sum_3, n)
        dot_transposed(active_2[:n], active_3[:n], product_3)
        matrix_sum_3 += product_3
        dot_rows(active_3[:n], transposed_3, active_2[:n])
        _activate_back(value_2, slope_2, active_2, slope_sum_2, bias_sum_2, n)
        dot_transposed(active_1[:n], active_2[:n], product_2)
        matrix_sum_2 += product_2
        dot_rows(active_2[:n], transposed_2, active_1[:n])
        _activate_back(value_1, slope_1, active_1, slope_sum_1, unused, n)
        product, match = (products, product_1, sums.product_1), (rows.matches, start, sums.match_1)
        scatter_first(active_1, (users, nodes), halves, product, match, gradients)
    return loss


class HeadPass(NamedTuple):
    """What one fused pass over rows gives: sums over the rows, logits per row."""

    loss: float
    logits: Floats
    user_gradients: Floats
    node_gradients: Floats
    gradients: HeadWeights


def train_rows(user_halves: Floats, node_halves: Floats, rows: Rows, weights: HeadWeights) -> HeadPass:
    """Binary cross-entropy summed over rows (TDM, eq. 3-4), and all its gradients, in one pass over tiles.

    Parameters
    ----------
    user_halves, node_halves : float32 array (S, H), (V, H)
    rows : Rows
        Pairs with labels 1 (positive), 0 (negative) or :data:`MASKED`; the logits returned are before their offsets.
    weights : HeadWeights

    Returns
    -------
    HeadPass
        Gradients have the shapes of what they belong to.
    """
    num_chunks = len(rows.chunks) - 1
    half_gradients = Halves(np.zeros_like(user_halves), np.zeros_like(node_halves))
    gradients = HeadWeights(*(np.zeros((num_chunks, *array.shape), dtype=np.float32) for array in weights))
    losses, logits = np.zeros(num_chunks), np.empty(len(rows.users), dtype=np.float32)

    def train_chunk(k: int) -> None:
        part, sums = slice(rows.chunks[k], rows.chunks[k + 1]), HeadWeights(*(array[k] for array in gradients))
        losses[k] = _train(Halves(user_halves, node_halves), rows.chunk(k), weights, half_gradients, sums, logits[part])

    run_chunks(train_chunk, num_chunks)
    summed = HeadWeights(*(array.sum(axis=0) for array in gradients))
    return HeadPass(float(losses.sum()), logits, half_gradients.users, half_gradients.nodes, summed)

"""Training's pass over tiles with its products in bfloat16: :func:`jtm_core.kernels.train_rows` at half the bytes.

Rounded to bfloat16 are the inputs of the six products behind the first layer: activations, weights, and the gradients that
are passed back. Sums, biases, slopes, the output layer, the loss and all gradients that come out are float32, and so are the
weights that the optimiser changes; nothing needs its loss scaled, as bfloat16 has float32's range.

Shape letters as in :mod:`jtm_core.kernels`.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.bfloat16 import Bfloats, PackedHead, dot_bfloat16, dot_pairs, pack_head, pack_matrix
from jtm_core.gathering import gather_first, scatter_first
from jtm_core.kernels import (
    TILE_ROWS,
    Floats,
    Halves,
    HeadPass,
    HeadWeights,
    Rows,
    activate_affine,
    binary_loss,
    output,
    output_back,
)
from jtm_core.threads import run_chunks
from jtm_core.vector_backward import BACK_LANES, activate_columns, back_columns, back_columns_rounded
from jtm_core.vector_code import LANES


@numba.njit(fastmath=False, cache=True, nogil=True, inline="always")
def _activate(values: Floats, bias: Floats, slopes: Floats, outs: tuple[Bfloats, Bfloats], rows: int) -> None:
    for column in range(0, values.shape[1], LANES):
        activate_columns((values, bias, slopes), outs, ((rows + 1) // 2, column))


@numba.njit(fastmath=False, cache=True, nogil=True, inline="always")
def _back(values: Floats, slopes: Floats, gradient: Floats, outs: tuple[Bfloats, Bfloats], sums: tuple[Floats, Floats], rows: int) -> None:
    for column in range(0, values.shape[1], LANES):
        back_columns_rounded((values, slopes, gradient), outs, sums, ((rows + 1) // 2, column))


@numba.njit(fastmath=False, cache=True, nogil=True)
def _both_layouts(width: int) -> tuple[Bfloats, Bfloats]:
    return np.zeros((TILE_ROWS, width), np.uint16), np.zeros((TILE_ROWS // 2, width, 2), np.uint16)


@numba.njit(fastmath=True, cache=True, nogil=True)
def _train(
    halves: Halves, rows: Rows, weights: tuple[PackedHead, Bfloats, Bfloats], gradients: Halves, sums: HeadWeights, logits: Floats
) -> float:
    """Forward and backward over one chunk's tiles, as :func:`jtm_core.kernels.train_rows` does in float32; widths are whole vectors."""
    (slope_1, matrix_2, bias_2, slope_2, matrix_3, bias_3, slope_3, vector_4, bias_4, product_1, match_1), transposed_2, transposed_3 = (
        weights
    )
    slope_sum_1, matrix_sum_2, bias_sum_2, slope_sum_2, matrix_sum_3, bias_sum_3, slope_sum_3, vector_sum_4, bias_sum_4, _, _ = sums
    width_1, width_2, width_3 = len(slope_1), len(slope_2), len(slope_3)
    value_1, value_2 = np.zeros((TILE_ROWS, width_1), np.float32), np.zeros((TILE_ROWS, width_2), np.float32)
    value_3, active_3 = np.zeros((TILE_ROWS, width_3), np.float32), np.zeros((TILE_ROWS, width_3), np.float32)
    upper_1, upper_2 = np.zeros((TILE_ROWS, width_1), np.float32), np.zeros((TILE_ROWS, width_2), np.float32)
    active_1, active_2 = _both_layouts(width_1), _both_layouts(width_2)
    passed_2, passed_3 = _both_layouts(width_2), _both_layouts(width_3)
    product_2, product_3 = np.empty((width_1, width_2), np.float32), np.empty((width_2, width_3), np.float32)
    upper, products, nothing = np.empty(TILE_ROWS, np.float32), np.empty(TILE_ROWS, np.float32), np.zeros(width_1, np.float32)
    unused, loss = np.zeros(width_1, np.float32), 0.0
    for start in range(0, len(rows.users), TILE_ROWS):
        n = min(TILE_ROWS, len(rows.users) - start)
        pairs = (n + 1) // 2
        users, nodes, logit = rows.users[start : start + n], rows.nodes[start : start + n], logits[start : start + n]
        gather_first(halves, (users, nodes), (product_1, match_1), (rows.matches, start), products, value_1)
        _activate(value_1, nothing, slope_1, active_1, n)
        dot_bfloat16(active_1[0], matrix_2, value_2[:n])
        _activate(value_2, bias_2, slope_2, active_2, n)
        dot_bfloat16(active_2[0], matrix_3, value_3[:n])
        activate_affine(value_3, bias_3, slope_3, active_3, n)
        output(active_3, vector_4, bias_4, logit, n)
        loss += binary_loss(logit, rows.labels[start : start + n], rows.offsets[start : start + n], upper, n)
        bias_sum_4[0] += upper[:n].sum()
        output_back(upper, active_3, vector_4, vector_sum_4, n)
        active_3[n : 2 * pairs] = 0  # a half-empty pair adds nothing
        _back(value_3, slope_3, active_3, passed_3, (slope_sum_3, bias_sum_3), n)
        dot_pairs(active_2[1][:pairs], passed_3[1][:pairs], product_3)
        matrix_sum_3 += product_3
        dot_bfloat16(passed_3[0], transposed_3, upper_2[:n])
        upper_2[n : 2 * pairs] = 0
        _back(value_2, slope_2, upper_2, passed_2, (slope_sum_2, bias_sum_2), n)
        dot_pairs(active_1[1][:pairs], passed_2[1][:pairs], product_2)
        matrix_sum_2 += product_2
        dot_bfloat16(passed_2[0], transposed_2, upper_1[:n])
        for column in range(0, width_1, BACK_LANES):
            back_columns((value_1, slope_1, upper_1), (slope_sum_1, unused), (n, column))
        product, match = (products, product_1, sums.product_1), (rows.matches, start, sums.match_1)
        scatter_first(upper_1, (users, nodes), halves, product, match, gradients)
    return loss


def _widened(halves: Floats, num_units: int) -> Floats:
    """Halves whose share of the first layer, before any factors, is whole vectors wide; the same array if it is so already."""
    missing = -num_units % LANES
    return np.insert(halves, [num_units] * missing, 0, axis=1) if missing else halves


def _narrowed(gradient: Floats, num_units: int) -> Floats:
    """Gradients by halves without what :func:`_widened` put in."""
    missing = -num_units % LANES
    return np.delete(gradient, slice(num_units, num_units + missing), axis=1) if missing else gradient


def _trimmed(sums: HeadWeights, like: HeadWeights) -> HeadWeights:
    """Sums over chunks, without the columns and rows that fill up vectors."""
    return HeadWeights(*(total.sum(axis=0)[tuple(slice(size) for size in array.shape)] for total, array in zip(sums, like, strict=True)))


def train_rows_bfloat16(user_halves: Floats, node_halves: Floats, rows: Rows, weights: HeadWeights) -> HeadPass:
    """Loss and gradients of rows as :func:`jtm_core.kernels.train_rows`, products in bfloat16.

    Parameters
    ----------
    user_halves, node_halves : float32 array (S, H), (V, H)
    rows : Rows
    weights : HeadWeights
        float32; rounded and packed here.

    Returns
    -------
    HeadPass
        All float32.

    Raises
    ------
    ValueError
        If this CPU has no AVX-512 BF16.
    """
    packed = pack_head(weights)
    fill = (0, -len(packed.slope_1) % LANES)
    packed = packed._replace(
        slope_1=np.pad(packed.slope_1, fill),
        product_1=np.pad(packed.product_1, fill if len(packed.product_1) else 0),
        match_1=np.pad(packed.match_1, ((0, 0), fill)),
    )
    matrices = (packed, pack_matrix(weights.matrix_2.T), pack_matrix(weights.matrix_3.T))
    num_units = len(weights.slope_1)
    halves = Halves(_widened(user_halves, num_units), _widened(node_halves, num_units))
    half_gradients = Halves(np.zeros_like(halves.users), np.zeros_like(halves.nodes))
    num_chunks = len(rows.chunks) - 1
    sums = HeadWeights(*(np.zeros((num_chunks, *shape), dtype=np.float32) for shape in _shapes(packed)))
    losses: NDArray[np.float64] = np.zeros(num_chunks)
    logits = np.empty(len(rows.users), dtype=np.float32)

    def train_chunk(k: int) -> None:
        part, own_sums = slice(rows.chunks[k], rows.chunks[k + 1]), HeadWeights(*(array[k] for array in sums))
        losses[k] = _train(halves, rows.chunk(k), matrices, half_gradients, own_sums, logits[part])

    run_chunks(train_chunk, num_chunks)
    user_gradients, node_gradients = (_narrowed(gradient, num_units) for gradient in half_gradients)
    return HeadPass(float(losses.sum()), logits, user_gradients, node_gradients, _trimmed(sums, weights))


def _shapes(packed: PackedHead) -> list[tuple[int, ...]]:
    """Shapes of the float32 arrays that the packed ones stand for."""
    return [(2 * array.shape[0], array.shape[1]) if array.ndim == 3 else array.shape for array in packed]

"""The layers behind the first one in bfloat16: half the bytes, twice the products a cycle, float32 sums.

bfloat16 keeps float32's exponent and 8 bits of its mantissa; an array of them is uint16. The inputs of every product are
rounded to nearest, ties to even; sums, biases, activations and the output layer stay float32. On the CPU this needs
AVX-512 with BF16 (:func:`require_bfloat16`); nothing here is compiled before it is called.

Weights are packed once (:func:`pack_matrix`): the two numbers of a pair, neighbours along the summed axis, lie side by
side, and widths are rounded up to whole vectors with zeros. A row's bits depend on nothing but the row.
"""

from functools import cache
from typing import NamedTuple

import llvmlite.binding
import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.first_layer import activate_matched_rows, activate_product_row, activate_row
from jtm_core.kernels import NO_PRODUCT, TILE_ROWS, Floats, Halves, HeadWeights, Index, tile_edges
from jtm_core.row_products import product_by_blocks
from jtm_core.threads import run_chunks
from jtm_core.vector_code import LANES, activate_lanes, output_row
from jtm_core.window_matches import NO_MATCHES, NO_WEIGHTS, Matches

Bfloats = NDArray[np.uint16]


@cache
def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 numbers (AVX-512 BF16)."""
    features = llvmlite.binding.get_host_cpu_features()
    return all(features.get(name, False) for name in ("avx512f", "avx512bw", "avx512vl", "avx512bf16"))


def require_bfloat16() -> None:
    """Refuse a CPU that cannot.

    Raises
    ------
    ValueError
        If the CPU has no AVX-512 BF16.
    """
    if not has_bfloat16():
        name = llvmlite.binding.get_host_cpu_name()
        raise ValueError(f"precision is 'bfloat16', but this CPU ({name}) has no AVX-512 BF16; allowed here is 'float32'")


class PackedHead(NamedTuple):
    """:class:`HeadWeights` packed for bfloat16: widths are multiples of 16, matrices uint16 (in / 2, out, 2), the rest float32."""

    slope_1: Floats
    matrix_2: Bfloats
    bias_2: Floats
    slope_2: Floats
    matrix_3: Bfloats
    bias_3: Floats
    slope_3: Floats
    vector_4: Floats
    bias_4: Floats
    product_1: Floats = NO_PRODUCT
    match_1: Floats = NO_WEIGHTS


class TileBuffers(NamedTuple):
    """What a tile of rows needs; activations are uint16, sums float32. Columns past the network's widths stay 0."""

    first: Bfloats
    sums_2: Floats
    second: Bfloats
    sums_3: Floats


def round_array(values: Floats) -> Bfloats:
    """Nearest bfloat16 numbers, ties to even, of finite numbers: the definition, in plain integers."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)).astype(np.uint16)


def _padded(width: int) -> int:
    return -(-width // LANES) * LANES


def pack_matrix(matrix: Floats) -> Bfloats:
    """Round and pack the right side of a product.

    Parameters
    ----------
    matrix : float32 array (K, J)

    Returns
    -------
    uint16 array (K' / 2, J', 2)
        K' and J' are K and J rounded up to multiples of 16; what is added is 0.
    """
    depth, width = matrix.shape
    full = np.zeros((_padded(depth), _padded(width)), dtype=np.float32)
    full[:depth, :width] = matrix
    pairs = round_array(full).reshape(len(full) // 2, 2, -1)
    return np.ascontiguousarray(pairs.transpose(0, 2, 1))


def pack_head(weights: HeadWeights) -> PackedHead:
    """Pack the layers behind the first one for :func:`head_tile`.

    Raises
    ------
    ValueError
        If this CPU has no AVX-512 BF16.
    """
    require_bfloat16()

    def pad(vector: Floats) -> Floats:
        return np.pad(vector, (0, _padded(len(vector)) - len(vector)))

    return PackedHead(
        slope_1=weights.slope_1,
        matrix_2=pack_matrix(weights.matrix_2),
        bias_2=pad(weights.bias_2),
        slope_2=pad(weights.slope_2),
        matrix_3=pack_matrix(weights.matrix_3),
        bias_3=pad(weights.bias_3),
        slope_3=pad(weights.slope_3),
        vector_4=pad(weights.vector_4),
        bias_4=weights.bias_4,
        product_1=weights.product_1,
        match_1=weights.match_1,
    )


@numba.njit(fastmath=False, cache=True, nogil=True)
def dot_bfloat16(left: Bfloats, right: Bfloats, out: Floats) -> None:
    """``out[:] = left @ right`` for nopython code, summed in float32; nothing is checked.

    Parameters
    ----------
    left : uint16 array (N, K)
    right : uint16 array (K / 2, J, 2)
        From :func:`pack_matrix`; J is a multiple of 16.
    out : float32 array (N, J)
        All three C-contiguous.
    """
    product_by_blocks(left, right, out, (right.shape[0], 1))


@numba.njit(fastmath=False, cache=True, nogil=True)
def dot_pairs(left: Bfloats, right: Bfloats, out: Floats) -> None:
    """``out[:] = left.T @ right`` over rows that lie in pairs, as weight gradients need it; nothing is checked.

    Parameters
    ----------
    left : uint16 array (N / 2, K, 2)
    right : uint16 array (N / 2, J, 2)
        ``[p, j, 0]`` belongs to row 2p, ``[p, j, 1]`` to row 2p + 1; J is a multiple of 16.
    out : float32 array (K, J)
        All three C-contiguous.
    """
    product_by_blocks(left, right, out, (1, left.shape[1]))


@numba.njit(cache=True, nogil=True, fastmath=True)
def _gather(halves: Halves, users: Index, nodes: Index, slopes: Floats, out: Bfloats) -> None:
    """First layer of ``len(users)`` rows."""
    for i in range(len(users)):
        activate_row(halves.users, halves.nodes, slopes, out, (np.intp(users[i]), np.intp(nodes[i]), i))


@numba.njit(cache=True, nogil=True, fastmath=True)
def _gather_with_products(halves: Halves, users: Index, nodes: Index, parameters: tuple[Floats, Floats], out: Bfloats) -> None:
    """The same with the inner products of the rows' factors."""
    for i in range(len(users)):
        activate_product_row(halves.users, halves.nodes, parameters, out, (np.intp(users[i]), np.intp(nodes[i]), i))


@numba.njit(fastmath=False, cache=True, nogil=True)
def tile_buffers(head: PackedHead) -> TileBuffers:
    """Buffers for :func:`head_tile`, zeroed; one set for each thread."""
    depth, second, third = 2 * len(head.matrix_2), len(head.bias_2), len(head.bias_3)
    sums_2, sums_3 = np.zeros((TILE_ROWS, second), np.float32), np.zeros((TILE_ROWS, third), np.float32)
    return TileBuffers(np.zeros((TILE_ROWS, depth), np.uint16), sums_2, np.zeros((TILE_ROWS, second), np.uint16), sums_3)


@numba.njit(fastmath=False, cache=True, nogil=True)
def head_tile(head: PackedHead, buffers: TileBuffers, out: Floats) -> None:
    """Logits of the ``len(out)`` first rows of ``buffers.first``, at most :data:`TILE_ROWS`."""
    n, first, sums_2, second, sums_3 = len(out), buffers.first, buffers.sums_2, buffers.second, buffers.sums_3
    dot_bfloat16(first, head.matrix_2, sums_2[:n])
    bias_2, slope_2, bias_3, slope_3, vector_4, bias_4 = head.bias_2, head.slope_2, head.bias_3, head.slope_3, head.vector_4, head.bias_4
    for i in range(n):
        for column in range(0, len(bias_2), LANES):
            activate_lanes(sums_2, bias_2, slope_2, second, (i, column))
    dot_bfloat16(second, head.matrix_3, sums_3[:n])
    for i in range(n):
        out[i] = output_row(sums_3, bias_3, slope_3, vector_4, i) + bias_4[0]


@numba.njit(fastmath=False, cache=True, nogil=True)
def _score(halves: Halves, users: Index, nodes: Index, head: PackedHead, matches: Matches, out: Floats) -> None:
    buffers = tile_buffers(head)
    for start in range(0, len(users), TILE_ROWS):
        stop = min(start + TILE_ROWS, len(users))
        if len(head.product_1):
            _gather_with_products(halves, users[start:stop], nodes[start:stop], (head.slope_1, head.product_1), buffers.first)
        else:
            _gather(halves, users[start:stop], nodes[start:stop], head.slope_1, buffers.first)
        if len(head.match_1):
            activate_matched_rows(halves, (users[start:stop], nodes[start:stop]), head, (matches, start), buffers.first)
        head_tile(head, buffers, out[start:stop])


def score_rows_bfloat16(
    user_halves: Floats, node_halves: Floats, users: Index, nodes: Index, head: PackedHead, matches: Matches = NO_MATCHES
) -> Floats:
    """Logits of pairs of halves, as :func:`jtm_core.kernels.score_rows`, its products in bfloat16.

    Parameters
    ----------
    user_halves, node_halves : float32 array (S, H), (V, H)
        First layer's shares, bias in the users'.
    users, nodes : int32 array (R,)
        Which halves a row adds.
    head : PackedHead
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
        _score(Halves(user_halves, node_halves), users[part], nodes[part], head, matches.part(part.start, part.stop), out[part])

    run_chunks(score_chunk, len(edges) - 1)
    return out

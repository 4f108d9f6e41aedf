"""Products in float32 whose rows depend on nothing but the row.

BLAS does not promise that: OpenBLAS's kernels for processors without AVX-512 sum every other six rows in another order, so a row
has other last bits at another place. Where a user or a sample may stand anywhere (tree learning in shards, search), products are
taken here: each number is summed from the first product to the last, whatever block of rows it is computed with. bfloat16's
products (:mod:`jtm_core.bfloat16`) go through the same blocks.
"""

from typing import Any

import llvmlite.binding
import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.vector_code import LANES, make_block

Floats = NDArray[np.float32]

_IS_WIDE: bool = llvmlite.binding.get_host_cpu_features().get("avx512f", False)
"""Whether a vector of 16 numbers is one register, of 32; else it is two, of 16."""
_BLOCK_6_4, _BLOCK_8_3, _BLOCK_8_2, _BLOCK_8_1, _BLOCK_6_1 = (make_block(*size) for size in ((6, 4), (8, 3), (8, 2), (8, 1), (6, 1)))
_ROW_4, _ROW_3, _ROW_2, _ROW_1 = make_block(1, 4), make_block(1, 3), make_block(1, 2), make_block(1, 1)

_Place = tuple[int, int, int, int]


@numba.njit(fastmath=False, cache=True, nogil=True)
def dot_rows(left: Floats, right: Floats, out: Floats) -> None:
    """``out[:] = left @ right`` for nopython code; other types do not compile, sizes are not checked.

    Parameters
    ----------
    left : float32 array (N, K)
    right : float32 array (K, J)
        Narrower than 16 columns it is slow.
    out : float32 array (N, J)
        All three C-contiguous. Row ``n`` has the same bits wherever row ``n`` of ``left`` stands, and in whatever company.
    """
    if out.shape[1] >= LANES:
        product_by_blocks(left, right, out, (left.shape[1], 1))
    else:
        _product_of_few_columns(left, right, out)


@numba.njit(fastmath=False, cache=True, nogil=True)
def dot_transposed(left: Floats, right: Floats, out: Floats) -> None:
    """``out[:] = left.T @ right``, as weight gradients need it, for nopython code: float32 (N, K), (N, J), (K, J); as :func:`dot_rows`."""
    if out.shape[1] >= LANES:
        product_by_blocks(left, right, out, (1, left.shape[1]))
    else:
        _product_of_few_columns(left.T, right, out)


@numba.njit(fastmath=False, cache=True, nogil=True)
def product_by_blocks(left: Any, right: Any, out: Floats, strides: tuple[int, int]) -> None:
    """All blocks of a product of at least 16 columns; the last ones overlap those before, single rows are left only below a block's size.

    Parameters
    ----------
    left, right, out
        As :func:`~jtm_core.vector_code.make_block` takes them: float32, or bfloat16 in pairs.
    strides : (int, int)
        Of the left side: from row to row, and along the summed axis.
    """
    num_rows, width = out.shape
    widest = 4 * LANES if _IS_WIDE else LANES
    for start in range(0, width, widest):
        vectors = min(widest, max(width - start, LANES)) // LANES
        for column in range(start, min(start + widest, width), LANES * vectors):
            first = min(column, width - LANES * vectors)
            size = 8 if _IS_WIDE and vectors < 4 else 6
            if num_rows < size:
                for row in range(num_rows):
                    _row(left, right, out, (row, first, strides[0], strides[1]), vectors)
            else:
                for row in range(0, num_rows, size):
                    _block(left, right, out, (min(row, num_rows - size), first, strides[0], strides[1]), vectors)


@numba.njit(fastmath=False, cache=True, nogil=True, inline="always")
def _block(left: Any, right: Any, out: Floats, place: _Place, vectors: int) -> None:
    """As many rows as keep the registers busy with so many vectors."""
    if not _IS_WIDE:
        _BLOCK_6_1(left, right, out, place)
    elif vectors == 4:
        _BLOCK_6_4(left, right, out, place)
    elif vectors == 3:
        _BLOCK_8_3(left, right, out, place)
    elif vectors == 2:
        _BLOCK_8_2(left, right, out, place)
    else:
        _BLOCK_8_1(left, right, out, place)


@numba.njit(fastmath=False, cache=True, nogil=True, inline="always")
def _row(left: Any, right: Any, out: Floats, place: _Place, vectors: int) -> None:
    if vectors == 4:
        _ROW_4(left, right, out, place)
    elif vectors == 3:
        _ROW_3(left, right, out, place)
    elif vectors == 2:
        _ROW_2(left, right, out, place)
    else:
        _ROW_1(left, right, out, place)


@numba.njit(fastmath=False, cache=True, nogil=True)
def _product_of_few_columns(left: Floats, right: Floats, out: Floats) -> None:
    out[:] = 0
    for i in range(len(out)):
        for k in range(left.shape[1]):
            for j in range(out.shape[1]):
                out[i, j] += left[i, k] * right[k, j]

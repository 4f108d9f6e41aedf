"""Leading singular vectors of a large sparse symmetric matrix, in bounded memory and the same for any number of threads.

Randomised subspace iteration (Halko et al. 2011). The tall matrices of it are orthonormalised in blocks of rows (TSQR,
Demmel et al. 2012), which is as stable as a QR decomposition of the whole, and gives the same, signs included.

Shape letters: N rows, E entries, K columns of the basis.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jtm_core.threads import run_chunks

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_POWER_ROUNDS = 4
_SPARE_COLUMNS = 8
_BLOCK_ROWS = 1 << 16
_CHUNKS = 32


class SparseRows(NamedTuple):
    """A symmetric matrix (N, N): row ``i`` holds ``weights[e]`` in ``columns[e]`` for ``starts[i] <= e < starts[i] + sizes[i]``.

    ``starts`` and ``sizes`` are int64 (N,), ``columns`` int32 (E,), ``weights`` float32 or float64 (E,); entries between
    the end of a row and the start of the next are not looked at.
    """

    starts: Ints
    sizes: Ints
    columns: NDArray[np.int32]
    weights: NDArray[np.floating]


def leading_vectors(matrix: SparseRows, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Rows of the leading left singular vectors, weighted by the root of their singular value and scaled to length 1.

    Parameters
    ----------
    matrix : SparseRows
    width : int
        How many singular vectors; columns beyond the number of rows are 0.
    rng : Generator
        Draws the first basis.

    Returns
    -------
    float32 array (N, width)
        Zero rows where the matrix has none but zeros.
    """
    num_rows = len(matrix.starts)
    basis = rng.standard_normal((num_rows, min(width + _SPARE_COLUMNS, num_rows)))
    product = np.empty_like(basis)
    for _ in range(_POWER_ROUNDS):
        _multiply(matrix, basis, product)
        orthonormalise(product)
        basis, product = product, basis
    _multiply(matrix, basis, product)
    singular = _replace_by_left_vectors(product)[:width]
    vectors = np.zeros((num_rows, width), dtype=np.float32)

    def scale_rows(rows: slice) -> None:
        part = product[rows, : len(singular)] * np.sqrt(singular)
        part[matrix.sizes[rows] == 0] = 0
        lengths = np.linalg.norm(part, axis=1, keepdims=True)
        vectors[rows, : len(singular)] = part / np.where(lengths > 0, lengths, 1)

    _for_row_blocks(num_rows, scale_rows)
    return vectors


def orthonormalise(tall: Floats) -> Floats:
    """Replace a tall matrix (N, K) by an orthonormal basis of its columns, and return R (K, K): before = after @ R."""
    blocks = _row_blocks(len(tall))
    if len(blocks) == 1:
        tall[:], upper = np.linalg.qr(tall)
        return np.asarray(upper)
    uppers = np.empty((len(blocks), tall.shape[1], tall.shape[1]))

    def decompose(block: int) -> None:
        tall[blocks[block]], uppers[block] = np.linalg.qr(tall[blocks[block]])

    run_chunks(decompose, len(blocks))
    stacked, upper = np.linalg.qr(uppers.reshape(-1, tall.shape[1]))
    turns = stacked.reshape(uppers.shape)
    signs = _householder_signs(tall[: tall.shape[1]] @ turns[0])
    turns *= signs

    def turn(block: int) -> None:
        tall[blocks[block]] @= turns[block]

    run_chunks(turn, len(blocks))
    return np.asarray(upper * signs[:, None])


def _householder_signs(top: Floats) -> Floats:
    """By which sign each column of an orthonormal basis differs from LAPACK's; ``top`` are its first K rows (Ballard et al. 2014)."""
    signs = np.empty(len(top))
    for k in range(len(top)):
        signs[k] = -np.copysign(1.0, top[k, k])
        top[k, k] -= signs[k]
        top[k + 1 :, k] /= top[k, k]
        top[k + 1 :, k + 1 :] -= np.outer(top[k + 1 :, k], top[k, k + 1 :])
    return signs


def _replace_by_left_vectors(tall: Floats) -> Floats:
    """Replace a tall matrix by its left singular vectors, and return its singular values, falling."""
    if len(_row_blocks(len(tall))) == 1:
        tall[:], singular, _ = np.linalg.svd(tall, full_matrices=False)
        return np.asarray(singular)
    turn, singular, _ = np.linalg.svd(orthonormalise(tall))

    def turn_rows(rows: slice) -> None:
        tall[rows] @= turn

    _for_row_blocks(len(tall), turn_rows)
    return np.asarray(singular)


def _row_blocks(num_rows: int) -> list[slice]:
    """Even blocks of at most ``_BLOCK_ROWS`` rows."""
    edges = np.linspace(0, num_rows, 1 + max(1, -(-num_rows // _BLOCK_ROWS))).astype(np.int64).tolist()
    return [slice(first, last) for first, last in pairwise(edges)]


def _for_row_blocks(num_rows: int, work: Callable[[slice], None]) -> None:
    blocks = _row_blocks(num_rows)
    run_chunks(lambda block: work(blocks[block]), len(blocks))


def _multiply(matrix: SparseRows, basis: Floats, product: Floats) -> None:
    """``product = matrix @ basis``."""
    ends = np.cumsum(matrix.sizes + 1)
    inner = np.searchsorted(ends, np.linspace(0, ends[-1], _CHUNKS + 1)[1:-1], side="left")
    edges = np.unique([0, *inner, len(ends)])
    run_chunks(lambda k: _multiply_rows(matrix, (edges[k], edges[k + 1]), basis, product), len(edges) - 1)


@njit(cache=True, nogil=True, fastmath=True)
def _multiply_rows(matrix: SparseRows, rows: tuple[int, int], basis: Floats, product: Floats) -> None:
    starts, sizes, columns, weights = matrix
    width = basis.shape[1]
    total = np.empty(width)
    for row in range(rows[0], rows[1]):
        total[:] = 0
        for entry in range(starts[row], starts[row] + sizes[row]):
            other, weight = columns[entry], weights[entry]
            for column in range(width):
                total[column] += weight * basis[other, column]
        product[row] = total

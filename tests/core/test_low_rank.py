"""Leading singular vectors: in blocks as of the whole, and as a dense decomposition gives them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from jtm_core import low_rank
from jtm_core.low_rank import SparseRows, leading_vectors, orthonormalise


def sparse(matrix: NDArray[np.float64]) -> SparseRows:
    """Rows with a gap of one entry behind each."""
    rows = [np.flatnonzero(row) for row in matrix]
    sizes = np.array([len(row) for row in rows])
    starts = np.cumsum(sizes + 1) - sizes - 1
    columns, weights = np.full(sizes.sum() + len(rows), -1, dtype=np.int32), np.full(sizes.sum() + len(rows), np.nan)
    for number, row in enumerate(rows):
        columns[starts[number] : starts[number] + len(row)] = row
        weights[starts[number] : starts[number] + len(row)] = matrix[number, row]
    return SparseRows(starts, sizes, columns, weights)


def clustered(num_rows: int) -> NDArray[np.float64]:
    """Symmetric, with zero rows; six singular values stand out."""
    rng = np.random.default_rng(num_rows)
    group = rng.integers(0, 6, num_rows)
    matrix = (group[:, None] == group) * (1.0 + group[:, None]) + 0.05 * rng.random((num_rows, num_rows))
    matrix = matrix + matrix.T
    matrix[:3], matrix[:, :3] = 0, 0
    return matrix


@pytest.mark.parametrize("block_rows", [16, 40, 1 << 16])
def test_blocks_give_the_decomposition_of_the_whole_signs_included(monkeypatch: pytest.MonkeyPatch, block_rows: int) -> None:
    monkeypatch.setattr(low_rank, "_BLOCK_ROWS", block_rows)
    tall = np.random.default_rng(0).normal(size=(213, 7)) * 10.0 ** -np.arange(7)
    basis, upper = np.linalg.qr(tall)
    found = tall.copy()
    np.testing.assert_allclose(orthonormalise(found), upper, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found, basis, rtol=1e-7, atol=1e-10)


def test_a_matrix_without_full_rank_still_gives_an_orthonormal_basis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(low_rank, "_BLOCK_ROWS", 20)
    tall = np.zeros((100, 4))
    tall[:, 0] = 1
    tall[:, 2] = np.arange(100) - 49.5
    found = tall.copy()
    upper = orthonormalise(found)
    np.testing.assert_allclose(found.T @ found, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(found @ upper, tall, atol=1e-12)


@pytest.mark.parametrize("block_rows", [40, 1 << 16])
def test_vectors_are_those_of_a_dense_decomposition(monkeypatch: pytest.MonkeyPatch, block_rows: int) -> None:
    monkeypatch.setattr(low_rank, "_BLOCK_ROWS", block_rows)
    matrix = clustered(150)
    vectors = leading_vectors(sparse(matrix), 6, np.random.default_rng(1))
    left, singular, _ = np.linalg.svd(matrix)
    expected = left[:, :6] * np.sqrt(singular[:6])
    expected[3:] /= np.linalg.norm(expected[3:], axis=1, keepdims=True)
    expected[:3] = 0
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=1e-4)


@pytest.mark.parametrize("num_rows", [1, 2, 3, 30])
def test_products_are_those_of_the_dense_matrix_for_any_number_of_rows(num_rows: int) -> None:
    matrix, basis = np.random.default_rng(num_rows).random((num_rows, num_rows)), np.arange(3.0 * num_rows).reshape(num_rows, 3)
    product = np.full((num_rows, 3), -7.0)
    low_rank._multiply(sparse(matrix), basis, product)
    np.testing.assert_allclose(product, matrix @ basis, rtol=1e-6)


def test_few_rows_leave_the_last_columns_zero() -> None:
    vectors = leading_vectors(sparse(np.array([[0.0, 2.0], [2.0, 0.0]])), 4, np.random.default_rng(1))
    assert vectors.shape == (2, 4)
    assert (vectors[:, 2:] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)

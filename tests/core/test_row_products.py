"""Products whose rows depend on nothing but the row: against float64, and wherever the row stands."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core.row_products import dot_rows, dot_transposed

WIDTHS = [1, 3, 15, 16, 17, 24, 32, 40, 48, 64, 70, 128, 150]


def product_of(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    out = np.full((len(left), right.shape[1]), np.nan, dtype=np.float32)
    dot_rows(left, right, out)
    return out


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rows", [0, 1, 5, 6, 7, 8, 20, 64])
def test_products_equal_those_in_float64(rows: int, width: int) -> None:
    rng = np.random.default_rng(rows)
    for depth in (0, 1, 33, 128):
        left, right = rng.standard_normal((rows, depth)).astype(np.float32), rng.standard_normal((depth, width)).astype(np.float32)
        exact, most = left.astype(np.float64) @ right, np.abs(left).astype(np.float64) @ np.abs(right)
        assert (np.abs(product_of(left, right) - exact) <= 1e-6 * most).all()
        transposed = np.full_like(exact, np.nan, dtype=np.float32)
        dot_transposed(np.ascontiguousarray(left.T), right, transposed)
        assert (np.abs(transposed - exact) <= 1e-6 * most).all()


@given(st.integers(1, 60), st.sampled_from([3, 24, 64, 128]), st.sampled_from(WIDTHS), st.integers(0, 99))
@settings(max_examples=200)
def test_a_row_has_the_same_bits_in_any_place_and_company(rows: int, depth: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = rng.standard_normal((60, depth)).astype(np.float32), rng.standard_normal((depth, width)).astype(np.float32)
    chosen = rng.permutation(60)[:rows]
    assert product_of(left[chosen], right).tobytes() == product_of(left, right)[chosen].tobytes()


def test_a_block_takes_no_number_from_behind_the_product() -> None:
    left, right = np.full((7, 24), 2, np.float32), np.full((24, 24), 3, np.float32)
    out = np.full((9, 24), -1, np.float32)
    dot_rows(left, right, out[1:8])
    assert (out[1:8] == 144).all()
    assert (out[[0, 8]] == -1).all()


@pytest.mark.parametrize("left", [np.zeros((32, 32), np.float32).T, np.zeros((32, 32)), np.zeros((32, 32), np.uint16)])
def test_sides_that_a_block_would_misread_are_refused(left: np.ndarray) -> None:
    with pytest.raises(numba.TypingError, match="a block takes C-contiguous float32"):
        dot_rows(left, np.zeros((32, 32), np.float32), np.zeros((32, 32), np.float32))

"""The first layer's activations from halves, for search and for tree learning, in float32 or rounded to bfloat16.

With and without an inner product there are loops of their own: one that asks for every row, or calls for every row, cost
search a third of its speed.

Shape letters: C candidates, S samples, V nodes' halves, H units of the first layer, F columns of factors.
"""

from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.extending import overload
from numpy.typing import NDArray

from jtm_core.inner_products import lifted, multiply_columns
from jtm_core.kernels import TILE_ROWS
from jtm_core.vector_code import LANES, gather_lanes, prefetch_row, round_bfloat16

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_IN_ORDER = np.arange(TILE_ROWS)
_ROWS_AHEAD = 8
"""So far ahead rows of large tables are fetched: they lie anywhere in memory, but it is known early which come next."""
_round: Any = round_bfloat16


def _stored(value: np.float32, first: Any) -> Any:
    """``value`` as the buffer ``first`` holds it: float32, or rounded to bfloat16."""
    raise NotImplementedError("for nopython code only")


@overload(_stored)
def _stored_code(value: Any, first: Any) -> Any:
    def rounded(value: Any, first: Any) -> Any:
        return _round(value)

    def same(value: Any, first: Any) -> Any:
        return value

    return rounded if first.dtype == types.uint16 else same


@numba.njit(fastmath=True, cache=True, nogil=True)
def _activate_rows(codes: Ints, halves: Floats, user_half: Floats, slopes: Floats, out: Any) -> None:
    """First layer of nodes whose halves are kept, in one pass."""
    start, size = halves.ctypes.data, 4 * halves.shape[1]
    for i in range(len(codes)):
        code = codes[i]
        prefetch_row(start, codes[min(i + _ROWS_AHEAD, len(codes) - 1)], size)
        for j in range(len(slopes)):
            value = halves[code, j] + user_half[j]
            out[i, j] = _stored(value if value > 0 else value * slopes[j], out)


@numba.njit(fastmath=True, cache=True, nogil=True)
def _activate_in_order(halves: Floats, user_half: Floats, slopes: Floats, out: Any) -> None:
    """First layer of a tile of nodes' halves."""
    for i in range(len(halves)):
        for j in range(len(slopes)):
            value = halves[i, j] + user_half[j]
            out[i, j] = _stored(value if value > 0 else value * slopes[j], out)


@numba.njit(fastmath=True, cache=True, nogil=True)
def _activate_products(rows: Ints, halves: Floats, user_half: Floats, head: Any, out: Any) -> None:
    """First layer of some rows of nodes' halves, with the inner products of their factors."""
    slopes, weights, user = head.slope_1, head.product_1, user_half.reshape(1, len(user_half))
    start, size = halves.ctypes.data, 4 * halves.shape[1]
    for i in range(len(rows)):
        row = rows[i]
        prefetch_row(start, rows[min(i + _ROWS_AHEAD, len(rows) - 1)], size)
        product = multiply_columns(user, halves, (0, row, len(slopes)))
        for j in range(len(slopes)):
            value = lifted(halves[row, j] + user_half[j], product, weights[j])
            out[i, j] = _stored(value if value > 0 else value * slopes[j], out)


@numba.njit(cache=True, nogil=True)
def activate_kept(codes: Ints, halves: Floats, user_half: Floats, head: Any, out: Any) -> None:
    """Activate the first layer of one user with some nodes whose halves are kept.

    Parameters
    ----------
    codes : int64 array (C,)
        Of the nodes.
    halves : float32 array (V, H + F)
        By code.
    user_half : float32 array (H + F,)
    head : HeadWeights or PackedHead
    out : float32 or uint16 array (C or more, H or more)
        Receives the activations, rounded to bfloat16 if it holds such numbers.
    """
    if len(head.product_1):
        _activate_products(codes, halves, user_half, head, out)
    else:
        _activate_rows(codes, halves, user_half, head.slope_1, out)


@numba.njit(cache=True, nogil=True)
def activate_tile(halves: Floats, user_half: Floats, head: Any, out: Any) -> None:
    """Activate the first layer of one user with a tile of nodes' halves, all of them; otherwise as :func:`activate_kept`."""
    if len(head.product_1):
        _activate_products(_IN_ORDER[: len(halves)], halves, user_half, head, out)
    else:
        _activate_in_order(halves, user_half, head.slope_1, out)


def _fill_row(users: Any, nodes: Any, slopes: Any, first: Any, place: Any) -> None:
    """Activate a user half plus a node half into a row of the first layer; place: (user, node, row). For nopython code."""
    raise NotImplementedError("for nopython code only")


@overload(_fill_row, inline="always")
def _fill_row_code(users: Any, nodes: Any, slopes: Any, first: Any, place: Any) -> Any:
    def rounded(users: Any, nodes: Any, slopes: Any, first: Any, place: Any) -> Any:
        user, node, row = place
        whole = len(slopes) // LANES * LANES
        for column in range(0, whole, LANES):
            gather_lanes(users, nodes, slopes, first, (user, node, row, column))
        for j in range(whole, len(slopes)):
            value = users[user, j] + nodes[node, j]
            first[row, j] = round_bfloat16(value if value > 0 else value * slopes[j])

    def same(users: Any, nodes: Any, slopes: Any, first: Any, place: Any) -> Any:
        user, node, row = place
        for j in range(len(slopes)):
            value = users[user, j] + nodes[node, j]
            first[row, j] = value if value > 0 else value * slopes[j]

    return rounded if first.dtype == types.uint16 else same


@numba.njit(cache=True, nogil=True, fastmath=True)
def _fill_rows(halves: tuple[Floats, Floats], slopes: Floats, rows: Ints, first: Any, place: tuple[int, int]) -> None:
    """First layer of one sample with some nodes; ``place``: the sample and the tile's row of its first node."""
    users, nodes = halves
    sample, row = place
    for k in range(len(rows)):
        _fill_row(users, nodes, slopes, first, (sample, rows[k], row + k))


@numba.njit(cache=True, nogil=True, fastmath=True)
def _fill_product_rows(
    halves: tuple[Floats, Floats], parameters: tuple[Floats, Floats], rows: Ints, first: Any, place: tuple[int, int]
) -> None:
    """As :func:`_fill_rows`, with the inner products of the factors."""
    (users, nodes), (slopes, weights) = halves, parameters
    sample, row = place
    for k in range(len(rows)):
        node, product = rows[k], multiply_columns(users, nodes, (sample, rows[k], len(slopes)))
        for j in range(len(slopes)):
            value = lifted(users[sample, j] + nodes[node, j], product, weights[j])
            first[row + k, j] = _stored(value if value > 0 else value * slopes[j], first)


@numba.njit(cache=True, nogil=True, inline="always")
def activate_sample(halves: tuple[Floats, Floats], rows: Ints, parameters: tuple[Floats, Floats], out: Any, place: tuple[int, int]) -> None:
    """Activate the first layer of one sample with some nodes; it has no more arguments than it needs, as every array costs a call time.

    Parameters
    ----------
    halves : float32 arrays (S, H + F) and (V, H + F)
        Of samples and nodes.
    rows : int64 array (C,)
        Which of the nodes.
    parameters : float32 arrays (H,) and (H,) or (0,)
        ``slope_1`` and ``product_1`` of the head.
    out : float32 or uint16 array (place[1] + C or more, H or more)
    place : (int, int)
        Which sample, and the row of ``out`` that its first node gets.
    """
    if len(parameters[1]):
        _fill_product_rows(halves, parameters, rows, out, place)
    else:
        _fill_rows(halves, parameters[0], rows, out, place)

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
from jtm_core.window_matches import Matches, make_lift

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

IN_ORDER = np.arange(TILE_ROWS)
"""Rows of a tile."""
ROWS_AHEAD = 8
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


def activate_row(users: Any, nodes: Any, slopes: Any, out: Any, place: Any) -> None:
    """Activate a user half plus a node half into a row of ``out``; place: (user, node, row). For nopython code."""
    raise NotImplementedError("for nopython code only")


@overload(activate_row, inline="always")
def _activate_row_code(users: Any, nodes: Any, slopes: Any, out: Any, place: Any) -> Any:
    def rounded(users: Any, nodes: Any, slopes: Any, out: Any, place: Any) -> Any:
        user, node, row = place
        whole = len(slopes) // LANES * LANES
        for column in range(0, whole, LANES):
            gather_lanes(users, nodes, slopes, out, (user, node, row, column))
        for j in range(whole, len(slopes)):
            value = users[user, j] + nodes[node, j]
            out[row, j] = round_bfloat16(value if value > 0 else value * slopes[j])

    def same(users: Any, nodes: Any, slopes: Any, out: Any, place: Any) -> Any:
        user, node, row = place
        for j in range(len(slopes)):
            value = users[user, j] + nodes[node, j]
            out[row, j] = value if value > 0 else value * slopes[j]

    return rounded if out.dtype == types.uint16 else same


@numba.njit(fastmath=False, inline="always")
def activate_product_row(users: Any, nodes: Any, parameters: Any, out: Any, place: Any) -> None:
    """As :func:`activate_row`, with the inner product of the factors; ``parameters``: ``slope_1`` and ``product_1`` of the head."""
    (slopes, weights), (user, node, row) = parameters, place
    product = multiply_columns(users, nodes, (user, node, len(slopes)))
    for j in range(len(slopes)):
        value = lifted(users[user, j] + nodes[node, j], product, weights[j])
        out[row, j] = _stored(value if value > 0 else value * slopes[j], out)


@numba.njit(fastmath=False, cache=True, nogil=True)
def activate_lifted_row(users: Any, nodes: Any, parameters: Any, out: Any, place: Any) -> None:
    """As :func:`activate_row` or :func:`activate_product_row`, for a pair with matches.

    ``parameters``: ``slope_1`` and ``product_1`` of the head, and the pair's lift (H,).
    """
    (slopes, weights, lift), (user, node, row) = parameters, place
    product = multiply_columns(users, nodes, (user, node, len(slopes))) if len(weights) else np.float32(0)
    for j in range(len(slopes)):
        value = users[user, j] + nodes[node, j]
        if len(weights):
            value = lifted(value, product, weights[j])
        value += lift[j]
        out[row, j] = _stored(value if value > 0 else value * slopes[j], out)


@numba.njit(fastmath=False, cache=True, nogil=True)
def activate_matched_rows(halves: Any, pairs: Any, head: Any, matches: tuple[Matches, int], out: Any) -> None:
    """Activate those rows of a tile anew that have matches.

    Parameters
    ----------
    halves : float32 arrays (S, H + F) and (V, H + F)
    pairs : int32 arrays (R,)
        User and node half of each row.
    head : HeadWeights or PackedHead
    matches : Matches and int
        And which of their rows is the tile's first.
    out : float32 or uint16 array (R or more, H or more)
    """
    (users, nodes), (found, start) = pairs, matches
    lift = np.empty(len(head.slope_1), np.float32)
    for k in range(np.searchsorted(found.rows, start), np.searchsorted(found.rows, start + len(users))):
        row = found.rows[k] - start
        make_lift(found.inputs[k], head.match_1, lift)
        place = np.intp(users[row]), np.intp(nodes[row]), row
        activate_lifted_row(halves[0], halves[1], (head.slope_1, head.product_1, lift), out, place)


@numba.njit(fastmath=True, cache=True, nogil=True)
def _activate_rows(codes: Ints, halves: Floats, user_half: Floats, slopes: Floats, out: Any) -> None:
    """First layer of nodes whose halves are kept, in one pass."""
    start, size = halves.ctypes.data, 4 * halves.shape[1]
    for i in range(len(codes)):
        code = codes[i]
        prefetch_row(start, codes[min(i + ROWS_AHEAD, len(codes) - 1)], size)
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
    parameters, user = (head.slope_1, head.product_1), user_half.reshape(1, len(user_half))
    start, size = halves.ctypes.data, 4 * halves.shape[1]
    for i in range(len(rows)):
        prefetch_row(start, rows[min(i + ROWS_AHEAD, len(rows) - 1)], size)
        activate_product_row(user, halves, parameters, out, (0, rows[i], i))


@numba.njit(fastmath=False, cache=True, nogil=True)
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


@numba.njit(fastmath=False, cache=True, nogil=True)
def activate_tile(halves: Floats, user_half: Floats, head: Any, out: Any) -> None:
    """Activate the first layer of one user with a tile of nodes' halves, all of them; otherwise as :func:`activate_kept`."""
    if len(head.product_1):
        _activate_products(IN_ORDER[: len(halves)], halves, user_half, head, out)
    else:
        _activate_in_order(halves, user_half, head.slope_1, out)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _fill_rows(halves: tuple[Floats, Floats], slopes: Floats, rows: Ints, first: Any, place: tuple[int, int, int, int]) -> None:
    """First layer of one sample with some nodes, see :func:`activate_sample`."""
    users, nodes = halves
    sample, row, low, count = place
    for k in range(count):
        activate_row(users, nodes, slopes, first, (sample, rows[low + k], row + k))


@numba.njit(cache=True, nogil=True, fastmath=True)
def _fill_product_rows(
    halves: tuple[Floats, Floats], parameters: tuple[Floats, Floats], rows: Ints, first: Any, place: tuple[int, int, int, int]
) -> None:
    """As :func:`_fill_rows`, with the inner products of the factors."""
    users, nodes = halves
    sample, row, low, count = place
    for k in range(count):
        activate_product_row(users, nodes, parameters, first, (sample, rows[low + k], row + k))


@numba.njit(fastmath=False, cache=True, nogil=True, inline="always")
def activate_sample(
    halves: tuple[Floats, Floats], rows: Ints, parameters: tuple[Floats, Floats], out: Any, place: tuple[int, int, int, int]
) -> None:
    """Activate the first layer of one sample with some nodes; views and arrays handed over cost time in every call, so there are few.

    Parameters
    ----------
    halves : float32 arrays (S, H + F) and (V, H + F)
        Of samples and nodes.
    rows : int64 array
        Rows of the nodes' halves.
    parameters : float32 arrays (H,) and (H,) or (0,)
        ``slope_1`` and ``product_1`` of the head.
    out : float32 or uint16 array (.., H or more)
    place : (int, int, int, int)
        Which sample, the row of ``out`` that its first node gets, which of ``rows`` is the first, and how many they are.
    """
    if len(parameters[1]):
        _fill_product_rows(halves, parameters, rows, out, place)
    else:
        _fill_rows(halves, parameters[0], rows, out, place)

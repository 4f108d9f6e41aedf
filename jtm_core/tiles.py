"""What the search computes of users and nodes: halves of the first layer, and the head over tiles of candidates.

All of a user's halves come from one small product, whoever else is asked; nodes' are looked up where kept, else multiplied out.

Shape letters: A levels walked, C candidates, H units of the first hidden layer, F columns of factors, W windows, D vector width.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from jtm_core.bfloat16 import PackedHead, TileBuffers, head_tile, tile_buffers
from jtm_core.first_layer import IN_ORDER, ROWS_AHEAD, activate_kept, activate_lifted_row, activate_tile
from jtm_core.history_matches import empty_histories, first_behaviour, next_match
from jtm_core.kernels import TILE_ROWS, HeadWeights
from jtm_core.row_products import dot_rows
from jtm_core.vector_code import prefetch_row
from jtm_core.window_matches import Histories, fill_inputs, make_lift

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class UserTables(NamedTuple):
    """What makes a user's half of the first layer."""

    vectors: Floats
    """(rows of the table, D)."""
    leaf_of_item: Ints
    weight: Floats
    """(W * D, H + F), contiguous; here and below F columns of factors stand behind the units (:mod:`jtm_core.network_arrays`)."""
    bias: Floats
    is_flat: bool
    """Behaviours stay items on every level instead of becoming their ancestors."""
    most_behaviours: int
    """That are looked back on."""
    near_edges: Ints
    """Where the windows of near items begin and end."""


class NodeTables(NamedTuple):
    """Where the nodes' halves come from."""

    halves: Floats
    """(number of kept halves, H + F), by code; a level is kept whole or not at all."""
    vectors: Floats
    """(rows of the table, D): nodes whose half is not kept are multiplied out when they are met."""
    item_of_leaf: Ints
    """(2**height,), -1 where there is none."""
    weight: Floats
    """(D, H + F), contiguous."""


class Scoring(NamedTuple):
    """All that a logit depends on, beside the user."""

    users: UserTables
    nodes: NodeTables
    head: HeadWeights | PackedHead
    """The layers behind the first one; packed ones are multiplied in bfloat16."""


class Activations(NamedTuple):
    """A tile's activations of the three hidden layers: (TILE_ROWS, their units) each."""

    first: Floats
    second: Floats
    third: Floats


class Buffers(NamedTuple):
    """Scratch memory of one thread; its contents mean nothing between calls."""

    pooled: Floats
    """(A, W * D)."""
    user_halves: Floats
    """(A, H + F)."""
    tile_vectors: Floats
    """(TILE_ROWS, D), then the nodes' halves (TILE_ROWS, H + F) and the activations."""
    tile_halves: Floats
    layers: Activations | TileBuffers
    histories: Histories
    """Of one user, for a network that reads matches."""
    codes: Ints
    """(C,) each: candidates, those of the level below, their logits, the logits as integers, sort keys."""
    below: Ints
    logits: Floats
    keys: NDArray[np.int32]
    order: Ints


def make_buffers(scoring: Scoring, num_levels: int, num_candidates: int) -> Buffers:
    """Buffers for walks over ``num_levels`` levels (1 for a scan) with at most ``num_candidates`` at a time."""

    def floats(*shape: int) -> Floats:
        return np.empty(shape, dtype=np.float32)

    users, head = scoring.users, scoring.head
    widths = len(head.slope_1), len(head.slope_2), len(head.slope_3)
    layers = tile_buffers(head) if isinstance(head, PackedHead) else Activations(*(floats(TILE_ROWS, width) for width in widths))
    return Buffers(
        pooled=floats(num_levels, len(users.weight)),
        user_halves=floats(num_levels, len(users.bias)),
        tile_vectors=floats(TILE_ROWS, users.vectors.shape[1]),
        tile_halves=floats(TILE_ROWS, len(users.bias)),
        layers=layers,
        histories=empty_histories(1, head.match_1, users.most_behaviours + int(users.near_edges[-1])),
        codes=np.empty(num_candidates, dtype=np.int64),
        below=np.empty(num_candidates, dtype=np.int64),
        logits=floats(num_candidates),
        keys=np.empty(num_candidates, dtype=np.int32),
        order=np.empty(num_candidates, dtype=np.int64),
    )


@numba.njit(fastmath=True, cache=True, inline="always")
def _activate(values: Floats, shift: Floats, slopes: Floats, out: Floats, rows: int) -> None:
    """PReLU of ``values + shift``."""
    for i in range(rows):
        for j in range(values.shape[1]):
            value = values[i, j] + shift[j]
            out[i, j] = value if value > 0 else value * slopes[j]


@numba.njit(fastmath=False, cache=True, nogil=True, inline="always")
def _row_of(code: int, item_of_leaf: Ints, first_leaf: int) -> int:
    """Row of the table that holds a used node's vector."""
    return code if code < first_leaf else first_leaf + max(item_of_leaf[code - first_leaf], 0)


@numba.njit(fastmath=True, cache=True, nogil=True)
def multiply_halves(codes: Ints, nodes: NodeTables, tile_vectors: Floats, out: Floats) -> None:
    """Halves of nodes from their vectors."""
    _, vectors, item_of_leaf, weight = nodes
    start, size, first_leaf = vectors.ctypes.data, 4 * vectors.shape[1], len(item_of_leaf) - 1
    for i in range(len(codes)):
        prefetch_row(start, _row_of(codes[min(i + ROWS_AHEAD, len(codes) - 1)], item_of_leaf, first_leaf), size)
        row = _row_of(codes[i], item_of_leaf, first_leaf)
        for d in range(vectors.shape[1]):
            tile_vectors[i, d] = vectors[row, d]
    dot_rows(tile_vectors[: len(codes)], weight, out[: len(codes)])


def score_tile(head: Any, layers: Any, out: Any) -> None:
    """Logits of the ``len(out)`` first rows of ``layers.first``, for nopython code."""
    raise NotImplementedError("for nopython code only")


@overload(score_tile)
def _score_tile_code(head: Any, layers: Any, out: Any) -> Any:
    def packed(head: Any, layers: Any, out: Any) -> Any:
        head_tile(head, layers, out)

    def plain(head: Any, layers: Any, out: Any) -> Any:
        _score_tile(head, layers, out)

    return packed if head.instance_class is PackedHead else plain


@numba.njit(fastmath=True, cache=True, nogil=True)
def _score_tile(head: HeadWeights, layers: Activations, out: Floats) -> None:
    _, matrix_2, bias_2, slope_2, matrix_3, bias_3, slope_3, vector_4, bias_4, _, _ = head
    first, second, third = layers
    rows = len(out)
    dot_rows(first[:rows], matrix_2, second[:rows])
    _activate(second, bias_2, slope_2, second, rows)
    dot_rows(second[:rows], matrix_3, third[:rows])
    _activate(third, bias_3, slope_3, third, rows)
    for i in range(rows):
        total = bias_4[0]
        for j in range(len(vector_4)):
            total += third[i, j] * vector_4[j]
        out[i] = total


@numba.njit(fastmath=False, cache=True, nogil=True)
def activate_matches(
    codes: Ints, halves: tuple[Floats, Floats, Ints], head: Any, histories: Histories, place: tuple[int, int], first: Any
) -> None:
    """Activate the first layer of a tile's matched nodes anew.

    Parameters
    ----------
    codes : int64 array (C,)
        Of the tile's nodes, ascending.
    halves : float32 arrays (1, H + F) and (V, H + F), int64 array (C,)
        Of the user and of nodes, and the rows of the tile's nodes among these.
    head : HeadWeights or PackedHead
    histories : Histories
    place : (int, int)
        Which of the histories is the user's; levels from the leaves up to the nodes.
    first : float32 or uint16 array (C or more, H or more)
    """
    (user_half, node_halves, rows), (user, steps) = halves, place
    sizes, leaves, windows, all_factors, counts, inputs, lift = histories
    size, factors = sizes[user], all_factors[user]
    known, weights, parameters = (leaves[user, :size], windows[user, :size], counts), head.match_1, (head.slope_1, head.product_1, lift)
    behaviour, node = first_behaviour(codes[0], known[0], steps), 0
    while True:
        behaviour, node = next_match(codes, known, steps, (behaviour, node))
        if node < 0:
            break
        fill_inputs(counts, factors, steps == 0, inputs)
        make_lift(inputs, weights, lift)
        activate_lifted_row(user_half, node_halves, parameters, first, (0, rows[node], node))
        node += 1


@numba.njit(fastmath=False, cache=True, nogil=True)
def score_codes(codes: Ints, user_half: Floats, scoring: Scoring, buffers: Buffers, steps: int) -> None:
    """Logits of one level's candidates, ``steps`` levels above the leaves, into the buffer."""
    nodes, head, logits, layers = scoring.nodes, scoring.head, buffers.logits, buffers.layers
    tile_halves, count = buffers.tile_halves, len(codes)
    reads_matches = len(head.match_1) > 0 and not (scoring.users.is_flat and steps > 0)
    num_tiles = (count + TILE_ROWS - 1) // TILE_ROWS
    for k in range(num_tiles):
        low, high = count * k // num_tiles, count * (k + 1) // num_tiles
        if codes[high - 1] < len(nodes.halves):
            activate_kept(codes[low:high], nodes.halves, user_half, head, layers.first)
            halves, rows = nodes.halves, codes[low:high]
        else:
            multiply_halves(codes[low:high], nodes, buffers.tile_vectors, tile_halves)
            activate_tile(tile_halves[: high - low], user_half, head, layers.first)
            halves, rows = tile_halves, IN_ORDER[: high - low]
        if reads_matches:
            own = user_half.reshape(1, len(user_half)), halves, rows
            activate_matches(codes[low:high], own, head, buffers.histories, (0, steps), layers.first)
        score_tile(head, layers, logits[low:high])


@numba.njit(fastmath=True, cache=True, nogil=True)
def _pool(users: UserTables, items: Ints, bounds: Ints, steps: int, out: Floats) -> None:
    """Mean vectors of one user's windows, ``steps`` levels above the leaves: float32 (W * D,)."""
    vectors, leaf_of_item, _, _, is_flat, _, _ = users
    width, first_item_row = vectors.shape[1], len(vectors) - len(leaf_of_item)
    for w in range(len(bounds) - 1):
        low, high = bounds[w], bounds[w + 1]
        total = out[w * width : (w + 1) * width]
        total[:] = 0
        for t in range(low, high):
            row = first_item_row + items[t] if is_flat or steps == 0 else ((leaf_of_item[items[t]] + 1) >> steps) - 1
            for d in range(width):
                total[d] += vectors[row, d]
        scale = np.float32(1.0 / max(high - low, 1))
        for d in range(width):
            total[d] *= scale


@numba.njit(fastmath=False, cache=True, nogil=True)
def pool_users(users: UserTables, items: Ints, bounds: Ints, steps: int, out: Floats) -> None:
    """Pool the windows of users on one level.

    Parameters
    ----------
    users : UserTables
    items : int64 array (N,)
        Flat histories.
    bounds : int64 array (S, W + 1)
        Windows as positions in ``items``.
    steps : int
        Levels above the leaves.
    out : float32 array (S, W * D)
        Receives the means; 0 for empty windows.
    """
    for s in range(len(bounds)):
        _pool(users, items, bounds[s], steps, out[s])


@numba.njit(fastmath=False, cache=True, nogil=True)
def make_user_halves(users: UserTables, items: Ints, bounds: Ints, buffers: Buffers) -> None:
    """One user's halves on the last levels of the tree, top level first, into the buffer."""
    pooled, halves, weight, bias = buffers.pooled, buffers.user_halves, users.weight, users.bias
    num_levels = len(pooled)
    for a in range(num_levels):
        _pool(users, items, bounds, num_levels - 1 - a, pooled[a])
    dot_rows(pooled, weight, halves)
    for a in range(num_levels):
        for j in range(len(bias)):
            halves[a, j] += bias[j]

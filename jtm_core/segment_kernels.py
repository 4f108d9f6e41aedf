"""The inner loops of tree learning: from samples to summed log-probabilities, without storing a score.

Users' halves of a chunk of samples are made once on a level. Then rows (sample, node) fill one tile after the other; each
tile passes through the head, through log sigmoid, and is added up per (piece, node) in float64.

A row's bits depend on neither its neighbours nor its place (:mod:`jtm_core.row_products`): sums do not depend on how samples
are cut into chunks and shards. :class:`~jtm_core.segment_pass.ScorerPass` is the readable twin.

Shape letters: S samples of a chunk, P pieces, V nodes of a level, W windows, D vector width, H units of the first layer, F columns of
factors.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from jtm_core.bfloat16 import PackedHead, TileBuffers, head_tile, tile_buffers
from jtm_core.first_layer import activate_sample
from jtm_core.kernels import HeadWeights
from jtm_core.log_sigmoid import log_sigmoid
from jtm_core.row_products import dot_rows
from jtm_core.segment_matches import (
    ChunkTold,
    SampleMatches,
    activate_sample_matches,
    find_sample_matches,
    forget_sample,
    note_columns,
    sample_matches,
)
from jtm_core.segment_users import PieceRows, Positions, UserSide, make_user_halves

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

GATHERED_ROWS = 64
"""Nodes' vectors that are gathered and multiplied at once: few, so that they stay in the cache."""
TILE_ROWS = 128
"""Rows that go through a layer together: few, so that they stay in the cache; not too few, as each step costs a little by itself."""
WHOLE_ROWS = 64
"""Rows are scored in whole groups of so many: what is left over in a loop of vectors, scalar code does, and rounds otherwise."""
NODES_AT_HAND = 512
"""Nodes' halves kept at least, a quarter of a megabyte with 128 units."""


class NodeSide(NamedTuple):
    """The nodes of one level that are scored."""

    table: Floats
    """Vectors."""
    rows: Ints
    """(V,): rows of the table of the used nodes, from left to right."""
    columns: Ints
    """(V,): number among the descendants of the segment's upper node."""
    positions: Ints
    """(V,): place on the level, ascending."""
    position_of_item: Positions
    """(num_items,): that of the node which an item's behaviours match; none if no node can be matched."""
    is_leaf: bool
    """Whether the level is that of the leaves."""
    own_table: Floats
    """Vectors of nodes of which each piece has one, beside those."""
    weight: Floats
    """(D, H + F)."""


@numba.njit(fastmath=False, cache=True, nogil=True)
def _make_node_halves(rows: Ints, table: Floats, weight: Floats, tile: Floats, halves: Floats) -> None:
    """Halves of nodes, gathered into the tile in turns."""
    for low in range(0, len(rows), GATHERED_ROWS):
        high = min(low + GATHERED_ROWS, len(rows))
        for i in range(low, high):
            for d in range(tile.shape[1]):
                tile[i - low, d] = table[rows[i], d]
        dot_rows(tile[: high - low], weight, halves[low:high])


@numba.njit(cache=True, nogil=True, fastmath=True)
def _activate(values: Floats, bias: Floats, slopes: Floats) -> None:
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            value = values[i, j] + bias[j]
            values[i, j] = value if value > 0 else value * slopes[j]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _outputs(hidden: Floats, vector: Floats, bias: Floats, out: Floats) -> None:
    for i in range(len(hidden)):
        total = np.float32(0)
        for j in range(hidden.shape[1]):
            total += hidden[i, j] * vector[j]
        out[i] = total + bias[0]


class Layers(NamedTuple):
    """A tile's activations of the three hidden layers in float32: (TILE_ROWS, their units) each."""

    first: Floats
    second: Floats
    third: Floats


class Tile(NamedTuple):
    """Rows on their way through the head, and where their log-probabilities go."""

    head: HeadWeights | PackedHead
    layers: Layers | TileBuffers
    logits: Floats
    logarithms: Floats
    powers: Floats
    targets: Ints
    """(TILE_ROWS,): places in the flat sums."""
    sums: NDArray[np.float64]


def make_layers(head: Any) -> Any:
    """Zeroed activations of a tile as the head takes them, for nopython code."""
    raise NotImplementedError("for nopython code only")


@overload(make_layers)
def _make_layers_code(head: Any) -> Any:
    def packed(head: Any) -> Any:
        return tile_buffers(head)

    def plain(head: Any) -> Any:
        first, second = np.zeros((TILE_ROWS, len(head.slope_1)), np.float32), np.empty((TILE_ROWS, len(head.slope_2)), np.float32)
        return Layers(first, second, np.empty((TILE_ROWS, len(head.slope_3)), np.float32))

    return packed if head.instance_class is PackedHead else plain


def score_layers(head: Any, layers: Any, logits: Any) -> None:
    """Logits of all rows of a tile whose first layer is filled, for nopython code."""
    raise NotImplementedError("for nopython code only")


@overload(score_layers)
def _score_layers_code(head: Any, layers: Any, logits: Any) -> Any:
    def packed(head: Any, layers: Any, logits: Any) -> Any:
        head_tile(head, layers, logits)

    def plain(head: Any, layers: Any, logits: Any) -> Any:
        _score_plain(head, layers, logits)

    return packed if head.instance_class is PackedHead else plain


@numba.njit(fastmath=False, cache=True, nogil=True)
def _score_plain(head: HeadWeights, layers: Layers, logits: Floats) -> None:
    first, second, third = layers
    _, matrix_2, bias_2, slope_2, matrix_3, bias_3, slope_3, vector_4, bias_4, _, _ = head
    rows = len(logits)
    dot_rows(first[:rows], matrix_2, second[:rows])
    _activate(second[:rows], bias_2, slope_2)
    dot_rows(second[:rows], matrix_3, third[:rows])
    _activate(third[:rows], bias_3, slope_3)
    _outputs(third[:rows], vector_4, bias_4, logits)


@numba.njit(fastmath=False, cache=True, nogil=True)
def _make_tile(head: HeadWeights | PackedHead, sums: NDArray[np.float64]) -> Tile:
    return Tile(
        head,
        make_layers(head),
        np.zeros(TILE_ROWS, np.float32),
        np.zeros(TILE_ROWS, np.float32),
        np.zeros(TILE_ROWS, np.float32),
        np.zeros(TILE_ROWS, np.int64),
        sums,
    )


@numba.njit(fastmath=False, cache=True, nogil=True)
def _add_tile(tile: Tile, count: int) -> None:
    """Add the log-probabilities of the first ``count`` rows to their sums; those behind only fill the last group up."""
    head, layers, logits, logarithms, powers, targets, sums = tile
    rows = (count + WHOLE_ROWS - 1) // WHOLE_ROWS * WHOLE_ROWS
    score_layers(head, layers, logits[:rows])
    log_sigmoid(logits[:rows], logarithms, powers)
    for i in range(count):
        sums[targets[i]] += logarithms[i]


@numba.njit(fastmath=False, cache=True, nogil=True)
def _fill(
    halves: tuple[Floats, Floats],
    bounds: tuple[int, int, int],
    chosen: tuple[Ints, Ints, tuple[int, int, int]],
    filled: int,
    tile: Tile,
    matches: SampleMatches,
) -> int:
    """Put every pair of samples and chosen nodes into the tile, add it up each time it is full; returns how many rows wait.

    ``halves`` of users and nodes; ``bounds``: first sample, the one behind the last, number of chosen nodes; ``chosen``: rows of the
    nodes' halves, places of their sums, positions as for :func:`jtm_core.segment_matches.find_sample_matches`.
    """
    (low, high, count), (rows, targets, positions), head = bounds, chosen, tile.head
    first, waiting, parameters = tile.layers.first, tile.targets, (head.slope_1, head.product_1)
    for sample in range(low, high):
        done, touched = 0, find_sample_matches(sample, positions, matches)
        while done < count:
            more = min(count - done, TILE_ROWS - filled)
            activate_sample(halves, rows, parameters, first, (sample, filled, done, more))
            if touched:
                activate_sample_matches(halves, rows, head, (matches, touched), first, (sample, filled, done, more))
            for k in range(more):
                waiting[filled + k] = targets[done + k]
            done, filled = done + more, filled + more
            if filled == TILE_ROWS:
                _add_tile(tile, TILE_ROWS)
                filled = 0
        if touched:
            forget_sample(matches, touched)
    return filled


@numba.njit(fastmath=False, cache=True, nogil=True)
def add_chunk(
    pieces: PieceRows, told: ChunkTold, users: UserSide, nodes: NodeSide, head: HeadWeights | PackedHead, sums: NDArray[np.float64]
) -> None:
    """Sum log p over the samples of each piece, node by node, on one level.

    Parameters
    ----------
    pieces : PieceRows
        Pieces in leaf order: their nodes never fall.
    told : ChunkTold
        Of the pieces' samples; terms are none where the level has no projected vectors and the network reads no matches.
    users, nodes
        Of this level.
    head : HeadWeights or PackedHead
        The layers behind the first one; packed ones are multiplied in bfloat16.
    sums : float64 array (P, columns + 1)
        Is added to; the last column is that of the piece's own node.
    """
    _, sizes, node_firsts, node_lasts, own_rows, own_positions = pieces
    table, rows, columns, all_positions, position_of_item, is_leaf, own_table, weight = nodes
    num_columns = sums.shape[1] - 1
    halves, tile = make_user_halves(pieces, told.terms, users), _make_tile(head, sums.reshape(sums.size))
    room = max(NODES_AT_HAND, (node_lasts - node_firsts).max())
    at_hand = np.empty((room + GATHERED_ROWS, weight.shape[1]), np.float32)  # the pieces' own nodes come behind the others
    gathered = np.empty((GATHERED_ROWS, weight.shape[0]), np.float32)
    chosen, targets = np.empty(num_columns + 1, np.int64), np.empty(num_columns + 1, np.int64)
    matches = sample_matches(told, (position_of_item, is_leaf), num_columns, head.match_1)
    low, high, noted, place, filled, own = 0, 0, -1, 0, 0, (-1, -1)
    for piece in range(len(sizes)):
        first, last = node_firsts[piece], node_lasts[piece]
        if last > high:
            low, high = first, min(first + room, node_lasts[-1])
            _make_node_halves(rows[low:high], table, weight, gathered, at_hand)
        if last > first and first != noted:
            note_columns(columns[first:last], matches)
            noted = first
        count = last - first
        for k in range(count):
            chosen[k], targets[k] = first + k - low, piece * (num_columns + 1) + columns[first + k]
        own = -1, -1
        if own_rows[piece] >= 0:
            if piece % GATHERED_ROWS == 0:
                _make_node_halves(own_rows[piece : piece + GATHERED_ROWS], own_table, weight, gathered, at_hand[room:])
            chosen[count], targets[count] = room + piece % GATHERED_ROWS, piece * (num_columns + 1) + num_columns
            own, count = (own_positions[piece], count), count + 1
        left = all_positions[first] - columns[first] if last > first else 0
        bounds = place, place + sizes[piece], count
        filled = _fill((halves, at_hand), bounds, (chosen, targets, (left, own[0], own[1])), filled, tile, matches)
        place += sizes[piece]
    if filled:
        _add_tile(tile, filled)

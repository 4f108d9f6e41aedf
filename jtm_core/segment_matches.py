"""Matches of the samples of tree learning with the nodes they are scored with: :mod:`jtm_core.window_matches` in a walk over samples.

A node has a *position* on its level, counted from the left, and so has every behaviour: on inner levels that of its item's ancestor in
the old tree, on the leaf level that of its item's leaf in the current one, as there a node is its item.

Shape letters: C nodes chosen, W windows, K near items, H units of the first layer.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.first_layer import activate_lifted_row
from jtm_core.segment_users import Positions, Terms
from jtm_core.window_matches import factor_of, fill_inputs, make_lift

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

NO_POSITIONS = np.zeros(0, np.int32)
"""Of items on a level whose nodes no behaviour can match."""


class ChunkTold(NamedTuple):
    """What a chunk's samples are told of themselves."""

    terms: Terms
    near: Positions
    """(samples, K): items near each, -1 behind."""
    near_edges: Ints
    """Where the windows of near items begin and end among the K."""


class SampleMatches(NamedTuple):
    """What the matches of one sample after the other are found with, and those of the one at hand."""

    told: ChunkTold
    items: Ints
    windows: Ints
    """(most that a sample is told of,): of the sample at hand."""
    position_of_item: Positions
    """(num_items,), or none if nothing matches on the level."""
    place_of_column: Positions
    """(columns,): place among the nodes chosen of each of the segment's descendants, -1 for none."""
    counts: Floats
    """(C or more, W): behaviours under each node chosen; 0 but for the nodes touched."""
    factors: Floats
    """(W,): :func:`jtm_core.window_matches.factor_of` each window."""
    touched: Ints
    """(C or more,): places of the nodes that match."""
    is_touched: NDArray[np.bool_]
    """(C or more,): by place."""
    inputs: Floats
    """(2 * W,): of the pair at hand."""
    lift: Floats
    is_leaf: bool


@numba.njit(fastmath=False, cache=True, nogil=True)
def sample_matches(told: ChunkTold, nodes: tuple[Positions, bool], num_columns: int, weights: Floats) -> SampleMatches:
    """Scratch memory for samples scored with at most ``num_columns`` descendants of one node and one node more.

    ``nodes`` are the positions of items and whether the nodes are leaves; ``weights`` (2 * W, H) the match layer's, perhaps none.
    """
    (position_of_item, is_leaf), (num_inputs, num_units), num_nodes = nodes, weights.shape, num_columns + 1
    num_windows, most, offsets = num_inputs // 2, told.near.shape[1], told.terms.offsets
    for sample in range(len(offsets) - 1):
        most = max(most, told.near.shape[1] + offsets[sample + 1] - offsets[sample])
    return SampleMatches(
        told,
        np.zeros(most, np.int64),
        np.zeros(most, np.int64),
        position_of_item if num_inputs else position_of_item[:0],
        np.full(num_columns, -1, np.int32),
        np.zeros((num_nodes, num_windows), np.float32),
        np.zeros(num_windows, np.float32),
        np.zeros(num_nodes, np.int64),
        np.zeros(num_nodes, np.bool_),
        np.zeros(num_inputs, np.float32),
        np.zeros(num_units, np.float32),
        is_leaf,
    )


@numba.njit(fastmath=False, cache=True, nogil=True)
def note_columns(columns: Ints, matches: SampleMatches) -> None:
    """Note which descendants the nodes chosen are, in the order chosen."""
    place_of_column = matches.place_of_column
    place_of_column[:] = -1
    for place in range(len(columns)):
        place_of_column[columns[place]] = place


@numba.njit(fastmath=False, cache=True, nogil=True)
def _list_told(sample: int, told: ChunkTold, factors: Floats, out: tuple[Ints, Ints]) -> int:
    """List what a sample is told of, and the window of each, and fill in the windows' factors; returns how much it is."""
    ((offsets, items, windows, term_factors), near, edges), (told_items, told_windows) = told, out
    count, near_window = 0, len(factors) - len(edges) + 1
    for k in range(offsets[sample], offsets[sample + 1]):
        told_items[count], told_windows[count] = items[k], windows[k]
        factors[windows[k]] = term_factors[k]
        count += 1
    for window in range(len(edges) - 1):
        k = edges[window]
        while k < edges[window + 1] and near[sample, k] >= 0:
            told_items[count], told_windows[count] = near[sample, k], near_window + window
            count, k = count + 1, k + 1
        factors[near_window + window] = factor_of(k - edges[window])
    return count


@numba.njit(fastmath=False, cache=True, nogil=True)
def find_sample_matches(sample: int, positions: tuple[int, int, int], matches: SampleMatches) -> int:
    """Count what a sample is told of under the nodes chosen; returns how many nodes are touched.

    ``positions``: of the first of the segment's descendants, and of the one node more, -1 if there is none, and its place among those
    chosen. All arrays are named once: taken out of a tuple in a loop, each costs an atomic count of who holds it.
    """
    told, told_items, told_windows, position_of_item, place_of_column, counts, factors, touched, is_touched, _, _, _ = matches
    (leftmost, own, own_place), count = positions, 0
    if len(position_of_item) == 0:
        return 0
    for k in range(_list_told(sample, told, factors, (told_items, told_windows))):
        position, window = position_of_item[told_items[k]], told_windows[k]
        column = position - leftmost
        for place in (place_of_column[column] if 0 <= column < len(place_of_column) else -1, own_place if position == own else -1):
            if place >= 0:
                if not is_touched[place]:
                    is_touched[place], touched[count] = True, place
                    count += 1
                counts[place, window] += 1
    return count


@numba.njit(fastmath=False, cache=True, nogil=True)
def activate_sample_matches(
    halves: tuple[Floats, Floats], rows: Ints, head: Any, found: tuple[SampleMatches, int], out: Any, place: tuple[int, int, int, int]
) -> None:
    """Activate those nodes of one sample anew that are touched; ``found``: the matches and how many nodes.

    The rest is as for :func:`jtm_core.first_layer.activate_sample`.
    """
    (matches, count), (sample, row, low, num_nodes) = found, place
    _, _, _, _, _, counts, factors, touched, _, inputs, lift, is_leaf = matches
    (users, nodes), weights, parameters = halves, head.match_1, (head.slope_1, head.product_1, lift)
    for k in range(count):
        node = touched[k]
        if low <= node < low + num_nodes:
            fill_inputs(counts[node], factors, is_leaf, inputs)
            make_lift(inputs, weights, lift)
            activate_lifted_row(users, nodes, parameters, out, (sample, rows[node], row + node - low))


@numba.njit(fastmath=False, cache=True, nogil=True)
def forget_sample(matches: SampleMatches, count: int) -> None:
    """Clear the counts of the nodes touched."""
    _, _, _, _, _, counts, _, touched, is_touched, _, _, _ = matches
    for k in range(count):
        counts[touched[k]] = 0
        is_touched[touched[k]] = False

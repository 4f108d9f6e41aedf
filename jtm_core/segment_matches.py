"""Matches of the samples of tree learning with the nodes they are scored with: :mod:`jtm_core.window_matches` in a walk over samples.

A node has a *position* on its level, counted from the left, and so has every behaviour: on inner levels that of its item's ancestor in
the old tree, on the leaf level that of its item's leaf in the current one, as there a node is its item.

Shape letters: C nodes chosen, T behaviours of a sample, W windows, H units of the first layer.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.first_layer import activate_lifted_row
from jtm_core.segment_users import Positions, Terms
from jtm_core.window_matches import fill_inputs, make_lift

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

NO_POSITIONS = np.zeros(0, np.int32)
"""Of items on a level whose nodes no behaviour can match."""


class SampleMatches(NamedTuple):
    """What the matches of one sample after the other are found with, and those of the one at hand."""

    terms: Terms
    position_of_item: Positions
    """(num_items,), or none if nothing matches on the level."""
    counts: Floats
    """(C or more, W): behaviours under each node chosen; 0 but for the nodes touched."""
    factors: Floats
    """(W,): :func:`jtm_core.window_matches.factor_of` each window."""
    touched: Ints
    """(C or more,): places of the nodes that match."""
    inputs: Floats
    """(2 * W,): of the pair at hand."""
    lift: Floats
    is_leaf: bool


@numba.njit(fastmath=False, cache=True, nogil=True)
def sample_matches(terms: Terms, nodes: tuple[Positions, bool], num_nodes: int, weights: Floats) -> SampleMatches:
    """Scratch memory for samples scored with at most ``num_nodes``.

    ``nodes`` are the positions of items and whether the nodes are leaves; ``weights`` (2 * W, H) the match layer's, perhaps none.
    """
    (position_of_item, is_leaf), (num_inputs, num_units) = nodes, weights.shape
    num_windows = num_inputs // 2
    return SampleMatches(
        terms,
        position_of_item if num_inputs else position_of_item[:0],
        np.zeros((num_nodes, num_windows), np.float32),
        np.zeros(num_windows, np.float32),
        np.zeros(num_nodes, np.int64),
        np.zeros(num_inputs, np.float32),
        np.zeros(num_units, np.float32),
        is_leaf,
    )


@numba.njit(fastmath=False, cache=True, nogil=True, inline="always")
def _touch(place: int, window: int, matches: SampleMatches, count: int) -> int:
    """Count a behaviour under a node; returns how many nodes are touched."""
    for k in range(count):
        if matches.touched[k] == place:
            matches.counts[place, window] += 1
            return count
    matches.touched[count] = place
    matches.counts[place, window] += 1
    return count + 1


@numba.njit(fastmath=False, cache=True, nogil=True, inline="always")
def find_sample_matches(sample: int, positions: Ints, num_ordered: int, matches: SampleMatches) -> int:
    """Count a sample's behaviours under the nodes chosen; returns how many nodes are touched.

    ``positions`` (C,) are the nodes'; the first ``num_ordered`` of them ascend, and one more may stand behind.
    """
    offsets, items, windows, factors, _ = matches.terms
    position_of_item, count, last = matches.position_of_item, 0, num_ordered - 1
    if len(position_of_item) == 0:
        return 0
    for k in range(offsets[sample], offsets[sample + 1]):
        position = position_of_item[items[k]]
        matches.factors[windows[k]] = factors[k]
        if last >= 0 and positions[0] <= position <= positions[last]:
            place = np.searchsorted(positions[:num_ordered], position)
            if positions[place] == position:
                count = _touch(place, windows[k], matches, count)
        if len(positions) > num_ordered and position == positions[num_ordered]:
            count = _touch(num_ordered, windows[k], matches, count)
    return count


@numba.njit(fastmath=False, cache=True, nogil=True, inline="always")
def activate_sample_matches(
    halves: tuple[Floats, Floats], rows: Ints, head: Any, found: tuple[SampleMatches, int], out: Any, place: tuple[int, int, int, int]
) -> None:
    """Activate those nodes of one sample anew that are touched; ``found``: the matches and how many nodes.

    The rest is as for :func:`jtm_core.first_layer.activate_sample`.
    """
    (matches, count), (sample, row, low, num_nodes) = found, place
    for k in range(count):
        node = matches.touched[k]
        if low <= node < low + num_nodes:
            fill_inputs(matches.counts[node], matches.factors, matches.is_leaf, matches.inputs)
            make_lift(matches.inputs, head.match_1, matches.lift)
            parameters = head.slope_1, head.product_1, matches.lift
            activate_lifted_row(halves[0], halves[1], parameters, out, (sample, rows[node], row + node - low))


@numba.njit(fastmath=False, cache=True, nogil=True, inline="always")
def forget_sample(matches: SampleMatches, count: int) -> None:
    """Clear the counts of the nodes touched."""
    for k in range(count):
        matches.counts[matches.touched[k]] = 0

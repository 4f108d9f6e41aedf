"""What a model keeps when its tree changes.

Item vectors belong to items and need nothing. Inner-node vectors belong to positions, and right after a change they do
not fit the items now under them. Setting each inner node to the mean, over the items now under it, of the vectors of
*their old ancestors on that level* keeps recall where it was (our finding; the paper is silent). Items count by their behaviours:
what a node is asked about are those, and most items of a whole catalogue have hardly any.
"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from jtm_core.codes import ancestors_up, first_code
from jtm_core.model import JtmNetwork
from jtm_core.neighbours import Neighbours
from jtm_core.segment_levels import carried_level, moved_items
from jtm_core.threads import run_chunks
from jtm_core.tree import TreeIndex

Floats = NDArray[np.float32]


def carry_inner_vectors(network: JtmNetwork, old: TreeIndex, new: TreeIndex, weights: NDArray[np.float64]) -> JtmNetwork:
    """Fit the inner-node vectors to a new tree over the same items.

    Parameters
    ----------
    network : JtmNetwork
        Trained on ``old``; not changed.
    old, new : TreeIndex
        Of the same items and height.
    weights : float64 array (num_items,)
        How much each item counts, above 0: see :func:`jtm_core.behaviours.item_weights`.

    Returns
    -------
    JtmNetwork
        A copy. Nodes with the same items under them as before keep their vectors exactly up to rounding; nodes without
        items keep theirs.
    """
    source = network.vectors.detach().cpu().numpy()
    vectors, moved = source.copy(), moved_items(old, new, weights)

    def carry(level: int) -> None:
        vectors[first_code(level) : first_code(level + 1)] = carried_level(source, moved, level)

    run_chunks(carry, new.height)
    return _with_vectors(network, vectors, network.num_items, network.height)


def extend_network(network: JtmNetwork, old: TreeIndex, new: TreeIndex, neighbours: Neighbours | None = None) -> JtmNetwork:
    """Fit a model to a tree that grew: old items keep their leaves, or the leftmost leaf below where those were.

    Parameters
    ----------
    network : JtmNetwork
        Trained on ``old``; not changed.
    old, new : TreeIndex
        ``new`` holds at least the items of ``old``, ids unchanged, and is at least as high.
    neighbours : Neighbours, optional
        Of the items of ``new``, for a network that reads them.

    Returns
    -------
    JtmNetwork
        Old leaves that became inner nodes take their item's vector; nodes and items that are new take the vector of the
        nearest ancestor that is not.

    Raises
    ------
    ValueError
        If ``new`` has fewer items or is lower than ``old``, or the network reads neighbours and none are given.
    """
    if new.num_items < old.num_items or new.height < old.height:
        raise ValueError(
            f"the new tree has {new.num_items} items and height {new.height}; it must not be smaller than "
            f"the old one's {old.num_items} and {old.height}"
        )
    if neighbours is None and network.neighbours is not None:
        raise ValueError("the network reads neighbours, and those of the new tree's items were not given")
    source = network.vectors.detach().cpu().numpy()
    old_items = source[first_code(old.height) :]
    num_inner = first_code(new.height)
    vectors = np.empty((num_inner + new.num_items, source.shape[1]), dtype=np.float32)
    for level in range(new.height):
        first = first_code(level)
        level_vectors = vectors[first : 2 * first + 1]
        level_vectors[:] = np.repeat(vectors[(first - 1) // 2 : first], 2, axis=0) if level else 0
        if level < old.height:
            nodes = old.used_nodes(level)
            vectors[nodes] = source[nodes]
        else:
            vectors[ancestors_up(new.leaf_of_item[: old.num_items], new.height - level)] = old_items
    vectors[num_inner : num_inner + old.num_items] = old_items
    vectors[num_inner + old.num_items :] = vectors[ancestors_up(new.leaf_of_item[old.num_items :], 1)]
    extended = _with_vectors(network, vectors, new.num_items, new.height)
    extended.neighbours = neighbours
    return extended


def _with_vectors(network: JtmNetwork, vectors: Floats, num_items: int, height: int) -> JtmNetwork:
    """A copy of the network with another table; the old table, most of a network, is not copied."""
    table = nn.Parameter(torch.from_numpy(vectors).to(network.vectors.device))
    changed = copy.deepcopy(network, {id(network.vectors): table})
    changed.num_items, changed.height = num_items, height
    return changed

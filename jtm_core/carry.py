"""What a model keeps when its tree changes.

Item vectors belong to items and need nothing. Inner-node vectors belong to positions, and right after a change they do
not fit the items now under them. Setting each inner node to the mean, over the items now under it, of the vectors of
*their old ancestors on that level* keeps recall where it was (our finding; the paper is silent).
"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn

from jtm_core.codes import ancestors_up, first_code
from jtm_core.model import JtmNetwork
from jtm_core.tree import TreeIndex

Floats = NDArray[np.float32]


def carry_inner_vectors(network: JtmNetwork, old: TreeIndex, new: TreeIndex) -> JtmNetwork:
    """Fit the inner-node vectors to a new tree over the same items.

    Parameters
    ----------
    network : JtmNetwork
        Trained on ``old``; not changed.
    old, new : TreeIndex
        Of the same items and height.

    Returns
    -------
    JtmNetwork
        A copy. Nodes with the same items under them as before keep their vectors exactly up to rounding; nodes without
        items keep theirs.
    """
    vectors = network.vectors.detach().cpu().numpy().copy()
    for level in range(new.height):
        first, size = first_code(level), 1 << level
        to_node, from_node = new.ancestors(level) - first, old.ancestors(level) - first
        mixing = sparse.csr_matrix((np.ones(len(to_node), dtype=np.float32), (to_node, from_node)), shape=(size, size))
        counts = np.bincount(to_node, minlength=size)
        means = (mixing @ vectors[first : first + size]) / np.maximum(counts, 1)[:, None]
        vectors[first : first + size] = np.where(counts[:, None] > 0, means, vectors[first : first + size])
    return _with_vectors(network, vectors, network.num_items, network.height)


def extend_network(network: JtmNetwork, old: TreeIndex, new: TreeIndex) -> JtmNetwork:
    """Fit a model to a tree that grew: old items keep their leaves, or the leftmost leaf below where those were.

    Parameters
    ----------
    network : JtmNetwork
        Trained on ``old``; not changed.
    old, new : TreeIndex
        ``new`` holds at least the items of ``old``, ids unchanged, and is at least as high.

    Returns
    -------
    JtmNetwork
        Old leaves that became inner nodes take their item's vector; nodes and items that are new take the vector of the
        nearest ancestor that is not.

    Raises
    ------
    ValueError
        If ``new`` has fewer items or is lower than ``old``.
    """
    if new.num_items < old.num_items or new.height < old.height:
        raise ValueError(
            f"the new tree has {new.num_items} items and height {new.height}; it must not be smaller than "
            f"the old one's {old.num_items} and {old.height}"
        )
    source = network.vectors.detach().cpu().numpy()
    old_items = source[first_code(old.height) :]
    known = np.zeros((first_code(new.height + 1), source.shape[1]), dtype=np.float32)
    is_known = np.zeros(len(known), dtype=np.bool_)
    for level in range(old.height):
        nodes = old.used_nodes(level)
        known[nodes], is_known[nodes] = source[nodes], True
    for level in range(old.height, new.height + 1):
        nodes = ancestors_up(new.leaf_of_item[: old.num_items], new.height - level)
        known[nodes], is_known[nodes] = old_items, True
    for level in range(1, new.height + 1):
        nodes = np.arange(first_code(level), first_code(level + 1))
        missing = nodes[~is_known[nodes]]
        known[missing] = known[ancestors_up(missing, 1)]
    vectors = np.concatenate([known[: first_code(new.height)], known[new.leaf_of_item]])
    return _with_vectors(network, vectors, new.num_items, new.height)


def _with_vectors(network: JtmNetwork, vectors: Floats, num_items: int, height: int) -> JtmNetwork:
    """A copy of the network with another table."""
    changed = copy.deepcopy(network)
    changed.vectors = nn.Parameter(torch.from_numpy(vectors).to(network.vectors.device))
    changed.num_items, changed.height = num_items, height
    return changed

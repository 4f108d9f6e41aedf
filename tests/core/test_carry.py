"""What a model keeps when its tree changes or grows."""

import dataclasses

import numpy as np
import pytest
import torch
from small_worlds import NEAR, SMALL_MODEL, small_world

from jtm_core.behaviours import Ragged
from jtm_core.carry import carry_inner_vectors, extend_network
from jtm_core.experiment import counted_neighbours
from jtm_core.first_tree import extend_tree
from jtm_core.model import make_network
from jtm_core.tree import TreeIndex, tree_from_order


def test_an_unchanged_tree_changes_no_vector() -> None:
    world = small_world()
    carried = carry_inner_vectors(world.network, world.tree, world.tree, world.weights)
    torch.testing.assert_close(carried.vectors, world.network.vectors, rtol=1e-5, atol=1e-6)


def test_the_given_network_is_left_alone_and_shares_nothing_with_the_copy() -> None:
    world = small_world()
    before = {name: tensor.clone() for name, tensor in world.network.state_dict().items()}
    carried = carry_inner_vectors(world.network, world.tree, tree_from_order(np.arange(21), world.tree.height), world.weights)
    assert (carried.num_items, carried.height) == (world.network.num_items, world.network.height)
    assert list(dict(carried.named_parameters())) == list(dict(world.network.named_parameters()))
    with torch.no_grad():
        for parameter in carried.parameters():
            parameter.add_(1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in world.network.state_dict().items())


def test_swapping_siblings_swaps_their_vectors_all_the_way_down() -> None:
    world = small_world(num_items=16)
    leaves = world.tree.leaf_of_item - 15
    swapped = TreeIndex((leaves ^ 8) + 15, 4)
    old, new = world.network.vectors, carry_inner_vectors(world.network, world.tree, swapped, world.weights).vectors
    torch.testing.assert_close(new[1:3], old[[2, 1]])
    torch.testing.assert_close(new[3:7], old[[5, 6, 3, 4]])
    assert torch.equal(new[15:], old[15:])


def test_every_node_becomes_the_mean_of_its_items_old_ancestors_by_their_behaviours() -> None:
    world = small_world(num_items=21)
    new = tree_from_order(np.random.default_rng(9).permutation(21), world.tree.height)
    carried = carry_inner_vectors(world.network, world.tree, new, world.weights).vectors.detach()
    for level in range(new.height):
        for node in new.used_nodes(level):
            items = np.flatnonzero(new.ancestors(level) == node)
            rows = world.network.vectors.detach().numpy()[world.tree.ancestors(level)[items]]
            counts = [(world.histories.values == item).sum() + 1 for item in items]
            expected = np.average(rows.astype(np.float64), axis=0, weights=counts)
            np.testing.assert_allclose(carried[int(node)].numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_items", [21, 30, 32, 33, 70])
def test_growing_keeps_items_and_used_nodes(num_items: int) -> None:
    world = small_world(num_items=21)
    grown_tree = extend_tree(world.tree, num_items, np.zeros(num_items, dtype=np.int64))
    grown = extend_network(world.network, world.tree, grown_tree)
    old, new = world.network.vectors.detach(), grown.vectors.detach()
    old_first, new_first = (1 << world.tree.height) - 1, (1 << grown_tree.height) - 1
    assert torch.equal(new[new_first : new_first + 21], old[old_first:])
    for level in range(world.tree.height):
        nodes = torch.from_numpy(world.tree.used_nodes(level))
        assert torch.equal(new[nodes], old[nodes])
    for level in range(world.tree.height, grown_tree.height):
        assert torch.equal(new[torch.from_numpy(grown_tree.ancestors(level)[:21])], old[old_first:])
    assert len(new) == new_first + num_items
    for item in range(21, num_items):
        assert torch.equal(new[new_first + item], new[int(grown_tree.ancestors(grown_tree.height - 1)[item])])
    is_used = np.isin(np.arange(new_first), np.concatenate([grown_tree.used_nodes(level) for level in range(grown_tree.height)]))
    for node in np.flatnonzero(~is_used):
        assert torch.equal(new[int(node)], new[(int(node) - 1) // 2])


def test_a_grown_network_reads_the_neighbours_of_all_its_items() -> None:
    world = small_world(num_items=21, config=dataclasses.replace(SMALL_MODEL, **NEAR))
    tree = extend_tree(world.tree, 23, np.zeros(23, dtype=np.int64))
    histories = Ragged(np.append(world.histories.values, [22, 0]), np.append(world.histories.offsets, len(world.histories.values) + 2))
    counted = counted_neighbours(lambda: histories, 23, world.network.config)
    grown = extend_network(world.network, world.tree, tree, counted)
    assert grown.neighbours is counted
    assert grown.reading.near(np.array([22]), np.array([0]), np.array([1]))[0, 0] == 0
    assert world.network.neighbours is not counted
    with pytest.raises(ValueError, match="reads neighbours, and those of the new tree's items were not given"):
        extend_network(world.network, world.tree, tree)


def test_a_node_that_nothing_hung_under_takes_its_parents_vector() -> None:
    """What its own row holds nobody ever trained."""
    old, new = TreeIndex(np.array([3, 4]), 2), TreeIndex(np.array([3, 4, 5]), 2)
    network = make_network(SMALL_MODEL, 2, 2, np.random.default_rng(1))
    grown = extend_network(network, old, new).vectors
    assert torch.equal(grown[:2], network.vectors[:2])
    assert torch.equal(grown[2], network.vectors[0])
    assert torch.equal(grown[5], network.vectors[0])


def test_a_shrinking_tree_is_refused() -> None:
    world = small_world(num_items=21)
    with pytest.raises(ValueError, match="20 items"):
        extend_network(world.network, world.tree, tree_from_order(np.arange(20), world.tree.height))
    with pytest.raises(ValueError, match=f"height {world.tree.height}; it must not be smaller"):
        extend_network(world.network, tree_from_order(np.arange(21), world.tree.height + 1), world.tree)

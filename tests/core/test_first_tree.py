"""First trees: permutations, categories side by side; trees that grow keep what they had."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from jtm_core.behaviours import training_histories
from jtm_core.codes import height_for
from jtm_core.config import FirstTreeConfig, JtmConfig, SplitConfig
from jtm_core.experiment import planted_tree, planting_method
from jtm_core.first_tree import extend_tree, order_by_category, random_order
from jtm_core.seeding import generator
from jtm_core.splitting import split_users
from jtm_core.synthetic import planted_world
from jtm_core.tree import tree_from_order


def is_permutation(order: NDArray[np.int64]) -> bool:
    return sorted(order.tolist()) == list(range(len(order)))


def test_random_order_is_a_permutation_that_depends_on_the_seed_only() -> None:
    orders = [random_order(50, generator(seed, "plant")) for seed in (1, 1, 2)]
    assert all(is_permutation(order) for order in orders)
    assert orders[0].tolist() == orders[1].tolist() != orders[2].tolist()


@settings(max_examples=30)
@given(st.lists(st.integers(-1, 5), min_size=1, max_size=40))
def test_categories_stand_side_by_side(categories: list[int]) -> None:
    order = order_by_category(np.array(categories), generator(1, "plant"))
    assert is_permutation(order)
    in_order = np.array(categories)[order]
    assert 1 + np.count_nonzero(np.diff(in_order)) == len(set(categories))


def test_items_within_a_category_are_shuffled() -> None:
    order = order_by_category(np.zeros(100, dtype=np.int64), generator(1, "plant"))
    assert (np.diff(order) > 0).mean() < 0.8


@settings(max_examples=50)
@given(st.integers(1, 12), st.integers(0, 30), st.integers(0, 2), st.data())
def test_growing_moves_no_old_item(num_old: int, num_new: int, spare: int, data: st.DataObject) -> None:
    tree = tree_from_order(np.random.default_rng(num_old).permutation(num_old), height_for(num_old) + spare)
    categories = np.array([data.draw(st.integers(-1, 4)) for _ in range(num_old + num_new)])
    grown = extend_tree(tree, num_old + num_new, categories)
    assert grown.num_items == num_old + num_new
    assert grown.height == max(tree.height, height_for(num_old + num_new))
    for level in range(tree.height + 1):
        assert grown.ancestors(level)[:num_old].tolist() == tree.ancestors(level).tolist()


def test_new_items_go_beside_their_category() -> None:
    tree = tree_from_order(np.arange(8), 3)
    categories = np.array([0, 0, 1, 1, 2, 2, 3, 3, 3, 0, 2])
    grown = extend_tree(tree, 11, categories)
    assert grown.height == 4
    parents = grown.ancestors(3)
    assert parents[8] in parents[[6, 7]]
    assert parents[9] in parents[[0, 1]]
    assert parents[10] in parents[[4, 5]]


def test_trees_do_not_shrink() -> None:
    tree = tree_from_order(np.arange(4), 2)
    with pytest.raises(ValueError, match="3 items, 3 categories for a tree of 4"):
        extend_tree(tree, 3, np.zeros(3, dtype=np.int64))
    with pytest.raises(ValueError, match="5 items, 4 categories"):
        extend_tree(tree, 5, np.zeros(4, dtype=np.int64))


@pytest.mark.parametrize("categories", [[-1], [7]])
def test_a_log_without_categories_is_planted_by_two_means(categories: list[int]) -> None:
    behaviours = planted_world(generator(1, "world"), num_users=120, num_items=64).behaviours
    split = split_users(behaviours, SplitConfig(num_validation_users=10, num_test_users=10), 1)
    histories = training_histories(behaviours, split)
    one = np.array(categories * behaviours.num_items)

    def leaves(method: str, own: NDArray[np.int64]) -> list[int]:
        config = JtmConfig(first_tree=FirstTreeConfig(method=method))
        return planted_tree(own, lambda: histories, config).leaf_of_item.tolist()

    assert leaves("category", one) == leaves("two_means", one) != leaves("random", one)
    assert leaves("category", np.arange(behaviours.num_items) % 4) != leaves("two_means", one)


@pytest.mark.parametrize(
    ("categories", "method"),
    [([-1, -1, -1, 4, 3], "two_means"), ([-1, -1, 4, 3], "category"), ([-1, 3, 3, 3], "two_means"), ([4, 3, 3], "category")],
)
def test_planting_is_by_category_where_half_of_the_items_have_one_and_these_differ(categories: list[int], method: str) -> None:
    assert planting_method(np.array(categories), JtmConfig()) == method
    assert planting_method(np.array(categories), JtmConfig(first_tree=FirstTreeConfig(method="random"))) == "random"

"""First trees: permutations, planted clusters found again, equal halves; trees that grow keep what they had."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from jtm_core.behaviours import Ragged
from jtm_core.codes import height_for
from jtm_core.first_tree import cooccurrence_vectors, extend_tree, order_by_category, random_order, two_means_order
from jtm_core.seeding import generator
from jtm_core.tree import TreeIndex, tree_from_order


def planted(order: NDArray[np.int64]) -> TreeIndex:
    return tree_from_order(order, height_for(len(order)))


def is_permutation(order: NDArray[np.int64]) -> bool:
    return sorted(order.tolist()) == list(range(len(order)))


def test_random_order_is_a_permutation_that_depends_on_the_seed_only() -> None:
    orders = [random_order(50, generator(seed, "plant")) for seed in (1, 1, 2)]
    assert all(is_permutation(order) for order in orders)
    assert orders[0].tolist() == orders[1].tolist() != orders[2].tolist()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-1, 5), min_size=1, max_size=40))
def test_categories_stand_side_by_side(categories: list[int]) -> None:
    order = order_by_category(np.array(categories), generator(1, "plant"))
    assert is_permutation(order)
    in_order = np.array(categories)[order]
    assert 1 + np.count_nonzero(np.diff(in_order)) == len(set(categories))


def test_items_within_a_category_are_shuffled() -> None:
    order = order_by_category(np.zeros(100, dtype=np.int64), generator(1, "plant"))
    assert (np.diff(order) > 0).mean() < 0.8


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 70), st.integers(0, 3))
def test_two_means_is_a_permutation_for_every_size(num_items: int, distinct: int) -> None:
    rng = np.random.default_rng(num_items)
    vectors = rng.integers(0, 1 + distinct, (num_items, 3)).astype(np.float32)
    order = two_means_order(vectors, generator(1, "plant"))
    assert is_permutation(order)
    assert order.tolist() == two_means_order(vectors, generator(1, "plant")).tolist()


def test_two_means_finds_planted_clusters() -> None:
    """Eight far apart clusters of 25 items fill the eight subtrees of level 3, and close pairs of clusters those of level 2."""
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.normal(0, 30, (4, 6)), 2, axis=0) + rng.normal(0, 6, (8, 6))
    clusters = rng.permutation(np.repeat(np.arange(8), 25))
    tree = planted(two_means_order((centres[clusters] + rng.normal(0, 0.1, (200, 6))).astype(np.float32), generator(1, "plant")))
    for level, labels in ((3, clusters), (2, clusters // 2)):
        assert len(set(zip(tree.ancestors(level).tolist(), labels.tolist(), strict=True))) == 1 << level


def test_two_means_beats_a_random_order() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 5)).astype(np.float32)

    def within(order: NDArray[np.int64]) -> float:
        nodes = planted(order).ancestors(4)
        return float(sum(((vectors[nodes == node] - vectors[nodes == node].mean(axis=0)) ** 2).sum() for node in np.unique(nodes)))

    assert within(two_means_order(vectors, generator(1, "plant"))) < 0.6 * within(random_order(300, generator(1, "plant")))


def test_two_means_refuses_what_is_not_finite() -> None:
    with pytest.raises(ValueError, match="must be a finite matrix"):
        two_means_order(np.array([[0.0], [np.nan]], dtype=np.float32), generator(1, "plant"))
    with pytest.raises(ValueError, match="at least 1 item"):
        two_means_order(np.empty((0, 3), dtype=np.float32), generator(1, "plant"))


def test_cooccurrence_vectors_bring_together_what_stands_together() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.choice(np.arange(10) + 10 * (user % 3), 8) for user in range(60)]
    histories = Ragged(np.concatenate(rows), np.arange(61) * 8)
    vectors = cooccurrence_vectors(histories, 31, 4, generator(1, "vectors"))
    assert vectors.shape == (31, 4)
    assert vectors.dtype == np.float32
    assert (vectors[30] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(vectors[:30], axis=1), 1, rtol=1e-5)
    cosines = vectors[:30] @ vectors[:30].T
    is_same = np.repeat(np.arange(3), 10)[:, None] == np.repeat(np.arange(3), 10)
    assert cosines[is_same].min() > cosines[~is_same].max()
    assert np.array_equal(vectors, cooccurrence_vectors(histories, 31, 4, generator(1, "vectors")))


def test_cooccurrence_vectors_of_nearly_nothing() -> None:
    assert cooccurrence_vectors(Ragged(np.array([0]), np.array([0, 1])), 2, 3, generator(1, "vectors")).tolist() == [[0, 0, 0]] * 2


@settings(max_examples=50, deadline=None)
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

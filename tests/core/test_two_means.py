"""Balanced 2-means: a slow twin, permutations, planted clusters found again, the same for any number of threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from jtm_core.codes import height_for
from jtm_core.first_tree import random_order
from jtm_core.seeding import generator
from jtm_core.threads import num_threads, set_num_threads
from jtm_core.tree import TreeIndex, tree_from_order
from jtm_core.two_means import _smallest, two_means_order


def planted(order: NDArray[np.int64]) -> TreeIndex:
    return tree_from_order(order, height_for(len(order)))


def is_permutation(order: NDArray[np.int64]) -> bool:
    return sorted(order.tolist()) == list(range(len(order)))


def slow_order(vectors: NDArray[np.float32], rng: np.random.Generator) -> list[int]:
    """Every node of every level by itself, every round a whole sort."""
    num_items, height = len(vectors), height_for(len(vectors))
    nodes = [list(range(num_items))]
    positions = [-(-item * (1 << height) // num_items) for item in range(num_items)]
    for level in range(height):
        width = 1 << (height - level - 1)
        halves: list[list[int]] = []
        first = 0
        lines = rng.standard_normal((sum(1 for node in nodes if node), vectors.shape[1]))
        for line, (number, node) in zip(lines, [pair for pair in enumerate(nodes) if pair[1]], strict=True):
            middle = (2 * number + 1) * width
            num_left = sum(position < middle for position in positions[first : first + len(node)])
            left, right = slow_halves(node, num_left, vectors, line)
            halves += [[]] * (2 * number - len(halves)) + [left, right]
            first += len(node)
        nodes = halves
    return [item for node in nodes for item in node]


def slow_halves(node: list[int], num_left: int, vectors: NDArray[np.float32], line: NDArray[np.float64]) -> tuple[list[int], list[int]]:
    if not 0 < num_left < len(node):
        return (node, []) if num_left else ([], node)
    left: list[int] = node
    for _ in range(12):
        in_order = [node[place] for place in np.argsort(vectors[node].astype(np.float64) @ line, kind="stable")]
        before, left = left, sorted(in_order[:num_left], key=node.index)
        right = [item for item in node if item not in left]
        if left == before:
            break
        line = vectors[right].mean(axis=0, dtype=np.float64) - vectors[left].mean(axis=0, dtype=np.float64)
    return left, right


@pytest.mark.parametrize(("num_items", "width"), [(1, 2), (2, 1), (3, 2), (7, 3), (33, 4), (100, 5), (257, 3)])
def test_two_means_equals_its_slow_twin(num_items: int, width: int) -> None:
    vectors = np.random.default_rng(num_items).normal(size=(num_items, width)).astype(np.float32)
    assert two_means_order(vectors, generator(1, "plant")).tolist() == slow_order(vectors, generator(1, "plant"))


def test_items_with_equal_vectors_keep_their_order() -> None:
    vectors = np.zeros((3000, 4), dtype=np.float32)
    assert two_means_order(vectors, generator(1, "plant")).tolist() == list(range(3000))


def test_two_means_is_the_same_for_any_number_of_threads() -> None:
    vectors = np.random.default_rng(0).normal(size=(5000, 6)).astype(np.float32)
    before, orders = num_threads(), []
    try:
        for number in (1, 2, 5):
            set_num_threads(number)
            orders.append(two_means_order(vectors, generator(1, "plant")).tolist())
    finally:
        set_num_threads(before)
    assert orders[0] == orders[1] == orders[2]


@settings(max_examples=100)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.data())
def test_selection_finds_what_sorting_would(values: list[int], data: st.DataObject) -> None:
    rank = data.draw(st.integers(0, len(values) - 1))
    assert _smallest(np.array(values, dtype=np.float64), rank) == sorted(values)[rank]


@settings(max_examples=20)
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

"""Code arithmetic against drawn trees, loops and its own laws; generators."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core.codes import ancestors_up, children_of, first_code, height_for
from jtm_core.seeding import generator

codes = st.integers(0, 2**41 - 2)


def slow_path(code: int) -> list[int]:
    """Codes from a node to the root."""
    path = [code]
    while path[-1]:
        path.append((path[-1] - 1) // 2)
    return path


def test_known_codes() -> None:
    assert [first_code(level) for level in range(4)] == [0, 1, 3, 7]
    assert children_of(np.array([0, 2])).tolist() == [[1, 2], [5, 6]]
    assert children_of(np.array(3)).tolist() == [7, 8]
    assert ancestors_up(np.array([7, 10, 14]), 2).tolist() == [1, 1, 2]
    assert [height_for(number) for number in (1, 2, 3, 4, 5, 2**20, 2**20 + 1)] == [1, 1, 2, 2, 3, 20, 21]


@settings(max_examples=100)
@given(codes)
def test_ancestors_equal_the_walk_to_the_root(code: int) -> None:
    for above, expected in enumerate(slow_path(code)):
        assert ancestors_up(np.array([code]), above).tolist() == [expected]


@settings(max_examples=100)
@given(st.integers(0, 2**40 - 2))
def test_children_know_their_parent(code: int) -> None:
    children = children_of(np.array([code]))
    assert ancestors_up(children, 1).tolist() == [[code, code]]
    assert children[0, 1] == children[0, 0] + 1


def test_inputs_of_any_shape_are_lifted_and_left_alone() -> None:
    given_codes = np.array([[7, 9], [11, 14]])
    assert ancestors_up(given_codes, 2).tolist() == [[1, 1], [2, 2]]
    assert given_codes.tolist() == [[7, 9], [11, 14]]
    assert ancestors_up(np.empty(0, dtype=np.int64), 3).tolist() == []


def test_errors() -> None:
    with pytest.raises(ValueError, match="at least 1 item, got 0"):
        height_for(0)


def test_generators_depend_on_seed_purpose_and_counters_only() -> None:
    def draw(*words: object) -> list[int]:
        return generator(*words).integers(0, 1 << 60, 3).tolist()  # type: ignore[arg-type]

    draw(1, "anything")
    keys: list[tuple[object, ...]] = [(1, "a"), (2, "a"), (1, "b"), (1, "a", 0), (1, "a", 1), (1, "a", 1, 0), (1, "a", 10)]
    drawn = [draw(*key) for key in keys]
    assert len({tuple(numbers) for numbers in drawn}) == len(keys)
    assert [draw(*key) for key in reversed(keys)] == drawn[::-1]


def test_generators_are_the_same_on_every_machine() -> None:
    """Digests of stored artefacts rest on these numbers; a change here breaks the resumption of older runs."""
    assert generator(7, "split", 1).integers(0, 1000, 4).tolist() == [626, 779, 150, 978]

"""Assignments: exhaustive and textbook oracles, the published weakness of the greedy order, feasibility always."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from jtm_core.assignment import assign_children, assign_many, assigned_weight, gap_to_optimum

METHODS = ("greedy", "regret", "exact")
UNSEEN = -1e12


def power_law_problem(seed: int, num_items: int, num_children: int) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Weights of items whose sample counts follow a power law; capacities that fit exactly; a random old assignment."""
    rng = np.random.default_rng(seed)
    samples = np.minimum((rng.pareto(1.0, num_items) + 1) * 2, 1e4)
    weights = -samples[:, None] * rng.gamma(2, 1, (num_items, num_children))
    capacities = np.full(num_children, num_items // num_children)
    capacities[: num_items - capacities.sum()] += 1
    return weights, capacities, rng.permutation(np.repeat(np.arange(num_children), capacities))


def exhaustive_optimum(weights: NDArray[np.float64], capacities: NDArray[np.int64]) -> float:
    """Largest weight over every feasible assignment."""
    num_items, num_children = weights.shape
    best = -np.inf
    for children in product(range(num_children), repeat=num_items):
        if (np.bincount(children, minlength=num_children) <= capacities).all():
            best = max(best, sum(weights[item, child] for item, child in enumerate(children)))
    return best


def textbook_optimum(weights: NDArray[np.float64], capacities: NDArray[np.int64]) -> float:
    """The transportation problem as an assignment problem with every child's column repeated."""
    columns = np.repeat(np.arange(len(capacities)), capacities)
    rows, chosen = linear_sum_assignment(weights[:, columns], maximize=True)
    return float(weights[rows, columns[chosen]].sum())


def slow_greedy(weights: NDArray[np.float64], capacities: NDArray[np.int64], old: NDArray[np.int64]) -> list[int]:
    """The ports' rebalance with plain lists."""
    num_items, num_children = weights.shape
    still_open = [child for child in range(num_children) if capacities[child] > 0]

    def best(item: int) -> int:
        return max(still_open, key=lambda child: (weights[item, child], child == old[item], -child))

    children = [best(item) for item in range(num_items)]
    while True:
        surpluses = {child: children.count(child) - capacities[child] for child in still_open}
        if not surpluses or max(surpluses.values()) <= 0:
            return children
        overfull = max(still_open, key=lambda child: (surpluses[child], -child))
        still_open.remove(overfull)
        members = [item for item in range(num_items) if children[item] == overfull]
        members.sort(key=lambda item: (old[item] != overfull, -weights[item, overfull], item))
        for item in members[capacities[overfull] :]:
            children[item] = best(item)


@st.composite
def small_problems(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    num_items, num_children = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    integral = st.lists(st.integers(-4, 0), min_size=num_items * num_children, max_size=num_items * num_children)
    weights = np.array(draw(integral), dtype=np.float64).reshape(num_items, num_children)
    if draw(st.booleans()):
        weights[draw(st.integers(0, num_items - 1))] = UNSEEN
    capacities = np.array(draw(st.lists(st.integers(0, 4), min_size=num_children, max_size=num_children)))
    capacities[draw(st.integers(0, num_children - 1))] += max(0, num_items - capacities.sum())
    old = np.array(draw(st.lists(st.integers(-1, num_children - 1), min_size=num_items, max_size=num_items)))
    return weights, capacities, old


@settings(max_examples=80)
@given(small_problems(), st.sampled_from(METHODS))
def test_feasible_and_never_above_the_exhaustive_optimum(
    problem: tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]], method: str
) -> None:
    weights, capacities, old = problem
    children = assign_children(weights, capacities, old, method)  # type: ignore[arg-type]
    assert (np.bincount(children, minlength=len(capacities)) <= capacities).all()
    optimum, achieved = exhaustive_optimum(weights, capacities), assigned_weight(weights, children)
    assert achieved <= optimum
    if method == "exact":
        assert achieved == optimum


@settings(max_examples=80)
@given(small_problems())
def test_greedy_equals_its_slow_twin(problem: tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]) -> None:
    weights, capacities, old = problem
    assert assign_children(weights, capacities, old, "greedy").tolist() == slow_greedy(weights, capacities, old)


@pytest.mark.parametrize(("num_items", "num_children"), [(256, 16), (300, 7), (129, 128), (500, 2)])
def test_exact_equals_the_textbook(num_items: int, num_children: int) -> None:
    weights, capacities, old = power_law_problem(3, num_items, num_children)
    is_seen = np.arange(num_items) % 9 > 0
    optimum = textbook_optimum(np.where(is_seen[:, None], weights, 0.0), capacities)
    children = assign_children(np.where(is_seen[:, None], weights, UNSEEN), capacities, old, "exact")
    assert assigned_weight(weights[is_seen], children[is_seen]) == pytest.approx(optimum, rel=1e-10)


def test_exact_with_room_to_spare_equals_the_textbook() -> None:
    weights, capacities, old = power_law_problem(5, 200, 8)
    capacities = capacities * 2 - np.arange(8)
    assert assigned_weight(weights, assign_children(weights, capacities, old, "exact")) == pytest.approx(
        textbook_optimum(weights, capacities), rel=1e-12
    )


def test_regret_stays_near_the_optimum_on_a_power_law() -> None:
    gaps = []
    for seed in range(20):
        weights, capacities, old = power_law_problem(seed, 256, 16)
        gaps.append(gap_to_optimum(weights, capacities, assign_children(weights, capacities, old, "regret")))
    assert max(gaps) < 0.005
    assert np.mean(gaps) < 0.0005


def test_greedy_often_ends_below_the_tree_it_started_from() -> None:
    losses = 0
    for seed in range(20):
        weights, capacities, old = power_law_problem(seed, 256, 16)
        blurred = weights * np.random.default_rng(seed).lognormal(0, 0.7, weights.shape)
        old = assign_children(blurred, capacities, old, "exact")
        losses += assigned_weight(weights, assign_children(weights, capacities, old, "greedy")) < assigned_weight(weights, old)
        assert assigned_weight(weights, assign_children(weights, capacities, old, "regret")) > assigned_weight(weights, old)
    assert losses >= 5


def test_two_children_are_a_sort_and_ties_keep_their_place() -> None:
    weights = np.array([[0.0, 0.0], [0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    for method in ("regret", "exact"):
        assert assign_children(weights, np.array([2, 2]), np.array([1, 0, 1, 0]), method).tolist() == [1, 0, 0, 1]  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("num_children", [2, 3, 8])
def test_equal_weights_change_nothing(method: str, num_children: int) -> None:
    capacities = np.arange(1, num_children + 1)
    old = np.random.default_rng(0).permutation(np.repeat(np.arange(num_children), capacities))
    assert assign_children(np.full((len(old), num_children), -3.0), capacities, old, method).tolist() == old.tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["regret", "exact"])
def test_unseen_items_never_push_seen_ones_away(method: str) -> None:
    weights, capacities, old = power_law_problem(1, 90, 6)
    unseen = np.arange(90) % 3 == 0
    with_unseen = np.where(unseen[:, None], UNSEEN, weights)
    children = assign_children(with_unseen, capacities, old, method)  # type: ignore[arg-type]
    alone = assign_children(weights[~unseen], capacities, old[~unseen], method)  # type: ignore[arg-type]
    assert assigned_weight(weights[~unseen], children[~unseen]) == pytest.approx(assigned_weight(weights[~unseen], alone), rel=1e-3)
    room = capacities - np.bincount(children[~unseen], minlength=6)
    assert (children[unseen] == old[unseen]).sum() == np.minimum(room, np.bincount(old[unseen], minlength=6)).sum()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_parents_at_once_equal_one_by_one(method: str, dtype: type) -> None:
    problems = [power_law_problem(seed, size, 4) for seed, size in enumerate((30, 0, 7, 61))]
    weights = np.concatenate([problem[0] for problem in problems]).astype(dtype)
    parents = np.repeat(np.arange(4), [30, 0, 7, 61])
    capacities, old = np.stack([problem[1] for problem in problems]), np.concatenate([problem[2] for problem in problems])
    together = assign_many(weights, parents, capacities, old, method)  # type: ignore[arg-type]
    for parent in range(4):
        rows = parents == parent
        alone = assign_children(weights[rows], capacities[parent], old[rows], method)  # type: ignore[arg-type]
        assert together[rows].tolist() == alone.tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"capacities": np.array([[1, 1]])}, "3 items under parent 0; its children hold 2 at most"),
        ({"capacities": np.array([[4, -1]])}, "a capacity is -1; allowed are 0 and more"),
        ({"capacities": np.array([[1, 1, 1]])}, "must have the same number of children"),
        ({"weights": np.array([[0, np.nan], [0, 0], [0, 0]])}, "some weight is not finite"),
        ({"old_children": np.array([0, 2, 0])}, r"old children span 0 .. 2; allowed are -1 .. 1"),
        ({"old_children": np.array([0, 1])}, "2 old children; one each an item"),
        ({"parents": np.array([0, 1, 0])}, "parents must rise within 0 .. 0"),
        ({"method": "best"}, "method is 'best'; allowed are greedy, regret, exact"),
    ],
)
def test_errors_say_what_came_and_what_is_allowed(changes: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "weights": np.zeros((3, 2)),
        "parents": np.zeros(3, dtype=np.int64),
        "capacities": np.array([[2, 2]]),
        "old_children": np.zeros(3, dtype=np.int64),
        "method": "regret",
    }
    with pytest.raises(ValueError, match=message):
        assign_many(**(arguments | changes))  # type: ignore[arg-type]

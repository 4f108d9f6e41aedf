"""Metrics against answers worked out by hand, a slow twin and their own laws."""

from collections import Counter
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core.behaviours import Ragged
from jtm_core.metrics import mean_metrics, metrics_at


def ragged(*rows: list[int]) -> Ragged:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return Ragged(np.array([value for row in rows for value in row], dtype=np.int64), offsets)


def slow_metrics(recommended: list[int], truth_items: list[int], history: list[int], cutoff: int, truth: str) -> dict[str, float]:
    """The definitions, one user at a time."""
    counts = Counter(truth_items) if truth == "multiset" else Counter(set(truth_items))
    places = recommended[:cutoff]
    items = [item for item in places if item >= 0]
    hits, size = sum(counts[item] for item in items), sum(counts.values())
    precision, recall = hits / cutoff, hits / size
    gain = sum(counts[item] / log2(rank + 2) for rank, item in enumerate(places) if item >= 0)
    best = sum(count / log2(rank + 2) for rank, count in enumerate(sorted(counts.values(), reverse=True)[:cutoff]))
    return {
        "precision": precision,
        "recall": recall,
        "f_measure": 2 * precision * recall / (precision + recall) if hits else 0.0,
        "ndcg": gain / best,
        "novelty": sum(item not in history for item in items) / len(items) if items else 0.0,
    }


def test_known_answers_of_both_ways_to_count() -> None:
    recommended, truths, histories = np.array([[4, 9, 1]]), ragged([4, 4, 7]), ragged([9, 9])
    multiset = metrics_at(recommended, truths, histories, [1, 3], "multiset")
    assert multiset["recall_at_1"][0] == pytest.approx(2 / 3)
    assert multiset["precision_at_3"][0] == pytest.approx(2 / 3)
    assert multiset["ndcg_at_3"][0] == pytest.approx(2 / (2 + 1 / log2(3)))
    assert multiset["novelty_at_3"][0] == pytest.approx(2 / 3)
    once = metrics_at(recommended, truths, histories, [3], "set")
    assert once["recall_at_3"][0] == pytest.approx(1 / 2)
    assert once["precision_at_3"][0] == pytest.approx(1 / 3)
    assert once["f_measure_at_3"][0] == pytest.approx(0.4)


def test_places_without_item_are_misses_and_not_novel() -> None:
    metrics = metrics_at(np.array([[-1, 5, -1, -1], [-1, -1, -1, -1]]), ragged([5], [0]), ragged([], []), [4])
    assert metrics["precision_at_4"].tolist() == [0.25, 0.0]
    assert metrics["novelty_at_4"].tolist() == [1.0, 0.0]


def test_mean_of_f_is_not_f_of_the_means() -> None:
    metrics = metrics_at(np.array([[0], [1]]), ragged([0], [2, 3, 4]), ragged([], []), [1])
    assert mean_metrics(metrics)["f_measure_at_1"] == 0.5


def test_a_perfect_list_has_ndcg_one() -> None:
    metrics = metrics_at(np.array([[3, 1, 2, 9]]), ragged([1, 3, 3, 2, 3]), ragged([]), [1, 2, 4])
    assert all(metrics[f"ndcg_at_{cutoff}"][0] == pytest.approx(1.0) for cutoff in (1, 2, 4))


@st.composite
def judged_users(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
    num_users = draw(st.integers(1, 4))
    item = st.integers(0, 9)
    lists = [draw(st.permutations(range(10)))[:5] for _ in range(num_users)]
    lists = [[value if draw(st.integers(0, 5)) else -1 for value in row] for row in lists]
    truths = [draw(st.lists(item, min_size=1, max_size=12)) for _ in range(num_users)]
    return lists, truths, [draw(st.lists(item, max_size=6)) for _ in range(num_users)]


@settings(max_examples=60)
@given(judged_users(), st.sampled_from(["multiset", "set"]))
def test_equals_the_definitions_user_by_user(users: tuple[list[list[int]], list[list[int]], list[list[int]]], truth: str) -> None:
    lists, truths, histories = users
    metrics = metrics_at(np.array(lists), ragged(*truths), ragged(*histories), [1, 3, 5], truth)  # type: ignore[arg-type]
    for user, (row, truth_items, history) in enumerate(zip(lists, truths, histories, strict=True)):
        for cutoff in (1, 3, 5):
            for name, expected in slow_metrics(row, truth_items, history, cutoff, truth).items():
                assert metrics[f"{name}_at_{cutoff}"][user] == pytest.approx(expected), (name, cutoff)


@settings(max_examples=30)
@given(judged_users())
def test_recall_never_falls_with_the_cutoff_and_stays_within_one(users: tuple[list[list[int]], list[list[int]], list[list[int]]]) -> None:
    lists, truths, histories = users
    metrics = metrics_at(np.array(lists), ragged(*truths), ragged(*histories), [1, 2, 5])
    assert (metrics["recall_at_1"] <= metrics["recall_at_2"]).all()
    assert (metrics["recall_at_2"] <= metrics["recall_at_5"]).all()
    assert (metrics["recall_at_5"] <= 1).all()
    assert (metrics["ndcg_at_5"] <= 1 + 1e-12).all()


@pytest.mark.parametrize(
    ("recommended", "truths", "cutoffs", "truth", "message"),
    [
        ([[1, 2]], ragged([1], [2]), [1], "set", "one row a user"),
        ([[1, 2]], ragged([1]), [3], "set", r"cutoffs are \[3\]; allowed are 1 .. 2"),
        ([[1, 2]], ragged([1]), [0], "set", r"cutoffs are \[0\]; allowed are 1 .. 2"),
        ([[1, 2]], ragged([1]), [], "set", "cutoffs are"),
        ([[1, 2]], ragged([]), [1], "set", r"rows \[0\] have no ground truth"),
        ([[2, 2]], ragged([1]), [1], "set", r"rows \[0\] repeat an item"),
        ([[0, 0]], ragged([1]), [1], "set", r"rows \[0\] repeat an item"),
        ([[1, 2]], ragged([1]), [1], "bag", "truth is 'bag'; allowed are"),
    ],
)
def test_errors_say_what_came_and_what_is_allowed(
    recommended: list[list[int]], truths: Ragged, cutoffs: list[int], truth: str, message: str
) -> None:
    histories = ragged(*[[] for _ in recommended])
    with pytest.raises(ValueError, match=message):
        metrics_at(np.array(recommended), truths, histories, cutoffs, truth)  # type: ignore[arg-type]


def test_no_users_is_an_error() -> None:
    with pytest.raises(ValueError, match="no users to judge"):
        metrics_at(np.empty((0, 3), dtype=np.int64), ragged(), ragged(), [1])

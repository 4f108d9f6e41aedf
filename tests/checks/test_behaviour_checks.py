"""Every rule of prepared behaviours: a split that passes and one that breaks exactly it."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from data_checks.behaviour_checks import BehaviourRules, behaviour_subjects, check_behaviours

USERS = BehaviourRules(minimum_user_behaviours=4)
TIME = BehaviourRules(minimum_user_behaviours=4, protocol="time")
GLOBAL_TIME = BehaviourRules(minimum_user_behaviours=4, protocol="global_time")


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


@dataclass(frozen=True)
class Prepared:
    """Five users with 4, 0, 5, 4 and 4 behaviours; user 3 validates, user 4 tests."""

    items: NDArray[np.int64] = field(default_factory=lambda: np.arange(17) % 6)
    offsets: NDArray[np.int64] = field(default_factory=lambda: ints(0, 4, 4, 9, 13, 17))
    times: NDArray[np.int64] = field(default_factory=lambda: ints(1, 2, 3, 4, 5, 5, 6, 7, 8, 0, 1, 2, 3, 9, 9, 9, 9))
    num_items: int = 6
    train_lengths: NDArray[np.int64] = field(default_factory=lambda: ints(4, 0, 5, 0, 0))
    validation: tuple[list[int], list[int], list[int]] = ([3], [2], [2])
    test: tuple[list[int], list[int], list[int]] = ([4], [1], [3])

    def split(self) -> SimpleNamespace:
        parts = {}
        for name in ("validation", "test"):
            users, history, truth = (ints(*values) for values in getattr(self, name))
            parts[name] = SimpleNamespace(users=users, history_lengths=history, truth_lengths=truth)
        return SimpleNamespace(train_lengths=self.train_lengths, **parts)


@pytest.fixture
def check(plain_check: Any) -> Any:
    def checked(prepared: Prepared, rules: BehaviourRules = USERS) -> Any:
        return plain_check("behaviours", behaviour_subjects(prepared, prepared.split(), rules))

    return checked


def broken(report: Any) -> set[str]:
    return {rule.name for rule in report.rules if not rule.is_passed}


def test_sound_behaviours_break_no_rule(check: Any) -> None:
    report = check(Prepared())
    assert broken(report) == set()
    assert report.is_passed
    assert report.rule("times_never_fall").checked_rows == 17


def test_a_sound_split_in_time_breaks_no_rule(check: Any) -> None:
    prepared = Prepared(train_lengths=ints(3, 0, 2, 3, 3), validation=([2], [2], [2]), test=([0, 2, 3, 4], [3, 4, 3, 3], [1, 1, 1, 1]))
    assert broken(check(prepared, TIME)) == set()
    for rules in (USERS, replace(USERS, protocol="users_newest")):
        assert broken(check(prepared, rules)) == {"in_one_split", "held_out_users_teach_nothing"}


def test_by_a_moment_nothing_later_than_what_is_asked_for_has_taught(check: Any) -> None:
    """Up to 3 trains, up to 5 is known to the test, whoever did it."""
    sound = Prepared(train_lengths=ints(3, 0, 0, 4, 0), validation=([0], [3], [1]), test=([2], [2], [3]))
    assert broken(check(sound, GLOBAL_TIME)) == set()
    report = check(replace(sound, train_lengths=ints(3, 0, 0, 4, 1)), GLOBAL_TIME)
    assert broken(report) == {"nothing_later_taught"}
    assert report.rule("nothing_later_taught").violating_rows == 2
    assert report.rule("nothing_later_taught").examples[0]["last_taught_time"] == 9


TABLE_CASES: list[tuple[set[str], dict[str, Any]]] = [
    ({"one_time_per_behaviour"}, {"times": np.arange(16)}),
    ({"offsets_begin_at_0"}, {"offsets": ints(1, 4, 4, 9, 13, 17)}),
    ({"offsets_end_at_last"}, {"offsets": ints(0, 4, 4, 9, 13, 18)}),
    ({"one_train_length_per_user"}, {"train_lengths": ints(4, 0, 5, 0)}),
    ({"evaluation_arrays_fit"}, {"test": ([4], [1, 1], [3])}),
    ({"has_training_users"}, {"train_lengths": ints(0, 0, 0, 0, 0)}),
    ({"has_validation_users"}, {"validation": ([], [], [])}),
    ({"has_test_users"}, {"test": ([], [], [])}),
]


@pytest.mark.parametrize(("names", "change"), TABLE_CASES)
def test_arrays_that_do_not_fit_stop_all_other_rules(check: Any, names: set[str], change: dict[str, Any]) -> None:
    report = check(replace(Prepared(), **change))
    assert broken(report) == names
    assert not report.is_passed
    assert "times_never_fall" in report.skipped_rules


USER_CASES: list[tuple[set[str], dict[str, Any], int]] = [
    ({"offsets_rise", "long_enough", "train_within_history"}, {"offsets": ints(0, 4, 3, 9, 13, 17)}, 1),
    ({"long_enough"}, {"offsets": ints(0, 4, 7, 11, 13, 17), "train_lengths": ints(4, 0, 4, 0, 0)}, 1),
    ({"train_within_history"}, {"train_lengths": ints(4, 0, 6, 0, 0)}, 2),
    ({"train_within_history"}, {"train_lengths": ints(-1, 0, 5, 0, 0)}, 0),
]


@pytest.mark.parametrize(("names", "change", "user"), USER_CASES)
def test_users(check: Any, names: set[str], change: dict[str, Any], user: int) -> None:
    report = check(replace(Prepared(), **change))
    assert broken(report) == names
    assert all(rule.examples[0]["user"] == user for rule in report.failures)
    assert "items_in_vocabulary" in report.skipped_rules


def test_times_must_not_fall_within_a_user_but_may_between_users(check: Any) -> None:
    times = Prepared().times.copy()
    times[6] = 4
    report = check(replace(Prepared(), times=times))
    assert broken(report) == {"times_never_fall"}
    assert report.rule("times_never_fall").examples == ({"row": 6, "user": 2, "item": 0, "time": 4, "previous_time": 5},)


@pytest.mark.parametrize(("num_equal", "is_told"), [(9, True), (10, False), (12, False)])
def test_times_that_tell_no_order_are_reported_where_most_neighbours_share_one(check: Any, num_equal: int, is_told: bool) -> None:
    rows = ints(1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 14, 15, 16)[-num_equal:]  # those with a behaviour of their user before them: 13
    times = np.arange(17)
    for row in rows:
        times[row] = times[row - 1]
    report = check(replace(Prepared(), times=times))
    assert broken(report) == (set() if is_told else {"order_told_by_time"})
    assert report.is_passed
    rule = report.rule("order_told_by_time")
    assert (rule.violating_rows, rule.examples[0]["row"]) == (num_equal, rows[0])


def test_exactly_three_quarters_of_the_neighbours_at_one_time_are_no_fault(check: Any) -> None:
    times = ints(1, 1, 1, 1, 4, 4, 4, 4, 6, 6, 6, 6, 6, 7, 8, 9, 10)
    prepared = replace(Prepared(), times=times, offsets=ints(0, 4, 8, 9, 13, 17), train_lengths=ints(4, 4, 1, 0, 0))
    assert check(prepared, BehaviourRules()).rule("order_told_by_time").violating_rows == 9
    assert broken(check(prepared, BehaviourRules())) == set()


def test_two_behaviours_a_user_at_one_time_tell_no_order(check: Any) -> None:
    prepared = Prepared(ints(0, 1, 2, 3, 4, 5), ints(0, 2, 4, 6), ints(1, 1, 2, 2, 3, 3), train_lengths=ints(2, 0, 0))
    prepared = replace(prepared, validation=([1], [1], [1]), test=([2], [1], [1]))
    assert broken(check(prepared, BehaviourRules(minimum_user_behaviours=2))) == {"order_told_by_time"}


@pytest.mark.parametrize("wrong", [-1, 6])
def test_ids_must_lie_in_the_vocabulary(check: Any, wrong: int) -> None:
    items = Prepared().items.copy()
    items[16] = wrong
    report = check(replace(Prepared(), items=items))
    assert broken(report) == {"items_in_vocabulary"}
    assert report.rule("items_in_vocabulary").examples[0]["row"] == 16


EVALUATION_CASES: list[tuple[set[str], dict[str, Any]]] = [
    ({"evaluation_user_known"}, {"test": ([5], [1], [3])}),
    ({"evaluation_user_known"}, {"test": ([-1], [1], [3])}),
    ({"once_per_split"}, {"test": ([4, 4], [1, 1], [3, 3])}),
    ({"in_one_split"}, {"test": ([4, 3], [1, 2], [3, 2])}),
    ({"has_history"}, {"test": ([4], [0], [3])}),
    ({"has_truth"}, {"test": ([4], [2], [0])}),
    ({"truth_within_history"}, {"test": ([4], [2], [3])}),
    ({"held_out_users_teach_nothing"}, {"train_lengths": ints(4, 0, 5, 0, 1)}),
    ({"held_out_users_teach_nothing", "training_stops_before_truth"}, {"train_lengths": ints(4, 0, 5, 0, 2)}),
    ({"times_never_fall", "no_future_in_history"}, {"times": ints(1, 2, 3, 4, 5, 5, 6, 7, 8, 0, 4, 2, 3, 9, 9, 9, 9)}),
]


@pytest.mark.parametrize(("names", "change"), EVALUATION_CASES)
def test_evaluation_users(check: Any, names: set[str], change: dict[str, Any]) -> None:
    report = check(replace(Prepared(), **change))
    assert broken(report) == names
    assert all(rule.is_hard and rule.examples for rule in report.failures)


def test_validation_truth_must_end_before_the_test_truth_begins(check: Any) -> None:
    prepared = Prepared(train_lengths=ints(3, 0, 2, 3, 3), validation=([2], [2], [3]), test=([0, 2, 3, 4], [3, 4, 3, 3], [1, 1, 1, 1]))
    report = check(prepared, TIME)
    assert broken(report) == {"validation_before_test"}
    assert report.rule("validation_before_test").examples[0]["user"] == 2


def test_records_of_the_core_are_taken_as_they_are() -> None:
    from jtm_core.behaviours import Behaviours, EvaluationUsers, Split

    prepared = Prepared()
    behaviours = Behaviours(prepared.items, prepared.offsets, prepared.times, prepared.num_items)
    split = Split(prepared.train_lengths, EvaluationUsers(ints(3), ints(2), ints(2)), EvaluationUsers(ints(4), ints(1), ints(3)))
    assert check_behaviours(behaviours, split, USERS).is_passed


SOUND_IN_TIME = {"train_lengths": ints(3, 0, 2, 3, 3), "validation": ([2], [2], [2]), "test": ([0, 2, 3, 4], [3, 4, 3, 3], [1, 1, 1, 1])}
MANY_FLAWS = {
    "items": np.arange(17) - 1,
    "times": ints(1, 2, 3, 4, 5, 5, 6, 4, 8, 0, 9, 2, 3, 9, 9, 9, 9),
    "train_lengths": ints(4, 0, 5, 3, 1),
    "validation": ([3, 3, 9], [2, 0, 1], [2, 0, 1]),
    "test": ([4, 3], [2, 2], [3, 2]),
}


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        (SOUND_IN_TIME, TIME),
        (MANY_FLAWS, USERS),
        (MANY_FLAWS, TIME),
        (MANY_FLAWS, GLOBAL_TIME),
        ({"offsets": ints(0, 4, 3, 9, 13, 17)}, USERS),
    ],
)
def test_great_expectations_counts_the_same(check: Any, assert_same: Any, change: dict[str, Any], rules: BehaviourRules) -> None:
    prepared = replace(Prepared(), **change)
    report = check_behaviours(prepared, prepared.split(), rules)
    assert_same(report, check(prepared, rules))
    assert report.is_passed is (change is SOUND_IN_TIME)

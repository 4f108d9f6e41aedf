"""Statistics of comparisons: known answers, slow twins, and intervals that hold what they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core.comparison import bootstrap_means, contrast, recall_intervals, spread_over_seeds, two_way_error
from jtm_core.found_targets import Targets
from jtm_core.seeding import generator


def test_spread_is_over_seeds_not_over_users():
    spread = spread_over_seeds(np.array([[0.0, 0.4], [0.2, 0.6], [0.4, 0.8]]))
    assert (round(spread.mean, 12), round(spread.deviation, 12), spread.num_seeds) == (0.4, 0.2, 3)


def test_one_seed_has_no_spread():
    assert spread_over_seeds(np.array([[0.25, 0.75]])).deviation is None


def test_seeds_are_averaged_before_systems_are_paired():
    values = {"jtm": np.array([[0.2, 0.4], [0.4, 0.4]]), "tdm": np.array([[0.1, 0.5]])}
    assert contrast(values, {"jtm": 1, "tdm": -1}) == pytest.approx([0.2, -0.1])


def test_the_gain_of_both_over_the_sum_of_gains_is_one_contrast():
    cells = {name: np.array([[base, base + 0.1]]) for name, base in [("tdm", 0.1), ("j", 0.2), ("h", 0.15), ("jtm", 0.4)]}
    assert contrast(cells, {"jtm": 1, "j": -1, "h": -1, "tdm": 1}) == pytest.approx([0.15, 0.15])


def test_other_users_are_refused():
    with pytest.raises(ValueError, match="'a': 2, 'b': 3"):
        contrast({"a": np.zeros((1, 2)), "b": np.zeros((1, 3))}, {"a": 1, "b": -1})


@pytest.mark.parametrize("values", [np.zeros((0, 3)), np.zeros((2, 0)), np.zeros(3)])
def test_nothing_to_average_is_refused(values):
    with pytest.raises(ValueError, match="two axes"):
        spread_over_seeds(values)


def one_target_each(count):
    """Users of whom each is asked for an item of his own."""
    return Targets(np.arange(count), np.arange(count), np.ones(count), count)


@pytest.mark.parametrize(("confidence", "resamples"), [(0.0, 10), (1.0, 10), (0.9, 0)])
def test_impossible_intervals_are_refused(confidence, resamples):
    with pytest.raises(ValueError, match="allowed are"):
        recall_intervals(one_target_each(3), [np.ones(3)], generator(0, "bootstrap"), confidence, resamples)


def test_a_column_of_other_targets_is_refused():
    with pytest.raises(ValueError, match=r"shape \(4,\); allowed is \(3,\)"):
        recall_intervals(one_target_each(3), [np.ones(4)], generator(0, "bootstrap"))


def test_without_columns_there_are_no_intervals():
    assert recall_intervals(one_target_each(3), [], generator(0, "bootstrap")) == []


def slow_means(values, rng, resamples):
    """One sample of users after the other."""
    return np.array([values[rng.integers(len(values), size=len(values))].mean(axis=0) for _ in range(resamples)])


@settings(max_examples=20)
@given(st.integers(1, 30), st.integers(1, 3), st.integers(0, 1000))
def test_bootstrap_is_its_slow_twin(num_users, num_columns, seed):
    values = generator(seed, "values").random((num_users, num_columns))
    fast = bootstrap_means(values, generator(seed, "bootstrap"), 50)
    assert fast == pytest.approx(slow_means(values, generator(seed, "bootstrap"), 50))


@pytest.mark.parametrize("draws", [7 * 40, 39])
def test_blocks_of_draws_do_not_change_the_answer(draws, monkeypatch):
    """Also where a block has not the room for one draw of all users."""
    values = generator(1, "values").random((40, 2))
    whole = bootstrap_means(values, generator(2, "bootstrap"), 30)
    monkeypatch.setattr("jtm_core.comparison._DRAWS_PER_BLOCK", draws)
    assert bootstrap_means(values, generator(2, "bootstrap"), 30) == pytest.approx(whole)


def test_constant_differences_have_no_width():
    (interval,) = recall_intervals(one_target_each(50), [np.full(50, 0.25)], generator(0, "bootstrap"))
    assert (interval.low, interval.mean, interval.high, interval.two_way_low, interval.two_way_high) == (0.25,) * 5


def test_where_no_item_is_shared_both_intervals_agree_and_have_the_known_width():
    values = generator(3, "values").normal(0.5, 1.0, 4000)
    (interval,) = recall_intervals(one_target_each(4000), [values], generator(4, "bootstrap"))
    half_width = 1.959964 * values.std(ddof=1) / np.sqrt(4000)
    assert interval.two_way_high - interval.mean == pytest.approx(half_width, rel=1e-6)
    assert (interval.low, interval.high) == pytest.approx((interval.two_way_low, interval.two_way_high), abs=0.15 * half_width)


def slow_variance(targets, found):
    """Over all pairs of targets of one user or one item, a pair of both once; groups are counted by hand."""
    total = sum(share * value for share, value in zip(targets.shares, found, strict=True)) / targets.num_users
    residuals = [share * (value - total) for share, value in zip(targets.shares, found, strict=True)]
    names = {"users": list(targets.users), "items": list(targets.items), "both": list(zip(targets.users, targets.items, strict=True))}
    parts = {}
    for kind, groups in names.items():
        squares = sum((sum(r for r, g in zip(residuals, groups, strict=True) if g == group)) ** 2 for group in set(groups))
        size = len(set(groups))
        parts[kind] = squares * size / (size - 1) if size > 1 else 0.0
    return max(parts["users"], parts["users"] + parts["items"] - parts["both"]) / targets.num_users**2


def drawn_targets(rng, num_users, num_items):
    """Users who are asked for about half of the items, each for one at least."""
    asked = rng.random((num_users, num_items)) < 0.5
    asked[np.arange(num_users), rng.integers(num_items, size=num_users)] = True
    users, items = np.nonzero(asked)
    weights = rng.integers(1, 4, len(users)).astype(float)
    return Targets(users, items * 3, weights / np.bincount(users, weights)[users], num_users)


@settings(max_examples=30)
@given(st.integers(1, 8), st.integers(1, 5), st.integers(0, 1000))
def test_two_way_error_is_its_slow_twin(num_users, num_items, seed):
    rng = generator(seed, "targets")
    targets = drawn_targets(rng, num_users, num_items)
    found = rng.random(len(targets.users))
    assert two_way_error(targets, found) ** 2 == pytest.approx(slow_variance(targets, found))


def test_an_item_that_everybody_wants_is_one_judge():
    """Recall hangs on whether a list has that item: the interval over users does not see it, the two-way one does."""
    users, items = np.repeat(np.arange(400), 2), np.stack([np.zeros(400, int), np.arange(1, 401)], axis=1).ravel()
    targets = Targets(users, items, np.full(800, 0.5), 400)
    (interval,) = recall_intervals(targets, [(items == 0).astype(float)], generator(0, "bootstrap"))
    assert (interval.low, interval.mean, interval.high) == (0.5, 0.5, 0.5)
    assert interval.two_way_low < 0.1


def test_intervals_hold_the_truth_as_often_as_they_say():
    """80 % intervals of 300 samples of 60 users; by chance 240 +- 7 hold the true mean, and the bootstrap is a little narrow."""
    held = 0
    for sample in range(300):
        values = generator(sample, "coverage").random(60)
        (interval,) = recall_intervals(one_target_each(60), [values], generator(sample, "bootstrap"), confidence=0.8, resamples=300)
        held += interval.low <= 0.5 <= interval.high
    assert 210 <= held <= 262


def test_where_items_are_drawn_anew_only_two_way_intervals_hold_what_they_say():
    """60 users ask for half of 25 items, of which each has a chance of its own to be found: 80 % two-way intervals, 300 samples."""
    held = {"users": 0, "two_way": 0}
    for sample in range(300):
        rng = generator(sample, "two-way")
        targets = drawn_targets(rng, 60, 25)
        found = (rng.random(len(targets.users)) < rng.random(25)[targets.items // 3]).astype(float)
        (interval,) = recall_intervals(targets, [found], rng, confidence=0.8, resamples=300)
        held["users"] += interval.low <= 0.5 <= interval.high
        held["two_way"] += interval.two_way_low <= 0.5 <= interval.two_way_high
    assert 210 <= held["two_way"] <= 262
    assert held["users"] < 150


def test_a_single_user_and_item_are_their_own_interval():
    (interval,) = recall_intervals(one_target_each(1), [np.array([0.5])], generator(0, "bootstrap"), resamples=20)
    assert (interval.low, interval.high, interval.two_way_low) == (0.5, 0.5, 0.5)


def test_the_same_generator_gives_the_same_bits():
    targets, columns = one_target_each(30), list(generator(5, "values").random((3, 30)))
    first, second = (recall_intervals(targets, columns, generator(6, "bootstrap")) for _ in range(2))
    assert first == second

"""Statistics of comparisons: known answers, slow twins, and intervals that hold what they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core.comparison import bootstrap_means, contrast, intervals_over_users, spread_over_seeds
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
    with pytest.raises(ValueError, match="two axes"):
        intervals_over_users(values.T, generator(0, "bootstrap"))


@pytest.mark.parametrize(("confidence", "resamples"), [(0.0, 10), (1.0, 10), (0.9, 0)])
def test_impossible_intervals_are_refused(confidence, resamples):
    with pytest.raises(ValueError, match="allowed are"):
        intervals_over_users(np.ones((3, 1)), generator(0, "bootstrap"), confidence, resamples)


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
    (interval,) = intervals_over_users(np.full((50, 1), 0.25), generator(0, "bootstrap"))
    assert (interval.low, interval.mean, interval.high, interval.normal_low, interval.normal_high) == (0.25,) * 5


def test_both_intervals_agree_with_many_users_and_have_the_known_width():
    values = generator(3, "values").normal(0.5, 1.0, (4000, 1))
    (interval,) = intervals_over_users(values, generator(4, "bootstrap"))
    half_width = 1.959964 * values.std(ddof=1) / np.sqrt(4000)
    assert interval.normal_high - interval.mean == pytest.approx(half_width, rel=1e-6)
    assert (interval.low, interval.high) == pytest.approx((interval.normal_low, interval.normal_high), abs=0.15 * half_width)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """80 % intervals of 300 samples of 60 users; by chance 240 +- 7 hold the true mean, and the bootstrap is a little narrow."""
    held = 0
    for sample in range(300):
        values = generator(sample, "coverage").random((60, 1))
        (interval,) = intervals_over_users(values, generator(sample, "bootstrap"), confidence=0.8, resamples=300)
        held += interval.low <= 0.5 <= interval.high
    assert 210 <= held <= 262


def test_a_single_user_is_its_own_interval():
    (interval,) = intervals_over_users(np.array([[0.5]]), generator(0, "bootstrap"), resamples=20)
    assert (interval.low, interval.high, interval.normal_low) == (0.5, 0.5, 0.5)


def test_the_same_generator_gives_the_same_bits():
    values = generator(5, "values").random((30, 3))
    first, second = (intervals_over_users(values, generator(6, "bootstrap")) for _ in range(2))
    assert first == second

"""The protocols: known answers, and what holds for any behaviours."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core.behaviours import Behaviours
from jtm_core.config import SplitConfig
from jtm_core.splitting import split_users


def behaviours_of(lengths):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Behaviours(np.arange(offsets[-1]) % 7, offsets, np.arange(offsets[-1]), num_items=7)


def config(protocol, **fields):
    return SplitConfig(protocol=protocol, **fields)


lengths_of_users = st.lists(st.integers(0, 30), min_size=3, max_size=60)


@given(lengths=lengths_of_users, wanted=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=60)
def test_users_protocol(lengths, wanted, seed):
    behaviours, lengths = behaviours_of(lengths), np.array(lengths)
    num_users = (lengths > 0).sum()
    each = min(wanted, max(1, num_users // 10))
    if num_users < 3 or (lengths >= 2).sum() < 2 * each:
        with pytest.raises(ValueError, match="too few for the users protocol"):
            split_users(behaviours, config("users", num_validation_users=wanted, num_test_users=wanted), seed)
        return
    split = split_users(behaviours, config("users", num_validation_users=wanted, num_test_users=wanted), seed)
    held_out = np.concatenate([split.validation.users, split.test.users])
    assert len(split.validation) == len(split.test) == each
    assert len(np.unique(held_out)) == len(held_out)
    expected = lengths.copy()
    expected[held_out] = 0
    assert split.train_lengths.tolist() == expected.tolist()
    for users in (split.validation, split.test):
        assert users.history_lengths.tolist() == [lengths[user] // 2 for user in users.users]
        assert (users.history_lengths + users.truth_lengths).tolist() == lengths[users.users].tolist()


@given(lengths=lengths_of_users, share=st.sampled_from([0.1, 0.29, 0.5, 0.8, 0.999]), seed=st.integers(0, 99))
@settings(max_examples=60)
def test_time_protocol(lengths, share, seed):
    behaviours = behaviours_of(lengths)
    expected = [user for user, length in enumerate(lengths) if length >= 5]
    known = {user: min(max(1, int(share * lengths[user] + 1e-9)), lengths[user] - 1) for user in expected}
    if not any(length >= 2 for length in known.values()):
        with pytest.raises(ValueError, match="time protocol needs"):
            split_users(behaviours, config("time", train_share=share), seed)
        return
    split = split_users(behaviours, config("time", train_share=share), seed)
    assert split.test.users.tolist() == expected
    assert split.test.history_lengths.tolist() == list(known.values())
    assert 1 <= len(split.validation) <= max(1, len(expected) // 10)
    validation = dict(zip(split.validation.users.tolist(), split.validation.history_lengths.tolist(), strict=True))
    for user, length in enumerate(lengths):
        assert split.train_lengths[user] == validation.get(user, known.get(user, length))
    for user, history, truth in zip(split.validation.users, split.validation.history_lengths, split.validation.truth_lengths, strict=True):
        assert history + truth == known[user]  # never reaches into the test's truth


def test_known_answers_in_time():
    split = split_users(behaviours_of([10, 4, 0]), config("time"), seed=1)
    assert [split.test.users.tolist(), split.test.history_lengths.tolist(), split.test.truth_lengths.tolist()] == [[0], [8], [2]]
    assert [split.validation.history_lengths.tolist(), split.validation.truth_lengths.tolist()] == [[6], [2]]
    assert split.train_lengths.tolist() == [6, 4, 0]


def timed(histories):
    """Behaviours of users at these times, which rise within each."""
    lengths = [len(times) for times in histories]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    times = np.array([time for times in histories for time in times], dtype=np.int64)
    return Behaviours(np.arange(offsets[-1]) % 7, offsets, times, num_items=7)


def test_known_answers_by_a_moment_for_all():
    """Ten behaviours at times 1 .. 10: eight before the test, of which six train."""
    behaviours = timed([[1, 7, 9], [2, 3, 10], [4, 5, 6, 8], []])
    split = split_users(behaviours, config("global_time"), seed=1)
    assert split.train_lengths.tolist() == [1, 2, 3, 0]
    assert [split.validation.users.tolist(), split.validation.history_lengths.tolist(), split.validation.truth_lengths.tolist()] == [
        [0, 2], [1, 3], [1, 1],
    ]  # fmt: skip
    assert [split.test.users.tolist(), split.test.history_lengths.tolist(), split.test.truth_lengths.tolist()] == [[0, 1], [2, 2], [1, 1]]


histories_in_time = st.lists(st.lists(st.integers(0, 40), max_size=8).map(sorted), min_size=2, max_size=30)


def last_of_first(share, times):
    """The last of the first ``share`` of sorted times, and at least one of them."""
    return times[max(int(share * len(times) + 1e-9), 1) - 1]


@given(histories=histories_in_time, share=st.sampled_from([0.2, 0.5, 0.8]), wanted=st.integers(1, 40), seed=st.integers(0, 9))
@settings(max_examples=100)
def test_global_time_protocol(histories, share, wanted, seed):
    times = sorted(time for history in histories for time in history)
    asked = config("global_time", train_share=share, num_validation_users=wanted, num_test_users=wanted)
    if not times:
        with pytest.raises(ValueError, match="there are no behaviours to split"):
            split_users(timed(histories), asked, seed)
        return
    second = last_of_first(share, times)
    first = last_of_first(share, [time for time in times if time <= second])

    def until(moment):
        return [sum(time <= moment for time in history) for history in histories]

    sides = {"validation": (until(first), until(second)), "test": (until(second), [len(history) for history in histories])}
    candidates = {name: [user for user, (a, b) in enumerate(zip(*both, strict=True)) if 0 < a < b] for name, both in sides.items()}
    if not all(candidates.values()):
        with pytest.raises(ValueError, match="the global_time protocol needs one of each"):
            split_users(timed(histories), asked, seed)
        return
    split = split_users(timed(histories), asked, seed)
    assert split.train_lengths.tolist() == until(first)
    for name, (before, after) in sides.items():
        judges = getattr(split, name)
        assert len(judges) == min(wanted, len(candidates[name]))
        assert set(judges.users) <= set(candidates[name])
        for user, history, truth in zip(judges.users, judges.history_lengths, judges.truth_lengths, strict=True):
            assert (history, history + truth) == (before[user], after[user])


@given(histories=histories_in_time, share=st.sampled_from([0.2, 0.5, 0.8]), wanted=st.integers(1, 3), seed=st.integers(0, 9))
@settings(max_examples=100)
def test_users_newest_protocol(histories, share, wanted, seed):
    """Judges are active on both sides of the moment, know what was before, are asked for the rest and teach nothing; others teach all."""
    times = sorted(time for history in histories for time in history)
    asked = config("users_newest", train_share=share, num_validation_users=wanted, num_test_users=wanted)
    if not times:
        with pytest.raises(ValueError, match="there are no behaviours to split"):
            split_users(timed(histories), asked, seed)
        return
    moment = last_of_first(share, times)
    known = [sum(time <= moment for time in history) for history in histories]
    candidates = {user for user, history in enumerate(histories) if 0 < known[user] < len(history)}
    num_users = sum(bool(history) for history in histories)
    each = min(wanted, max(1, num_users // 10))
    if num_users < 3 or len(candidates) < 2 * each:
        with pytest.raises(ValueError, match=r"behaviours on either side of the moment .* too few for the users_newest protocol"):
            split_users(timed(histories), asked, seed)
        return
    split = split_users(timed(histories), asked, seed)
    assert len(split.validation) == len(split.test) == each
    held_out = {*split.validation.users, *split.test.users}
    assert len(held_out) == 2 * each
    assert held_out <= candidates
    for judges in (split.validation, split.test):
        for user, history, truth in zip(judges.users, judges.history_lengths, judges.truth_lengths, strict=True):
            assert (history, history + truth) == (known[user], len(histories[user]))
    assert split.train_lengths.tolist() == [0 if user in held_out else len(history) for user, history in enumerate(histories)]


def test_who_taught_by_one_moment_never_judges_by_a_later_one():
    """The log grew: judges of the newest part are the earlier judges, where they are active still, and new users."""
    rng = np.random.default_rng(3)
    before = [sorted(rng.integers(0, 100, 6)) for _ in range(60)]
    asked = config("users_newest", train_share=0.7, num_validation_users=6, num_test_users=6)
    parent = split_users(timed(before), asked, 1)
    now = [sorted([*history, *rng.integers(100, 150, 3)]) for history in before] + [sorted(rng.integers(50, 150, 6)) for _ in range(20)]
    split = split_users(timed(now), asked, 2, parent)
    taught = set(np.flatnonzero(parent.train_lengths))
    assert len(split.test)
    assert not taught & {*split.test.users, *split.validation.users}
    assert not set(parent.validation.users) & set(split.test.users)


def test_by_a_moment_nothing_is_gone_on_from():
    behaviours = timed([[1, 7, 9], [2, 3, 10], [4, 5, 6, 8]])
    parent = split_users(behaviours, config("global_time"), 1)
    with pytest.raises(ValueError, match="takes no version to go on from: it leaves the newest behaviours out of training"):
        split_users(behaviours, config("global_time"), 1, parent)


def test_shares_that_floats_cannot_hold_are_not_cut_short():
    split = split_users(behaviours_of([100]), config("time", train_share=0.29), seed=1)
    assert split.test.history_lengths.tolist() == [29]  # 100 * 0.29 is 28.999999999999996


def test_equal_seeds_give_equal_splits_and_others_differ():
    behaviours = behaviours_of([6] * 200)
    one, same, other = (split_users(behaviours, config("users"), seed) for seed in (1, 1, 2))
    assert one.test.users.tolist() == same.test.users.tolist()
    assert one.test.users.tolist() != other.test.users.tolist()


def test_growing_data_leave_who_taught_teaching():
    few, many = (
        split_users(behaviours_of([6] * num), config("users", num_validation_users=30, num_test_users=30), 1) for num in (1000, 1300)
    )
    taught = np.flatnonzero(few.train_lengths)
    judges = np.concatenate([many.validation.users, many.test.users])
    assert not np.isin(judges, taught).any()


@given(
    lengths=st.lists(st.integers(2, 30), min_size=30, max_size=80),
    change=st.lists(st.sampled_from(["gone", "as before", "longer"]), min_size=80, max_size=80),
    num_new=st.integers(0, 20),
    wanted=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_who_taught_never_judges_again(lengths, change, num_new, wanted, seed):
    """Whatever the log lost or won, and whatever seed and numbers of judges are asked for now."""
    parent = split_users(behaviours_of(lengths), config("users", num_validation_users=4, num_test_users=4), 1)
    now = [0 if what == "gone" else length + 3 * (what == "longer") for length, what in zip(lengths, change, strict=False)] + [5] * num_new
    fewer = config("users", num_validation_users=wanted[0], num_test_users=wanted[1])
    present = set(np.flatnonzero(now))
    could_test = present - set(range(len(lengths))) | present & set(parent.test.users)
    could_validate = could_test | present & set(parent.validation.users)
    num_test = min(wanted[1], max(1, len(present) // 10), len(could_test))
    if len(present) < 3 or not num_test or len(could_validate) == num_test:
        with pytest.raises(ValueError, match=r"start from no version|too few"):
            split_users(behaviours_of(now), fewer, seed, parent)
        return
    split = split_users(behaviours_of(now), fewer, seed, parent)
    taught, chose = set(np.flatnonzero(parent.train_lengths)), set(parent.validation.users)
    assert not taught & {*split.test.users, *split.validation.users}
    assert not chose & set(split.test.users)
    assert not set(split.test.users) & set(split.validation.users)
    judges = np.concatenate([split.validation.users, split.test.users])
    assert split.train_lengths[judges].sum() == 0
    assert (split.train_lengths > 0).sum() == (np.array(now) > 0).sum() - len(judges)


def test_judges_stay_where_the_log_only_rolls_on():
    """Half of the users make room for new ones: the others keep their part, new ones fill up."""
    asked = config("users", num_validation_users=20, num_test_users=20)
    parent = split_users(behaviours_of([5] * 400), asked, 1)
    split = split_users(behaviours_of([0] * 200 + [6] * 400), asked, 1, parent)
    assert set(split.test.users[split.test.users < 400]) <= set(parent.test.users)
    assert (split.test.users >= 400).any()
    assert len(split.test) == len(split.validation) == 20


def test_in_time_nobody_is_asked_for_what_taught():
    """Validation asks for a part of what other users train with."""
    asked = config("time", num_validation_users=5)
    parent = split_users(behaviours_of([20] * 60), asked, 1)
    split = split_users(behaviours_of([0] * 30 + [30] * 30 + [20] * 10), asked, 2, parent)
    old = split.validation.users < 60
    assert set(split.validation.users[old]) <= set(parent.validation.users)
    known = split.validation.history_lengths[old]
    assert (parent.train_lengths[split.validation.users[old]] <= known).all()
    none = split_users(behaviours_of([20] * 60), asked, 1)
    gone = [0 if user in none.validation.users else 20 for user in range(60)]
    with pytest.raises(ValueError, match=f"each of the {60 - len(none.validation)} users who could validate"):
        split_users(behaviours_of(gone), asked, 1, none)


def test_too_little_is_refused():
    with pytest.raises(ValueError, match="1 users with behaviours"):
        split_users(behaviours_of([9, 0]), config("users"), 1)
    with pytest.raises(ValueError, match="there is 1 item"):
        split_users(Behaviours(np.zeros(9, dtype=np.int64), np.array([0, 3, 6, 9]), np.arange(9), num_items=1), config("users"), 1)

"""Questions about what came later: a known answer, a plain twin, and logs that give none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core.behaviours import Behaviours, evaluation_histories, evaluation_truths
from jtm_core.later import later_of

KNOWN = 5  # items 0 .. 4


def behaviours_of(histories):
    """Behaviours of (item, time) by user."""
    rows = [row for history in histories for row in history]
    offsets = np.concatenate([[0], np.cumsum([len(history) for history in histories])]).astype(np.int64)
    items, times = (np.array([row[side] for row in rows], dtype=np.int64) for side in (0, 1))
    return Behaviours(items, offsets, times, num_items=9)


def asked_of(later):
    """Known behaviours and those asked for, by user."""
    sides = (side(later.behaviours, later.users) for side in (evaluation_histories, evaluation_truths))
    known, truths = ([rows.row(place).tolist() for place in range(len(later.users))] for rows in sides)
    return dict(zip(later.users.users.tolist(), zip(known, truths, strict=True), strict=True))


def test_known_answer():
    histories = [
        [(1, 3), (7, 4), (2, 10), (3, 11), (8, 12)],  # a judge: 7 and 8 are new items
        [(1, 11)],  # a stranger: nothing before
        [(7, 3), (1, 11)],  # another: nothing known before
        [(1, 3), (7, 11)],  # did only what the version cannot know
        [(1, 3), (2, 10)],  # did nothing since
        [],
    ]
    later = later_of(behaviours_of(histories), KNOWN, since=10, draw=(9, 1))
    assert asked_of(later) == {0: ([1, 2], [3])}
    assert (later.num_active, later.num_strangers, later.known_truth_share) == (4, 2, pytest.approx(1 / 3))
    assert later.behaviours.num_items == KNOWN
    assert later.truth_shares.tolist() == [0.5]
    # of two users who are no strangers one is missed, of the other one behaviour of two
    assert later.of_all({"recall_at_1": np.array([1.0])}) == {"of_all/recall_at_1": 0.25}


HISTORIES = st.lists(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 5)), max_size=6).map(lambda rows: sorted(rows, key=lambda row: row[1])),
    min_size=1, max_size=8,
)  # fmt: skip


@given(histories=HISTORIES, since=st.integers(-1, 5), truth=st.sampled_from(["multiset", "set"]))
@settings(max_examples=200)
def test_each_user_is_asked_as_a_plain_twin_asks(histories, since, truth):
    sides = [([row[0] for row in history if row[1] <= since], [row[0] for row in history if row[1] > since]) for history in histories]
    known = [tuple([item for item in side if item < KNOWN] for side in both) for both in sides]
    wanted = {user: both for user, both in enumerate(known) if all(both)}
    if not wanted:
        with pytest.raises(ValueError, match=r"the log ends at|none has one of a known item before and after"):
            later_of(behaviours_of(histories), KNOWN, since, (9, 1), truth)
        return
    later = later_of(behaviours_of(histories), KNOWN, since, (9, 1), truth)
    assert asked_of(later) == wanted
    personal = [user for user, (before, _) in enumerate(known) if before]
    count = len if truth == "multiset" else lambda items: len(set(items))
    done = [[count(side[user][1]) for user in personal] for side in (known, sides)]
    assert later.known_truth_share == pytest.approx(sum(done[0]) / sum(done[1]))
    shares = [part / whole if whole else None for part, whole in zip(*done, strict=True)]
    assert later.truth_shares.tolist() == [share for share in shares if share]
    active = [share for share in shares if share is not None]
    assert later.of_all({"recall_at_1": np.ones(len(wanted))})["of_all/recall_at_1"] == pytest.approx(np.mean(active))
    assert later.num_active == sum(bool(after) for _, after in sides)
    assert later.num_strangers == sum(bool(after) and user not in personal for user, (_, after) in enumerate(sides))


def test_of_more_users_than_may_judge_some_are_drawn_by_the_seed():
    behaviours = behaviours_of([[(1, 1), (user % KNOWN, 20)] for user in range(200)])
    draws = [later_of(behaviours, KNOWN, since=10, draw=(50, seed)).users.users for seed in (1, 1, 2)]
    assert [len(np.unique(draw)) for draw in draws] == [50] * 3
    assert (np.diff(draws[0]) > 0).all()
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).any()


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        ([[(1, 3), (2, 10)]], "the log ends at 10, and what came up to 10 is known; give a log with later behaviours"),
        ([[]], "the log ends at nothing"),
        ([[(1, 3)], [(1, 11)]], "of 1 users with behaviours after 10 none has one of a known item before and after it"),
    ],
)
def test_a_log_that_asks_nothing_is_refused(histories, message):
    with pytest.raises(ValueError, match=message):
        later_of(behaviours_of(histories), KNOWN, since=10, draw=(9, 1))

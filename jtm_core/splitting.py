"""Who teaches and who judges: the paper's split of users, one in time within each user, and two by a moment for all.

A user's place in the draw depends on the seed and the user's id alone: it stays when users are added. Where a model is trained on,
those who taught it never judge it: judges are then drawn from its judges and from users it has not seen (in time: those who validate).
"""

import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Behaviours, EvaluationUsers, Ints, Split, count_by_user
from jtm_core.config import SplitConfig
from jtm_core.seeding import generator

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

HOLDS_USERS_OUT = frozenset({"users", "users_newest"})
"""Protocols by which users who judge teach nothing."""
ASKS_FOR_THE_NEWEST = frozenset({"users_newest", "global_time"})
"""Protocols by which those who judge are asked for what was done last in the whole log."""
_MINIMUM_USERS = 3
_MINIMUM_LENGTH_IN_TIME = 5


def split_users(behaviours: Behaviours, config: SplitConfig, seed: int, parent: Split | None = None) -> Split:
    """Divide behaviours into what trains, what decides and what only reports.

    Protocol ``users`` (JTM, section 4.1): disjoint validation and test users are drawn, at most a tenth of all each
    and at least one; the first half of their behaviours is known, the second is the truth, and none trains. All other
    users train with everything.

    Protocol ``users_newest``: the same, but what such a user did in the newest part of the log is asked for, from a moment on that
    leaves ``train_share`` of it before; all before is known. For logs whose taste moves on, where a model that is to be served has to
    learn from their end and is not to be judged by what was wanted weeks ago.

    Protocol ``time``: of every user with 5 behaviours or more the first ``train_share`` is known and the rest is the
    test's truth. The known part trains, save for drawn validation users, who train with the first ``train_share`` of
    it and are asked for its rest. Shorter users train with everything.

    Protocol ``global_time`` (the temporal global split): two moments leave ``train_share`` of the log before the second, and that
    share of it before the first. What came up to the first trains; validation users are asked for what they did between
    the two, test users for what they did after the second, each knowing all before. Nothing later than what is asked for has
    taught, of whatever user, so a change of taste and items new since show as they would in service.

    Parameters
    ----------
    behaviours : Behaviours
        Users with empty histories are passed over.
    config : SplitConfig
    seed : int
        The run's seed; equal seeds give equal splits.
    parent : Split, optional
        That of the version to go on from, made by the same protocol over the first of these users, also if they have no
        behaviours now; none under ``global_time``. Users it does not hold may judge, its test users test again or validate
        (``users``, ``users_newest``), its validation users validate again; all others train, so there may be fewer judges than asked for.

    Returns
    -------
    Split
        Users ascending.

    Raises
    ------
    ValueError
        If there are too few users to train, validate and test with, or fewer than 2 items.
    """
    if behaviours.num_items < 2:
        raise ValueError(f"there is {behaviours.num_items} item; retrieval needs at least 2")
    if config.protocol == "global_time" and parent:
        raise ValueError("protocol global_time takes no version to go on from: it leaves the newest behaviours out of training")
    lengths = np.diff(behaviours.offsets)
    place = generator(seed, "split").random(behaviours.num_users)  # a longer draw begins with the shorter one's numbers
    unseen = np.arange(behaviours.num_users) >= (len(parent.train_lengths) if parent else 0)
    if config.protocol == "global_time":
        return _split_global_time(behaviours, place, config)
    if config.protocol in HOLDS_USERS_OUT:
        known = lengths // 2 if config.protocol == "users" else _until(behaviours, config.train_share)
        may_test = _and_these(unseen, parent.test) if parent else unseen
        may_validate = _and_these(may_test, parent.validation) if parent else unseen
        return _split_users((lengths, known), place, config, may_test, may_validate)
    return _split_time(lengths, place, config, _and_these(unseen, parent.validation) if parent else unseen)


def _and_these(mask: Bools, judges: EvaluationUsers) -> Bools:
    wider = mask.copy()
    wider[judges.users] = True
    return wider


def _drawn(candidates: Ints, place: Floats, num_drawn: int) -> Ints:
    """The first of them by their places, ascending by user."""
    return np.sort(candidates[np.argsort(place[candidates], kind="stable")][:num_drawn])


def _allowed(wanted: int, num_users: int) -> int:
    return min(wanted, max(1, num_users // 10))


def _until(behaviours: Behaviours, share: float) -> Ints:
    """Behaviours of each user up to the moment that ends the first ``share`` of the log."""
    if not len(behaviours.times):
        raise ValueError("there are no behaviours to split by a moment")
    return count_by_user(behaviours, behaviours.times <= _moment(behaviours.times, share))


def _split_users(cut: tuple[Ints, Ints], place: Floats, config: SplitConfig, may_test: Bools, may_validate: Bools) -> Split:
    """Disjoint judges; ``cut`` holds the behaviours of each user, and how many of them are known where the user judges."""
    lengths, known = cut
    num_users, candidates = int((lengths > 0).sum()), np.flatnonzero((known > 0) & (known < lengths))
    is_halved = config.protocol == "users"
    what = "2 behaviours or more" if is_halved else f"behaviours on either side of the moment that train_share {config.train_share} gives"
    num_test, num_validation = _allowed(config.num_test_users, num_users), _allowed(config.num_validation_users, num_users)
    if num_users < _MINIMUM_USERS or len(candidates) < num_test + num_validation:
        raise ValueError(
            f"{num_users} users with behaviours, {len(candidates)} of them with {what}, are too few for the {config.protocol} protocol; "
            f"it needs {_MINIMUM_USERS} users, and {num_test + num_validation} such to validate and test with"
        )
    test = _drawn(candidates[may_test[candidates]], place, num_test)
    validation = _drawn(np.setdiff1d(candidates[may_validate[candidates]], test), place, num_validation)
    if not len(test) or not len(validation):
        raise ValueError(
            f"of {len(candidates)} users with {what} {len(test)} can test and {len(validation)} validate, as the others "
            "taught the version to start from or chose it; one of each is needed: start from no version"
        )
    train_lengths = lengths.copy()
    train_lengths[test] = train_lengths[validation] = 0
    validation_users, test_users = (EvaluationUsers(users, known[users], (lengths - known)[users]) for users in (validation, test))
    return Split(train_lengths, validation_users, test_users)


def _split_time(lengths: Ints, place: Floats, config: SplitConfig, may_validate: Bools) -> Split:
    test = np.flatnonzero(lengths >= _MINIMUM_LENGTH_IN_TIME)
    known = lengths.copy()
    known[test] = _first_share(lengths[test], config.train_share)
    candidates = test[known[test] >= 2]
    if not len(candidates):
        raise ValueError(
            f"of {int((lengths > 0).sum())} users {len(test)} have {_MINIMUM_LENGTH_IN_TIME} behaviours or more, and none of these knows 2 "
            f"of them at train_share {config.train_share}; the time protocol needs one such user to validate with"
        )
    untaught = candidates[may_validate[candidates]]
    if not len(untaught):
        raise ValueError(
            f"each of the {len(candidates)} users who could validate taught the version to start from with what would be asked; "
            "start from no version"
        )
    validation = _drawn(untaught, place, _allowed(config.num_validation_users, len(test)))
    train_lengths = known.copy()
    train_lengths[validation] = _first_share(known[validation], config.train_share)
    return Split(
        train_lengths,
        EvaluationUsers(validation, train_lengths[validation], known[validation] - train_lengths[validation]),
        EvaluationUsers(test, known[test], lengths[test] - known[test]),
    )


def _split_global_time(behaviours: Behaviours, place: Floats, config: SplitConfig) -> Split:
    if not len(behaviours.times):
        raise ValueError("there are no behaviours to split by a moment")
    second = _moment(behaviours.times, config.train_share)
    first = _moment(behaviours.times[behaviours.times <= second], config.train_share)
    trained, known, lengths = (count_by_user(behaviours, behaviours.times <= moment) for moment in (first, second, behaviours.times.max()))
    validation = _astride(trained, known, place, config.num_validation_users)
    test = _astride(known, lengths, place, config.num_test_users)
    if not len(validation) or not len(test):
        raise ValueError(
            f"{len(validation)} users have behaviours up to {first} and then up to {second} to validate by, {len(test)} up to {second} "
            f"and later to test by; the global_time protocol needs one of each: is train_share {config.train_share} right for times "
            f"{behaviours.times.min()} .. {behaviours.times.max()}?"
        )
    return Split(trained, validation, test)


def _astride(before: Ints, after: Ints, place: Floats, wanted: int) -> EvaluationUsers:
    """Some of the users with behaviours on both sides of a moment: ``before`` it, and more of them ``after``."""
    drawn = _drawn(np.flatnonzero((before > 0) & (after > before)), place, wanted)
    return EvaluationUsers(drawn, before[drawn], after[drawn] - before[drawn])


def _moment(times: Ints, share: float) -> int:
    """Time of the last of the first ``share`` of behaviours."""
    last = max(int(len(times) * share + 1e-9), 1) - 1
    return int(np.partition(times, last)[last])


def _first_share(lengths: Ints, share: float) -> Ints:
    """``floor(share * length)``, but at least 1 and not all; the little added makes 0.29 * 100 give 29."""
    first: Ints = np.floor(lengths * share + 1e-9).astype(np.int64)
    return np.minimum(np.maximum(first, 1), lengths - 1)

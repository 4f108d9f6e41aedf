"""Rules for prepared behaviours and their split into training, validation and test."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from data_checks.behaviour_frames import (
    BehavioursLike,
    SplitLike,
    behaviour_rows,
    evaluation_frame,
    num_neighbours,
    shape_frame,
    user_frame,
)
from data_checks.blocks import LARGEST_FRAME, Rows, cut_rows
from data_checks.reports import CheckReport
from data_checks.rules import Holds, NotAbove, Rule, Same, Subject, Within
from data_checks.validation import check_subjects

SplitProtocol = Literal["users", "users_newest", "time", "global_time"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BehaviourRules:
    """Limits of the rules for prepared behaviours."""

    minimum_user_behaviours: int = 1
    """Behaviours a user has at least; users without any (known from an earlier run) are let be."""
    protocol: SplitProtocol = "users"
    """``users``, ``users_newest``: validation and test users are disjoint and teach nothing; ``time``, ``global_time``: users are split in
    time."""


def check_behaviours(
    behaviours: BehavioursLike, split: SplitLike, rules: BehaviourRules, *, largest_frame: int = LARGEST_FRAME
) -> CheckReport:
    """Check prepared behaviours and their split before a model learns from them.

    Parameters
    ----------
    behaviours : record with ``items``, ``offsets``, ``times``, ``num_items``
    split : record with ``train_lengths``, ``validation``, ``test``
    rules : BehaviourRules
    largest_frame : int
        Rows of the longest table that is checked as one frame; longer ones are streamed, and Great Expectations runs on a
        sample of them. At least 1.

    Returns
    -------
    CheckReport
    """
    return check_subjects("behaviours", behaviour_subjects(behaviours, split, rules, largest_frame=largest_frame))


def behaviour_subjects(
    behaviours: BehavioursLike, split: SplitLike, rules: BehaviourRules, *, largest_frame: int = LARGEST_FRAME
) -> Iterator[Subject]:
    """The tables about prepared behaviours and their rules, for whichever engine counts."""
    num_users = len(behaviours.offsets) - 1

    def rows() -> Rows:
        return behaviour_rows(behaviours, largest_frame)

    def users() -> Rows:
        return cut_rows(user_frame(behaviours.offsets, split.train_lengths, rules.minimum_user_behaviours), largest_frame)

    def evaluated() -> Rows:
        return cut_rows(evaluation_frame(behaviours, split), largest_frame)

    yield Subject("table", _shape_rules(), lambda: shape_frame(behaviours, split), key="table", is_gate=True)
    yield Subject(
        "users", _user_rules(rules.minimum_user_behaviours), users, key="user", shown=("begin", "length", "train_length"), is_gate=True
    )
    yield Subject("behaviours", _behaviour_rules(behaviours), rows, key="row", shown=("user", "item", "time"))
    shown = ("split", "user", "length", "train_length", "history_length", "truth_length")
    yield Subject("evaluation users", _evaluation_rules(num_users, rules.protocol), evaluated, key="entry", shown=shown)


def _shape_rules() -> tuple[Rule, ...]:
    why, none = "Arrays that do not fit together were mixed from two preparations.", "Without them nothing can be learned or judged."
    return (
        Rule("one_time_per_behaviour", Same("num_times", "num_behaviours"), "num_times must equal num_behaviours", why),
        Rule("offsets_begin_at_0", Within("first_offset", 0, 0), "first_offset must be 0", why),
        Rule("offsets_end_at_last", Same("last_offset", "num_behaviours"), "last_offset must equal num_behaviours", why),
        Rule("one_train_length_per_user", Same("num_train_lengths", "num_users"), "num_train_lengths must equal num_users", why),
        Rule("evaluation_arrays_fit", Holds("is_evaluation_aligned"), "users, history_lengths and truth_lengths must be equally long", why),
        Rule("has_training_users", Within("num_training_users", minimum=1), "num_training_users must be at least 1", none),
        Rule("has_validation_users", Within("num_validation_users", minimum=1), "num_validation_users must be at least 1", none),
        Rule("has_test_users", Within("num_test_users", minimum=1), "num_test_users must be at least 1", none),
    )


def _user_rules(minimum: int) -> tuple[Rule, ...]:
    return (
        Rule("offsets_rise", Within("length", minimum=0), "offsets must never fall", "Histories would run into each other."),
        Rule(
            "long_enough",
            Holds("is_long_enough"),
            f"a user must have at least {minimum} behaviours, or none",
            "Shorter histories were to be filtered out, and cannot be cut into history and truth.",
        ),
        Rule(
            "train_within_history",
            Holds("is_train_within"),
            "train_length must lie within 0 .. length",
            "Training would read another user's behaviours.",
        ),
    )


def _behaviour_rules(behaviours: BehavioursLike) -> tuple[Rule, ...]:
    num_items, num_behaviours = behaviours.num_items, max(len(behaviours.items), 1)
    # a share of the neighbours as one of all behaviours; the half a row more is for rounding
    most_equal = min((3 * num_neighbours(behaviours.offsets) // 4 + 0.5) / num_behaviours, 1.0)
    return (
        Rule(
            "times_never_fall",
            NotAbove("previous_time", "time"),
            "a user's times must never fall",
            "Out of order, the future is among the history.",
        ),
        Rule(
            "order_told_by_time",
            Holds("differs_in_time"),
            "a behaviour should differ in time from the one of its user before it",
            "Equal times leave the order to the log's lines. Told where three quarters are equal, as constant or cut times are.",
            is_hard=False,
            allowed_share=most_equal,
        ),
        Rule(
            "items_in_vocabulary",
            Within("item", 0, num_items - 1),
            f"item must lie within 0 .. {num_items - 1}",
            "An id outside the vocabulary has no leaf.",
        ),
    )


def _one_moment_rule() -> Rule:
    demand = "nothing that is asked for may be earlier than what taught, of whatever user"
    return Rule(
        "nothing_later_taught", NotAbove("last_taught_time", "first_truth_time"), demand, "What others did later tells what is new."
    )


def _evaluation_rules(num_users: int, protocol: SplitProtocol) -> tuple[Rule, ...]:
    leak = "What is to be predicted would be learned or known: recall would be too good to be true."
    known, none = f"user must lie within 0 .. {num_users - 1}", "There is nothing to predict, or nothing to predict it from."
    fits, stops = "history_length + truth_length must be at most length", "train_length must be at most history_length"
    once, future = "a user must occur once in a split", "known behaviours must not be later than the truth"
    common = (
        Rule("evaluation_user_known", Within("user", 0, num_users - 1), known, "There is no history of such a user."),
        Rule("once_per_split", Within("times_in_split", 1, 1), once, "The user would count twice in the mean."),
        Rule("has_history", Within("history_length", minimum=1), "history_length must be at least 1", none),
        Rule("has_truth", Within("truth_length", minimum=1), "truth_length must be at least 1", none),
        Rule("truth_within_history", NotAbove("needed", "length"), fits, "The truth would be read from the next user."),
        Rule("training_stops_before_truth", NotAbove("train_length", "history_length"), stops, leak),
        Rule("no_future_in_history", NotAbove("last_known_time", "first_truth_time"), future, leak),
    )
    if protocol in ("time", "global_time"):
        demand = "a user's validation truth must end before the test truth begins"
        in_time = (*common, Rule("validation_before_test", NotAbove("needed", "test_history_length"), demand, leak))
        return in_time if protocol == "time" else (*in_time, _one_moment_rule())
    return (
        *common,
        Rule("in_one_split", Within("num_splits", maximum=1), "a user must not be in validation and test", leak),
        Rule("held_out_users_teach_nothing", Within("train_length", maximum=0), "train_length of an evaluation user must be 0", leak),
    )

"""Tables about prepared behaviours, for rules that look at one row at a time.

Shape letters: N behaviours, U users, E evaluation users of both splits.
"""

from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_checks.blocks import Blocks, Rows, block_rows, slices

Ints = NDArray[np.int64]


class BehavioursLike(Protocol):
    """Histories end to end in flat arrays; user ``u`` has ``offsets[u] .. offsets[u + 1]``."""

    @property
    def items(self) -> Ints:
        """Item ids, int64 (N,)."""
        ...

    @property
    def offsets(self) -> Ints:
        """Where each history begins, int64 (U + 1,); the last entry is N."""
        ...

    @property
    def times(self) -> Ints:
        """Times, int64 (N,)."""
        ...

    @property
    def num_items(self) -> int:
        """Size of the vocabulary."""
        ...


class EvaluationUsersLike(Protocol):
    """Users, how many of their first behaviours are known, and how many that follow are to be predicted."""

    @property
    def users(self) -> Ints:
        """User ids, int64 (E,)."""
        ...

    @property
    def history_lengths(self) -> Ints:
        """Known behaviours per user, int64 (E,)."""
        ...

    @property
    def truth_lengths(self) -> Ints:
        """Behaviours to predict per user, int64 (E,)."""
        ...


class SplitLike(Protocol):
    """How many of each user's first behaviours train, and the users of validation and test."""

    @property
    def train_lengths(self) -> Ints:
        """How many first behaviours of each user train, int64 (U,)."""
        ...

    @property
    def validation(self) -> EvaluationUsersLike:
        """Users that decide."""
        ...

    @property
    def test(self) -> EvaluationUsersLike:
        """Users that only report."""
        ...


def shape_frame(behaviours: BehavioursLike, split: SplitLike) -> pd.DataFrame:
    """One row of totals: how long each array is, where offsets begin and end, how many users teach and judge."""
    offsets, parts = behaviours.offsets, (split.validation, split.test)
    totals = {
        "table": "behaviours",
        "num_behaviours": len(behaviours.items),
        "num_times": len(behaviours.times),
        "num_users": len(offsets) - 1,
        "num_train_lengths": len(split.train_lengths),
        "first_offset": int(offsets[0]) if len(offsets) else -1,
        "last_offset": int(offsets[-1]) if len(offsets) else -1,
        "is_evaluation_aligned": all(len(part.users) == len(part.history_lengths) == len(part.truth_lengths) for part in parts),
        "num_training_users": int((split.train_lengths > 0).sum()),
        "num_validation_users": len(split.validation.users),
        "num_test_users": len(split.test.users),
    }
    return pd.DataFrame([totals])


def user_frame(offsets: Ints, train_lengths: Ints, minimum: int) -> pd.DataFrame:
    """One row per user (U): where the history begins, its length, how much of it trains, and whether both are allowed."""
    lengths = np.diff(offsets)
    return pd.DataFrame(
        {
            "user": np.arange(len(lengths)),
            "begin": offsets[:-1],
            "length": lengths,
            "train_length": train_lengths,
            "is_long_enough": (lengths == 0) | (lengths >= minimum),
            "is_train_within": (train_lengths >= 0) & (train_lengths <= lengths),
        }
    )


def behaviour_rows(behaviours: BehavioursLike, largest_frame: int) -> Rows:
    """One row per behaviour (N): its place, user, item, time and the time of the behaviour before it (its own for a first one).

    ``differs_in_time`` says whether the two times differ; that of a first one counts as different. One frame up to
    ``largest_frame`` rows; above, blocks that are made from slices of the arrays, which may be mapped.
    """
    items, offsets, times = behaviours.items, behaviours.offsets, behaviours.times
    length = block_rows(largest_frame)
    if len(items) <= largest_frame:
        return _behaviour_frame(items, offsets, times, slice(0, len(items)))
    parts = slices(len(items), length)
    return Blocks(len(parts), lambda: (_behaviour_frame(items, offsets, times, part) for part in parts))


def _behaviour_frame(items: Ints, offsets: Ints, times: Ints, part: slice) -> pd.DataFrame:
    """Behaviours of a slice; offsets must not fall and must begin at 0."""
    first_user, last_user = np.searchsorted(offsets, [part.start, part.stop - 1], side="right") - 1
    bounds = np.clip(offsets[first_user : last_user + 2], part.start, part.stop)
    own = times[part]
    before = times[part.start - 1 : part.start] if part.start else own[:1]
    previous = np.concatenate([before, own[:-1]])
    begins = offsets[first_user : last_user + 1]
    firsts = begins[(begins >= part.start) & (begins < part.stop)] - part.start
    previous[firsts] = own[firsts]
    differs = own != previous
    differs[firsts] = True
    return pd.DataFrame(
        {
            "row": np.arange(part.start, part.stop),
            "user": np.repeat(np.arange(first_user, last_user + 1), np.diff(bounds)),
            "item": items[part],
            "time": own,
            "previous_time": previous,
            "differs_in_time": differs,
        }
    )


def num_neighbours(offsets: Ints) -> int:
    """Behaviours that have another one of their user before them."""
    return int(np.maximum(np.diff(offsets) - 1, 0).sum())


def evaluation_frame(behaviours: BehavioursLike, split: SplitLike) -> pd.DataFrame:
    """One row per evaluation user and split (E), with what training, history and truth take of the user's behaviours.

    Where the user is unknown or the truth leaves the history, times are left empty: other rules report that.
    """
    frame = pd.concat([_part_frame("validation", split.validation), _part_frame("test", split.test)], ignore_index=True)
    frame.insert(0, "entry", np.arange(len(frame)))
    frame["needed"] = frame["history_length"] + frame["truth_length"]
    frame["times_in_split"] = frame.groupby(["split", "user"])["entry"].transform("size")
    frame["num_splits"] = frame.groupby("user")["split"].transform("nunique")
    _add_lengths(frame, behaviours.offsets, split.train_lengths)
    _add_times(frame, behaviours.offsets, behaviours.times)
    _add_test_history(frame)
    frame["last_taught_time"] = _last_taught_time(behaviours, split.train_lengths)
    return frame


def _last_taught_time(behaviours: BehavioursLike, train_lengths: Ints) -> int:
    """Time of the latest behaviour of any user that training sees."""
    taught = np.flatnonzero(train_lengths)
    return int(behaviours.times[behaviours.offsets[taught] + train_lengths[taught] - 1].max())


def _part_frame(name: str, part: EvaluationUsersLike) -> pd.DataFrame:
    columns = {"user": part.users, "history_length": part.history_lengths, "truth_length": part.truth_lengths}
    return pd.DataFrame(columns).assign(split=name)


def _add_lengths(frame: pd.DataFrame, offsets: Ints, train_lengths: Ints) -> None:
    """Add ``is_known``, ``length`` and ``train_length``; an unknown user gets lengths that offend no other rule."""
    users = frame["user"].to_numpy()
    is_known = (users >= 0) & (users < len(train_lengths))
    known = np.where(is_known, users, 0)
    frame["is_known"] = is_known
    frame["length"] = np.where(is_known, np.diff(offsets)[known], frame["needed"])
    frame["train_length"] = np.where(is_known, train_lengths[known], 0)


def _add_times(frame: pd.DataFrame, offsets: Ints, times: Ints) -> None:
    """Add ``last_known_time``, the latest of the history, and ``first_truth_time``, the earliest of the truth."""
    is_usable = frame["is_known"] & (frame["history_length"] >= 1) & (frame["truth_length"] >= 1) & (frame["needed"] <= frame["length"])
    usable = np.flatnonzero(is_usable.to_numpy())
    begins = offsets[frame["user"].to_numpy()[usable]]
    cuts, ends = begins + frame["history_length"].to_numpy()[usable], begins + frame["needed"].to_numpy()[usable]
    last_known, first_truth = (pd.array([pd.NA] * len(frame), dtype="Int64") for _ in range(2))
    if len(usable):
        last_known[usable] = _reduce_slices(np.maximum, times, begins, cuts)
        first_truth[usable] = _reduce_slices(np.minimum, times, cuts, ends)
    frame["last_known_time"], frame["first_truth_time"] = last_known, first_truth


def _reduce_slices(reduce: np.ufunc, values: Ints, begins: Ints, ends: Ints) -> Ints:
    """``reduce`` over ``values[begins[i]:ends[i]]`` for every i; slices are not empty."""
    padded = np.append(values, values[-1])  # so that an end may be the end of the array
    reduced: Ints = reduce.reduceat(padded, np.stack([begins, ends], axis=1).ravel())[::2]
    return reduced


def _add_test_history(frame: pd.DataFrame) -> None:
    """Add ``test_history_length`` to users of the validation split: how much the test takes as known; empty if not tested."""
    tested = frame[frame["split"] == "test"].drop_duplicates("user").set_index("user")["history_length"]
    frame["test_history_length"] = frame["user"].map(tested).astype("Int64")
    frame.loc[frame["split"] == "test", "test_history_length"] = pd.NA

"""Records of what users did: ragged histories as flat arrays, and how users are split.

Shape letters: N behaviours, U users, E evaluation users.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_VALUES_AT_A_TIME = 1 << 22


def _check_offsets(offsets: Ints, length: int) -> None:
    if offsets.ndim != 1 or len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != length or (np.diff(offsets) < 0).any():
        raise ValueError(f"offsets must rise from 0 to the {length} behaviours there are, got {offsets[:3]} .. {offsets[-3:]}")


@dataclass(frozen=True, slots=True)
class Behaviours:
    """Histories of all users, oldest behaviour first, end to end in flat arrays.

    ``items[offsets[u]:offsets[u + 1]]`` is the history of user ``u``.

    Parameters
    ----------
    items : int64 array (N,)
        Item ids, 0 .. num_items - 1.
    offsets : int64 array (U + 1,)
        Where each user's history begins; the last entry is N.
    times : int64 array (N,)
        Seconds since 1970 (or the unit of the log), never falling within a user.
    num_items : int
        Size of the vocabulary.

    Raises
    ------
    ValueError
        If the arrays do not fit together or an item id is out of range.
    """

    items: Ints
    offsets: Ints
    times: Ints
    num_items: int

    def __post_init__(self) -> None:
        _check_offsets(self.offsets, len(self.items))
        if len(self.times) != len(self.items):
            raise ValueError(f"{len(self.times)} times for {len(self.items)} items; there must be one each")
        if len(self.items) and (self.items.min() < 0 or self.items.max() >= self.num_items):
            raise ValueError(f"item ids span {self.items.min()} .. {self.items.max()}; allowed are 0 .. {self.num_items - 1}")

    @property
    def num_users(self) -> int:
        """Number of users, those with empty histories included."""
        return len(self.offsets) - 1

    def history(self, user: int) -> Ints:
        """Items of one user, oldest first (a view)."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]


@dataclass(frozen=True, slots=True)
class EvaluationUsers:
    """Users whose later behaviours are to be predicted from their earlier ones.

    Parameters
    ----------
    users : int64 array (E,)
        User ids, each once.
    history_lengths : int64 array (E,)
        How many of the user's first behaviours are known; at least 1.
    truth_lengths : int64 array (E,)
        How many of the behaviours that follow are the ground truth; at least 1.
    """

    users: Ints
    history_lengths: Ints
    truth_lengths: Ints

    def __post_init__(self) -> None:
        if not len(self.users) == len(self.history_lengths) == len(self.truth_lengths):
            raise ValueError("users, history_lengths and truth_lengths must be equally long")
        if len(self.users) and (self.history_lengths.min() < 1 or self.truth_lengths.min() < 1):
            raise ValueError("every evaluation user needs at least 1 known behaviour and 1 to predict")

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, slots=True)
class Split:
    """Which behaviours may be learned from and which users judge the result.

    Parameters
    ----------
    train_lengths : int64 array (U,)
        How many of each user's first behaviours training may see; 0 for a held-out user.
    validation : EvaluationUsers
        Users that decide: early stopping, the gate, every choice.
    test : EvaluationUsers
        Users that only report.
    """

    train_lengths: Ints
    validation: EvaluationUsers
    test: EvaluationUsers


@dataclass(frozen=True, slots=True)
class Ragged:
    """Rows of unequal length end to end: row ``i`` is ``values[offsets[i]:offsets[i + 1]]``."""

    values: Ints
    offsets: Ints

    def __post_init__(self) -> None:
        _check_offsets(self.offsets, len(self.values))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def row(self, index: int) -> Ints:
        """One row (a view)."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def rows(self, low: int, high: int) -> "Ragged":
        """Rows ``low .. high - 1``."""
        offsets = self.offsets[low : high + 1]
        return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])

    def take(self, rows: Ints) -> "Ragged":
        """Some rows, in the order given."""
        return take_slices(self.values, self.offsets[rows], np.diff(self.offsets)[rows])


@dataclass(frozen=True, slots=True)
class TrainingHistories(Ragged):
    """What training may see: one row a user, oldest behaviour first, empty for a held-out one.

    Parameters
    ----------
    context_lengths : int64 array (U,)
        How many of each row's first behaviours are only history of what follows, never targets.

    Raises
    ------
    ValueError
        If a row has not as many behaviours.
    """

    context_lengths: Ints

    def __post_init__(self) -> None:
        Ragged.__post_init__(self)
        lengths = np.diff(self.offsets)
        if len(self.context_lengths) != len(lengths) or ((self.context_lengths < 0) | (self.context_lengths > lengths)).any():
            raise ValueError(f"context_lengths must be one for each of {len(lengths)} rows, between 0 and the row's length")

    @classmethod
    def without_context(cls, rows: Ragged) -> "TrainingHistories":
        """Rows of which every behaviour may be a target."""
        return cls(rows.values, rows.offsets, np.zeros(len(rows), dtype=np.int64))

    def targets(self) -> Ragged:
        """The behaviours that may be targets, where there are enough before them."""
        return take_slices(self.values, self.offsets[:-1] + self.context_lengths, np.diff(self.offsets) - self.context_lengths)


def count_by_user(behaviours: Behaviours, mask: NDArray[np.bool_]) -> Ints:
    """How many of each user's behaviours a mask, bool (N,), holds: int64 (U,).

    Examples
    --------
    >>> count_by_user(Behaviours(np.array([0, 1, 1]), np.array([0, 2, 3]), np.arange(3), 2), np.array([True, False, True]))
    array([1, 1])
    """
    return np.diff(np.concatenate([[0], np.cumsum(mask)])[behaviours.offsets])


def take_slices(values: Ints, starts: Ints, lengths: Ints) -> Ragged:
    """Cut ``len(starts)`` slices out of a flat array and lay them end to end.

    Examples
    --------
    >>> take_slices(np.arange(10), np.array([7, 0]), np.array([2, 3])).values
    array([7, 8, 0, 1, 2])
    """
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    taken = np.empty(offsets[-1], dtype=values.dtype)
    borders = np.unique(np.append(np.searchsorted(offsets, np.arange(0, offsets[-1], _VALUES_AT_A_TIME)), len(lengths)))
    for low, high in pairwise(borders):  # a stretch of rows at a time: positions take as much memory as what they point to
        own = slice(offsets[low], offsets[high])
        taken[own] = values[np.arange(own.start, own.stop) + np.repeat(starts[low:high] - offsets[low:high], lengths[low:high])]
    return Ragged(taken, offsets)


def training_histories(behaviours: Behaviours, split: Split, newest_share: float = 1.0) -> TrainingHistories:
    """What training may see: the first ``train_lengths`` behaviours of every user.

    Parameters
    ----------
    behaviours : Behaviours
    split : Split
    newest_share : float
        In (0, 1]: share of these behaviours, of all users together, that may be targets: the newest ones, and those of the same time as
        the oldest of them. What came before is context.

    Examples
    --------
    >>> behaviours = Behaviours(np.array([0, 1, 2, 3]), np.array([0, 3, 4]), np.array([10, 20, 40, 30]), num_items=4)
    >>> nobody = EvaluationUsers(*3 * (np.array([], dtype=np.int64),))
    >>> training_histories(behaviours, Split(np.array([3, 1]), nobody, nobody), 0.5).targets().values
    array([2, 3])
    """
    histories = take_slices(behaviours.items, behaviours.offsets[:-1], split.train_lengths)
    if newest_share == 1 or not len(histories.values):
        return TrainingHistories.without_context(histories)
    times = take_slices(behaviours.times, behaviours.offsets[:-1], split.train_lengths).values
    first = min(int(len(times) * (1 - newest_share) + 1e-9), len(times) - 1)
    moment = np.partition(times, first)[first]
    before = np.minimum(count_by_user(behaviours, behaviours.times < moment), split.train_lengths)
    return TrainingHistories(histories.values, histories.offsets, before)


def evaluation_histories(behaviours: Behaviours, users: EvaluationUsers, max_length: int | None = None) -> Ragged:
    """Known behaviours of evaluation users, the last ``max_length`` of them if that is given."""
    ends = behaviours.offsets[users.users] + users.history_lengths
    lengths = users.history_lengths if max_length is None else np.minimum(users.history_lengths, max_length)
    return take_slices(behaviours.items, ends - lengths, lengths)


def evaluation_truths(behaviours: Behaviours, users: EvaluationUsers) -> Ragged:
    """Behaviours that evaluation users are to be judged by, repeats included."""
    starts = behaviours.offsets[users.users] + users.history_lengths
    return take_slices(behaviours.items, starts, users.truth_lengths)


def item_weights(items: Ints, num_items: int) -> NDArray[np.float64]:
    """How much each item counts where something is averaged over items: its behaviours, one added; float64 (num_items,)."""
    weights: NDArray[np.float64] = np.ones(num_items)
    weights += np.bincount(items, minlength=num_items)
    return weights

"""What the network sees of a user: the last behaviours before a cut, in time windows.

The last behaviours lie in windows, oldest first (the last 69 in 10 in JTM, section 4.1; sizes in :class:`~jtm_core.config.ModelConfig`).
Windows are contiguous in time, so a window is a pair of positions in the flat history array and the features of all
positions of a user are differences of one prefix sum.

Shape letters: S samples, W windows, N behaviours of all users end to end.
"""

from dataclasses import dataclass, replace

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Ints, Ragged, TrainingHistories


def window_bounds(starts: Ints, cuts: Ints, window_sizes: tuple[int, ...]) -> Ints:
    """Positions between which the windows lie.

    Parameters
    ----------
    starts, cuts : int64 array (S,)
        Where a sample's history begins and ends (exclusive) in the flat array.
    window_sizes : tuple of int
        Behaviours per window, oldest window first.

    Returns
    -------
    int64 array (S, W + 1)
        Window ``w`` holds the behaviours ``bounds[:, w] .. bounds[:, w + 1] - 1``; windows that reach before the
        history's start are cut short or empty.

    Examples
    --------
    >>> window_bounds(np.array([0]), np.array([4]), (3, 2, 1))
    array([[0, 1, 3, 4]])
    """
    from_end = np.concatenate([np.cumsum(window_sizes[::-1])[::-1], [0]])
    bounds: Ints = np.maximum(cuts[:, None] - from_end, starts[:, None])
    return bounds


def last_positions(bounds: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Where the behaviours in the windows of each sample stand, right-aligned, and whether there are as many.

    Parameters
    ----------
    bounds : int64 array (S, W + 1)
        Of windows, see :func:`window_bounds`.

    Returns
    -------
    int64 array (S, T), bool array (S, T)
        T is what the sample with the most has, at least 1; 0 or somebody else's position where there is no behaviour.

    Examples
    --------
    >>> last_positions(np.array([[0, 1, 3], [3, 3, 4]]))
    (array([[0, 1, 2],
           [1, 2, 3]]), array([[ True,  True,  True],
           [False, False,  True]]))
    """
    length = int((bounds[:, -1] - bounds[:, 0]).max(initial=1))
    positions = bounds[:, -1:] - length + np.arange(length)
    return np.maximum(positions, 0), positions >= bounds[:, :1]


def last_sizes(window_sizes: tuple[int, ...], length: int) -> list[int]:
    """How many of just the last ``length`` behaviours lie in each window.

    Examples
    --------
    >>> last_sizes((20, 10, 1), 7), last_sizes((20, 10, 1), 31)
    ([0, 6, 1], [20, 10, 1])
    """
    later = np.cumsum((0, *window_sizes[:0:-1]))[::-1]
    return [int(size) for size in np.clip(length - later, 0, window_sizes)]


@dataclass(frozen=True, slots=True)
class Samples:
    """(history, target) pairs over one flat array of items.

    Parameters
    ----------
    starts, cuts : int64 array (S,)
        The history is ``items[starts:cuts]``, oldest first; ``cuts > starts``.
    targets : int64 array (S,)
        Item to predict.
    """

    starts: Ints
    cuts: Ints
    targets: Ints

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: Ints) -> "Samples":
        """The samples at ``index``, in that order."""
        return Samples(self.starts[index], self.cuts[index], self.targets[index])

    def part(self, share: slice) -> "Samples":
        """A stretch of the samples (views)."""
        return Samples(self.starts[share], self.cuts[share], self.targets[share])


@dataclass(frozen=True, slots=True)
class SampleOrder:
    """Order in which the samples of all users pass by: users shuffled, each user's samples together.

    Every behaviour that is not context and has at least ``minimum_history`` behaviours before it is the target of one sample (JTM,
    section 4.1: "each interaction"). Keeping a user's samples together lets a batch share one prefix sum per user.

    Parameters
    ----------
    users : int64 array
        Row of ``histories`` for each place in the order; rows without samples are left out.
    offsets : int64 array (len(users) + 1,)
        Number of samples before each place.
    first_targets : int64 array (len(users),)
        Position in the row of the first target.
    minimum_history : int
        Behaviours that a history has at least.
    """

    users: Ints
    offsets: Ints
    first_targets: Ints
    minimum_history: int

    @property
    def num_samples(self) -> int:
        """Number of samples in one pass."""
        return int(self.offsets[-1])


def sample_order(histories: TrainingHistories, minimum_history: int, rng: np.random.Generator | None) -> SampleOrder:
    """Order of one pass over all samples, shuffled by ``rng`` or, without one, as the rows lie.

    Raises
    ------
    ValueError
        If there is no sample.
    """
    first_targets = np.maximum(histories.context_lengths, minimum_history)
    counts = np.maximum(np.diff(histories.offsets) - first_targets, 0)
    users = np.flatnonzero(counts)
    if not len(users):
        raise ValueError(
            f"no behaviour has the {minimum_history} behaviours before it that minimum_history asks for, of the "
            f"{len(histories.values) - int(histories.context_lengths.sum())} that are no context"
        )
    if rng is not None:
        users = rng.permutation(users)
    return SampleOrder(users, np.concatenate([[0], np.cumsum(counts[users])]), first_targets[users], minimum_history)


@dataclass(frozen=True, slots=True)
class Horizon:
    """How far before their targets histories end: at a point drawn evenly from the nearest behaviours, the target's own place among them.

    Parameters
    ----------
    share : float
        In (0, 1]: of all behaviours before a target, the nearest ones that may be cut off.
    rng : Generator
    """

    share: float
    rng: np.random.Generator

    def cuts(self, firsts: Ints, positions: Ints) -> Ints:
        """Ends of histories: int64, between ``firsts``, the first places where they may end, and those of the targets."""
        reach = np.floor((positions - firsts) * self.share).astype(np.int64)
        cuts: Ints = positions - reach + self.rng.integers(0, reach + 1)
        return cuts


def make_horizon(share: float, rng: np.random.Generator) -> Horizon | None:
    """The horizon of that share; None, histories that end right before their targets, for 0."""
    return Horizon(share, rng) if share else None


def draw_samples(histories: Ragged, order: SampleOrder, first: int, last: int, horizon: Horizon | None) -> Samples:
    """The samples ``first .. last - 1`` of an order.

    Parameters
    ----------
    horizon : Horizon or None
        None ends a history right before its target (the paper's next item). A horizon ends it earlier, so that targets lie at the
        distances which the evaluation (second half of a history from the first) asks for.
    """
    number = np.arange(first, last)
    place = np.searchsorted(order.offsets, number, side="right") - 1
    starts = histories.offsets[order.users[place]]
    positions = starts + order.first_targets[place] + (number - order.offsets[place])
    cuts = positions
    if horizon is not None:
        cuts = horizon.cuts(starts + order.minimum_history, positions)
    return Samples(starts, cuts, histories.values[positions])


def disordered(histories: TrainingHistories, noise: float, rng: np.random.Generator) -> TrainingHistories:
    """Histories in which behaviours have slipped back at random, as if the log knew their times only roughly.

    Each behaviour is ordered by its position plus an even draw from 0 to ``noise`` times the history's length: 0 keeps the order, 1 mixes
    neighbourhoods as wide as the history, large values forget it.

    Parameters
    ----------
    histories : TrainingHistories
        Not changed.
    noise : float
        0 and more.
    rng : Generator

    Returns
    -------
    TrainingHistories
        The same rows with the same values each, as many of them context.
    """
    values = np.empty_like(histories.values)
    _slip(histories.values, histories.offsets, noise, rng.random(len(values), dtype=np.float32), values)
    return replace(histories, values=values)


@numba.njit(fastmath=False, cache=True, nogil=True)
def _slip(values: Ints, offsets: Ints, noise: float, draws: NDArray[np.float32], out: Ints) -> None:
    for row in range(len(offsets) - 1):
        first, length = offsets[row], offsets[row + 1] - offsets[row]
        keys = np.arange(length) + draws[first : first + length] * (noise * length)
        out[first : first + length] = values[first : first + length][np.argsort(keys, kind="mergesort")]

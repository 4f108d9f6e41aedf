"""What a network is told of users: windows over their last behaviours, and the items near these.

Shape letters: S users, W windows, K places of a list of near items.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Ints, Ragged
from jtm_core.config import ModelConfig
from jtm_core.features import Samples, last_sizes, window_bounds
from jtm_core.neighbours import Neighbours

Near = NDArray[np.int32]

NO_NEAR: Near = np.zeros((0, 0), np.int32)
"""Of networks that are told of none."""


@dataclass(frozen=True, slots=True)
class Windows:
    """What is known of some users.

    Parameters
    ----------
    items : int64 array
        Flat histories.
    bounds : int64 array (S, W + 1)
        The windows' borders in them.
    near : int32 array (S, K)
        Items near each history, nearest first, -1 behind; none for a network that is told of none.
    """

    items: Ints
    bounds: Ints
    near: Near = field(default_factory=lambda: NO_NEAR)

    def __post_init__(self) -> None:
        if not self.near.shape[1]:
            object.__setattr__(self, "near", NO_NEAR.reshape(len(self.bounds), 0))

    def __len__(self) -> int:
        return len(self.bounds)

    def require(self, num_near: int) -> None:
        """Raise a ValueError if not as many near items are told of each user as a network reads; kernels do not look."""
        if self.near.shape[1] != num_near:
            raise ValueError(f"the windows tell of {self.near.shape[1]} near items a user; the network reads {num_near}")

    def take(self, users: Ints) -> "Windows":
        """Some users, in the order given."""
        return Windows(self.items, self.bounds[users], self.near[users])

    def part(self, low: int, high: int) -> "Windows":
        """Users ``low .. high - 1``."""
        return Windows(self.items, self.bounds[low:high], self.near[low:high])


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """How a network reads histories.

    Parameters
    ----------
    window_sizes : tuple of int
        Behaviours per window, oldest window first.
    neighbour_windows : tuple of int
        Items per window of near items, nearest first.
    neighbours : Neighbours, optional
        Where these come from.
    rows : int64 array, optional
        Where the histories begin and end that the neighbours were counted in, if those are read: each without what it counts itself.

    Raises
    ------
    ValueError
        If near items are read and there is nothing that they come from.
    """

    window_sizes: tuple[int, ...]
    neighbour_windows: tuple[int, ...] = ()
    neighbours: Neighbours | None = None
    rows: Ints | None = None

    def __post_init__(self) -> None:
        if self.neighbour_windows and self.neighbours is None:
            raise ValueError(f"neighbour_windows is {self.neighbour_windows}, and no neighbours were given")

    def of_training(self, rows: Ints) -> "Reading":
        """The same of the histories that the neighbours were counted in; ``rows`` are their offsets."""
        return replace(self, rows=rows)

    @property
    def num_windows(self) -> int:
        """Of behaviours and of near items."""
        return len(self.window_sizes) + len(self.neighbour_windows)

    @property
    def near_edges(self) -> Ints:
        """Where the windows of near items begin and end in a list of them: int64."""
        return np.concatenate([[0], np.cumsum(self.neighbour_windows, dtype=np.int64)])

    def sizes_of(self, length: int) -> list[int]:
        """Places of each window where just the last ``length`` behaviours and all near items stand side by side."""
        return last_sizes(self.window_sizes, length) + list(self.neighbour_windows)

    def near(self, items: Ints, starts: Ints, cuts: Ints) -> Near:
        """Items near the histories ``items[starts:cuts]``: int32 (S, K)."""
        if self.neighbours is None or not self.neighbour_windows:
            return NO_NEAR.reshape(len(starts), 0)
        ends = None if self.rows is None else self.rows[np.searchsorted(self.rows, starts, side="right")]
        return self.neighbours.near(items, (starts, cuts), sum(self.neighbour_windows), ends)


def reading_of(config: ModelConfig, neighbours: Neighbours | None) -> Reading:
    """How networks of this kind read; without matches they are told of no near items."""
    return Reading(config.window_sizes, config.neighbour_windows if config.window_matches else (), neighbours)


def windows_of(histories: Ragged, reading: Reading) -> Windows:
    """Windows at the end of each history."""
    starts, cuts = histories.offsets[:-1], histories.offsets[1:]
    return Windows(histories.values, window_bounds(starts, cuts, reading.window_sizes), reading.near(histories.values, starts, cuts))


def sample_windows(items: Ints, samples: Samples, reading: Reading) -> Windows:
    """Windows before each sample's cut."""
    bounds = window_bounds(samples.starts, samples.cuts, reading.window_sizes)
    return Windows(items, bounds, reading.near(items, samples.starts, samples.cuts))

"""Tables too long for one frame: a frame up to a limit, blocks of rows above it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

LARGEST_FRAME = 5_000_000
"""Rows of the longest table that is checked as one frame; above, it is streamed in blocks."""
BLOCK_ROWS = 1 << 18
"""Rows of a block at most."""
SAMPLED_BLOCKS = 8
"""Blocks of a streamed table that Great Expectations sees."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """A table in blocks: frames with the same columns that, end to end, are the table.

    Parameters
    ----------
    num_blocks : int
    make : callable without arguments
        Yields the ``num_blocks`` frames in the order of the table, each made when it is asked for.
    """

    num_blocks: int
    make: Callable[[], Iterator[pd.DataFrame]]

    def sampled(self) -> frozenset[int]:
        """Numbers of the blocks in the sample: at most ``SAMPLED_BLOCKS``, evenly spread, the first and the last among them."""
        places = np.linspace(0, max(self.num_blocks - 1, 0), SAMPLED_BLOCKS).round().astype(int)
        return frozenset(places.tolist())


Rows = pd.DataFrame | Blocks


def block_rows(largest_frame: int) -> int:
    """Rows of a block where tables above ``largest_frame`` rows are cut: ``BLOCK_ROWS``, or less if the limit is less.

    Raises
    ------
    ValueError
        If the limit is not positive.
    """
    if largest_frame < 1:
        raise ValueError(f"largest_frame is {largest_frame}; allowed is 1 or more")
    return min(BLOCK_ROWS, largest_frame)


def slices(num_rows: int, length: int) -> list[slice]:
    """Slices of ``length`` rows, the last one maybe shorter, that cover ``0 .. num_rows - 1``."""
    return [slice(begin, min(begin + length, num_rows)) for begin in range(0, num_rows, length)]


def cut_rows(frame: pd.DataFrame, largest_frame: int) -> Rows:
    """A frame as it is, or in blocks if it has more than ``largest_frame`` rows."""
    length = block_rows(largest_frame)
    if len(frame) <= largest_frame:
        return frame
    parts = slices(len(frame), length)
    return Blocks(len(parts), lambda: (frame.iloc[part] for part in parts))

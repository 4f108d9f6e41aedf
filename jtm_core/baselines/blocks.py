"""Users in blocks whose rows are alike in length, so that what one long row takes is not taken for a whole block."""

from collections.abc import Iterator

import numpy as np

from jtm_core.behaviours import Ints

_MOST_CELLS = 1 << 24
_LIKE, _SHORT = 4, 64


def blocks_by_length(lengths: Ints, most_rows: int) -> Iterator[Ints]:
    """Every row once, short ones first, in blocks whose memory and work are bounded by their own rows.

    Parameters
    ----------
    lengths : int64 array (E,)
        Length of each row, e.g. how many items of a user are excluded.
    most_rows : int
        Rows of a block at most.

    Yields
    ------
    int64 array
        Numbers of rows: none is longer than four times the first of its block and 64 more, and as many rows of that length hold 2^24
        cells at most (a longer row is a block of its own).

    Examples
    --------
    >>> [rows.tolist() for rows in blocks_by_length(np.array([3, 900, 0, 5]), most_rows=2)]
    [[2, 0], [3], [1]]
    """
    order = np.argsort(lengths, kind="stable")
    rising = lengths[order]
    first = 0
    while first < len(order):
        longest = _LIKE * int(rising[first]) + _SHORT
        last = min(first + min(most_rows, max(1, _MOST_CELLS // longest)), int(np.searchsorted(rising, longest, side="right")))
        yield order[first:last]
        first = last

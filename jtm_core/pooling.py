"""Mean vectors of time windows, forward and backward, without materialising windows.

Windows of one user's samples overlap almost everywhere. For training, the vectors of a run of behaviours are summed up
once and every window is a difference of two prefix sums, so a history of T behaviours costs T gathers a level instead
of 69 T.

Shape letters: S samples, T behaviours of a batch, W windows, D vector width.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Ints

Floats = NDArray[np.float32]


@numba.njit(fastmath=True, cache=True, nogil=True)
def pool_runs(vectors: Floats, rows: Ints, runs: Ints, bounds: Ints, out: Floats) -> None:
    """Pool all windows of a batch on one level by prefix sums.

    Parameters
    ----------
    vectors : float32 array (rows of the table, D)
    rows : int64 array (T,)
        Row of the table of each of the batch's behaviours.
    runs : int64 array (number of runs + 1,)
        Where the behaviours of each user begin; sums start anew there, which keeps them short and exact.
    bounds : int64 array (S, W + 1)
        Windows as positions in ``rows``; none reaches over the edge of a run.
    out : float32 array (S, W * D)
        Receives the means; 0 for empty windows.
    """
    width, num_windows = vectors.shape[1], bounds.shape[1] - 1
    prefix = np.zeros((len(rows) + len(runs), width), dtype=np.float64)
    shift = np.empty(len(rows) + 1, dtype=np.int64)
    for run in range(len(runs) - 1):
        shift[runs[run] : runs[run + 1] + 1] = run
        for t in range(runs[run], runs[run + 1]):
            for d in range(width):
                prefix[t + run + 1, d] = prefix[t + run, d] + vectors[rows[t], d]
    for s in range(len(bounds)):
        run = shift[bounds[s, num_windows] - 1]
        for w in range(num_windows):
            low, high = bounds[s, w], bounds[s, w + 1]
            scale = 1.0 / max(high - low, 1)
            for d in range(width):
                out[s, w * width + d] = (prefix[high + run, d] - prefix[low + run, d]) * scale


@numba.njit(fastmath=True, cache=True, nogil=True)
def pool_runs_back(gradient: Floats, runs: Ints, bounds: Ints, out: Floats) -> None:
    """Gradient of each behaviour's vector from those of the windows: the transpose of :func:`pool_runs`.

    Parameters
    ----------
    gradient : float32 array (S, W * D)
    runs, bounds : as in :func:`pool_runs`
    out : float32 array (T, D)
        Receives the gradients.
    """
    width, num_windows = out.shape[1], bounds.shape[1] - 1
    steps = np.zeros((len(out) + 1, width), dtype=np.float64)
    for s in range(len(bounds)):
        for w in range(num_windows):
            low, high = bounds[s, w], bounds[s, w + 1]
            if high > low:
                scale = 1.0 / (high - low)
                for d in range(width):
                    part = gradient[s, w * width + d] * scale
                    steps[low, d] += part
                    steps[high, d] -= part
    total = np.zeros(width, dtype=np.float64)
    for t in range(len(out)):
        for d in range(width):
            total[d] += steps[t, d]
            out[t, d] = total[d]

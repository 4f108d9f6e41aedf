"""The logarithm of the sigmoid in vector code."""

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def log_sigmoid(logits: Floats, out: Floats, powers: Floats) -> None:
    """Logarithm of the sigmoid, within 4e-7 of its size, in loops that the compiler turns into vector code.

    ``log sigmoid(x) = min(x, 0) - log1p(exp(-|x|))``. The exponential is ``2**k`` times a polynomial; ``log1p(e)`` is twice
    the series of ``atanh(e / (2 + e))``.

    Parameters
    ----------
    logits, out : float32 array (n,)
    powers : float32 array (n,)
        Scratch.
    """
    bits = powers.view(np.int32)
    for i in range(len(logits)):
        x = -abs(logits[i])
        x = x if x > np.float32(-87) else np.float32(-87)
        power = np.floor(x * np.float32(1.4426950408889634) + np.float32(0.5))
        rest = (x - power * np.float32(0.693359375)) + power * np.float32(2.12194440e-4)
        tail = np.float32(1 / 24) + rest * (np.float32(1 / 120) + rest * np.float32(1 / 720))
        out[i] = np.float32(1) + rest * (np.float32(1) + rest * (np.float32(0.5) + rest * (np.float32(1 / 6) + rest * tail)))
        powers[i] = power
    for i in range(len(logits)):
        bits[i] = (np.int32(powers[i]) + 127) << 23
    for i in range(len(logits)):
        exponential = out[i] * powers[i]
        s = exponential / (np.float32(2) + exponential)
        q = s * s
        tail = np.float32(1 / 7) + q * (np.float32(1 / 9) + q * (np.float32(1 / 11) + q * np.float32(1 / 13)))
        series = np.float32(1) + q * (np.float32(1 / 3) + q * (np.float32(1 / 5) + q * tail))
        x = logits[i] if logits[i] < np.float32(0) else np.float32(0)
        out[i] = x - np.float32(2) * s * series

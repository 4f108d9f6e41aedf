"""Random generators that depend on what they are for, never on what ran before them.

Iteration 3 draws the same numbers whether or not iterations 1 and 2 ran in this process, which is what lets a killed
run continue to the same digests.
"""

import hashlib

import numpy as np


def generator(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """Make the generator of one purpose.

    Parameters
    ----------
    seed : int
        The run's seed.
    purpose : str
        What the numbers are for, e.g. ``"negatives"``.
    counters : int
        What tells this use from others of the same purpose: iteration, epoch, batch ...

    Examples
    --------
    >>> a, b = generator(7, "split"), generator(7, "split")
    >>> bool(a.integers(1000) == b.integers(1000))
    True
    """
    words = "/".join([str(seed), purpose, *map(str, counters)])
    digest = hashlib.sha256(words.encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))

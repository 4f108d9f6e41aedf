"""The best of many logits, kept without sorting them: kernels of the search, with one order for every purpose.

Codes stand in ascending order beside their logits, and keeping the best keeps that order: so of equal logits the smaller
code wins, whatever the tiling, the company or the thread.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Keys = NDArray[np.int32]

LOWEST_KEY = -(1 << 31)
"""Below every key but that of one bit pattern of NaN."""


class Best(NamedTuple):
    """The best leaves of S users so far, with room for those that may still be dropped."""

    codes: Ints
    """(S, room) each, ascending in the codes; the first ``sizes`` count."""
    logits: Floats
    keys: Keys
    sizes: Ints
    """(S,)."""
    bounds: Ints
    """(S,) keys that a leaf must exceed to be among the best."""


def make_best(num_users: int, room: int) -> Best:
    """Empty lists."""
    shape = num_users, room
    codes, logits, keys = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.int32)
    return Best(codes, logits, keys, np.zeros(num_users, dtype=np.int64), np.full(num_users, LOWEST_KEY))


@numba.njit(fastmath=False, cache=True, nogil=True)
def make_keys(logits: Floats, keys: Keys) -> None:
    """Integers that are ordered as the logits are; any bits, NaN too, give some place in one order."""
    bits = logits.view(np.int32)
    for i in range(len(logits)):
        keys[i] = bits[i] ^ ((bits[i] >> 31) & np.int32(0x7FFFFFFF))


@numba.njit(fastmath=False, cache=True, nogil=True)
def _threshold(keys: Keys, count: int) -> int:
    """The ``count``-th largest key, by bisection: 32 passes that only compare and add, whatever the keys are."""
    low, high = -(1 << 31), (1 << 31) - 1
    while low < high:
        middle = (low + high + 1) >> 1
        bound, reached = np.int32(middle), 0
        for i in range(len(keys)):
            reached += keys[i] >= bound
        if reached >= count:
            low = middle
        else:
            high = middle - 1
    return low


@numba.njit(fastmath=False, cache=True, nogil=True)
def keep_best(codes: Ints, logits: Floats, keys: Keys, count: int) -> int:
    """Move the ``count`` best to the front, in the order they stand; of equals the first. Returns how many there are."""
    if len(codes) <= count:
        return len(codes)
    bound = _threshold(keys, count)
    equals = count
    for i in range(len(keys)):
        equals -= keys[i] > bound
    kept = 0
    for i in range(len(codes)):
        key = keys[i]
        is_equal = key == bound and equals > 0
        codes[kept], logits[kept], keys[kept] = codes[i], logits[i], key
        equals -= is_equal
        kept += key > bound or is_equal
    return kept


@numba.njit(fastmath=False, cache=True, nogil=True)
def write_ranked(leaves: tuple[Ints, Floats, Keys, Ints], item_of_leaf: Ints, items_out: Ints, logits_out: Floats) -> int:
    """Sort leaves by logit, of equals the smaller code first, and write as many as there is room for; returns how many."""
    codes, logits, keys, order = leaves
    count = keep_best(codes, logits, keys, len(items_out))
    for i in range(count):
        order[i] = ((-1 - np.int64(keys[i])) << 32) | i
    order[:count].sort()
    first_leaf = len(item_of_leaf) - 1
    for i in range(count):
        place = order[i] & 0xFFFFFFFF
        items_out[i], logits_out[i] = item_of_leaf[codes[place] - first_leaf], logits[place]
    items_out[count:] = -1
    logits_out[count:] = -np.inf
    return count


@numba.njit(fastmath=False, cache=True, nogil=True)
def take_better(leaves: tuple[Ints, Floats, Keys], count: int, user: int, best: Best) -> None:
    """Add those leaves of a tile that may be among the ``count`` best of a user.

    Tiles come in ascending order of code, so a leaf that only equals the last of the best never gets in.
    """
    codes, logits, keys = leaves
    own_codes, own_logits, own_keys = best.codes[user], best.logits[user], best.keys[user]
    size, bound = best.sizes[user], best.bounds[user]
    if size + len(codes) > len(own_codes):
        size = keep_best(own_codes[:size], own_logits[:size], own_keys[:size], count)
        bound = own_keys[:size].min()
    for i in range(len(codes)):
        if keys[i] > bound:
            own_codes[size], own_logits[size], own_keys[size] = codes[i], logits[i], keys[i]
            size += 1
    best.sizes[user], best.bounds[user] = size, bound

"""Which targets a list found, target by target, for statistics in which users and items both count.

A target is an item that a user is asked for; how often a user did it is its weight, not another target. A user's recall at M is
the sum over the targets ranked before M of their share of what the user did (JTM section 4.1; :mod:`jtm_core.metrics` has it by user).

Shape letters: E evaluation users, M places of a list, N targets.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Ints, Ragged

NOT_LISTED = int(np.iinfo(np.int32).max)
"""Rank of a target that a list does not hold: behind every cut-off, also one beyond the list."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What users are asked for: (user, item) pairs, each once, by user and then by item.

    Parameters
    ----------
    users : int64 array (N,)
        Rows of the users, ``0 .. num_users - 1``; each occurs.
    items : int64 array (N,)
        Dense ids.
    shares : float64 array (N,)
        Part of its user's recall that a target is, above 0; sums to 1 over a user's targets.
    num_users : int
        E.
    """

    users: Ints
    items: Ints
    shares: NDArray[np.float64]
    num_users: int


def targets_of(truths: Ragged, truth: Literal["multiset", "set"] = "multiset") -> Targets:
    """Targets of the ground truth.

    Parameters
    ----------
    truths : Ragged of E rows
        At least one behaviour a user, in any order.
    truth : "multiset" or "set"
        Whether repeats count as often as they occur, or once.

    Raises
    ------
    ValueError
        If there is no user, or a user has no ground truth.

    Examples
    --------
    >>> targets = targets_of(Ragged(np.array([7, 4, 4, 9]), np.array([0, 3, 4])))
    >>> targets.users, targets.items, targets.shares.round(2)
    (array([0, 0, 1]), array([4, 7, 9]), array([0.67, 0.33, 1.  ]))
    """
    lengths = np.diff(truths.offsets)
    if not len(truths) or not lengths.all():
        raise ValueError(f"{len(truths)} users, of whom rows {np.flatnonzero(lengths == 0)[:5].tolist()} have no ground truth")
    span = int(truths.values.max()) + 1
    keys, repeats = np.unique(np.repeat(np.arange(len(truths)), lengths) * span + truths.values, return_counts=True)
    users, items = np.divmod(keys, span)
    counts = repeats if truth == "multiset" else np.ones_like(repeats)
    shares: NDArray[np.float64] = counts / np.bincount(users, weights=counts)[users]
    return Targets(users, items, shares, len(truths))


def target_ranks(recommended: NDArray[np.signedinteger], targets: Targets) -> NDArray[np.int32]:
    """Place of every target in its user's list.

    Parameters
    ----------
    recommended : integer array (E, M)
        Items of every user, best first, none twice; -1 fills places without an item.
    targets : Targets of E users

    Returns
    -------
    int32 array (N,)
        0 for the first place; :data:`NOT_LISTED` for a target that the list does not hold.

    Raises
    ------
    ValueError
        If there is not one list a user, or lists have no place.

    Examples
    --------
    >>> target_ranks(np.array([[4, 9], [9, -1]]), Targets(np.array([0, 0, 1]), np.array([4, 7, 9]), np.array([0.5, 0.5, 1.0]), 2))
    array([         0, 2147483647,          0], dtype=int32)
    """
    if recommended.ndim != 2 or len(recommended) != targets.num_users or not recommended.shape[1]:
        raise ValueError(f"recommended has shape {recommended.shape}; allowed are {targets.num_users} rows, one a user, of 1 place or more")
    span, places = 1 + int(max(recommended.max(), targets.items.max())), recommended.shape[1]
    listed = np.where(recommended >= 0, np.arange(len(recommended))[:, None] * span + recommended, -1).ravel()
    order = np.argsort(listed)
    wanted = targets.users * span + targets.items
    nearest = order[np.minimum(np.searchsorted(listed, wanted, sorter=order), len(listed) - 1)]
    ranks: NDArray[np.int32] = np.where(listed[nearest] == wanted, nearest % places, NOT_LISTED).astype(np.int32)
    return ranks

"""Lists for all users of a log at once, block by block: what a nightly job writes for a service that only looks them up."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Behaviours, Ints, Ragged, take_slices
from jtm_core.serving import Floats, Retriever

_BLOCK_USERS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class UserLists:
    """Lists of some users.

    Parameters
    ----------
    users : int64 array (S,)
    items : int64 array (S, count)
        Best first; -1 behind, where there are no more.
    logits : float32 array (S, count)
        The network's; NaN for users of whom nothing is known.
    is_personal : bool array (S,)
        False for these, whose items are the most popular ones.
    """

    users: Ints
    items: Ints
    logits: Floats
    is_personal: NDArray[np.bool_]


def user_lists(
    retriever: Retriever, behaviours: Behaviours, items_by_popularity: Ints, count: int, *, without_seen: bool, passed_over: int = 0
) -> Iterator[UserLists]:
    """The best items for every user who has a behaviour, in order of users.

    Parameters
    ----------
    retriever : Retriever
    behaviours : Behaviours
        All behaviours of each user count. Items that the retriever does not know, ``retriever.num_items`` and above, are passed over, and
        a user of whom nothing is left gets the most popular ones, as in :class:`jtm_core.keyed_serving.KeyedRetriever`.
    items_by_popularity : int64 array (num_items,)
        Most popular first.
    count : int
        Items wanted, 1 .. the beam's width.
    without_seen : bool
        Leave out what a user's behaviours hold.
    passed_over : int
        Number of users to begin after, who have theirs already.

    Yields
    ------
    UserLists
        Of some thousand users.

    Raises
    ------
    ValueError
        If ``count`` is out of range.
    """
    present = np.flatnonzero(np.diff(behaviours.offsets))
    popular = np.full(count, -1, dtype=np.int64)
    popular[: len(items_by_popularity)] = items_by_popularity[:count]
    for low in range(passed_over, len(present), _BLOCK_USERS):
        users = present[low : low + _BLOCK_USERS]
        known = _known(behaviours, users, retriever.num_items)
        is_personal = np.diff(known.offsets) > 0
        items = np.tile(popular, (len(users), 1))
        logits = np.full(items.shape, np.nan, dtype=np.float32)
        if is_personal.any():
            histories = known.take(np.flatnonzero(is_personal))
            items[is_personal], logits[is_personal] = retriever.recommend_batch(histories, count, histories if without_seen else None)
        yield UserLists(users, items, logits, is_personal)


def _known(behaviours: Behaviours, users: Ints, num_items: int) -> Ragged:
    """Histories of some users without items that are not known."""
    starts = behaviours.offsets[users]
    rows = take_slices(behaviours.items, starts, behaviours.offsets[users + 1] - starts)
    is_known = rows.values < num_items
    before = np.concatenate([[0], np.cumsum(is_known)])
    return Ragged(rows.values[is_known], before[rows.offsets])

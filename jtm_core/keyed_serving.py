"""Recommendations in the log's own ids: what stands between a service and :class:`jtm_core.serving.Retriever`.

Histories that a service sends hold items that a version does not know: newer than it, or too rare to be kept when its log was prepared.
They are passed over, and a user of whom nothing is known gets what most training users did.
"""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Ints, Ragged
from jtm_core.serving import Floats, Retriever, require_integer

Key = int | str
"""An item's own id, as the log has it."""


@dataclass(frozen=True, slots=True, eq=False)
class Recommended:
    """A user's list.

    Parameters
    ----------
    items : list of int or str
        The items' own ids, best first; shorter than asked for only where the version has no more.
    logits : float32 array, as long
        The network's; NaN for a user of whom nothing is known.
    is_personal : bool
        False for such a user, whose items are the most popular ones.
    """

    items: list[Key]
    logits: Floats
    is_personal: bool


class KeyedRetriever:
    """A retriever that takes and gives the log's own ids; many threads may ask it at the same time.

    Parameters
    ----------
    retriever : Retriever
    keys : sequence of int or of str
        Own id of every item, by dense id. A dictionary over them is made once, about 100 bytes an item.
    items_by_popularity : int64 array (num_items,)
        Dense ids, most popular first.

    Raises
    ------
    ValueError
        If they are not of as many items as the retriever's.
    """

    def __init__(self, retriever: Retriever, keys: Sequence[Key], items_by_popularity: Ints) -> None:
        if not len(keys) == len(items_by_popularity) == retriever.num_items:
            raise ValueError(
                f"{len(keys)} keys and {len(items_by_popularity)} items by popularity for a retriever of {retriever.num_items} items"
            )
        self.retriever, self.keys = retriever, keys
        self._id_of = {key: item for item, key in enumerate(keys)}
        self._kind: type = str if isinstance(keys[0], str) else Integral
        self._by_popularity = items_by_popularity

    def recommend(self, history: Iterable[Key], count: int, exclude: Iterable[Key] | None = None) -> Recommended:
        """The best items for one user, in the thread that asks.

        Parameters
        ----------
        history : own ids
            Items of the user's behaviours, oldest first; unknown ones are passed over, also all.
        count : int
            Items wanted, 1 .. the beam's width.
        exclude : own ids, optional
            Items that must not come, e.g. those seen; unknown ones never do.

        Raises
        ------
        TypeError
            If an id is not of the kind that the log has, something else stands where a list of them should, or ``count`` is no integer.
        ValueError
            If ``count`` is out of range.
        """
        return self.recommend_batch([history], count, None if exclude is None else [exclude])[0]

    def recommend_batch(
        self, histories: Iterable[Iterable[Key]], count: int, exclude: Iterable[Iterable[Key]] | None = None
    ) -> list[Recommended]:
        """The same for many users, on all threads; see :meth:`recommend`.

        Raises
        ------
        ValueError
            Also if there is not one row of ``exclude`` for each of ``histories``.
        """
        known = [self._ids_of(history) for history in histories]
        unwanted = [self._ids_of(items) for items in exclude] if exclude is not None else [[] for _ in known]
        if len(unwanted) != len(known):
            raise ValueError(f"{len(unwanted)} rows of exclude for {len(known)} histories; there must be one each")
        require_integer("count", count)
        if not 1 <= count <= self.retriever.beam_width:
            raise ValueError(f"count is {count}; allowed are 1 .. {self.retriever.beam_width}, the beam's width")
        lists = [self._popular(count, set(items)) for items in unwanted]
        asked = [user for user, items in enumerate(known) if items]
        if asked:
            excluded = [unwanted[user] for user in asked]
            found = self.retriever.recommend_batch(
                _ragged([known[user] for user in asked]), count, _ragged(excluded) if any(excluded) else None
            )
            for user, items, logits in zip(asked, *found, strict=True):
                lists[user] = Recommended(self._keys_of(items[items >= 0]), logits[items >= 0], is_personal=True)
        return lists

    def restricted_to(self, items: Iterable[Key]) -> "KeyedRetriever":
        """The same retriever for some of the items, say those in stock: no others come, and lists are as long as if there were no others.

        The search leaves out branches without any of them, which is made ready once, here. Weights are shared with this retriever, which
        stays as it is: make a new one of it whenever the items change, as what one leaves out stays out of those made of that one.

        Parameters
        ----------
        items : own ids
            That may come, of those that this one gives; unknown ones are passed over.

        Raises
        ------
        TypeError
            If an id is not of the kind that the log has.
        ValueError
            If none is left.
        """
        allowed = np.zeros(len(self.keys), dtype=np.bool_)
        allowed[self._ids_of(items)] = True
        return self._allowing(allowed)

    def without(self, items: Iterable[Key]) -> "KeyedRetriever":
        """As :meth:`restricted_to` all items but these, say those that are not sold any more."""
        allowed = np.ones(len(self.keys), dtype=np.bool_)
        allowed[self._ids_of(items)] = False
        return self._allowing(allowed)

    def _allowing(self, allowed: NDArray[np.bool_]) -> "KeyedRetriever":
        left = self._by_popularity[allowed[self._by_popularity]]
        if not len(left):
            raise ValueError(f"none of the {len(self._by_popularity)} items that may come would be left")
        other = copy(self)
        other.retriever, other._by_popularity = self.retriever.restricted_to(allowed), left
        return other

    def _ids_of(self, keys: object) -> list[int]:
        if isinstance(keys, str | bytes):
            raise TypeError(f"{keys!r} is one id; a history, and what it excludes, is a list of them")
        if not isinstance(keys, Iterable) or (isinstance(keys, np.ndarray) and not keys.ndim):
            raise TypeError(f"{keys!r} is of type {type(keys).__name__}; a history, and what it excludes, is a list of ids")
        keys = keys.tolist() if isinstance(keys, np.ndarray) else list(keys)
        wrong = [key for key in keys if not isinstance(key, self._kind)][:5]
        if wrong:
            given, known = type(wrong[0]).__name__, type(self.keys[0]).__name__
            raise TypeError(f"ids {wrong} are of type {given}; those of this log are of type {known}")
        return [self._id_of[key] for key in keys if key in self._id_of]

    def _keys_of(self, items: Ints) -> list[Key]:
        return [self.keys[item] for item in items.tolist()]

    def _popular(self, count: int, unwanted: set[int]) -> Recommended:
        places = self._by_popularity[: count + len(unwanted)]
        items = places[[item not in unwanted for item in places.tolist()]][:count]
        return Recommended(self._keys_of(items), np.full(len(items), np.nan, dtype=np.float32), is_personal=False)


def _ragged(rows: Sequence[Sequence[int]]) -> Ragged:
    values = np.array([item for row in rows for item in row], dtype=np.int64)
    return Ragged(values, np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64))

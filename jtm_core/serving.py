"""Recommendations for users as they come: one search, built once, that many threads may ask at the same time.

A single user is searched in the thread that asks; a batch is spread over all threads. Both give a user the same bits.
"""

from collections.abc import Callable
from copy import copy
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jtm_core.beam import BeamSearch
from jtm_core.behaviours import Ints, Ragged
from jtm_core.config import Precision
from jtm_core.model import JtmNetwork
from jtm_core.scoring import CACHE_BYTES, make_scorer
from jtm_core.tree import TreeIndex
from jtm_core.widening import widening_of
from jtm_core.windows import windows_of

Floats = NDArray[np.float32]


class Retriever:
    """Finds items for histories by beam search.

    The network must not change afterwards. Each thread that asks gets scratch memory of its own once (less than a megabyte at
    a beam of 400); a call allocates little more than what it returns. It may be pickled, for worker processes.

    Parameters
    ----------
    network : JtmNetwork
        Trained on ``tree`` from ``first_level`` down.
    tree : TreeIndex
    beam_width : int
        Nodes kept per level, at least 1; also the most items a call may ask for.
    first_level : int
        First level the network was trained on.
    cache_bytes : int
        Memory for halves of nodes made in advance, 608 bytes a node by default, upper levels first; 0 keeps none.
    precision : "float32" or "bfloat16"
        Of the products behind the first layer.

    Raises
    ------
    TypeError
        If the beam's width is no integer.
    ValueError
        If the network does not fit the tree, or one of the numbers is out of range.

    See Also
    --------
    jtm_core.beam.BeamSearch : the search itself.
    """

    def __init__(
        self,
        network: JtmNetwork,
        tree: TreeIndex,
        beam_width: int,
        first_level: int,
        cache_bytes: int = CACHE_BYTES,
        precision: Precision = "float32",
    ) -> None:
        if (network.num_items, network.height) != (tree.num_items, tree.height):
            raise ValueError(
                f"the network is for {network.num_items} items at height {network.height}, the tree has {tree.num_items} at {tree.height}; "
                "they must agree"
            )
        require_integer("beam_width", beam_width)
        self._parts = (network, tree, beam_width, first_level, cache_bytes, precision)
        self._search = BeamSearch(make_scorer(network, tree, cache_bytes=cache_bytes, precision=precision), beam_width, first_level)
        self._widening = widening_of(self._search)
        self.num_items, self.beam_width = tree.num_items, beam_width
        self._reading = network.reading

    def __reduce__(self) -> tuple[Callable[..., "Retriever"], tuple[object, ...]]:
        """Pickled as what it was built from and built anew by the process that reads it: its threads' scratch memory cannot go along."""
        return _rebuilt, (self._parts, self._search.allowed)

    def restricted_to(self, allowed: NDArray[np.bool_]) -> "Retriever":
        """The same retriever for some of the items: nodes without any of them are not searched, so the others make no list shorter.

        Weights and halves of nodes are shared; what may be searched costs a byte a node. Histories may hold the other items too.

        Parameters
        ----------
        allowed : bool array (num_items,)
            Items that may come, of those that may come from this one.

        Raises
        ------
        ValueError
            If the array has another shape or type, or no item is left.
        """
        if allowed.shape != (self.num_items,) or allowed.dtype != np.bool_:
            given = f"{allowed.dtype} of shape {allowed.shape}"
            raise ValueError(f"allowed is {given}; it must be a bool for each of the {self.num_items} items")
        other = copy(self)
        other._search = self._search.restricted_to(allowed.copy())
        other._widening = widening_of(other._search)
        return other

    def recommend(self, history: ArrayLike, count: int, exclude: ArrayLike = ()) -> tuple[Ints, Floats]:
        """The best items for one user, in the thread that asks.

        Parameters
        ----------
        history : ints
            Items of the user's behaviours, oldest first, at least 1; the last of them count.
        count : int
            Items wanted, 1 .. ``beam_width``.
        exclude : ints
            Items that must not come, e.g. those seen.

        Returns
        -------
        items : int64 array (count,)
            Best first; -1 behind, if the tree holds fewer or exclusions leave fewer. A user whose list exclusions made shorter is searched
            again by wider beams (:class:`jtm_core.widening.Widening`).
        logits : float32 array (count,)
            ``-inf`` where the item is -1.

        Raises
        ------
        ValueError
            If the history is empty, an item is unknown or ``count`` is out of range.
        """
        known, unwanted = _row(history, "history"), _row(exclude, "exclude")
        items, logits = self.recommend_batch(known, count, unwanted if len(unwanted.values) else None)
        return items[0], logits[0]

    def recommend_batch(self, histories: Ragged, count: int, exclude: Ragged | None = None) -> tuple[Ints, Floats]:
        """The best items for many users, on all threads; see :meth:`recommend`.

        Parameters
        ----------
        histories : Ragged of S rows
        count : int
        exclude : Ragged of S rows, optional

        Returns
        -------
        items, logits : int64 and float32 arrays (S, count)

        Raises
        ------
        ValueError
            As :meth:`recommend`, and if ``histories`` and ``exclude`` differ in length.
        """
        histories, exclude = _whole(histories, "histories"), None if exclude is None else _whole(exclude, "exclude")
        self._check(histories, count, exclude)
        windows = windows_of(histories, self._reading)
        ranking = self._search.rank(windows, count) if exclude is None else self._widening.rank(windows, count, exclude)
        return ranking.items, ranking.logits

    def _check(self, histories: Ragged, count: int, exclude: Ragged | None) -> None:
        require_integer("count", count)
        if not 1 <= count <= self.beam_width:
            raise ValueError(f"count is {count}; allowed are 1 .. {self.beam_width}, the beam's width")
        empty = np.flatnonzero(np.diff(histories.offsets) == 0)
        if len(empty):
            raise ValueError(f"histories {empty[:5].tolist()} are empty; each must hold at least 1 behaviour")
        _check_items(histories.values, self.num_items, "histories hold")
        if exclude is not None:
            if len(exclude) != len(histories):
                raise ValueError(f"{len(exclude)} rows of exclude for {len(histories)} histories; there must be one each")
            _check_items(exclude.values, self.num_items, "exclude holds")


def _rebuilt(parts: tuple[Any, ...], allowed: NDArray[np.bool_] | None) -> Retriever:
    retriever = Retriever(*parts)
    return retriever if allowed is None else retriever.restricted_to(allowed)


def _whole(rows: object, name: str) -> Ragged:
    """The same ids as the kernels read them, who would otherwise be compiled anew for every kind of array while somebody waits."""
    if not isinstance(rows, Ragged) or rows.values.dtype.kind not in "iu":
        given = f"of type {rows.values.dtype}" if isinstance(rows, Ragged) else f"a {type(rows).__name__}"
        raise ValueError(f"{name} are {given}; they must be Ragged rows of integer item ids")
    return Ragged(np.require(rows.values, np.int64, ["C", "W"]), np.require(rows.offsets, np.int64, ["C", "W"]))


def require_integer(name: str, value: object) -> None:
    """Raise a TypeError that names what is no integer."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} is {value!r} of type {type(value).__name__}; it must be an integer")


def _row(values: ArrayLike, name: str) -> Ragged:
    """One row of item ids."""
    array = np.asarray(values)
    if array.ndim != 1 or (len(array) and array.dtype.kind not in "iu"):
        raise ValueError(f"{name} is an array of shape {array.shape} and type {array.dtype}; it must be a flat sequence of item ids")
    return Ragged(array.astype(np.int64), np.array([0, len(array)]))


def _check_items(items: Ints, num_items: int, what: str) -> None:
    if len(items) and (items.min() < 0 or items.max() >= num_items):
        unknown = items[(items < 0) | (items >= num_items)]
        raise ValueError(f"{what} the items {unknown[:5].tolist()}, which are not known; ids are 0 .. {num_items - 1}")

"""Levels tied to each other: a vector is its parent's plus an offset of its own, and the offsets are what is learned.

A step of an inner node's offset moves the vectors of all nodes and items below it. So an item with few samples learns
from those that hang beside it, the more the nearer they are, and a tree that puts alike items side by side helps its own
leaves: what the tree knows reaches the vectors. JTM has no such tie; it is weight sharing along a hierarchy, in training alone.

The table keeps whole vectors, so search, tree learning, carrying and files do not know of it. Only steps differ: the gradient
of an offset is the sum over everything below its node, and Adam keeps an offset beside its moments. A step touches the offsets
of a batch's rows and of their ancestors, no others, so it costs the same however many items there are. The vectors that move
are many more; they are added up where they are next read: a batch's own before its forward pass, all of them before anything
reads the whole table. A vector is the sum of the offsets along its path, from the top down, so it does not matter when, or how
often, that is done. So it is in compiled loops; torch's operators, which serve GPUs, walk the whole table in every step.

Shape letters: C codes of the tree, D vector width, N codes that a batch touches: its rows' and those of their ancestors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from jtm_core.behaviours import Ints
from jtm_core.codes import first_code
from jtm_core.gradients import Gradients
from jtm_core.model import JtmNetwork
from jtm_core.row_steps import Floats, adam_move, adam_step, step_sizes
from jtm_core.threads import run_chunks, single_threaded_blas
from jtm_core.tree import TreeIndex

Places = NDArray[np.int32]

_CHUNK_CODES = 4096
"""Codes that a thread takes at a time."""


@numba.njit(fastmath=False, cache=True, nogil=True)
def _by_level(codes: Ints, firsts: Ints, places: Places) -> tuple[Ints, Ints]:
    """The distinct codes, level by level, and where every level begins among them; ``places`` of them become 0."""
    height, num_given = len(firsts) - 2, 0
    given, levels, counts = np.empty(len(codes), np.int64), np.empty(len(codes), np.int8), np.zeros(height + 2, np.int64)
    for code in codes:
        if places[code] < 0:
            places[code] = 0
            level = height
            while code < firsts[level]:
                level -= 1
            given[num_given], levels[num_given] = code, level
            counts[level + 1] += 1
            num_given += 1
    starts = np.cumsum(counts)
    ordered, filled = np.empty(num_given, np.int64), starts.copy()
    for k in range(num_given):
        ordered[filled[levels[k]]] = given[k]
        filled[levels[k]] += 1
    return ordered, starts


@numba.njit(fastmath=False, cache=True, nogil=True)
def _with_ancestors(codes: Ints, firsts: Ints, top: int, places: Places, out: Ints) -> Ints:
    """Fill the end of ``out`` with the distinct codes and their ancestors down from level ``top``, level by level.

    ``firsts[level]`` is the first code of a level, one entry more than there are levels. ``places`` (C,), -1 everywhere, gets each
    code's place in the part of ``out`` that is filled. Returns where every level begins in ``out``, and the end.
    """
    height = len(firsts) - 2
    given, ends = _by_level(codes, firsts, places)
    place, starts = len(out), np.full(height + 2, len(out), np.int64)
    for level in range(height, top - 1, -1):
        for code in given[ends[level] : ends[level + 1]]:
            place -= 1
            out[place] = code
        if level < height:
            for below in range(starts[level + 1], starts[level + 2]):
                parent = (out[below] - 1) // 2
                if places[parent] < 0:
                    places[parent] = 0
                    place -= 1
                    out[place] = parent
        starts[level] = place
    starts[:top] = place
    for k in range(place, len(out)):
        places[out[k]] = k - place
    return starts


@numba.njit(fastmath=False, cache=True, nogil=True)
def _collect(sums: Floats, codes: Ints, places: Places, part: tuple[int, int]) -> None:
    """Add to the gradients of ``codes[part[0] : part[1]]`` those of their children."""
    for k in range(part[0], part[1]):
        for child in (2 * codes[k] + 1, 2 * codes[k] + 2):
            below = places[child]
            if below >= 0:
                for d in range(sums.shape[1]):
                    sums[k, d] += sums[below, d]


@numba.njit(fastmath=False, cache=True, nogil=True)
def _step(moments: Floats, sums: Floats, codes: Ints, sizes: tuple[np.float32, np.float32], part: tuple[int, int]) -> None:
    """A step of Adam for the offsets of ``codes[part[0] : part[1]]``."""
    for k in range(part[0], part[1]):
        for d in range(sums.shape[1]):
            moments[codes[k], 2, d] -= adam_move(moments, (codes[k], d), sums[k, d], sizes)


@numba.njit(fastmath=False, cache=True, nogil=True)
def _add_up(values: Floats, moments: Floats, codes: Ints, row_of_code: Ints, has_parent: bool, part: tuple[int, int]) -> None:
    """Vectors of ``codes[part[0] : part[1]]`` from those of their parents, which are inner nodes, and their offsets."""
    for code in codes[part[0] : part[1]]:
        row, above = row_of_code[code], (code - 1) // 2
        if row < 0:
            continue
        for d in range(values.shape[1]):
            values[row, d] = values[above, d] + moments[code, 2, d] if has_parent else moments[code, 2, d]


@dataclass(frozen=True, slots=True, eq=False)
class _Touched:
    """Codes (N,) level by level, ``starts[level] : starts[level + 1]``."""

    codes: Ints
    starts: Ints

    def level(self, level: int) -> slice:
        return slice(int(self.starts[level]), int(self.starts[level + 1]))


class TiedRows:
    """Every vector is the sum of the offsets of its node and of that node's ancestors.

    Parameters
    ----------
    network : JtmNetwork
        Its vectors are updated in place; those of used nodes change by rounding as soon as they are made sums.
    tree : TreeIndex
        Fixed as long as this lives.
    first_level : int
        Vectors further up rest.
    """

    def __init__(self, network: JtmNetwork, tree: TreeIndex, first_level: int) -> None:
        self._network, self._levels = network, range(first_level, tree.height + 1)
        self._first_leaf, self._leaf_of_item, items = first_code(tree.height), tree.leaf_of_item, tree.item_of_leaf()
        self._row_of_code = np.concatenate([np.arange(self._first_leaf), np.where(items < 0, -1, self._first_leaf + items)])
        self._places = np.full(len(self._row_of_code), -1, dtype=np.int32)
        self._firsts = np.array([first_code(level) for level in range(tree.height + 2)])
        self.moments = torch.zeros(len(self._row_of_code), 3, network.vectors.shape[1], device=network.vectors.device)
        self._make_offsets()
        self._add_up_by_torch()

    @torch.no_grad()
    def _make_offsets(self) -> None:
        """Offsets whose sums are the vectors as they are."""
        vectors = self._network.vectors
        for level in self._levels:
            used = np.flatnonzero(self._row_of_code[_codes(level)] >= 0) + first_code(level)
            codes, rows = (torch.from_numpy(numbers).to(vectors.device) for numbers in (used, self._row_of_code[used]))
            above = vectors[(codes - 1) // 2] if level > self._levels[0] else 0
            self.moments[codes, 2] = (vectors[rows] - above).to(self.moments.dtype)

    def refresh(self, rows: Ints | None = None) -> None:
        """See :meth:`~jtm_core.row_steps.RowSteps.refresh`."""
        if rows is None:
            self._add_up(_Touched(np.arange(self._firsts[-1]), self._firsts))
        else:
            touched = self._touched(rows)
            self._places[touched.codes] = -1
            self._add_up(touched)

    def update_on_cpu(self, gradients: Gradients, rate: float, num_steps: int) -> None:
        """See :meth:`~jtm_core.row_steps.RowSteps.update_on_cpu`; rows above the first level must not come."""
        moments, sizes, touched = self.moments.numpy(), step_sizes(rate, num_steps), self._touched(gradients.rows)
        sums = np.zeros((len(touched.codes), moments.shape[2]), dtype=np.float32)
        sums[self._places[self._codes_of(gradients.rows)]] = gradients.row_gradients.numpy()
        with single_threaded_blas():  # once, not for every level
            for level in reversed(self._levels[:-1]):
                _in_chunks(touched.level(level), partial(_collect, sums, touched.codes, self._places))
            _in_chunks(slice(0, len(sums)), partial(_step, moments, sums, touched.codes, sizes))
        self._places[touched.codes] = -1

    def update_by_torch(self, gradients: Gradients, rate: float, num_steps: int) -> None:
        """See :meth:`~jtm_core.row_steps.RowSteps.update_by_torch`; rows above the first level must not come."""
        device = self._network.vectors.device
        codes = torch.from_numpy(self._codes_of(gradients.rows)).to(device)
        sums = torch.zeros(len(self.moments), self.moments.shape[2], device=device)
        is_touched = torch.zeros(len(sums), dtype=torch.bool, device=device)
        sums[codes], is_touched[codes] = gradients.row_gradients, True
        for level in reversed(self._levels[:-1]):
            own, below = _codes(level), _codes(level + 1)
            sums[own] += sums[below].view(-1, 2, sums.shape[1]).sum(dim=1)
            is_touched[own] |= is_touched[below].view(-1, 2).any(dim=1)
        touched = is_touched.nonzero().ravel()
        moments = self.moments[touched]
        adam_step(moments[:, 2], sums[touched], moments[:, 0], moments[:, 1], rate, num_steps)
        self.moments[touched] = moments
        self._add_up_by_torch()

    def _touched(self, rows: Ints) -> _Touched:
        """The codes of rows and of their ancestors; each one's place among them is in ``_places`` until that is cleared."""
        codes = self._codes_of(rows)
        out = np.empty(min(len(self._places), len(codes) * len(self._levels)), dtype=np.int64)
        starts = _with_ancestors(codes, self._firsts, self._levels[0], self._places, out)
        return _Touched(out[starts[0] :], starts - starts[0])

    def _add_up(self, touched: _Touched) -> None:
        values, moments = self._network.vectors.detach().numpy(), self.moments.numpy()
        with single_threaded_blas():
            for level in self._levels:
                has_parent = level > self._levels[0]
                _in_chunks(touched.level(level), partial(_add_up, values, moments, touched.codes, self._row_of_code, has_parent))

    @torch.no_grad()
    def _add_up_by_torch(self) -> None:
        sums = self.moments[:, 2].clone()
        for level in self._levels[1:]:
            sums[_codes(level)] += sums[_codes(level - 1)].repeat_interleave(2, dim=0)
        trained = slice(first_code(self._levels[0]), None)
        rows = torch.from_numpy(self._row_of_code[trained]).to(sums.device)
        self._network.vectors[rows[rows >= 0]] = sums[trained][rows >= 0].to(self._network.vectors.dtype)

    def _codes_of(self, rows: Ints) -> Ints:
        is_item, codes = rows >= self._first_leaf, rows.copy()
        codes[is_item] = self._leaf_of_item[rows[is_item] - self._first_leaf]
        return codes


def _codes(level: int) -> slice:
    return slice(first_code(level), first_code(level + 1))


def _in_chunks(part: slice, work: Callable[[tuple[int, int]], None]) -> None:
    """Give a part of the touched codes to the threads, piece by piece."""

    def piece(k: int) -> None:
        first = part.start + k * _CHUNK_CODES
        work((first, min(first + _CHUNK_CODES, part.stop)))

    run_chunks(piece, -(-(part.stop - part.start) // _CHUNK_CODES))

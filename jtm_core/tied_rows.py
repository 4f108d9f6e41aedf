"""Levels tied to each other: a vector is its parent's plus an offset of its own, and the offsets are what is learned.

A step of an inner node's offset moves the vectors of all nodes and items below it. So an item with few samples learns
from those that hang beside it, the more the nearer they are, and a tree that puts alike items side by side helps its own
leaves: what the tree knows reaches the vectors. JTM has no such tie; it is weight sharing along a hierarchy, in training alone.

The table keeps the vectors themselves, whole, so search, tree learning, carrying and files do not know of it. Only steps differ: the
gradient of an offset is the sum over everything below its node, Adam keeps moments per offset, and a vector moves by the sum of its
own step and those of its ancestors from the first trained level down.

Shape letters: C codes of the tree, D vector width.
"""

from collections.abc import Callable
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

Flags = NDArray[np.bool_]

_CHUNK_CODES = 8192
"""Codes that a thread takes at a time; most of them rest."""


@numba.njit(cache=True, nogil=True)
def _collect(sums: Floats, is_touched: Flags, first: int, last: int) -> None:
    """Add to the codes ``first .. last - 1`` what their children were touched with."""
    for code in range(first, last):
        for child in (2 * code + 1, 2 * code + 2):
            if is_touched[child]:
                if not is_touched[code]:
                    sums[code] = 0
                    is_touched[code] = True
                for d in range(sums.shape[1]):
                    sums[code, d] += sums[child, d]


@numba.njit(cache=True, nogil=True)
def _step(sums: Floats, is_touched: Flags, moments: Floats, sizes: tuple[np.float32, np.float32], first: int, last: int) -> None:
    """Turn the gradients of touched codes ``first .. last - 1`` into steps of Adam; the others rest, their step is 0."""
    for code in range(first, last):
        if not is_touched[code]:
            sums[code] = 0
            continue
        for d in range(sums.shape[1]):
            sums[code, d] = -adam_move(moments, (code, d), sums[code, d], sizes)


@numba.njit(cache=True, nogil=True)
def _move(values: Floats, sums: Floats, row_of_code: Ints, has_parent: bool, first: int, last: int) -> None:
    """Add the parents' steps to those of the codes ``first .. last - 1``, and the whole to their vectors."""
    for code in range(first, last):
        if has_parent:
            for d in range(sums.shape[1]):
                sums[code, d] += sums[(code - 1) // 2, d]
        row = row_of_code[code]
        if row >= 0:
            for d in range(sums.shape[1]):
                values[row, d] += sums[code, d]


class TiedRows:
    """Every vector steps with its ancestors.

    Parameters
    ----------
    network : JtmNetwork
        Its vectors are updated in place.
    tree : TreeIndex
        Fixed as long as this lives.
    first_level : int
        Vectors further up rest.
    """

    def __init__(self, network: JtmNetwork, tree: TreeIndex, first_level: int) -> None:
        self._network, self._levels = network, range(first_level, tree.height + 1)
        num_codes, width, self._first_leaf = first_code(tree.height + 1), network.vectors.shape[1], first_code(tree.height)
        self._leaf_of_item, items = tree.leaf_of_item, tree.item_of_leaf()
        self._row_of_code = np.concatenate([np.arange(self._first_leaf), np.where(items < 0, -1, self._first_leaf + items)])
        self.moments = torch.zeros(num_codes, 2, width, device=network.vectors.device)
        self._sums, self._is_touched = torch.zeros(num_codes, width, device=network.vectors.device), np.zeros(num_codes, dtype=np.bool_)

    def update_on_cpu(self, gradients: Gradients, rate: float, num_steps: int) -> None:
        """See :meth:`~jtm_core.row_steps.RowSteps.update_on_cpu`; rows above the first level must not come."""
        values, sums, moments = self._network.vectors.detach().numpy(), self._sums.numpy(), self.moments.numpy()
        is_touched, sizes, codes = self._is_touched, step_sizes(rate, num_steps), self._codes_of(gradients.rows)
        is_touched[:] = False
        is_touched[codes] = True
        sums[codes] = gradients.row_gradients.numpy()
        with single_threaded_blas():  # once, not for every level
            for level in reversed(self._levels[:-1]):
                _in_chunks(level, partial(_collect, sums, is_touched))
            for level in self._levels:
                _in_chunks(level, partial(_step, sums, is_touched, moments, sizes))
                _in_chunks(level, partial(_move, values, sums, self._row_of_code, level > self._levels[0]))

    def update_by_torch(self, gradients: Gradients, rate: float, num_steps: int) -> None:
        """See :meth:`~jtm_core.row_steps.RowSteps.update_by_torch`; rows above the first level must not come."""
        device = self._network.vectors.device
        codes = torch.from_numpy(self._codes_of(gradients.rows)).to(device)
        sums, is_touched = self._sums.zero_(), torch.zeros(len(self._sums), dtype=torch.bool, device=device)
        sums[codes], is_touched[codes] = gradients.row_gradients, True
        for level in reversed(self._levels[:-1]):
            own, below = _codes(level), _codes(level + 1)
            sums[own] += sums[below].view(-1, 2, sums.shape[1]).sum(dim=1)
            is_touched[own] |= is_touched[below].view(-1, 2).any(dim=1)
        touched = is_touched.nonzero().ravel()
        steps, moments = torch.zeros_like(sums[touched]), self.moments[touched]
        adam_step(steps, sums[touched], moments[:, 0], moments[:, 1], rate, num_steps)
        self.moments[touched] = moments
        sums.zero_()[touched] = steps
        for level in self._levels[1:]:
            sums[_codes(level)] += sums[_codes(level - 1)].repeat_interleave(2, dim=0)
        trained = slice(first_code(self._levels[0]), None)
        rows = torch.from_numpy(self._row_of_code[trained]).to(device)
        self._network.vectors[rows[rows >= 0]] += sums[trained][rows >= 0]

    def _codes_of(self, rows: Ints) -> Ints:
        is_item, codes = rows >= self._first_leaf, rows.copy()
        codes[is_item] = self._leaf_of_item[rows[is_item] - self._first_leaf]
        return codes


def _codes(level: int) -> slice:
    return slice(first_code(level), first_code(level + 1))


def _in_chunks(level: int, work: Callable[[int, int], None]) -> None:
    """Give the codes of a level to the threads, piece by piece."""
    first, last = first_code(level), first_code(level + 1)

    def part(k: int) -> None:
        work(first + k * _CHUNK_CODES, min(first + (k + 1) * _CHUNK_CODES, last))

    run_chunks(part, -(-(last - first) // _CHUNK_CODES))

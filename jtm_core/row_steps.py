"""Adam's steps for the rows of the table that a batch touched, with moments kept per row ("lazy" Adam).

Moments are not decayed while a row rests, as in ``torch.optim.SparseAdam``; the bias correction counts all steps. This
departs from the paper's dense Adam, under which resting rows drift on. With millions of rows a touched row comes from
memory, not from the cache, so its two moments lie side by side and each row is read and written once.
"""

from typing import Protocol

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jtm_core.behaviours import Ints
from jtm_core.gradients import Gradients
from jtm_core.model import JtmNetwork
from jtm_core.threads import run_chunks

Floats = NDArray[np.float32]

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8
_CHUNK_ROWS = 1024


def adam_step(value: Tensor, gradient: Tensor, first: Tensor, second: Tensor, rate: float, step: int) -> None:
    """One step of Adam, in place."""
    first.lerp_(gradient, 1 - FIRST_DECAY)
    second.mul_(SECOND_DECAY).addcmul_(gradient, gradient, value=1 - SECOND_DECAY)
    size = rate / (1 - FIRST_DECAY**step)
    value.addcdiv_(first, (second / (1 - SECOND_DECAY**step)).sqrt_().add_(EPSILON), value=-size)


class RowSteps(Protocol):
    """How the table of vectors is updated; ``num_steps`` counts the step that is taken."""

    moments: Tensor
    """float32 (rows of some kind, 2 or more, D): all that lasts from step to step; both moments come first."""

    def refresh(self, rows: Ints | None = None) -> None:
        """Make the vectors of some rows, or of all, what the steps so far say; rows may come more than once."""
        ...

    def update_on_cpu(self, gradients: Gradients, rate: float, num_steps: int) -> None:
        """A step by one batch's gradients, in compiled loops, for float32 vectors; they have moved once they are refreshed."""
        ...

    def update_by_torch(self, gradients: Gradients, rate: float, num_steps: int) -> None:
        """The same by torch's operators, on any device; the vectors move at once."""
        ...


def step_sizes(rate: float, num_steps: int) -> tuple[np.float32, np.float32]:
    """The rate, and what second moments are multiplied by, both corrected for moments that began at zero."""
    return np.float32(rate / (1 - FIRST_DECAY**num_steps)), np.float32(1 / (1 - SECOND_DECAY**num_steps))


@numba.njit(fastmath=False, cache=True, nogil=True, inline="always")
def adam_move(moments: Floats, place: tuple[int, int], gradient: np.float32, sizes: tuple[np.float32, np.float32]) -> np.float32:
    """Renew both moments of one number, place: (row, column); returns what is to be taken off its value."""
    row, d = place
    first = moments[row, 0, d] + np.float32(1 - FIRST_DECAY) * (gradient - moments[row, 0, d])
    second = np.float32(SECOND_DECAY) * moments[row, 1, d] + np.float32(1 - SECOND_DECAY) * gradient * gradient
    moments[row, 0, d], moments[row, 1, d] = first, second
    taken: np.float32 = sizes[0] * first / (np.sqrt(second * sizes[1]) + np.float32(EPSILON))
    return taken


@numba.njit(fastmath=False, cache=True, nogil=True)
def _update_rows(values: Floats, moments: Floats, rows: Ints, gradients: Floats, sizes: tuple[np.float32, np.float32]) -> None:
    """A step of Adam for some rows of the table: values (rows, D), moments (rows, 2, D), both in place."""
    for i in range(len(rows)):
        for d in range(values.shape[1]):
            values[rows[i], d] -= adam_move(moments, (rows[i], d), gradients[i, d], sizes)


class OwnRows:
    """Every vector steps by itself.

    Parameters
    ----------
    network : JtmNetwork
        Its vectors are updated in place.
    """

    def __init__(self, network: JtmNetwork) -> None:
        self._network = network
        self.moments = torch.zeros(len(network.vectors), 2, network.vectors.shape[1], device=network.vectors.device)

    def refresh(self, rows: Ints | None = None) -> None:
        """See :meth:`RowSteps.refresh`; vectors move with their steps, there is nothing to do."""

    def update_on_cpu(self, gradients: Gradients, rate: float, num_steps: int) -> None:
        """See :meth:`RowSteps.update_on_cpu`."""
        values, moments = self._network.vectors.detach().numpy(), self.moments.numpy()
        row_gradients, sizes = gradients.row_gradients.numpy(), step_sizes(rate, num_steps)

        def update(k: int) -> None:
            part = slice(k * _CHUNK_ROWS, (k + 1) * _CHUNK_ROWS)
            _update_rows(values, moments, gradients.rows[part], row_gradients[part], sizes)

        run_chunks(update, -(-len(gradients.rows) // _CHUNK_ROWS))

    def update_by_torch(self, gradients: Gradients, rate: float, num_steps: int) -> None:
        """See :meth:`RowSteps.update_by_torch`."""
        rows = torch.from_numpy(gradients.rows).to(self._network.vectors.device)
        values, moments = self._network.vectors[rows], self.moments[rows]
        adam_step(values, gradients.row_gradients, moments[:, 0], moments[:, 1], rate, num_steps)
        self._network.vectors[rows], self.moments[rows] = values, moments

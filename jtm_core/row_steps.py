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
    """How the table of vectors is updated."""

    moments: Tensor
    """float32 (rows of some kind, 2, D): all that lasts from step to step."""

    def update(self, gradients: Gradients, rate: float, num_steps: int) -> None:
        """Move the network's vectors by one batch's gradients; ``num_steps`` counts this step."""
        ...


@numba.njit(cache=True, nogil=True)
def _update_rows(values: Floats, moments: Floats, rows: Ints, gradients: Floats, size: float, correction: float) -> None:
    """A step of Adam for some rows of the table: values (rows, D), moments (rows, 2, D), both in place."""
    gain, second_gain, step = np.float32(1 - FIRST_DECAY), np.float32(1 - SECOND_DECAY), np.float32(size)
    decay, scale, floor = np.float32(SECOND_DECAY), np.float32(1 / correction), np.float32(EPSILON)
    for i in range(len(rows)):
        value, first, second, gradient = values[rows[i]], moments[rows[i], 0], moments[rows[i], 1], gradients[i]
        for d in range(values.shape[1]):
            first[d] += gain * (gradient[d] - first[d])
            second[d] = decay * second[d] + second_gain * gradient[d] * gradient[d]
            value[d] -= step * first[d] / (np.sqrt(second[d] * scale) + floor)


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

    @torch.no_grad()
    def update(self, gradients: Gradients, rate: float, num_steps: int) -> None:
        """See :meth:`RowSteps.update`."""
        if self._network.vectors.device.type == "cpu" and self._network.vectors.dtype == torch.float32:
            self._update_on_cpu(gradients, rate, num_steps)
        else:
            self._update_by_torch(gradients, rate, num_steps)

    def _update_on_cpu(self, gradients: Gradients, rate: float, num_steps: int) -> None:
        values, moments = self._network.vectors.detach().numpy(), self.moments.numpy()
        row_gradients = gradients.row_gradients.numpy()
        size, correction = rate / (1 - FIRST_DECAY**num_steps), 1 - SECOND_DECAY**num_steps

        def update(k: int) -> None:
            part = slice(k * _CHUNK_ROWS, (k + 1) * _CHUNK_ROWS)
            _update_rows(values, moments, gradients.rows[part], row_gradients[part], size, correction)

        run_chunks(update, -(-len(gradients.rows) // _CHUNK_ROWS))

    def _update_by_torch(self, gradients: Gradients, rate: float, num_steps: int) -> None:
        rows = torch.from_numpy(gradients.rows).to(self._network.vectors.device)
        values, moments = self._network.vectors[rows], self.moments[rows]
        adam_step(values, gradients.row_gradients, moments[:, 0], moments[:, 1], rate, num_steps)
        self._network.vectors[rows], self.moments[rows] = values, moments

"""Adam (Kingma and Ba, 2015) whose cost does not grow with the number of items.

The network's dense parameters take plain Adam. Of the table of vectors only the rows that a batch touched are updated,
with moments kept per row and not decayed while a row rests ("lazy" Adam, as ``torch.optim.SparseAdam``); the bias
correction counts all steps. This departs from the paper's dense Adam, under which resting rows drift on.

With millions of rows a touched row comes from memory, not from the cache, so its two moments lie side by side and each
row is read and written once.
"""

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jtm_core.behaviours import Ints
from jtm_core.gradients import Gradients
from jtm_core.model import JtmNetwork
from jtm_core.threads import run_chunks, single_threaded_torch

Floats = NDArray[np.float32]

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8
_CHUNK_ROWS = 1024
_LAST_SHARE = 0.02


def linear_share(done: float) -> float:
    """Share of the learning rate that is left after ``done`` (0 .. 1) of the steps: falling evenly to a fiftieth."""
    return max(_LAST_SHARE, 1 - done)


def _adam_step(value: Tensor, gradient: Tensor, first: Tensor, second: Tensor, rate: float, step: int) -> None:
    """One step of Adam, in place."""
    first.lerp_(gradient, 1 - FIRST_DECAY)
    second.mul_(SECOND_DECAY).addcmul_(gradient, gradient, value=1 - SECOND_DECAY)
    size = rate / (1 - FIRST_DECAY**step)
    value.addcdiv_(first, (second / (1 - SECOND_DECAY**step)).sqrt_().add_(EPSILON), value=-size)


@numba.njit(cache=True, nogil=True)
def _update_rows(values: Floats, moments: Floats, rows: Ints, gradients: Floats, size: float, correction: float) -> None:
    """The same step for some rows of the table: values (rows, D), moments (rows, 2, D), both in place."""
    gain, second_gain, step = np.float32(1 - FIRST_DECAY), np.float32(1 - SECOND_DECAY), np.float32(size)
    decay, scale, floor = np.float32(SECOND_DECAY), np.float32(1 / correction), np.float32(EPSILON)
    for i in range(len(rows)):
        value, first, second, gradient = values[rows[i]], moments[rows[i], 0], moments[rows[i], 1], gradients[i]
        for d in range(values.shape[1]):
            first[d] += gain * (gradient[d] - first[d])
            second[d] = decay * second[d] + second_gain * gradient[d] * gradient[d]
            value[d] -= step * first[d] / (np.sqrt(second[d] * scale) + floor)


class Adam:
    """Moments of all parameters and the steps that use them.

    Parameters
    ----------
    network : JtmNetwork
        Updated in place by :meth:`step`.
    learning_rate : float
    """

    def __init__(self, network: JtmNetwork, learning_rate: float) -> None:
        self._network, self._rate, self.num_steps = network, learning_rate, 0
        self._dense = network.dense_parameters()
        self._moments = [torch.zeros_like(parameter) for parameter in self._dense for _ in range(2)]
        self._row_moments = torch.zeros(len(network.vectors), 2, network.vectors.shape[1], device=network.vectors.device)

    @torch.no_grad()
    def step(self, gradients: Gradients, part: float = 1.0) -> None:
        """Apply one batch's gradients, with ``part`` of the learning rate."""
        self.num_steps += 1
        rate = part * self._rate
        with single_threaded_torch():  # on a busy machine torch's threads wait milliseconds for each other over a layer's few numbers
            for place, (parameter, gradient) in enumerate(zip(self._dense, gradients.dense, strict=True)):
                first, second = self._moments[2 * place : 2 * place + 2]
                _adam_step(parameter, gradient, first, second, rate, self.num_steps)
        if self._network.vectors.device.type == "cpu" and self._network.vectors.dtype == torch.float32:
            self._update_on_cpu(gradients, rate)
        else:
            self._update_by_torch(gradients, rate)

    def _update_on_cpu(self, gradients: Gradients, rate: float) -> None:
        values, moments = self._network.vectors.detach().numpy(), self._row_moments.numpy()
        row_gradients = gradients.row_gradients.numpy()
        size, correction = rate / (1 - FIRST_DECAY**self.num_steps), 1 - SECOND_DECAY**self.num_steps

        def update(k: int) -> None:
            part = slice(k * _CHUNK_ROWS, (k + 1) * _CHUNK_ROWS)
            _update_rows(values, moments, gradients.rows[part], row_gradients[part], size, correction)

        run_chunks(update, -(-len(gradients.rows) // _CHUNK_ROWS))

    def _update_by_torch(self, gradients: Gradients, rate: float) -> None:
        rows = torch.from_numpy(gradients.rows).to(self._network.vectors.device)
        values, moments = self._network.vectors[rows], self._row_moments[rows]
        _adam_step(values, gradients.row_gradients, moments[:, 0], moments[:, 1], rate, self.num_steps)
        self._network.vectors[rows], self._row_moments[rows] = values, moments

    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on: moments and the number of steps."""
        moments = {f"moment.{place}": moment for place, moment in enumerate(self._moments)}
        return {"num_steps": torch.tensor(self.num_steps), "row_moments": self._row_moments, **moments}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from :meth:`state` of an optimiser over an equal network."""
        self.num_steps = int(state["num_steps"])
        self._row_moments.copy_(state["row_moments"])
        for place, moment in enumerate(self._moments):
            moment.copy_(state[f"moment.{place}"])

"""Adam (Kingma and Ba, 2015) whose cost does not grow with the number of items.

The network's dense parameters take plain Adam. Of the table of vectors only the rows that a batch touched are updated,
with moments kept per row and not decayed while a row rests ("lazy" Adam, as ``torch.optim.SparseAdam``); the bias
correction counts all steps. This departs from the paper's dense Adam, under which resting rows drift on.
"""

import torch
from torch import Tensor

from jtm_core.gradients import Gradients
from jtm_core.model import JtmNetwork

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8


def _adam_step(value: Tensor, gradient: Tensor, first: Tensor, second: Tensor, rate: float, step: int) -> None:
    """One step of Adam, in place."""
    first.lerp_(gradient, 1 - FIRST_DECAY)
    second.mul_(SECOND_DECAY).addcmul_(gradient, gradient, value=1 - SECOND_DECAY)
    size = rate / (1 - FIRST_DECAY**step)
    value.addcdiv_(first, (second / (1 - SECOND_DECAY**step)).sqrt_().add_(EPSILON), value=-size)


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
        self._row_moments = torch.zeros(2, *network.vectors.shape, device=network.vectors.device)

    @torch.no_grad()
    def step(self, gradients: Gradients) -> None:
        """Apply one batch's gradients."""
        self.num_steps += 1
        for place, (parameter, gradient) in enumerate(zip(self._dense, gradients.dense, strict=True)):
            first, second = self._moments[2 * place : 2 * place + 2]
            _adam_step(parameter, gradient, first, second, self._rate, self.num_steps)
        rows = torch.from_numpy(gradients.rows).to(self._network.vectors.device)
        values, first, second = self._network.vectors[rows], self._row_moments[0][rows], self._row_moments[1][rows]
        _adam_step(values, gradients.row_gradients, first, second, self._rate, self.num_steps)
        self._network.vectors[rows], self._row_moments[0][rows], self._row_moments[1][rows] = values, first, second

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

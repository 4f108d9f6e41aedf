"""Adam (Kingma and Ba, 2015) whose cost does not grow with the number of items.

The network's dense parameters take plain Adam, the table of vectors the steps of :mod:`jtm_core.row_steps` or, with levels tied to each
other, of :mod:`jtm_core.tied_rows`.
"""

import torch
from torch import Tensor

from jtm_core.behaviours import Ints
from jtm_core.config import TrainingConfig
from jtm_core.gradients import Gradients
from jtm_core.model import JtmNetwork
from jtm_core.row_steps import OwnRows, RowSteps, adam_step
from jtm_core.threads import single_threaded_torch
from jtm_core.tied_rows import TiedRows
from jtm_core.tree import TreeIndex

_LAST_SHARE = 0.02


def linear_share(done: float) -> float:
    """Share of the learning rate that is left after ``done`` (0 .. 1) of the steps: falling evenly to a fiftieth."""
    return max(_LAST_SHARE, 1 - done)


class Adam:
    """Moments of all parameters and the steps that use them.

    Parameters
    ----------
    network : JtmNetwork
        Updated in place by :meth:`step`; vectors that its rows leave behind, by :meth:`refresh`.
    learning_rate : float
    rows : RowSteps, optional
        What moves the network's vectors; by default each by itself.
    """

    def __init__(self, network: JtmNetwork, learning_rate: float, rows: RowSteps | None = None) -> None:
        self._rate, self.num_steps = learning_rate, 0
        self._dense, self._rows = network.dense_parameters(), rows or OwnRows(network)
        self._is_by_kernel = network.vectors.device.type == "cpu" and network.vectors.dtype == torch.float32
        self._moments = [torch.zeros_like(parameter) for parameter in self._dense for _ in range(2)]

    @torch.no_grad()
    def step(self, gradients: Gradients, part: float = 1.0) -> None:
        """Apply one batch's gradients, with ``part`` of the learning rate."""
        self.num_steps += 1
        rate = part * self._rate
        with single_threaded_torch():  # on a busy machine torch's threads wait milliseconds for each other over a layer's few numbers
            for place, (parameter, gradient) in enumerate(zip(self._dense, gradients.dense, strict=True)):
                first, second = self._moments[2 * place : 2 * place + 2]
                adam_step(parameter, gradient, first, second, rate, self.num_steps)
        update = self._rows.update_on_cpu if self._is_by_kernel else self._rows.update_by_torch
        update(gradients, rate, self.num_steps)

    def refresh(self, rows: Ints | None = None) -> None:
        """Let the network's vectors catch up with the steps: those of some rows, or all; call it before they are read.

        Parameters
        ----------
        rows : int64 array, optional
            Rows of the table, in any order and more than once if need be.
        """
        if self._is_by_kernel:
            self._rows.refresh(rows)

    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on: moments and the number of steps."""
        moments = {f"moment.{place}": moment for place, moment in enumerate(self._moments)}
        return {"num_steps": torch.tensor(self.num_steps), "row_moments": self._rows.moments, **moments}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from :meth:`state` of an optimiser over an equal network."""
        self.num_steps = int(state["num_steps"])
        self._rows.moments.copy_(state["row_moments"])
        for place, moment in enumerate(self._moments):
            moment.copy_(state[f"moment.{place}"])


def make_adam(network: JtmNetwork, tree: TreeIndex, config: TrainingConfig, first_level: int) -> Adam:
    """The optimiser that the settings ask for; where the leaves alone are trained there is nothing to tie."""
    is_tied = config.tied_levels and first_level < tree.height
    return Adam(network, config.learning_rate, TiedRows(network, tree, first_level) if is_tied else None)

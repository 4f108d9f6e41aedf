"""Processes that train one network together: each works on its share of every batch, all apply the sum.

Data-parallel training by ``torch.distributed``. All peers hold the same network and draw the same batches; a peer
computes the gradients of its samples, and before the optimiser's step they are added: the dense parameters by one
``all_reduce``, the touched rows of the table by one ``all_gather`` and a merge in the order of ranks. Every peer so takes
the same step, up to the bit. Against a single process only the order of float32 sums differs.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

from jtm_core.behaviours import Ints
from jtm_core.gradients import Gradients
from jtm_core.model import JtmNetwork


class Peers(Protocol):
    """What a training asks of the processes it runs in."""

    @property
    def rank(self) -> int:
        """Which of the peers this process is, 0 .. size - 1."""
        ...

    @property
    def size(self) -> int:
        """Number of peers."""
        ...

    def add(self, gradients: Gradients, share: float) -> Gradients:
        """Gradients of a whole batch from those of the peers' shares.

        Parameters
        ----------
        gradients : Gradients
            Of this peer's samples, as a mean over them.
        share : float
            Its part of the batch's samples, 0 .. 1; the shares of all peers sum to 1.
        """
        ...

    def told_by_first(self, judge: Callable[[], list[float]]) -> list[float]:
        """What ``judge`` says, which is asked on the first peer only; as many numbers on every call."""
        ...

    def check_equal(self, digest: bytes, what: str) -> None:
        """Raise ``RuntimeError`` naming ``what`` unless all peers give the same 32 bytes."""
        ...


class Alone:
    """A single process, which has nobody to ask."""

    rank, size = 0, 1

    def add(self, gradients: Gradients, share: float) -> Gradients:
        """See :meth:`Peers.add`; the share is the whole batch."""
        assert share == 1
        return gradients

    def told_by_first(self, judge: Callable[[], list[float]]) -> list[float]:
        """See :meth:`Peers.told_by_first`."""
        return judge()

    def check_equal(self, digest: bytes, what: str) -> None:
        """See :meth:`Peers.check_equal`; one process agrees with itself."""


class TorchPeers:
    """The processes of ``torch.distributed``'s default group, which must be initialised.

    Parameters
    ----------
    device : torch.device
        Where messages are laid out: the CPU for gloo, this process's GPU for nccl.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    @property
    def rank(self) -> int:
        """See :attr:`Peers.rank`."""
        return dist.get_rank()

    @property
    def size(self) -> int:
        """See :attr:`Peers.size`."""
        return dist.get_world_size()

    def add(self, gradients: Gradients, share: float) -> Gradients:
        """See :meth:`Peers.add`."""
        dense = torch.cat([gradient.flatten() for gradient in gradients.dense]).to(self._device) * share
        dist.all_reduce(dense)
        heads = self._gather(torch.tensor([gradients.loss * share, float(len(gradients.rows))], dtype=torch.float64))
        counts = [int(head[1]) for head in heads]
        rows = self._gather(_padded(torch.from_numpy(gradients.rows), max(counts)))
        parts = self._gather(_padded(gradients.row_gradients * share, max(counts)))
        merged = merge_rows(
            [part[:count].cpu().numpy() for part, count in zip(rows, counts, strict=True)],
            [part[:count] for part, count in zip(parts, counts, strict=True)],
        )
        sizes = [gradient.numel() for gradient in gradients.dense]
        shaped = [part.view_as(gradient) for part, gradient in zip(torch.split(dense, sizes), gradients.dense, strict=True)]
        return Gradients(float(sum(head[0] for head in heads)), *merged, shaped)

    def told_by_first(self, judge: Callable[[], list[float]]) -> list[float]:
        """See :meth:`Peers.told_by_first`."""
        told = [judge() if self.rank == 0 else None]
        dist.broadcast_object_list(told, src=0, device=self._device)
        assert told[0] is not None
        return told[0]

    def check_equal(self, digest: bytes, what: str) -> None:
        """See :meth:`Peers.check_equal`."""
        digests = [bytes(part.cpu().numpy()) for part in self._gather(torch.frombuffer(bytearray(digest), dtype=torch.uint8))]
        different = [rank for rank, other in enumerate(digests) if other != digests[0]]
        if different:
            raise RuntimeError(f"{what} of the peers {different} differs from that of peer 0; it must be the same up to the bit")

    def _gather(self, part: Tensor) -> list[Tensor]:
        """The equally large parts of all peers, in the order of ranks."""
        part = part.to(self._device).contiguous()
        parts = [torch.empty_like(part) for _ in range(self.size)]
        dist.all_gather(parts, part)
        return parts


def _padded(part: Tensor, length: int) -> Tensor:
    """``part`` with zeros behind it, up to ``length`` rows."""
    out = part.new_zeros(length, *part.shape[1:])
    out[: len(part)] = part
    return out


def merge_rows(rows: list[Ints], gradients: list[Tensor]) -> tuple[Ints, Tensor]:
    """Add gradients of table rows of several peers, in their order.

    Parameters
    ----------
    rows : list of int64 array (T_p,)
        Rows that each peer touched, each once.
    gradients : list of float32 tensor (T_p, D)

    Returns
    -------
    rows : int64 array (T,)
        All of them, ascending.
    gradients : float32 tensor (T, D)

    Examples
    --------
    >>> rows, total = merge_rows([np.array([2, 5]), np.array([5])], [torch.ones(2, 1), torch.ones(1, 1)])
    >>> rows, total.flatten()
    (array([2, 5]), tensor([1., 2.]))
    """
    union = np.unique(np.concatenate(rows))
    total = gradients[0].new_zeros(len(union), gradients[0].shape[1])
    for own, gradient in zip(rows, gradients, strict=True):
        total[torch.from_numpy(np.searchsorted(union, own)).to(total.device)] += gradient
    return union, total


def no_gradients(network: JtmNetwork) -> Gradients:
    """Gradients of no samples: what a peer whose share of a batch is empty adds."""
    dense = [torch.zeros_like(parameter) for parameter in network.dense_parameters()]
    return Gradients(0.0, np.empty(0, np.int64), network.vectors.new_zeros(0, network.vectors.shape[1]).detach(), dense)

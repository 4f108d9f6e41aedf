"""What a fit keeps of its work while it goes on, so that one that is killed goes on from there and ends with the same bits.

Two things are kept: what all rounds so far left, and the state of the training that is under way. Where and how often is not the
core's business.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

State = dict[str, Tensor]


class Keeper(Protocol):
    """Keeps states by name."""

    def kept(self, name: str) -> State | None:
        """The state that was kept last, of this process or an earlier one; None if there is none."""
        ...

    def keep(self, name: str, state: Callable[[], State]) -> None:
        """Keep a state in place of the one before."""
        ...

    def keep_if_due(self, name: str, state: Callable[[], State]) -> None:
        """Keep a state if the last one is old enough, which it is for the keeper to say; cheap, most calls keep nothing."""
        ...

    def forget(self, name: str) -> None:
        """Let go of a state, if there is one."""
        ...


class KeepNothing:
    """For fits that begin anew after a kill."""

    def kept(self, name: str) -> State | None:
        """See :class:`Keeper`."""

    def keep(self, name: str, state: Callable[[], State]) -> None:
        """See :class:`Keeper`."""

    def keep_if_due(self, name: str, state: Callable[[], State]) -> None:
        """See :class:`Keeper`."""

    def forget(self, name: str) -> None:
        """See :class:`Keeper`."""


def training_name(iteration: int) -> str:
    """Name of the state of an iteration's training."""
    return f"training-{iteration}"


def prefixed(state: State, prefix: str) -> State:
    """A state under names of its own, to stand beside others; :func:`part` is its inverse.

    Examples
    --------
    >>> import torch
    >>> part({"3.a": torch.zeros(1), "13.a": torch.ones(1)}, "3.")
    {'a': tensor([0.])}
    """
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def part(state: State, prefix: str) -> State:
    """What was put under a prefix."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}

"""Dials of the systems that count and factorise, which :mod:`jtm_core.config` has none for."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt, Le

from jtm_core.config import PositiveInt

_PYDANTIC = {"extra": "forbid", "use_attribute_docstrings": True, "allow_inf_nan": False}


@dataclass(frozen=True, kw_only=True)
class CountingConfig:
    """Popularity, Item-CF and ALS."""

    __pydantic_config__ = _PYDANTIC

    newest_share: Annotated[float, Gt(0), Le(1)] = 1.0
    """Share of the log's training behaviours, the newest, that are counted; see ``training.later_newest_share`` for what is trained."""
    recent_share: Annotated[float, Gt(0), Le(1)] = 0.01
    """recent-popularity: the share that it counts, in place of ``newest_share``."""
    num_neighbours: PositiveInt = 500
    """Item-CF, both weightings: nearest items kept of each item."""
    own_items: bool = False
    """Item-CF: an item may be a neighbour of itself, so that what a user had can be listed for its own sake. Serves logs with repeats."""
    als_factors: PositiveInt = 64
    """ALS: width of the vectors."""
    als_regularisation: Annotated[float, Gt(0)] = 0.01
    """ALS: weight of the squared vectors."""
    als_confidence: Annotated[float, Gt(0)] = 40.0
    """ALS: confidence of a cell for each behaviour in it; that of a cell without any is 1. So ``implicit`` has it; in Hu et al.
    a behaviour adds 40 to the 1. At 1 an item seen once would weigh no more than one never seen."""
    als_iterations: PositiveInt = 15
    """ALS: alternations."""

    def __post_init__(self) -> None:
        for name in ("num_neighbours", "als_factors", "als_iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed are 1 and more")
        for name in ("newest_share", "recent_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is 0 < share <= 1")
        for name in ("als_regularisation", "als_confidence"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")

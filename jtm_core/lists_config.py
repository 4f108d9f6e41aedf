"""Dials of lists for everybody, which :mod:`jtm_core.config` has none for."""

from dataclasses import dataclass

from jtm_core.config import EvaluationConfig, PositiveInt

_PYDANTIC = {"extra": "forbid", "use_attribute_docstrings": True, "allow_inf_nan": False}


@dataclass(frozen=True, kw_only=True)
class ListsConfig:
    """What lists a version is asked for."""

    __pydantic_config__ = _PYDANTIC

    count: PositiveInt = 100
    """Items a list, at most the beam's width."""
    without_seen: bool | None = None
    """Leave out items of the history; empty: as the version was judged (``evaluation.filter_seen``)."""
    beam_width: PositiveInt | None = None
    """Nodes kept per level; empty: as many as when the version was judged (``evaluation.beam_width``)."""

    def resolved(self, judged_by: EvaluationConfig) -> "ListsConfig":
        """The same with nothing left empty.

        Raises
        ------
        ValueError
            If more items are wanted than the beam keeps.

        Examples
        --------
        >>> ListsConfig(count=50).resolved(EvaluationConfig(filter_seen=True, beam_width=400))
        ListsConfig(count=50, without_seen=True, beam_width=400)
        """
        width = judged_by.beam_width if self.beam_width is None else self.beam_width
        if not 1 <= self.count <= width:
            raise ValueError(f"count is {self.count}; allowed are 1 .. {width}, the beam's width: ask for fewer items or set beam_width")
        seen = judged_by.filter_seen if self.without_seen is None else self.without_seen
        return ListsConfig(count=self.count, without_seen=seen, beam_width=width)

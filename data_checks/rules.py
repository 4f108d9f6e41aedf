"""Rules as plain records: what must hold, of what, and how bad it is if it does not.

Nothing here counts anything. ``validation`` lets Great Expectations count on pandas frames, ``streaming`` counts the same
six conditions on tables too long for a frame.
"""

from collections.abc import Callable
from dataclasses import dataclass

from data_checks.blocks import Rows


@dataclass(frozen=True, slots=True)
class Given:
    """The value is there: neither null nor an empty string or one of blanks."""

    column: str


@dataclass(frozen=True, slots=True)
class Within:
    """The value lies between two bounds, both included; ``None`` sets no bound, an empty value passes."""

    column: str
    minimum: float | int | None = None
    maximum: float | int | None = None


@dataclass(frozen=True, slots=True)
class Among:
    """The value is one of a set; an empty value passes."""

    column: str
    allowed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Holds:
    """The column, a bool worked out beforehand, is true."""

    column: str


@dataclass(frozen=True, slots=True)
class Same:
    """Both columns hold the same value; passes where either is empty."""

    column: str
    other: str


@dataclass(frozen=True, slots=True)
class NotAbove:
    """The first column is at most the second; passes where either is empty."""

    column: str
    other: str


def columns_of(condition: "Condition") -> tuple[str, ...]:
    """Columns a condition looks at, one or two."""
    return (condition.column, condition.other) if isinstance(condition, Same | NotAbove) else (condition.column,)


Condition = Given | Within | Among | Holds | Same | NotAbove


@dataclass(frozen=True, slots=True)
class Rule:
    """One law about a table.

    Parameters
    ----------
    name : str
        Name in reports, metrics and ``docs/data_checks.md``.
    condition : Condition
        What every row must meet.
    demand : str
        The same in words, limits included: "time must lie within 0 .. 10".
    why : str
        What goes wrong otherwise.
    is_hard : bool
        Hard rules stop the run, soft ones warn.
    allowed_share : float
        Share of rows, 0 .. 1, that may break the condition before the rule is broken.
    """

    name: str
    condition: Condition
    demand: str
    why: str
    is_hard: bool = True
    allowed_share: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.allowed_share <= 1:
            raise ValueError(f"allowed_share of rule {self.name} is {self.allowed_share}; allowed are 0 .. 1")


@dataclass(frozen=True, slots=True)
class Subject:
    """A table and the rules about its rows.

    Parameters
    ----------
    unit : str
        What a row is, in the plural: "rows", "users", "nodes"; "table" for a single row of totals.
    rules : tuple of Rule
    make_rows : callable without arguments
        Builds the table, a frame or blocks; not called if an earlier gate was broken.
    key : str
        Column that tells rows apart, such as the line number in the source file.
    shown : tuple of str
        Columns of an offending row that a report shows, beside those of the broken condition.
    is_gate : bool
        If a hard rule of it is broken, later subjects make no sense and are skipped.
    """

    unit: str
    rules: tuple[Rule, ...]
    make_rows: Callable[[], Rows]
    key: str
    shown: tuple[str, ...] = ()
    is_gate: bool = False

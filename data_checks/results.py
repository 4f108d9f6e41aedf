"""The outcome of one rule."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PLACE = ("file", "line")
"""What says where an offending row of a log stands."""
MAXIMUM_EXAMPLES = 10
"""Offending rows a report shows per rule."""
GREAT_EXPECTATIONS = "great_expectations"
"""Engine of a rule that Great Expectations counted on every row."""
STREAMED = "streamed"
"""Engine of a rule that was counted block by block on every row, with Great Expectations looking on at a sample."""


@dataclass(frozen=True, slots=True)
class RuleResult:
    """The outcome of one rule.

    Parameters
    ----------
    name : str
    is_hard : bool
        Whether a breach stops the run.
    is_passed : bool
    checked_rows, violating_rows : int
    share : float
        ``violating_rows / checked_rows``, 0 for an empty table.
    message : str
        The demand and what was found, in a sentence.
    examples : tuple of mappings
        The first offending rows, with their line numbers where there are any.
    unit : str
        What is counted: rows, users, nodes ...
    why : str
        What the rule protects from.
    engine : str
        Who counted ``checked_rows`` and ``violating_rows``: ``GREAT_EXPECTATIONS`` or ``STREAMED``.
    sampled_rows, sampled_violating_rows : int or None
        What Great Expectations saw of a streamed table and what of it broke the rule; its count is checked against the
        streamed one of the same rows. None where it counted all rows.
    """

    name: str
    is_hard: bool
    is_passed: bool
    checked_rows: int
    violating_rows: int
    share: float
    message: str
    examples: tuple[Mapping[str, Any], ...] = ()
    unit: str = "rows"
    why: str = ""
    engine: str = GREAT_EXPECTATIONS
    sampled_rows: int | None = None
    sampled_violating_rows: int | None = None

    @property
    def counted_by(self) -> str:
        """Who counted how many rows, in words; for a streamed rule also what Great Expectations saw."""
        if self.engine == GREAT_EXPECTATIONS:
            return "Great Expectations, every row"
        seen = f"Great Expectations on a sample of {self.sampled_rows:,}: {self.sampled_violating_rows:,}"
        return f"streamed counts, every row; {seen}"

    @property
    def verdict(self) -> str:
        """``passed``, ``failed`` (hard) or ``warned`` (soft)."""
        return "passed" if self.is_passed else "failed" if self.is_hard else "warned"


def format_row(row: Mapping[str, Any]) -> str:
    """An offending row in one line, its place first: ``line 17: user=3, item=5``, or ``b.csv line 17: ...`` among several files."""
    rest = ", ".join(f"{name}={'(empty)' if value is None else value}" for name, value in row.items() if name not in PLACE)
    place = f"{row['file']} line {row['line']}" if "file" in row else f"line {row['line']}" if row.get("line") is not None else ""
    return f"{place}: {rest}" if place else rest


def rule_lines(rule: RuleResult) -> list[str]:
    """A broken rule with its message and examples, a line each."""
    kind = "hard" if rule.is_hard else "soft"
    lines = [f"  [{kind}] {rule.name}: {rule.message}"] + [f"      {format_row(row)}" for row in rule.examples]
    if rule.violating_rows > len(rule.examples) > 0:
        lines.append(f"      ... and {rule.violating_rows - len(rule.examples):,} more")
    return lines


def sample_lines(rules: Sequence[RuleResult]) -> list[str]:
    """A line for each table that was streamed: how many rows were counted, and how many of them Great Expectations saw."""
    tables = Counter((rule.unit, rule.checked_rows, rule.sampled_rows) for rule in rules if rule.engine == STREAMED)
    return [
        f"  {number} rules about {unit} counted on all {checked:,} by streamed counts; Great Expectations ran on a sample of {sampled:,}"
        for (unit, checked, sampled), number in tables.items()
    ]

"""The outcome of one rule."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAXIMUM_EXAMPLES = 10
"""Offending rows a report shows per rule."""


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

    @property
    def verdict(self) -> str:
        """``passed``, ``failed`` (hard) or ``warned`` (soft)."""
        return "passed" if self.is_passed else "failed" if self.is_hard else "warned"


def format_row(row: Mapping[str, Any]) -> str:
    """An offending row in one line, its line number first: ``line 17: user=3, item=5``."""
    rest = ", ".join(f"{name}={'(empty)' if value is None else value}" for name, value in row.items() if name != "line")
    return f"line {row['line']}: {rest}" if row.get("line") is not None else rest


def rule_lines(rule: RuleResult) -> list[str]:
    """A broken rule with its message and examples, a line each."""
    kind = "hard" if rule.is_hard else "soft"
    lines = [f"  [{kind}] {rule.name}: {rule.message}"] + [f"      {format_row(row)}" for row in rule.examples]
    if rule.violating_rows > len(rule.examples) > 0:
        lines.append(f"      ... and {rule.violating_rows - len(rule.examples):,} more")
    return lines

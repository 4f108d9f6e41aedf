"""From counts to a rule's outcome, whoever counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from data_checks.results import RuleResult
from data_checks.rules import Rule, Subject, columns_of


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted for one rule.

    Parameters
    ----------
    checked, violating : int
        Rows looked at, and those that break the rule.
    examples : tuple of mappings
        The first offending rows, as :func:`plain_rows` gives them.
    """

    checked: int
    violating: int
    examples: tuple[Mapping[str, Any], ...] = ()

    @property
    def share(self) -> float:
        """Share of offending rows; 0 for an empty table."""
        return self.violating / self.checked if self.checked else 0.0


def result_of(rule: Rule, subject: Subject, tally: Tally, *, is_passed: bool) -> RuleResult:
    """A rule's outcome with its sentence about what was found; engine and sample are as for Great Expectations on all rows."""
    message = _message(rule, subject.unit, tally)
    counts = tally.checked, tally.violating, tally.share
    return RuleResult(rule.name, rule.is_hard, is_passed, *counts, message, tally.examples, subject.unit, rule.why)


def shown_columns(rule: Rule, subject: Subject) -> list[str]:
    """Columns of an offending row that a report shows: the key, the subject's, the condition's."""
    return list(dict.fromkeys([subject.key, *subject.shown, *columns_of(rule.condition)]))


def plain_rows(frame: pd.DataFrame) -> tuple[Mapping[str, Any], ...]:
    """Rows of a frame as plain Python values with None for empty ones."""
    return tuple({str(name): _plain(value) for name, value in row.items()} for row in frame.astype(object).to_dict("records"))


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, float) and np.isinf(value):
        return str(value)
    return value.item() if isinstance(value, np.generic) else value


def _message(rule: Rule, unit: str, tally: Tally) -> str:
    if unit == "table":
        found = tally.examples[0].get(rule.condition.column) if tally.examples else None
        return f"{rule.demand}; found {found}" if tally.examples else rule.demand
    tolerated = f" (tolerated up to {rule.allowed_share:.3g} of all)" if rule.allowed_share else ""
    if not tally.violating:
        return f"{rule.demand}{tolerated}; none of {tally.checked:,} {unit} breaks this"
    return f"{rule.demand}{tolerated}; {tally.violating:,} of {tally.checked:,} {unit} break this ({tally.share:.3%})"

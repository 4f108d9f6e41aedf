"""What a check leaves: a record of every rule's outcome, readable by people and machines."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from data_checks.report_pages import render_page
from data_checks.results import RuleResult, rule_lines, sample_lines


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The outcome of a suite of rules.

    Parameters
    ----------
    suite : str
        ``log``, ``behaviours`` or ``tree``.
    rules : tuple of RuleResult
        In the order they were checked.
    skipped_rules : tuple of str
        Rules not checked because the data is too broken to ask them.
    validations : tuple
        Great Expectations' own results, from which its Data Docs are built; not part of the JSON.
    """

    suite: str
    rules: tuple[RuleResult, ...]
    skipped_rules: tuple[str, ...] = ()
    validations: tuple[Any, ...] = field(default=(), repr=False, compare=False)

    @property
    def is_passed(self) -> bool:
        """True if no hard rule is broken."""
        return not self.failures

    @property
    def failures(self) -> tuple[RuleResult, ...]:
        """Broken hard rules."""
        return tuple(rule for rule in self.rules if rule.verdict == "failed")

    @property
    def warnings(self) -> tuple[RuleResult, ...]:
        """Broken soft rules."""
        return tuple(rule for rule in self.rules if rule.verdict == "warned")

    def raise_if_failed(self) -> None:
        """The gate.

        Raises
        ------
        CheckFailed
            If a hard rule is broken; its message names rules, counts, shares and the first offending rows.
        """
        if not self.is_passed:
            raise CheckFailed(self)

    def rule(self, name: str) -> RuleResult:
        """The outcome of one rule.

        Raises
        ------
        ValueError
            If the suite has no such rule or it was skipped.
        """
        found = [rule for rule in self.rules if rule.name == name]
        if not found:
            raise ValueError(f"no rule {name!r} was checked; checked were {', '.join(rule.name for rule in self.rules)}")
        return found[0]

    def to_json(self) -> str:
        """The report as JSON, the same text for the same data."""
        content = {
            "suite": self.suite,
            "is_passed": self.is_passed,
            "num_failures": len(self.failures),
            "num_warnings": len(self.warnings),
            "rules": [asdict(rule) | {"verdict": rule.verdict} for rule in self.rules],
            "skipped_rules": list(self.skipped_rules),
        }
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_frame(self) -> pd.DataFrame:
        """A short table, one row a rule: its verdict, what was counted, who counted, and what Great Expectations saw of a stream."""
        rows = [
            {
                "rule": rule.name,
                "verdict": rule.verdict,
                "kind": "hard" if rule.is_hard else "soft",
                "unit": rule.unit,
                "checked": rule.checked_rows,
                "violating": rule.violating_rows,
                "share": rule.share,
                "engine": rule.engine,
                "sampled": rule.sampled_rows,
                "message": rule.message,
            }
            for rule in self.rules
        ]
        columns = ["rule", "verdict", "kind", "unit", "checked", "violating", "share", "engine", "sampled", "message"]
        return pd.DataFrame(rows, columns=columns).astype({"sampled": "Int64"})

    def to_text(self) -> str:
        """Every broken rule with its count, share and first offending rows, hard ones first."""
        head = f"{self.suite} check {'passed' if self.is_passed else 'failed'}: "
        head += f"{len(self.failures)} hard and {len(self.warnings)} soft of {len(self.rules)} rules broken"
        lines = [head, *sample_lines(self.rules)] + [line for rule in self.failures + self.warnings for line in rule_lines(rule)]
        if self.skipped_rules:
            lines.append(f"  not checked, as the above comes first: {', '.join(self.skipped_rules)}")
        return "\n".join(lines)

    def to_html(self) -> str:
        """A page of its own, readable offline, in light and dark."""
        return render_page(self.suite, self.rules, self.skipped_rules)

    def write_data_docs(self, directory: Path) -> Path:
        """Build Great Expectations' Data Docs (static HTML, a few seconds) and return the path of their ``index.html``.

        Raises
        ------
        ValueError
            If the report was not made by a check in this process, and so carries no results of Great Expectations.
        """
        if not self.validations:
            raise ValueError(f"the {self.suite} report carries no validation results; only a report fresh from a check has Data Docs")
        from data_checks.data_docs import write_data_docs  # here, as importing Great Expectations takes seconds

        return write_data_docs(self.suite, self.validations, directory)


class CheckFailed(Exception):
    """Data broke a hard rule; ``report`` says which, and the message quotes the first offending rows."""

    def __init__(self, report: CheckReport) -> None:
        super().__init__(report.to_text())
        self.report = report

    def __reduce__(self) -> tuple[type["CheckFailed"], tuple[CheckReport]]:
        return CheckFailed, (CheckReport(self.report.suite, self.report.rules, self.report.skipped_rules),)

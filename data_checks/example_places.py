"""Offending rows of a log of several files are told by file and line in it, not by a line number that runs on through all."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from data_checks.reports import CheckReport

PlaceOf = Callable[[int], tuple[str, int]]
"""File, and line in it, of a line number that runs on through all files."""

_OTHER_LINES = ("copy_of", "repeat_of")


def with_places(report: CheckReport, place_of: PlaceOf) -> CheckReport:
    """The report with ``file`` and the line in it in every example that has a line."""
    rules = (replace(rule, examples=tuple(_placed(example, place_of) for example in rule.examples)) for rule in report.rules)
    return replace(report, rules=tuple(rules))


def _placed(example: Mapping[str, Any], place_of: PlaceOf) -> Mapping[str, Any]:
    if example.get("line") is None:
        return example
    file, line = place_of(example["line"])
    others = {name: "{} line {}".format(*place_of(example[name])) for name in _OTHER_LINES if example.get(name)}
    return {"file": file, **example, "line": line, **others}

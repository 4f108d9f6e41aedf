"""Great Expectations as the engine that counts: one suite and one Checkpoint per table, in a context that leaves no files."""

from collections.abc import Iterable, Mapping
from typing import Any

import great_expectations as gx
import numpy as np
import pandas as pd
from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext
from great_expectations.expectations.expectation import MulticolumnMapExpectation

from data_checks.contexts import ONE_AT_A_TIME, make_context
from data_checks.expectations import (
    ExpectValueAmong,
    ExpectValueGiven,
    ExpectValueHolds,
    ExpectValueNotAbove,
    ExpectValuesSame,
    ExpectValueWithin,
)
from data_checks.reports import CheckReport
from data_checks.results import MAXIMUM_EXAMPLES, RuleResult
from data_checks.rules import Among, Given, Holds, NotAbove, Rule, Same, Subject, Within, columns_of

_RESULT_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": MAXIMUM_EXAMPLES}


def check_subjects(suite: str, subjects: Iterable[Subject]) -> CheckReport:
    """Check tables one after the other; once a gate is broken, the rules of later tables are only listed as skipped.

    Raises
    ------
    RuntimeError
        If a rule could not be counted at all, which is a mistake in the rule and not in the data.
    """
    results: list[RuleResult] = []
    skipped: list[str] = []
    validations: list[ExpectationSuiteValidationResult] = []
    is_open = True
    with ONE_AT_A_TIME:
        context = make_context()
        for subject in subjects:
            if not is_open:
                skipped += [rule.name for rule in subject.rules]
                continue
            validation, found = _check_subject(context, suite, subject)
            validations.append(validation)
            results += found
            is_open = not (subject.is_gate and any(result.verdict == "failed" for result in found))
    return CheckReport(suite, tuple(results), tuple(skipped), tuple(validations))


def expectation_of(rule: Rule, key: str) -> MulticolumnMapExpectation:
    """The expectation that counts a rule; ``key`` is the column that tells rows apart."""
    settings: dict[str, Any] = {
        "mostly": 1.0 - rule.allowed_share,
        "ignore_row_if": "never",
        "description": f"{rule.name}: {rule.demand}",
        "notes": rule.why,
        "meta": {"rule": rule.name},
        "severity": "critical" if rule.is_hard else "warning",
    }
    settings["column_list"] = [*columns_of(rule.condition), key]
    match rule.condition:
        case Given():
            return ExpectValueGiven(**settings)
        case Within(minimum=minimum, maximum=maximum):
            return ExpectValueWithin(minimum=minimum, maximum=maximum, **settings)
        case Among(allowed=allowed):
            return ExpectValueAmong(allowed=list(allowed), **settings)
        case Holds():
            return ExpectValueHolds(**settings)
        case Same():
            return ExpectValuesSame(**settings)
        case NotAbove():
            return ExpectValueNotAbove(**settings)


def _check_subject(
    context: EphemeralDataContext, suite: str, subject: Subject
) -> tuple[ExpectationSuiteValidationResult, list[RuleResult]]:
    frame = subject.make_frame()
    expectations = [expectation_of(rule, subject.key) for rule in subject.rules]
    validation = _validate(context, f"{suite} {subject.unit}", frame, expectations)
    counted = {outcome.expectation_config.meta["rule"]: outcome for outcome in validation.results}  # type: ignore[union-attr]
    return validation, [_result_of(rule, counted[rule.name], subject, frame) for rule in subject.rules]


def _validate(
    context: EphemeralDataContext, name: str, frame: pd.DataFrame, expectations: list[MulticolumnMapExpectation]
) -> ExpectationSuiteValidationResult:
    batch = context.data_sources.add_pandas(name).add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=list(expectations)))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
    checkpoint = gx.Checkpoint(name=name, validation_definitions=[definition], result_format=_RESULT_FORMAT)
    result = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": frame})
    return next(iter(result.run_results.values()))


def _result_of(rule: Rule, outcome: Any, subject: Subject, frame: pd.DataFrame) -> RuleResult:
    if outcome.exception_info.get("raised_exception", True):
        raise RuntimeError(f"rule {rule.name} could not be counted: {outcome.exception_info}")
    checked, violating = len(frame), int(outcome.result["unexpected_count"])
    share = violating / checked if checked else 0.0
    keys = [record[subject.key] for record in outcome.result["partial_unexpected_list"][:MAXIMUM_EXAMPLES]]
    names = [subject.key, *subject.shown, *columns_of(rule.condition)]
    examples = _rows_of(frame[list(dict.fromkeys(names))], subject.key, keys)
    message = _message(rule, subject.unit, (checked, violating), examples)
    is_passed = bool(outcome.success)
    return RuleResult(rule.name, rule.is_hard, is_passed, checked, violating, share, message, examples, subject.unit, rule.why)


def _rows_of(frame: pd.DataFrame, key: str, keys: list[Any]) -> tuple[Mapping[str, Any], ...]:
    """Whole rows for the keys of offending rows, in the frame's order, as plain Python values with None for empty ones."""
    if not keys:
        return ()
    rows = frame[frame[key].isin(keys)].drop_duplicates(key).head(len(keys))
    return tuple({str(name): _plain(value) for name, value in row.items()} for row in rows.astype(object).to_dict("records"))


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, float) and np.isinf(value):
        return str(value)
    return value.item() if isinstance(value, np.generic) else value


def _message(rule: Rule, unit: str, counts: tuple[int, int], examples: tuple[Mapping[str, Any], ...]) -> str:
    checked, violating = counts
    if unit == "table":
        found = examples[0].get(rule.condition.column) if examples else None
        return f"{rule.demand}; found {found}" if examples else rule.demand
    tolerated = f" (tolerated up to {rule.allowed_share:.3g} of all)" if rule.allowed_share else ""
    if not violating:
        return f"{rule.demand}{tolerated}; none of {checked:,} {unit} breaks this"
    return f"{rule.demand}{tolerated}; {violating:,} of {checked:,} {unit} break this ({violating / checked:.3%})"

"""Great Expectations as the engine that counts: one suite and one Checkpoint per table, in a context that leaves no files.

A table that comes in blocks is counted by ``streaming`` on every row, which decides; Great Expectations runs the same suite
on a fixed sample of the blocks, and both must count the same there.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext
from great_expectations.expectations.expectation import MulticolumnMapExpectation

from data_checks.blocks import Blocks
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
from data_checks.results import MAXIMUM_EXAMPLES, STREAMED, RuleResult
from data_checks.rules import Among, Given, Holds, NotAbove, Rule, Same, Subject, Within, columns_of
from data_checks.streaming import count_blocks, is_tolerated
from data_checks.verdicts import Tally, plain_rows, result_of, shown_columns

_RESULT_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": MAXIMUM_EXAMPLES}


def check_subjects(suite: str, subjects: Iterable[Subject]) -> CheckReport:
    """Check tables one after the other; once a gate is broken, the rules of later tables are only listed as skipped.

    Raises
    ------
    RuntimeError
        If a rule could not be counted at all, or the two engines count a sample differently, which is a mistake in the
        rule or an engine and not in the data.
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
    rows, name = subject.make_rows(), f"{suite} {subject.unit}"
    if isinstance(rows, Blocks):
        return _check_blocks(context, f"{name}, sample", subject, rows)
    validation = _validate(context, name, subject, rows)
    outcomes = zip(subject.rules, _outcomes(validation, subject.rules), strict=True)
    return validation, [_result_of(rule, outcome, subject, rows) for rule, outcome in outcomes]


def _check_blocks(
    context: EphemeralDataContext, name: str, subject: Subject, blocks: Blocks
) -> tuple[ExpectationSuiteValidationResult, list[RuleResult]]:
    streamed = count_blocks(subject, blocks)
    name = f"{name} of {len(streamed.sample)} rows"
    validation, results = _validate(context, name, subject, streamed.sample), []
    outcomes = _outcomes(validation, subject.rules)
    for rule, outcome, tally, sampled in zip(subject.rules, outcomes, streamed.tallies, streamed.sampled_violating, strict=True):
        counted = _violating(rule, outcome)
        if counted != sampled:
            raise RuntimeError(
                f"rule {rule.name}: on the same {len(streamed.sample)} rows Great Expectations counts {counted}, the stream {sampled}"
            )
        result = result_of(rule, subject, tally, is_passed=is_tolerated(rule, tally))
        results.append(replace(result, engine=STREAMED, sampled_rows=len(streamed.sample), sampled_violating_rows=sampled))
    return validation, results


def _validate(context: EphemeralDataContext, name: str, subject: Subject, frame: pd.DataFrame) -> ExpectationSuiteValidationResult:
    expectations = [expectation_of(rule, subject.key) for rule in subject.rules]
    batch = context.data_sources.add_pandas(name).add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=[*expectations]))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
    checkpoint = gx.Checkpoint(name=name, validation_definitions=[definition], result_format=_RESULT_FORMAT)
    result = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": frame})
    return next(iter(result.run_results.values()))


def _outcomes(validation: ExpectationSuiteValidationResult, rules: Iterable[Rule]) -> list[Any]:
    """Great Expectations' outcomes in the order of the rules."""
    found = {outcome.expectation_config.meta["rule"]: outcome for outcome in validation.results}  # type: ignore[union-attr]
    return [found[rule.name] for rule in rules]


def _violating(rule: Rule, outcome: Any) -> int:
    if outcome.exception_info.get("raised_exception", True):
        raise RuntimeError(f"rule {rule.name} could not be counted: {outcome.exception_info}")
    return int(outcome.result["unexpected_count"])


def _result_of(rule: Rule, outcome: Any, subject: Subject, frame: pd.DataFrame) -> RuleResult:
    violating = _violating(rule, outcome)
    keys = [record[subject.key] for record in outcome.result["partial_unexpected_list"][:MAXIMUM_EXAMPLES]]
    examples = _rows_of(frame[shown_columns(rule, subject)], subject.key, keys)
    return result_of(rule, subject, Tally(len(frame), violating, plain_rows(examples)), is_passed=bool(outcome.success))


def _rows_of(frame: pd.DataFrame, key: str, keys: list[Any]) -> pd.DataFrame:
    """Whole rows for the keys of offending rows, in the frame's order."""
    return frame[frame[key].isin(keys)].drop_duplicates(key).head(len(keys))

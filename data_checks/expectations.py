"""The six conditions as Great Expectations' own kind: row-wise expectations with vectorised pandas metrics.

All are multi-column map expectations, even those about one column, because only these report whole records of the
offending rows, and so their line numbers: the last entry of ``column_list`` is the key of the row.
Every metric is the twin of a record in ``rules`` and asks the function of the same name in ``conditions``.
"""

from typing import Any, ClassVar

import pandas as pd
from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import MulticolumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_condition_partial import multicolumn_condition_partial
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_map_metric_provider import MulticolumnMapMetricProvider

from data_checks import conditions

_DOMAIN = ("batch_id", "table", "column_list", "row_condition", "condition_parser", "ignore_row_if")


def _passes(columns: pd.DataFrame, is_met: conditions.Mask) -> "pd.Series[bool]":
    return pd.Series(is_met, index=columns.index)


class ValueGiven(MulticolumnMapMetricProvider):
    """True where the first column is neither null nor an empty string or one of blanks."""

    condition_metric_name = "multicolumn_values.given"
    condition_domain_keys = _DOMAIN

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(self, columns: pd.DataFrame, **_: Any) -> "pd.Series[bool]":
        return _passes(columns, conditions.given(columns.iloc[:, 0]))


class ValueWithin(MulticolumnMapMetricProvider):
    """True where the first column lies between two bounds or is empty."""

    condition_metric_name = "multicolumn_values.within"
    condition_domain_keys = _DOMAIN
    condition_value_keys = ("minimum", "maximum")

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(self, columns: pd.DataFrame, minimum: float | None = None, maximum: float | None = None, **_: Any) -> "pd.Series[bool]":
        return _passes(columns, conditions.within(columns.iloc[:, 0], minimum, maximum))


class ValueAmong(MulticolumnMapMetricProvider):
    """True where the first column is one of a set or empty."""

    condition_metric_name = "multicolumn_values.among"
    condition_domain_keys = _DOMAIN
    condition_value_keys = ("allowed",)

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(self, columns: pd.DataFrame, allowed: list[str] | None = None, **_: Any) -> "pd.Series[bool]":
        return _passes(columns, conditions.among(columns.iloc[:, 0], allowed or []))


class ValueHolds(MulticolumnMapMetricProvider):
    """True where the first column, a bool, is true."""

    condition_metric_name = "multicolumn_values.holds"
    condition_domain_keys = _DOMAIN

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(self, columns: pd.DataFrame, **_: Any) -> "pd.Series[bool]":
        return _passes(columns, conditions.holds(columns.iloc[:, 0]))


class ValuesSame(MulticolumnMapMetricProvider):
    """True where the first two columns are equal or one of them is empty."""

    condition_metric_name = "multicolumn_values.same"
    condition_domain_keys = _DOMAIN

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(self, columns: pd.DataFrame, **_: Any) -> "pd.Series[bool]":
        return _passes(columns, conditions.same(columns.iloc[:, 0], columns.iloc[:, 1]))


class ValueNotAbove(MulticolumnMapMetricProvider):
    """True where the first column is at most the second or one of them is empty."""

    condition_metric_name = "multicolumn_values.not_above"
    condition_domain_keys = _DOMAIN

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(self, columns: pd.DataFrame, **_: Any) -> "pd.Series[bool]":
        return _passes(columns, conditions.not_above(columns.iloc[:, 0], columns.iloc[:, 1]))


class ExpectValueGiven(MulticolumnMapExpectation):
    """Every value of the first column is there: neither null nor an empty string or one of blanks."""

    map_metric: ClassVar[str | None] = ValueGiven.condition_metric_name


class ExpectValueWithin(MulticolumnMapExpectation):
    """Every value of the first column lies between ``minimum`` and ``maximum``, both included; empty values pass."""

    map_metric: ClassVar[str | None] = ValueWithin.condition_metric_name
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "minimum", "maximum")
    minimum: float | int | None = None
    maximum: float | int | None = None


class ExpectValueAmong(MulticolumnMapExpectation):
    """Every value of the first column is one of ``allowed``; empty values pass."""

    map_metric: ClassVar[str | None] = ValueAmong.condition_metric_name
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "allowed")
    allowed: list[str]


class ExpectValueHolds(MulticolumnMapExpectation):
    """Every value of the first column, a bool, is true."""

    map_metric: ClassVar[str | None] = ValueHolds.condition_metric_name


class ExpectValuesSame(MulticolumnMapExpectation):
    """The first two columns agree in every row; rows with an empty value pass."""

    map_metric: ClassVar[str | None] = ValuesSame.condition_metric_name


class ExpectValueNotAbove(MulticolumnMapExpectation):
    """The first column is at most the second in every row; rows with an empty value pass."""

    map_metric: ClassVar[str | None] = ValueNotAbove.condition_metric_name

"""The six conditions on pandas columns: one bool per row, true where the row is as it should be.

Both engines ask these functions: Great Expectations through ``expectations``, the streamed count through :func:`is_met`.
Comparisons with an empty value count as met; whether a value is there is a condition of its own.
"""

from collections.abc import Sequence
from typing import Any, assert_never

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_checks.rules import Among, Condition, Given, Holds, NotAbove, Same, Within

Mask = NDArray[np.bool_]


def is_met(condition: Condition, frame: pd.DataFrame) -> Mask:
    """Whether each row of a frame meets a condition: bool array, one entry a row."""
    values = frame[condition.column]
    match condition:
        case Given():
            return given(values)
        case Within(minimum=minimum, maximum=maximum):
            return within(values, minimum, maximum)
        case Among(allowed=allowed):
            return among(values, allowed)
        case Holds():
            return holds(values)
        case Same(other=other):
            return same(values, frame[other])
        case NotAbove(other=other):
            return not_above(values, frame[other])
        case _:
            assert_never(condition)


def given(values: "pd.Series[Any]") -> Mask:
    """True where there is a value other than an empty string or one of blanks."""
    return ~np.asarray(_empty(values) | _blank(values) | np.zeros(len(values), dtype=bool))


def within(values: "pd.Series[Any]", minimum: float | None, maximum: float | None) -> Mask:
    """True where a value lies between two bounds, both included, or is empty."""
    is_inside: Any = np.ones(len(values), dtype=bool)
    is_inside = is_inside if minimum is None else is_inside & (values >= minimum)
    is_inside = is_inside if maximum is None else is_inside & (values <= maximum)
    return _plain(is_inside | _empty(values))


def among(values: "pd.Series[Any]", allowed: Sequence[str]) -> Mask:
    """True where a value is one of a set or empty; ``isin``, not one comparison per member."""
    return _plain(values.isin(list(allowed)) | _empty(values))


def holds(values: "pd.Series[Any]") -> Mask:
    """True where a value, a bool, is true."""
    return _plain(values)


def same(left: "pd.Series[Any]", right: "pd.Series[Any]") -> Mask:
    """True where two values are equal or one of them is empty."""
    return _plain((left == right) | _empty(left) | _empty(right))


def not_above(left: "pd.Series[Any]", right: "pd.Series[Any]") -> Mask:
    """True where the left value is at most the right one or one of them is empty."""
    return _plain((left <= right) | _empty(left) | _empty(right))


def _empty(values: "pd.Series[Any]") -> Any:
    return False if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iub" else values.isna()


def _blank(values: "pd.Series[Any]") -> Any:
    if values.dtype.kind in "iufb":
        return False
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.isin([word for word in values.cat.categories if isinstance(word, str) and not word.strip()])
    return np.asarray(values.str.strip().eq("").fillna(False), dtype=bool)


def _plain(is_right: Any) -> Mask:
    """Plain bools; what pandas leaves undecided, a comparison with an empty value, counts as met."""
    if isinstance(is_right, pd.Series) and is_right.dtype == "boolean":
        is_right = is_right.fillna(True)
    return np.asarray(is_right, dtype=bool)

"""Systems compared fairly: mean and spread over seeds, and paired differences with confidence intervals over users.

The seeds of a system are repetitions of its training; users are a sample of those it could serve. So a user's measure is
averaged over the seeds first, then systems are paired user by user, and the interval is that of the mean over users: the
percentile bootstrap [1]_, users drawn with replacement, the same draws for every column. Beside it stands the normal interval
``mean +- z * s / sqrt(E)``; where the two part, there are too few users. Neither says how much another training would differ:
that is the standard deviation over seeds.

Shape letters: S seeds, E users, K columns (a measure, or a contrast of systems).

References
----------
.. [1] B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. Pairing by user is as in
   M. Smucker, J. Allan and B. Carterette, A comparison of statistical significance tests for information retrieval
   evaluation, CIKM 2007.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 2000
"""Samples of users that a bootstrap draws."""
_DRAWS_PER_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True)
class Spread:
    """A measure over the seeds of one system.

    Parameters
    ----------
    mean : float
        Mean over seeds of the mean over users.
    deviation : float or None
        Sample standard deviation over seeds of the mean over users (divisor S - 1); None with one seed.
    num_seeds : int
    """

    mean: float
    deviation: float | None
    num_seeds: int


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over users and where it may lie.

    Parameters
    ----------
    mean : float
    low, high : float
        Ends of the bootstrap interval.
    normal_low, normal_high : float
        Ends of the normal interval; equal to the mean with one user.
    """

    mean: float
    low: float
    high: float
    normal_low: float
    normal_high: float


def spread_over_seeds(values_SE: Floats) -> Spread:
    """Mean and standard deviation over seeds.

    Parameters
    ----------
    values_SE : float64 array (S, E)
        A measure of every user under every seed.

    Raises
    ------
    ValueError
        If there is no seed or no user.

    Examples
    --------
    >>> spread = spread_over_seeds(np.array([[0.0, 0.5], [0.25, 0.75], [0.5, 1.0]]))
    >>> spread.mean, spread.deviation
    (0.5, 0.25)
    """
    _check(values_SE)
    means = values_SE.mean(axis=1)
    return Spread(float(means.mean()), float(means.std(ddof=1)) if len(means) > 1 else None, len(means))


def contrast(values: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """Weighted sum of systems, user by user, each averaged over its seeds first.

    Parameters
    ----------
    values : mapping of str to float64 array (S, E)
        A measure of every user by system; systems may have different numbers of seeds, but the same users in the same order.
    weights : mapping of str to float
        Systems that count: ``{"jtm": 1, "tdm": -1}`` is the paired difference of two.

    Returns
    -------
    float64 array (E,)

    Raises
    ------
    ValueError
        If systems have different numbers of users, or there is none.

    Examples
    --------
    >>> contrast({"jtm": np.array([[0.5, 0.25]]), "tdm": np.array([[0.5, 0.0]])}, {"jtm": 1, "tdm": -1})
    array([0.  , 0.25])
    """
    for name in weights:
        _check(values[name])
    sizes = {name: values[name].shape[1] for name in weights}
    if len(set(sizes.values())) != 1:
        raise ValueError(f"systems were measured on {sizes} users; a contrast needs the same users for all")
    total: Floats = np.sum([weight * values[name].mean(axis=0) for name, weight in weights.items()], axis=0)
    return total


def intervals_over_users(
    values_EK: Floats, rng: np.random.Generator, confidence: float = 0.95, resamples: int = RESAMPLES
) -> list[Interval]:
    """Confidence interval of every column's mean over users.

    Parameters
    ----------
    values_EK : float64 array (E, K)
        One value a user and column, e.g. from :func:`contrast`.
    rng : Generator
        Draws the users; one draw serves all columns.
    confidence : float
        Share of intervals that hold the true mean, above 0 and below 1.
    resamples : int
        Samples drawn, at least 1.

    Returns
    -------
    list of Interval
        One a column.

    Raises
    ------
    ValueError
        If there is no user, or ``confidence`` or ``resamples`` is out of range.
    """
    _check(values_EK.T)
    if not 0 < confidence < 1 or resamples < 1:
        raise ValueError(f"confidence is {confidence}, resamples {resamples}; allowed are 0 < confidence < 1, and 1 and more")
    tail = (1 - confidence) / 2
    lows, highs = np.quantile(bootstrap_means(values_EK, rng, resamples), [tail, 1 - tail], axis=0)
    means = values_EK.mean(axis=0)
    reach = NormalDist().inv_cdf(1 - tail) * _standard_errors(values_EK)
    columns = zip(means, lows, highs, means - reach, means + reach, strict=True)
    return [Interval(*(float(value) for value in column)) for column in columns]


def bootstrap_means(values_EK: Floats, rng: np.random.Generator, resamples: int) -> Floats:
    """Means of every column over users drawn with replacement: float64 (resamples, K)."""
    count = len(values_EK)
    means = np.empty((resamples, values_EK.shape[1]))
    for first in range(0, resamples, step := max(1, _DRAWS_PER_BLOCK // count)):
        size = min(step, resamples - first)
        drawn = rng.integers(count, size=(size, count)) + np.arange(size)[:, None] * count
        times_drawn = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        means[first : first + size] = times_drawn @ values_EK / count
    return means


def _standard_errors(values_EK: Floats) -> Floats:
    count = len(values_EK)
    errors: Floats = values_EK.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.zeros(values_EK.shape[1])
    return errors


def _check(values_SE: Floats) -> None:
    if values_SE.ndim != 2 or 0 in values_SE.shape:
        raise ValueError(f"values have shape {values_SE.shape}; allowed are two axes, each at least 1 long")

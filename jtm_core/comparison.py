"""Systems compared fairly: mean and spread over seeds, and paired differences with confidence intervals.

The seeds of a system are repetitions of its training; users are a sample of those it could serve. So what a system found is
averaged over the seeds first, then systems are paired target by target and so user by user, and the first interval is that of
the mean over users: the percentile bootstrap [1]_, users drawn with replacement, the same draws for every column. It takes each
user for a judge of his own. They are not where all want the same: on an evening's news a single article can be a twentieth of what
everybody is asked for, and another evening has another. So the second, two-way interval takes the items asked for as a sample
too: ``mean +- z * sqrt(V)`` with the two-way clustered variance [2]_

    V = V_users + V_items - V_targets,

each the sum of squares of the residuals' sums over one user, item or (user, item) pair, times ``G / (G - 1)`` of G such groups. It is
never taken for less than ``V_users``. Neither says how much another training would differ: that is the standard deviation over seeds.

Shape letters: S seeds, E users, N targets, K columns (a measure, or a contrast of systems).

References
----------
.. [1] B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. Pairing by user is as in
   M. Smucker, J. Allan and B. Carterette, A comparison of statistical significance tests for information retrieval
   evaluation, CIKM 2007.
.. [2] C. Cameron, J. Gelbach and D. Miller, Robust inference with multiway clustering, Journal of Business and Economic
   Statistics 29, 2011. That users and items are both samples: A. Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1, 2007.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Ints
from jtm_core.found_targets import Targets

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
        Ends of the interval over users, by the bootstrap.
    two_way_low, two_way_high : float
        Ends of the interval over users and items.
    """

    mean: float
    low: float
    high: float
    two_way_low: float
    two_way_high: float


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
    """Weighted sum of systems, target by target, each averaged over its seeds first.

    Parameters
    ----------
    values : mapping of str to float64 array (S, N)
        A measure of every target by system, such as whether it was found; systems may have different numbers of seeds, but the same
        targets in the same order.
    weights : mapping of str to float
        Systems that count: ``{"jtm": 1, "tdm": -1}`` is the paired difference of two.

    Returns
    -------
    float64 array (N,)

    Raises
    ------
    ValueError
        If systems have different numbers of targets, or there is none.

    Examples
    --------
    >>> contrast({"jtm": np.array([[1.0, 0.5]]), "tdm": np.array([[1.0, 0.0]])}, {"jtm": 1, "tdm": -1})
    array([0. , 0.5])
    """
    for name in weights:
        _check(values[name])
    sizes = {name: values[name].shape[1] for name in weights}
    if len(set(sizes.values())) != 1:
        raise ValueError(f"systems were asked for {sizes} targets; a contrast needs the same for all")
    total: Floats = np.sum([weight * values[name].mean(axis=0) for name, weight in weights.items()], axis=0)
    return total


def recall_intervals(
    targets: Targets, found: Iterable[Floats], rng: np.random.Generator, confidence: float = 0.95, resamples: int = RESAMPLES
) -> list[Interval]:
    """Confidence intervals of recalls, or of contrasts of recalls.

    Parameters
    ----------
    targets : Targets
    found : iterable of K float64 arrays (N,)
        How much of each target was found, e.g. a :func:`contrast` of 0 and 1. They are asked for one after the other.
    rng : Generator
        Draws the users; one draw serves all columns.
    confidence : float
        Share of intervals that hold the true mean, above 0 and below 1.
    resamples : int
        Samples of users drawn, at least 1.

    Returns
    -------
    list of Interval
        One a column, none without columns.

    Raises
    ------
    ValueError
        If ``confidence`` or ``resamples`` is out of range, or a column has not N values.
    """
    if not 0 < confidence < 1 or resamples < 1:
        raise ValueError(f"confidence is {confidence}, resamples {resamples}; allowed are 0 < confidence < 1, and 1 and more")
    columns, errors, places_N = [], [], _places(targets.items)
    for found_N in found:
        if found_N.shape != targets.users.shape:
            raise ValueError(f"a column has shape {found_N.shape}; allowed is {targets.users.shape}, a value a target")
        columns.append(_sums(targets.users, targets.shares * found_N))
        errors.append(_two_way_error(targets, places_N, found_N))
    if not columns:
        return []
    recalls_EK, tail = np.stack(columns, axis=1), (1 - confidence) / 2
    lows, highs = np.quantile(bootstrap_means(recalls_EK, rng, resamples), [tail, 1 - tail], axis=0)
    means, reaches = recalls_EK.mean(axis=0), NormalDist().inv_cdf(1 - tail) * np.array(errors)
    bounds = zip(means, lows, highs, means - reaches, means + reaches, strict=True)
    return [Interval(*(float(bound) for bound in one)) for one in bounds]


def two_way_error(targets: Targets, found_N: Floats) -> float:
    """Standard error of the mean recall where users and items are both samples: the root of V above.

    Parameters
    ----------
    targets : Targets
    found_N : float64 array (N,)

    Examples
    --------
    Four users asked for an item each are four judges where these are four items, and two where they are two:

    >>> users, found = np.arange(4), np.array([1.0, 1.0, 0.0, 0.0])
    >>> four, two = (Targets(users, np.array(items), np.ones(4), 4) for items in ([0, 1, 2, 3], [0, 0, 1, 1]))
    >>> round(two_way_error(four, found), 3), round(two_way_error(two, found), 3)
    (0.289, 0.5)
    """
    return _two_way_error(targets, _places(targets.items), found_N)


def _two_way_error(targets: Targets, places_N: Ints, found_N: Floats) -> float:
    residuals = targets.shares * (found_N - targets.shares @ found_N / targets.num_users)
    users, items = (_clustered(_sums(groups, residuals)) for groups in (targets.users, places_N))
    return float(np.sqrt(max(users, users + items - _clustered(residuals))) / targets.num_users)


def _places(items_N: Ints) -> Ints:
    """Items numbered anew, so that every number occurs."""
    places: Ints = np.unique(items_N, return_inverse=True)[1]
    return places


def _clustered(sums: Floats) -> float:
    """Sum of squares over G groups with its correction; a single group tells nothing."""
    count = len(sums)
    return float(sums @ sums) * count / (count - 1) if count > 1 else 0.0


def _sums(groups_N: Ints, values_N: Floats) -> Floats:
    """Sum over every group; their numbers begin with 0 and leave none out."""
    sums: Floats = np.bincount(groups_N, values_N).astype(np.float64)
    return sums


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


def _check(values_SE: Floats) -> None:
    if values_SE.ndim != 2 or 0 in values_SE.shape:
        raise ValueError(f"values have shape {values_SE.shape}; allowed are two axes, each at least 1 long")

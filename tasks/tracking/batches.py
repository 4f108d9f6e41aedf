"""Metrics, params and tags in batches, and only what a run does not have yet."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient

T = TypeVar("T")

MAXIMUM_METRICS = 1000
MAXIMUM_PARAMS = 100
MAXIMUM_TAG_VALUE = 8000


def log_missing_metrics(client: MlflowClient, run: Run, metrics: Sequence[Metric]) -> int:
    """Log those metrics whose (name, step) the run has not got.

    A call repeated after a kill so gives each point once; the value that came first stays. The server takes a batch
    whole or not at all, in order: if it has not got the first metric, it has got none of this call, and is asked no more.

    Parameters
    ----------
    client : MlflowClient
    run : Run
        As the server holds it now; only the histories of names it already has are fetched.
    metrics : sequence of Metric

    Returns
    -------
    int
        Number of metrics logged.
    """
    known = _known_points(client, run, metrics[:1]) and _known_points(client, run, metrics)
    missing = [metric for metric in metrics if (metric.key, metric.step) not in known]
    for batch in _batches(missing, MAXIMUM_METRICS):
        client.log_batch(run.info.run_id, metrics=batch)
    return len(missing)


def _known_points(client: MlflowClient, run: Run, metrics: Sequence[Metric]) -> set[tuple[str, int]]:
    asked = {(metric.key, metric.step) for metric in metrics}
    names = {name for name, _ in asked} & set(run.data.metrics)
    return asked & {(name, point.step) for name in names for point in client.get_metric_history(run.info.run_id, name)}


def log_params(client: MlflowClient, run: Run, params: Mapping[str, str]) -> None:
    """Log the params a run has not got.

    Raises
    ------
    ValueError
        If the run has one with another value: it belongs to another experiment.
    """
    known = run.data.params
    for name, value in params.items():
        if known.get(name, value) != value:
            came = f"run {run.info.run_id} was logged with {name} = {known[name]}, now it is {value}"
            raise ValueError(f"{came}; different params need a different run key")
    missing = [Param(name, value) for name, value in params.items() if name not in known]
    for batch in _batches(missing, MAXIMUM_PARAMS):
        client.log_batch(run.info.run_id, params=batch)


def log_tags(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags, replacing those of the same name; values are cut to what MLflow holds."""
    for batch in _batches([RunTag(name, str(value)[:MAXIMUM_TAG_VALUE]) for name, value in tags.items()], MAXIMUM_PARAMS):
        client.log_batch(run_id, tags=batch)


def metrics_at_step(values: Mapping[str, float], step: int, timestamp: int) -> list[Metric]:
    """Make one metric per name, all at the same step; ``timestamp`` in milliseconds."""
    return [Metric(name, float(value), timestamp, step) for name, value in values.items()]


def metrics_of_curves(curves: Mapping[str, Iterable[tuple[int, float]]], timestamp: int) -> list[Metric]:
    """Make one metric per point of every curve."""
    return [Metric(name, float(value), timestamp, int(step)) for name, points in curves.items() for step, value in points]


def _batches(entries: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (entries[start : start + size] for start in range(0, len(entries), size))

"""The experiment's run in MLflow, from before the checks to the report, whatever happens in between."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal

from prefect import runtime
from prefect.artifacts import create_link_artifact
from prefect.logging import get_run_logger

from jtm_core.comparison_config import ComparisonConfig, TuningConfig
from jtm_core.config import JtmConfig
from tasks.costs import collected_costs, cost_metrics, costs_so_far, orchestration_share
from tasks.fingerprints import config_digest, package_fingerprint
from tasks.iteration_records import iteration_of
from tasks.locks import left_by_killed, one_at_a_time
from tasks.outside import outside_task
from tasks.progress import artifact_key
from tasks.references import BacktestRequest, DataReferences, ListsRequest, RunRef, SourceRef, VersionRef
from tasks.store import digest_of_text, open_store

EXPERIMENT, COMPARISONS, TUNINGS, LISTS, BACKTESTS = "jtm", "jtm-comparisons", "jtm-tunings", "jtm-lists", "jtm-backtests"


@dataclass(frozen=True, slots=True)
class Tracked:
    """What is tracked as one run.

    Parameters
    ----------
    experiment : str
        MLflow's experiment.
    title : str
        Run name in the UI.
    data_name : str
    config : JtmConfig, ComparisonConfig, TuningConfig, ListsRequest or BacktestRequest
    start_from : str
        Version started warm from, or that lists or is asked; empty for none.
    """

    experiment: str
    title: str
    data_name: str
    config: JtmConfig | ComparisonConfig | TuningConfig | ListsRequest | BacktestRequest
    start_from: str = ""


def tracked_run(config: JtmConfig, source: SourceRef, start_from: str) -> AbstractContextManager[RunRef]:
    """Track one experiment, see :func:`tracked`."""
    name = config.data.name
    return tracked(Tracked(EXPERIMENT, f"{name} seed {config.seed}", name, config, start_from), source)


def tracked_comparison(config: ComparisonConfig, source: SourceRef) -> AbstractContextManager[RunRef]:
    """Track a comparison of systems, see :func:`tracked`."""
    name = config.shared.data.name
    title = f"{name}: {len(config.systems)} systems, {len(config.seeds)} seeds"
    return tracked(Tracked(COMPARISONS, title, name, config), source)


def tracked_tuning(config: TuningConfig, source: SourceRef) -> AbstractContextManager[RunRef]:
    """Track a search for settings, see :func:`tracked`."""
    name = config.shared.data.name
    return tracked(Tracked(TUNINGS, f"{name}: {len(config.systems)} systems, {config.trials} trials", name, config), source)


def tracked_lists(request: ListsRequest, source: SourceRef) -> AbstractContextManager[RunRef]:
    """Track the writing of lists for everybody, see :func:`tracked`."""
    return tracked(Tracked(LISTS, f"lists by {request.version}", request.data.name, request, request.version), source)


def tracked_backtest(request: BacktestRequest, source: SourceRef) -> AbstractContextManager[RunRef]:
    """Track a backtest, see :func:`tracked`."""
    return tracked(Tracked(BACKTESTS, f"backtest of {request.version}", request.data.name, request, request.version), source)


@contextmanager
def tracked(what: Tracked, source: SourceRef) -> Iterator[RunRef]:
    """Open the run of this experiment, or continue the unfinished one, and end it as the block ends.

    A run that is killed stays open in MLflow; the next run of the same config, data, start and code continues it, the next of any
    other marks it as killed. The same experiment started again while it runs waits for the first to end, so that the two do not
    write into one run; what it does then is a run of its own whose steps are all there already.
    """
    store, key = open_store(), run_key(what, source)
    store.remove_abandoned()
    runs = store.home / "runs"
    with one_at_a_time(runs / f"{key}.lock", f"this experiment (key {key[:12]})", get_run_logger()):
        for other in left_by_killed(runs):
            end_killed_run(other)
        yield from _tracked_alone(what, source, key)


def run_key(what: Tracked, source: SourceRef) -> str:
    """What makes two runs the same experiment: a digest over config, data, start and code."""
    parts = [config_digest(what.config), source.sha256, source.category_sha256, what.start_from, package_fingerprint("jtm_core")]
    return digest_of_text("/".join(parts))


def _tracked_alone(what: Tracked, source: SourceRef, key: str) -> Iterator[RunRef]:
    from tasks.tracking.runs import record_system_metrics

    begun = time.perf_counter()
    run = open_run(what, key)
    try:
        with collected_costs(), record_system_metrics(run.run_id):
            yield run
            log_costs(run, time.perf_counter() - begun)
    except BaseException as error:
        _close_early(run, "FAILED" if isinstance(error, Exception) else "KILLED")  # a signal, Prefect's cancellation among them
        raise
    close_run(run, "FINISHED")


def _close_early(run: RunRef, status: Literal["FAILED", "KILLED"]) -> None:
    """End a run that did not come to its end; if even that fails, what stopped the flow stays the error that is shown."""
    try:
        close_run(run, status)
    except Exception as error:  # noqa: BLE001 (the first error is the one to raise)
        get_run_logger().warning("MLflow run %s could not be marked as %s: %s", run.run_id, status, error)


@outside_task("open-run-{what.data_name}")
def open_run(what: Tracked, key: str) -> RunRef:
    """Open or continue the MLflow run of a key, and link it with the Prefect run both ways."""
    from tasks.tracking.client import ensure_experiment, run_url
    from tasks.tracking.runs import link_to_prefect, open_parent_run

    fingerprint, digest = package_fingerprint("jtm_core"), config_digest(what.config)
    tags = {
        "jtm.code_fingerprint": fingerprint,
        "jtm.config_digest": digest,
        "jtm.start_from": what.start_from or "none",
        "jtm.data_name": what.data_name,
    }
    run_id = open_parent_run(ensure_experiment(what.experiment), key=key, name=what.title, config=what.config, tags=tags)
    if runtime.flow_run.id:
        link_to_prefect(run_id, runtime.flow_run.id, str(runtime.flow_run.ui_url or ""))
    url = run_url(run_id)
    create_link_artifact(url, link_text=f"MLflow: {what.title}", key=artifact_key("mlflow", what.data_name))
    return RunRef(run_id=run_id, url=url)


@outside_task("end-killed-run")
def end_killed_run(key: str) -> None:
    """Mark as killed in MLflow what a process that is no more left running, with all that is nested in it."""
    from tasks.tracking.runs import mark_killed

    for run_id in mark_killed(key):
        get_run_logger().warning("MLflow run %s was left running by a process that is no more; it is marked as killed", run_id)


@outside_task("log-data-{data.name}")
def log_data(run: RunRef, data: DataReferences) -> None:
    """Tell MLflow which data the experiment stands on."""
    from tasks.tracking.records import DataInput
    from tasks.tracking.runs import log_data_input

    counts = {"users": data.num_users, "items": data.num_items, "behaviours": data.num_behaviours}
    log_data_input(run.run_id, DataInput(name=data.name, uri=data.behaviours.uri, digest=data.behaviours.sha256, counts=counts))


@outside_task("log-version-{version.version}")
def log_version(run: RunRef, version: VersionRef) -> None:
    """Log a version as a nested run of the experiment: metrics, curves, tree, manifest, weights."""
    from tasks.tracking.client import run_url
    from tasks.tracking.iterations import log_iteration
    from tasks.tracking.phases import log_phase_metrics

    nested = log_iteration(run.run_id, iteration_of(open_store(), version))
    costs = cost_metrics([cost for cost in costs_so_far() if cost.iteration == version.iteration])
    for run_id in (nested, run.run_id):
        log_phase_metrics(run_id, costs, version.iteration)
    key = artifact_key("mlflow", version.data.name, f"{version.iteration:02d}")
    create_link_artifact(run_url(nested), link_text=f"MLflow: {version.version}", key=key)


@outside_task("log-costs")
def log_costs(run: RunRef, total_seconds: float) -> None:
    """Log what the steps outside the loop cost, and what share of the flow run's time was not spent in compute."""
    from tasks.tracking.phases import log_phase_metrics

    costs = costs_so_far()
    metrics = cost_metrics([cost for cost in costs if cost.iteration is None])
    share = orchestration_share(costs, total_seconds)
    log_phase_metrics(run.run_id, {**metrics, "phase/total_seconds": total_seconds, "phase/orchestration_share": share}, 0)
    get_run_logger().info("%.0f s in all; %.1f %% of it was orchestration and checks", total_seconds, 100 * share)


@outside_task("close-run-{status}")
def close_run(run: RunRef, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
    """End the run in MLflow."""
    from tasks.tracking.runs import finish_run

    finish_run(run.run_id, status)

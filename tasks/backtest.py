"""Ask a version for what users did after its log ended, beside the baselines, by a newer log."""

import math
from typing import TYPE_CHECKING, Any

from prefect.artifacts import create_table_artifact

from jtm_core.config import EvaluationConfig
from tasks.artefacts import read_data, read_network, read_tree, save_report
from tasks.caching import step, step_logger
from tasks.costs import count_work
from tasks.evaluation_rows import SEARCHES, baseline_recalls, evaluation_rows
from tasks.newer_logs import histories_by, known_share_of
from tasks.outside import outside_task
from tasks.progress import Progress, artifact_key
from tasks.references import BacktestRequest, LogRef, ReportRef, RunRef, VersionRef
from tasks.store import open_store
from tasks.versions import recorded_config

if TYPE_CHECKING:
    from jtm_core.behaviours import Behaviours, Split
    from jtm_core.later import Later

USERS = "later"
"""What the judges are called in metrics, as ``validation`` and ``test`` elsewhere."""
OF_ALL = "of_all/"
"""Prefix of recall of everything, see :meth:`jtm_core.later.Later.of_all`."""


@step(run_name="backtest-{served.version}")
def backtest(served: VersionRef, log: LogRef, request: BacktestRequest) -> ReportRef:
    """Measure a version, and the baselines fitted on what it was made of, on what came since.

    Parameters
    ----------
    served : VersionRef
    log : LogRef
        Canonical log that reaches beyond the version's own.
    request : BacktestRequest

    Returns
    -------
    ReportRef
        JSON ``{"counts": {"since": 1512316799, "users": 10000, ...}, "metrics": {"recall_at_10": 0.1, ...}, "baselines": [{"name":
        "popularity", "metrics": {...}}, ...]}``; beside ``since`` and ``known_behaviours_share`` counts are as in
        :class:`jtm_core.later.Later`.

    Raises
    ------
    ValueError
        If the version knows next to nothing of the log, nothing came since, or the moment lies before its end.
    """
    from jtm_core.evaluation import evaluate, questions_of
    from jtm_core.later import later_of

    store = open_store()
    own, split = read_data(store, served.data)
    since = _moment(int(own.times.max()), request)
    behaviours = histories_by(served, log, request.data).behaviours
    known_share = known_share_of(behaviours, served)
    found = later_of(behaviours, own.num_items, since, (request.num_users, request.seed), request.evaluation.truth)
    count_work("users", len(found.users))
    network, tree = read_network(store, served.model), read_tree(store, served.tree)
    first_level = recorded_config(served).first_level
    with Progress(artifact_key("backtest", served.version), "scores") as progress:
        questions = questions_of(found.behaviours, found.users, network.reading)
        measured = evaluate(network, tree, questions, request.evaluation, first_level, progress.show)
    counts = {
        "since": since,
        "users": len(found.users),
        "active_users": found.num_active,
        "strangers": found.num_strangers,
        "known_truth_share": found.known_truth_share,
        "known_behaviours_share": known_share,
    }
    metrics = {name: float(value) for name, value in sorted(measured.metrics.items()) if math.isfinite(value)}
    metrics |= found.of_all(measured.recalls)
    shown = [f"{name} {value:.4f}" for name, value in metrics.items() if name.startswith("recall_at_")]
    step_logger().info("%d of %d users active after %d: %s", len(found.users), found.num_active, since, ", ".join(shown))
    lines = _lines((own, split), found, request.evaluation)
    return save_report(store, "backtest", {"counts": counts, "metrics": metrics, "baselines": lines})


def _lines(taught: "tuple[Behaviours, Split]", found: "Later", evaluation: EvaluationConfig) -> list[dict[str, Any]]:
    """What the baselines, fitted on what taught the version, are worth to the same judges."""
    from jtm_core.baselines.lines import line_makers, measure_line
    from jtm_core.behaviours import evaluation_histories
    from jtm_core.metrics import mean_metrics

    asked = evaluation_histories(found.behaviours, found.users).values
    lines = []
    for name, make in line_makers(*taught, asked).items():
        values = measure_line(make(), found.behaviours, found.users, evaluation)
        recalls = {metric: of_users for metric, of_users in values.items() if metric.startswith("recall_at_")}
        lines.append({"name": name, "metrics": mean_metrics(values) | found.of_all(recalls)})
    return lines


def _moment(end: int, request: BacktestRequest) -> int:
    """From when on behaviours are asked for: never what the version may have learned from."""
    if request.since is not None and request.since < end:
        raise ValueError(
            f"since is {request.since}; version {request.version} was made of behaviours until {end}, give that or a later time"
        )
    return end if request.since is None else request.since


@outside_task("report-backtest-{request.version}")
def report_backtest(run: RunRef, request: BacktestRequest, report: ReportRef) -> None:
    """Leave the table artifact ``results`` in Prefect, and table and metrics in MLflow."""
    from tasks.tracking.reports import log_table
    from tasks.tracking.runs import log_summary

    content = open_store().read_json(report)
    counts, metrics = content["counts"], content["metrics"]
    lines = {line["name"]: line["metrics"] for line in content["baselines"]}
    rows = evaluation_rows(metrics, request.evaluation, {**SEARCHES, OF_ALL: "beam, of all that they did"})
    for name, values in lines.items():
        titles = {"": name, "filtered/": f"{name}, seen items left out", OF_ALL: f"{name}, of all that they did"}
        rows += evaluation_rows(values, request.evaluation, titles)
    title = (
        f"Version {request.version}, asked for what {counts['users']:,} users did after {counts['since']}. It knows nothing of "
        f"{counts['strangers']:,} of the {counts['active_users']:,} users active since; of what the others did "
        f"{counts['known_truth_share']:.1%} is of items that it knows, and recall is of those unless it says otherwise."
    )
    create_table_artifact(table=[dict(row) for row in rows], key="results", description=title)
    log_table(run.run_id, "results", rows)
    recalls = baseline_recalls({name: {USERS: values} for name, values in lines.items()})
    log_summary(run.run_id, {f"{USERS}/{name}": float(value) for name, value in (counts | metrics).items()} | recalls, prefix="")

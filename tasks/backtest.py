"""Ask a version for what users did after its log ended, beside the baselines, by a newer log."""

import math
from collections.abc import Mapping
from dataclasses import asdict
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
    from jtm_core.behaviours import Behaviours, Ints, Split
    from jtm_core.evaluation import Questions
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
        "popularity", "metrics": {...}}, ...], "differences": [{"name": "popularity", "measure": "later/recall_at_10", "mean": 0.05, ...},
        ...]}``. Counts beside ``since`` and ``known_behaviours_share`` are as in :class:`jtm_core.later.Later`; a difference is the
        version's recall less a baseline's, with the ends of :class:`jtm_core.comparison.Interval`.

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
    lists = _lists_of_lines((own, split), questions, request.evaluation.cutoffs[-1])
    content = {
        "counts": counts,
        "metrics": metrics,
        "baselines": [{"name": name, "metrics": _judged(listed, questions, found, request.evaluation)} for name, listed in lists.items()],
        "differences": _differences(measured.lists, lists, questions, request),
    }
    return save_report(store, "backtest", content)


def _lists_of_lines(taught: "tuple[Behaviours, Split]", asked: "Questions", count: int) -> "dict[str, dict[str, Ints]]":
    """What the baselines, fitted on what taught the version, list for the same judges."""
    from jtm_core.baselines.lines import line_lists, line_makers

    return {name: line_lists(make(), asked.histories, count) for name, make in line_makers(*taught, asked.histories.values).items()}


def _judged(lists: "Mapping[str, Ints]", asked: "Questions", found: "Later", evaluation: EvaluationConfig) -> dict[str, float]:
    from jtm_core.baselines.lines import measure_lists
    from jtm_core.metrics import mean_metrics

    values = measure_lists(lists, asked.histories, asked.truths, evaluation)
    return mean_metrics(values) | found.of_all({name: recalls for name, recalls in values.items() if name.startswith("recall_at_")})


def _differences(
    own: "Mapping[str, Ints]", lines: "Mapping[str, Mapping[str, Ints]]", asked: "Questions", request: BacktestRequest
) -> list[dict[str, Any]]:
    """Recall of the version's lists less that of every baseline's, a record a baseline and measure."""
    from jtm_core.comparison import recall_intervals
    from jtm_core.found_targets import target_ranks, targets_of
    from jtm_core.seeding import generator

    targets = targets_of(asked.truths, request.evaluation.truth)
    names = [(line, prefix, cutoff) for line in lines for prefix in own for cutoff in request.evaluation.cutoffs]
    ranks = {prefix: target_ranks(items, targets) for prefix, items in own.items()}
    others = {line: {prefix: target_ranks(items, targets) for prefix, items in lists.items()} for line, lists in lines.items()}
    columns = ((ranks[prefix] < cutoff).astype(float) - (others[line][prefix] < cutoff) for line, prefix, cutoff in names)
    intervals = recall_intervals(targets, columns, generator(request.seed, "bootstrap"))
    return [
        {"name": line, "measure": f"{USERS}/{prefix}recall_at_{cutoff}", **asdict(interval)}
        for (line, prefix, cutoff), interval in zip(names, intervals, strict=True)
    ]


def _moment(end: int, request: BacktestRequest) -> int:
    """From when on behaviours are asked for: never what the version may have learned from."""
    if request.since is not None and request.since < end:
        raise ValueError(
            f"since is {request.since}; version {request.version} was made of behaviours until {end}, give that or a later time"
        )
    return end if request.since is None else request.since


@outside_task("report-backtest-{request.version}")
def report_backtest(run: RunRef, request: BacktestRequest, report: ReportRef) -> None:
    """Leave the table artifacts ``results`` and ``differences`` in Prefect, and tables and metrics in MLflow."""
    from tasks.tracking.comparison_records import Contrast
    from tasks.tracking.comparison_series import contrast_rows
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
    differences = contrast_rows(
        [Contrast(kind="difference", seeds=(), **one) for one in content["differences"]], "difference", "version less"
    )
    note = f"Recall of version {request.version} less that of a baseline, in percentage points, with 95 % intervals."
    create_table_artifact(table=[dict(row) for row in differences], key="differences", description=note)
    log_table(run.run_id, "results", rows)
    log_table(run.run_id, "differences", differences)
    recalls = baseline_recalls({name: {USERS: values} for name, values in lines.items()})
    log_summary(run.run_id, {f"{USERS}/{name}": float(value) for name, value in (counts | metrics).items()} | recalls, prefix="")

"""The end of a run: one table of all systems in Prefect, MLflow and the log; figures and a report in MLflow."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefect import runtime
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.logging import get_run_logger

from jtm_core.config import EvaluationConfig, JtmConfig
from jtm_core.gate import best_version
from tasks.costs import cost_rows, costs_so_far
from tasks.evaluation_rows import Metrics, baseline_recalls
from tasks.fingerprints import config_digest, package_fingerprint
from tasks.iteration_records import iteration_of
from tasks.outside import outside_task
from tasks.progress import artifact_key
from tasks.references import ReportRef, RunRef, VersionRef
from tasks.store import Store, open_store

if TYPE_CHECKING:
    from tasks.tracking.records import Experiment, Row


@outside_task("report-results-{config.data.name}")
def report_results(
    run: RunRef, versions: Sequence[VersionRef], baselines: ReportRef, config: JtmConfig, start: ReportRef | None = None
) -> None:
    """Lay all systems side by side; the best version is chosen on validation, test users only report.

    Parameters
    ----------
    run : RunRef
    versions : sequence of VersionRef
        In the order of the iterations.
    baselines : ReportRef
        From ``compare_baselines``.
    config : JtmConfig
    start : ReportRef or None
        From ``measure_start``, if the run started from a version.
    """
    store = open_store()
    systems = {system["name"]: system["metrics"] for system in store.read_json(baselines)["systems"]}
    rows = results_rows(store, versions, systems, config.evaluation)
    title = f"Results on {config.data.name}: recall of test users, and of validation users at the last cut-off."
    create_table_artifact(table=[dict(row) for row in rows], key="results", description=title)
    create_table_artifact(table=cost_rows(costs_so_far()), key="costs", description="Time, memory and throughput of the steps so far.")
    create_link_artifact(run.url, link_text="The experiment in MLflow", key=artifact_key("mlflow", config.data.name))
    get_run_logger().info("%s\n%s", title, table_text(rows))
    summaries = {"": baseline_recalls(systems)}
    if start:
        summaries["start/"] = {"validation_recall": store.read_json(start)["recall"]}
    _log_to_mlflow(run, _experiment(store, run, versions, systems, config, rows), summaries)


def results_rows(store: Store, versions: Sequence[VersionRef], systems: Mapping[str, Metrics], evaluation: EvaluationConfig) -> "list[Row]":
    """One row per system: baselines, JTM after each iteration, the full leaf scan of the best version's model."""
    metrics = {version.version: store.read_json(version.manifest)["metrics"] for version in versions}
    best = best_version(versions)
    rows = [_row(name, "", systems[name], "", evaluation) for name in systems]
    for version in versions:
        decision = "best" if version is best else "accepted" if version.is_accepted else "refused"
        rows.append(_row(f"JTM, iteration {version.iteration}", decision, metrics[version.version], "", evaluation))
    rows.append(_row(f"full scan, iteration {best.iteration}", "", metrics[best.version], "full_scan/", evaluation))
    return rows


def _row(system: str, decision: str, metrics: Metrics, search: str, evaluation: EvaluationConfig) -> "Row":
    def cell(users: str, name: str) -> float | None:
        value = metrics[users].get(name)
        return None if value is None else round(value, 5)

    cutoffs, narrow = evaluation.cutoffs, evaluation.small_beam_width
    filtered = f"{search.removesuffix('/')}_filtered/" if search else "filtered/"
    seen = {f"R@{cutoff}": cell("test", f"{search}recall_at_{cutoff}") for cutoff in cutoffs}
    unseen = {f"R@{cutoff} unseen": cell("test", f"{filtered}recall_at_{cutoff}") for cutoff in cutoffs}
    reached = [cutoff for cutoff in cutoffs if cutoff <= narrow]
    small = {f"R@{cutoff} beam {narrow}": None if search else cell("test", f"small_beam/recall_at_{cutoff}") for cutoff in reached}
    decides, label = (filtered, " unseen") if evaluation.filter_seen else (search, "")
    deciding = {f"validation R@{cutoffs[-1]}{label}": cell("validation", f"{decides}recall_at_{cutoffs[-1]}")}
    return {"system": system, "gate": decision, **seen, **unseen, **small, **deciding}


def table_text(rows: "Sequence[Row]") -> str:
    """Rows as lines of aligned columns; recall in percent."""
    cells = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells)


def _text(value: Any) -> str:
    return "-" if value is None else f"{100 * value:.2f}" if isinstance(value, float) else str(value)


def _experiment(
    store: Store, run: RunRef, versions: Sequence[VersionRef], systems: Mapping[str, Any], config: JtmConfig, rows: "list[Row]"
) -> "Experiment":
    from tasks.tracking.params import flatten_params
    from tasks.tracking.records import Experiment

    facts = {
        "best version": best_version(versions).version,
        "behaviours (sha256)": versions[0].data.behaviours.sha256,
        "core (sha256)": package_fingerprint("jtm_core"),
        "config (sha256)": config_digest(config),
        "MLflow run": run.url,
        "Prefect flow run": str(runtime.flow_run.ui_url or ""),
    }
    return Experiment(
        name=config.data.name,
        data_name=config.data.name,
        iterations=tuple(iteration_of(store, version) for version in versions),
        baselines={name: metrics["test"] for name, metrics in systems.items()},
        results=rows,
        facts=facts,
        costs=cost_rows(costs_so_far()),
        config=flatten_params(config),
    )


def _log_to_mlflow(run: RunRef, experiment: "Experiment", summaries: Mapping[str, Mapping[str, float]]) -> None:
    from tasks.tracking.reports import log_figures, log_html_report, log_results_table
    from tasks.tracking.runs import log_summary

    best = next(iteration for iteration in experiment.iterations if iteration.tags["jtm.version"] == experiment.facts["best version"])
    log_results_table(run.run_id, experiment.results)
    log_figures(run.run_id, experiment)
    log_html_report(run.run_id, experiment)
    log_summary(run.run_id, best.metrics)
    for prefix, metrics in summaries.items():
        log_summary(run.run_id, metrics, prefix)

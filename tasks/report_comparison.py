"""What a comparison leaves for people: a nested MLflow run per system and seed, the report, tables and links in Prefect."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from prefect import runtime
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.logging import get_run_logger

from jtm_core.comparison_config import ComparisonConfig
from jtm_core.gate import deciding_name
from tasks.costs import cost_rows, costs_so_far
from tasks.failures import Failure
from tasks.fingerprints import config_digest, package_fingerprint
from tasks.outside import outside_task
from tasks.progress import artifact_key
from tasks.references import DataReferences, JudgedRun, ReportRef, RunRef
from tasks.store import Store, open_store

if TYPE_CHECKING:
    from tasks.tracking.comparison_records import Comparison, Judgement, Round, SystemRun


_OF_SYSTEMS = ("fit-system", "search-tree", "judge-lists")
"""Steps whose cost is reported by system."""


@outside_task("log-system-{judged.fitted.system}-{judged.fitted.seed}{judged.fitted.variation}")
def log_system(run: RunRef, judged: JudgedRun) -> None:
    """Log a finished run of a system as a nested run of the comparison, before the next one begins."""
    from tasks.tracking.comparisons import log_system_run

    store, fitted = open_store(), judged.fitted
    files = {"lists.safetensors": fitted.lists, "rounds.json": fitted.rounds, "judgement.json": judged.judgement}
    files |= {"searches.json": judged.searched.metrics, **({"tree.parquet": fitted.tree} if fitted.tree else {})}
    log_system_run(run.run_id, system_run(store, judged), {name: store.path(reference) for name, reference in files.items()})


@outside_task("report-comparison-{data.name}")
def report_comparison(
    run: RunRef,
    data: DataReferences,
    runs: Sequence[JudgedRun],
    contrasts: ReportRef,
    failures: Sequence[Failure],
    config: ComparisonConfig,
) -> None:
    """Leave tables, figures and the report in MLflow, and in Prefect the table ``results`` and the markdown ``comparison`` with links."""
    from tasks.tracking.comparison_series import table_rows
    from tasks.tracking.comparisons import log_comparison

    store = open_store()
    comparison = comparison_of(store, data, (runs, contrasts, failures), config, run)
    log_comparison(run.run_id, comparison)
    rows = [dict(row) for row in table_rows(comparison.judgement, "filtered/" if config.shared.evaluation.filter_seen else "")]
    title = f"Systems on {data.name}: test users, in percent, mean ± standard deviation over seeds."
    create_table_artifact(table=rows, key="results", description=title)
    create_markdown_artifact(_markdown(comparison, run, failures), key=artifact_key("comparison", data.name))
    get_run_logger().info("%s\n%s", title, "\n".join("  ".join(str(cell) for cell in row.values()) for row in rows))


def comparison_of(
    store: Store,
    data: DataReferences,
    made: tuple[Sequence[JudgedRun], ReportRef, Sequence[Failure]],
    config: ComparisonConfig,
    run: RunRef,
) -> "Comparison":
    """Everything a report shows: of the finished runs, their contrasts, and the runs that failed."""
    from tasks.tracking.comparison_records import Comparison, FailedRun
    from tasks.tracking.params import flatten_params

    runs, contrasts, failures = made
    return Comparison(
        data_name=data.name,
        judgement=judgement_of(store, data, runs, contrasts, config),
        failures=tuple(FailedRun(**_names(one), reason=one.reason) for one in failures),
        facts={
            "behaviours (sha256)": data.behaviours.sha256,
            "core (sha256)": package_fingerprint("jtm_core"),
            "config (sha256)": config_digest(config),
            "MLflow run": run.url,
            "Prefect flow run": str(runtime.flow_run.ui_url or ""),
        },
        costs=cost_rows([one for one in costs_so_far() if one.step not in _OF_SYSTEMS]),
        config={**flatten_params(config.shared), **flatten_params({"counting": asdict(config.counting)})},
        own=[{"system": one.system, "setting": dial, "value": str(value)} for one in config.tuned for dial, value in one.dials.items()],
    )


def judgement_of(
    store: Store, data: DataReferences, runs: Sequence[JudgedRun], contrasts: ReportRef, config: ComparisonConfig
) -> "Judgement":
    """The numbers of a comparison."""
    from tasks.tracking.comparison_records import Contrast, Judgement

    held = store.read_json(contrasts)
    return Judgement(
        reference=held["reference"],
        cutoffs=config.shared.evaluation.cutoffs,
        deciding=f"validation/{deciding_name(config.shared.evaluation, data.num_items)}",
        num_users=store.read_json(data.counts)["judges"],
        runs=tuple(system_run(store, judged) for judged in runs),
        contrasts=tuple(Contrast(**{**one, "seeds": tuple(one["seeds"])}) for one in held["contrasts"]),
    )


def system_run(store: Store, judged: JudgedRun) -> "SystemRun":
    """A finished run as MLflow and the report are told about it."""
    from tasks.tracking.comparison_records import SystemRun
    from tasks.tracking.params import flatten_params

    fitted, searched = judged.fitted, judged.searched
    measured, searches, learned = (store.read_json(report) for report in (judged.judgement, searched.metrics, fitted.rounds))
    metrics = {f"{role}/{name}": value for part in (measured, searches) for role, values in part.items() for name, value in values.items()}
    return SystemRun(
        system=fitted.system,
        seed=fitted.seed,
        variation=fitted.variation,
        metrics=metrics,
        rounds=tuple(_round(one, learns_tree=learned["settings"]["tree_learning"]["method"] != "fixed") for one in learned["rounds"]),
        timings={**store.read_json(fitted.timings), **store.read_json(searched.timings)},
        settings=flatten_params(learned["settings"]),
        version=judged.version,
    )


def _round(values: Mapping[str, Any], *, learns_tree: bool) -> "Round":
    """A round as people are told about it; of a system that keeps its tree nothing about trees."""
    from tasks.tracking.comparison_records import Round

    has_tree_step = learns_tree and values["recall_before"] is not None
    return Round(
        iteration=values["iteration"],
        validation_recall=max(values["recalls"]),
        recall_after_tree=values["recall_before"] if has_tree_step else None,
        objective_before=values["objective_before"],
        objective_after=values["objective_after"],
        moved_share=values["moved_share"] if has_tree_step else None,
    )


def _names(failure: Failure) -> dict[str, Any]:
    planned = failure.planned
    return {"system": planned.system, "seed": planned.seed, "variation": planned.variation}


def _markdown(comparison: "Comparison", run: RunRef, failures: Sequence[Failure]) -> str:
    from tasks.tracking.comparison_series import version_rows

    lines = [
        f"### Systems compared on {comparison.data_name}",
        "",
        f"- [Report with tables and figures]({run.artefacts_url('report.html')})",
        f"- [All runs in MLflow]({run.url})",
    ]
    versions = version_rows(comparison.judgement)
    if versions:
        best = versions[0]
        lines.append(
            f"- Of what a beam searches, `{best['version']}` ({best['system']}, seed {best['seed']}) is best by validation users; "
            "the deployment `release-version` takes it, or another of the report's versions, into service by its name"
        )
    if failures:
        lines += ["", f"**{len(failures)} runs failed and are missing:**", "", *(f"- {failure}" for failure in failures)]
    return "\n".join(lines) + "\n"

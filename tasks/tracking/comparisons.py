"""A comparison in MLflow: a nested run per system and seed, tables, figures and the report on the parent."""

from collections.abc import Mapping
from pathlib import Path

from tasks.tracking import tags as names
from tasks.tracking.artefacts import upload_bytes, upload_files, upload_table
from tasks.tracking.batches import log_missing_metrics, log_params, log_tags, metrics_at_step
from tasks.tracking.client import tracking_client
from tasks.tracking.comparison_figures import make_comparison_figures
from tasks.tracking.comparison_records import Comparison, Round, SystemRun
from tasks.tracking.comparison_report import make_comparison_report
from tasks.tracking.comparison_series import (
    beam_rows,
    contrast_rows,
    cost_rows,
    list_rows,
    round_rows,
    search_loss_rows,
    table_rows,
    version_rows,
)
from tasks.tracking.nested import nested_run
from tasks.tracking.rendering import png_bytes, svg_bytes


def log_system_run(parent_run_id: str, record: SystemRun, artefacts: Mapping[str, Path]) -> str:
    """Log one system under one seed as a nested run: params, metrics, rounds (step = iteration), timings, files.

    May be repeated; a run that is complete is left as it is.

    Parameters
    ----------
    parent_run_id : str
    record : SystemRun
    artefacts : mapping of str to Path
        Name in MLflow -> file.

    Returns
    -------
    str
        Id of the nested run, finished.
    """
    client = tracking_client()
    variation = record.variation or "none"
    identity = {names.KIND: "system", names.SYSTEM: record.system, names.SEED: str(record.seed), names.VARIATION: variation}
    title = " ".join([record.system, f"seed {record.seed}", *([record.variation] if record.variation else [])])
    run = nested_run(client, client.get_run(parent_run_id), identity, title)
    run_id = str(run.info.run_id)
    if run.data.tags.get(names.IS_COMPLETE) == "true":
        return run_id
    log_params(client, run, {"system": record.system, "variation": variation, **record.settings})
    moment = run.info.start_time
    values = {**record.metrics, **{f"time/{name}": value for name, value in record.timings.items()}}
    at_rounds = [metric for one in record.rounds for metric in metrics_at_step(round_metrics(one), one.iteration, moment)]
    log_missing_metrics(client, run, metrics_at_step(values, 0, moment) + at_rounds)
    upload_files(client, run_id, artefacts)
    client.set_terminated(run_id, status="FINISHED")
    log_tags(client, run_id, {**({names.VERSION: record.version} if record.version else {}), names.IS_COMPLETE: "true"})
    return run_id


def round_metrics(one: Round) -> dict[str, float]:
    """What was measured in a round, by flat names."""
    found = {
        "round/validation_recall": one.validation_recall,
        "round/recall_after_tree": one.recall_after_tree,
        "round/objective_before": one.objective_before,
        "round/objective_after": one.objective_after,
        "round/moved_share": one.moved_share,
    }
    return {name: value for name, value in found.items() if value is not None}


def log_comparison(run_id: str, comparison: Comparison) -> None:
    """Log tables, figures (PNG and SVG) and ``report.html`` on the parent run, replacing older ones."""
    client, judgement = tracking_client(), comparison.judgement
    tables = {
        "results": table_rows(judgement, ""),
        "results_unseen": table_rows(judgement, "filtered/"),
        "differences": contrast_rows(judgement.contrasts, "difference", "system"),
        "ablation": contrast_rows(judgement.contrasts, "ablation", "gain"),
        "sensitivity": contrast_rows(judgement.contrasts, "sensitivity", "setting"),
        "rounds": round_rows(judgement),
        "search_loss": search_loss_rows(judgement),
        "beams": beam_rows(judgement),
        "lists": list_rows(judgement),
        "versions": version_rows(judgement),
        "cost": cost_rows(judgement),
    }
    for name, rows in tables.items():
        if rows:
            upload_table(client, run_id, f"tables/{name}", rows)
    files: dict[str, bytes] = {"report.html": make_comparison_report(comparison).encode()}
    for name, figure in make_comparison_figures(comparison.data_name, judgement).items():
        files |= {f"figures/{name}.png": png_bytes(figure), f"figures/{name}.svg": svg_bytes(figure)}
    upload_bytes(client, run_id, files)

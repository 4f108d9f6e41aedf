"""Show the evaluation of a recorded version in Prefect and MLflow."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prefect import runtime
from prefect.artifacts import create_link_artifact, create_table_artifact

from jtm_core.config import EvaluationConfig
from tasks.evaluation_rows import evaluation_rows
from tasks.fingerprints import key_part
from tasks.outside import outside_task
from tasks.progress import artifact_key
from tasks.references import ReportRef, VersionRef
from tasks.store import canonical_json, digest_of_text, open_store

if TYPE_CHECKING:
    from tasks.tracking.records import Row

EXPERIMENT = "jtm-evaluations"


@outside_task("report-{version.version}-{users}")
def report_evaluation(version: VersionRef, users: str, evaluation: EvaluationConfig, report: ReportRef) -> None:
    """Leave the table artifact ``results`` and a run in the MLflow experiment ``jtm-evaluations``."""
    metrics = open_store().read_json(report)["metrics"][users]
    rows = evaluation_rows(metrics, evaluation)
    create_table_artifact(table=[dict(row) for row in rows], key="results", description=f"Version {version.version}, {users} users.")
    settings = {"version": version.version, "users": users, "evaluation": key_part(evaluation), "report": report.sha256}
    run_id, url = _log_to_mlflow(version, users, settings, metrics, rows)
    create_link_artifact(url, link_text=f"MLflow run {run_id}", key=artifact_key("mlflow", version.version))


def _log_to_mlflow(
    version: VersionRef, users: str, settings: Mapping[str, object], metrics: Mapping[str, float], rows: "list[Row]"
) -> tuple[str, str]:
    """Log to the run of these settings and figures, once; where that fails the run is marked so, and the next try continues it."""
    from tasks.tracking.batches import log_missing_metrics, metrics_at_step
    from tasks.tracking.client import ensure_experiment, run_url, tracking_client
    from tasks.tracking.reports import log_table
    from tasks.tracking.runs import ending_run, find_finished_run, link_to_prefect, open_parent_run

    key, tags = digest_of_text(canonical_json(settings)), {"jtm.version": version.version, "jtm.data_name": version.data.name}
    experiment = ensure_experiment(EXPERIMENT)
    logged = find_finished_run(experiment, key)
    if logged is not None:
        return logged, run_url(logged)
    run_id = open_parent_run(experiment, key=key, name=f"{version.version} {users}", config=settings, tags=tags)
    with ending_run(run_id):
        if runtime.flow_run.id:
            link_to_prefect(run_id, runtime.flow_run.id, str(runtime.flow_run.ui_url or ""))
        client = tracking_client()
        run = client.get_run(run_id)
        values = {f"{users}/{name}": value for name, value in metrics.items()}
        log_missing_metrics(client, run, metrics_at_step(values, 0, run.info.start_time))
        log_table(run_id, "results", rows)
    return run_id, run_url(run_id)

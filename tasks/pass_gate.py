"""The gate behind the data checks: show what was found, then go on or stop."""

import tempfile
import zipfile
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.logging import get_run_logger

from tasks.outside import outside_task
from tasks.progress import artifact_key
from tasks.references import CheckOutcome, RunRef
from tasks.store import Store, open_store


class DataRefusedError(ValueError):
    """Data broke a hard rule; the message says which, how often, and quotes the first offending rows."""


@outside_task("pass-gate-{outcome.suite}")
def pass_gate(run: RunRef, outcome: CheckOutcome) -> None:
    """Show a check report in Prefect and MLflow, warn of soft rules that are broken, and stop the run if a hard one is.

    Raises
    ------
    DataRefusedError
        With the report's text.
    """
    store = open_store()
    content = store.read_json(outcome.report)
    create_table_artifact(table=content["table"], key=artifact_key("check-report", outcome.suite), description=_headline(content["report"]))
    create_markdown_artifact(_markdown(content, run), key=artifact_key("check-report", outcome.suite, "text"))
    _log_to_mlflow(store, run, outcome, content)
    if not outcome.is_passed:
        raise DataRefusedError(content["text"])
    if content["report"]["num_warnings"]:
        get_run_logger().warning(content["text"])


def _headline(report: dict[str, Any]) -> str:
    verdict = "passed" if report["is_passed"] else "failed"
    return f"Check of the {report['suite']}: {verdict}, {report['num_failures']} hard and {report['num_warnings']} soft rules broken."


def _markdown(content: dict[str, Any], run: RunRef) -> str:
    link = f"All of it: [checks in MLflow]({run.artefacts_url('checks')})"
    return f"### {_headline(content['report'])}\n\n```text\n{content['text']}\n```\n\n{link}\n"


def _log_to_mlflow(store: Store, run: RunRef, outcome: CheckOutcome, content: dict[str, Any]) -> None:
    from tasks.tracking.records import CheckReport
    from tasks.tracking.reports import log_check_report

    report = content["report"]
    with tempfile.TemporaryDirectory() as folder:
        if outcome.data_docs is not None:
            with zipfile.ZipFile(store.path(outcome.data_docs)) as archive:
                archive.extractall(folder)
        log_check_report(
            run.run_id,
            CheckReport(
                suite=outcome.suite,
                is_passed=outcome.is_passed,
                num_rules=len(report["rules"]),
                num_failed=report["num_failures"],
                num_warned=report["num_warnings"],
                files={"result.json": store.path(outcome.report), "report.html": store.path(outcome.page)},
                table=content["table"],
                data_docs=Path(folder) if outcome.data_docs is not None else None,
            ),
        )

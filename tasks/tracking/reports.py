"""Tables, check reports, figures and the HTML report of a run."""

from collections.abc import Sequence

from tasks.tracking import tags as names
from tasks.tracking.artefacts import upload_bytes, upload_files, upload_table
from tasks.tracking.batches import log_tags
from tasks.tracking.client import tracking_client
from tasks.tracking.figures import make_figures
from tasks.tracking.html_report import make_html_report
from tasks.tracking.records import CheckReport, Experiment, Row
from tasks.tracking.rendering import png_bytes, svg_bytes


def log_table(run_id: str, name: str, rows: Sequence[Row]) -> None:
    """Log a table as ``<name>.json`` (drawn as a table by MLflow's UI) and ``<name>.csv``, replacing an older one."""
    upload_table(tracking_client(), run_id, name, rows)


def log_results_table(run_id: str, rows: Sequence[Row]) -> None:
    """Log the results: one row per system, ``results.json`` and ``results.csv``.

    Parameters
    ----------
    run_id : str
    rows : sequence of Row
        The same columns in every row, the first naming the system.

    Raises
    ------
    ValueError
        If rows have different columns.
    """
    log_table(run_id, "results", rows)


def log_check_report(run_id: str, report: CheckReport) -> None:
    """Log the result of one suite of data checks: table, files and Data Docs in the folder ``checks/<suite>``.

    The tag ``jtm.checks.<suite>`` says how it went and how many rules failed or warned. Counts are no metrics: they would
    stand in front of recall on MLflow's comparison page.

    Raises
    ------
    ValueError
        If a file to upload is missing.
    """
    client = tracking_client()
    folder = f"checks/{report.suite}"
    upload_files(client, run_id, {f"{folder}/{name}": path for name, path in report.files.items()})
    if report.table:
        upload_table(client, run_id, f"{folder}/table", report.table)
    if report.data_docs:
        client.log_artifacts(run_id, str(report.data_docs), f"{folder}/data_docs")
    outcome = "passed" if report.is_passed else "failed"
    counts = f"{report.num_rules} rules, {report.num_failed} failed, {report.num_warned} warned"
    log_tags(client, run_id, {f"{names.CHECKS}.{report.suite}": f"{outcome}: {counts}"})


def log_figures(run_id: str, experiment: Experiment) -> list[str]:
    """Log every figure the experiment has data for, as PNG and SVG under ``figures/``.

    Returns
    -------
    list of str
        Names of the files in MLflow.
    """
    files: dict[str, bytes] = {}
    for name, figure in make_figures(experiment).items():
        files[f"figures/{name}.png"] = png_bytes(figure)
        files[f"figures/{name}.svg"] = svg_bytes(figure)
    upload_bytes(tracking_client(), run_id, files)
    return list(files)


def log_html_report(run_id: str, experiment: Experiment) -> None:
    """Log the self-contained page ``report.html``."""
    upload_bytes(tracking_client(), run_id, {"report.html": make_html_report(experiment).encode()})

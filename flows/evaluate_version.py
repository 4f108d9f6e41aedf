"""Measure a recorded version again, on the data it was made for."""

from typing import Literal

from prefect import flow

from jtm_core.config import EvaluationConfig
from tasks.evaluate_users import evaluate_users, open_version
from tasks.report_evaluation import report_evaluation

DEFAULT = EvaluationConfig()


@flow(name="evaluate-version", flow_run_name="evaluate-{version}-{users}")
def evaluate_version(version: str, users: Literal["validation", "test"] = "test", evaluation: EvaluationConfig = DEFAULT) -> None:
    """Evaluate a version with other users, cut-offs or beam widths than when it was made.

    Args:
        version: Name of the version, as in its manifest and in MLflow's tag ``jtm.version``.
        users: Validation users, for choices; test users, for reports only.
        evaluation: Cut-offs, beam widths, truth and filter.
    """
    found = open_version(version)
    report = evaluate_users(found, users, evaluation)
    report_evaluation(found, users, evaluation, report)

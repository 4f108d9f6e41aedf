"""Names of the tags that hold an experiment together; nothing in MLflow is found by its title."""

from collections.abc import Mapping

RUN_KEY = "jtm.run_key"
"""Parent run: what makes two runs the same experiment."""
KIND = "jtm.kind"
"""``experiment`` on a parent run; ``iteration``, ``machine``, of a comparison ``system``, of a tuning ``trial`` on a nested one."""
SYSTEM = "jtm.system"
"""Nested run of a comparison or a tuning: the system."""
SEED = "jtm.seed"
"""Nested run of a comparison: seed of its training."""
VARIATION = "jtm.variation"
"""Nested run of a comparison: the dial that is set otherwise, or ``none``; of a tuning the number of the trial."""
ITERATION = "jtm.iteration"
"""Nested run: number of its iteration."""
IS_ACCEPTED = "jtm.is_accepted"
"""Nested run: ``true`` if the validation gate took the version on."""
IS_COMPLETE = "jtm.is_complete"
"""Nested run: ``true`` once everything of its iteration is logged."""
VERSION = "jtm.version"
"""Nested run of an iteration, or of a system that a beam searches, and a registered model's number: name of the version."""
IS_RELEASED = "jtm.is_released"
"""Nested run: ``true`` if its version is what is released of the data set, ``false`` if it was once."""
LISTS = "jtm.lists"
"""Registered model and its numbers: JSON of how lists are made where a call does not say; of a model null: as each version was judged."""
DATA_NAME = "jtm.data_name"
"""Parent and nested runs, registered models: short name of the data set."""
DATA_DIGEST = "jtm.data_digest"
"""Parent and nested runs: sha256 of the data set."""
CHECKS = "jtm.checks"
"""Parent run, followed by the suite's name: ``passed`` or ``failed``, and the counts."""
CODE_FINGERPRINT = "jtm.code_fingerprint"
"""Parent and nested runs: fingerprint of the code; logged as a param too, as MLflow compares params only."""
FLOW_RUN_ID = "prefect.flow_run_id"
"""The Prefect flow run that wrote the run; the last one where several did."""
FLOW_RUN_URL = "prefect.flow_run_url"
"""Its page in Prefect's UI."""
PARENT_RUN = "mlflow.parentRunId"
"""MLflow's own: makes a run nested."""
NOTE = "mlflow.note.content"
"""MLflow's own: the description on a run's page, in Markdown."""


def tag_filter(equal: Mapping[str, str]) -> str:
    """Make MLflow's search text for runs whose tags have these values.

    Raises
    ------
    ValueError
        If a value holds a quote, which MLflow's search cannot express.

    Examples
    --------
    >>> tag_filter({"jtm.kind": "iteration"})
    "tags.`jtm.kind` = 'iteration'"
    """
    quoted = [value for value in equal.values() if "'" in value or '"' in value]
    if quoted:
        raise ValueError(f"{quoted[0]!r} holds a quote; names and keys looked up in MLflow must not")
    return " and ".join(f"tags.`{name}` = '{value}'" for name, value in equal.items())

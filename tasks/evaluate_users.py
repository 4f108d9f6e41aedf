"""Evaluate a recorded version with settings of its own."""

import math
from typing import Literal

from prefect import task
from prefect.cache_policies import NO_CACHE

from jtm_core.config import EvaluationConfig
from tasks.artefacts import read_data, read_network, read_tree, save_report
from tasks.caching import step
from tasks.progress import Progress, artifact_key
from tasks.references import ReportRef, VersionRef
from tasks.store import open_store
from tasks.versions import find_version, recorded_config, require_whole


@task(task_run_name="open-version-{version}", cache_policy=NO_CACHE, persist_result=False)
def open_version(version: str) -> VersionRef:
    """Find a recorded version by its name.

    Raises
    ------
    UnknownVersionError
        If it is not recorded in this ``JTM_HOME``.
    BrokenArtefactError
        If it is not whole any more.
    """
    found = find_version(version)
    require_whole(found, found.tree, found.model, found.data.behaviours, found.data.split)
    return found


@step(run_name="evaluate-{version.version}-{users}")
def evaluate_users(version: VersionRef, users: Literal["validation", "test"], evaluation: EvaluationConfig) -> ReportRef:
    """Measure retrieval on one group of users; levels that were not trained are not searched.

    Returns
    -------
    ReportRef
        JSON ``{"metrics": {"<users>": {"recall_at_10": 0.1, ...}}}``.
    """
    from jtm_core.evaluation import evaluate, questions_of

    store = open_store()
    trained = recorded_config(version)
    behaviours, split = read_data(store, version.data)
    judges = split.validation if users == "validation" else split.test
    network, tree = read_network(store, version.model), read_tree(store, version.tree)
    asked = questions_of(behaviours, judges, network.reading)
    with Progress(artifact_key("evaluate", version.version, users), "scores") as progress:
        found = evaluate(network, tree, asked, evaluation, trained.first_level, progress.show).metrics
    metrics = {name: float(value) for name, value in sorted(found.items()) if math.isfinite(value)}
    return save_report(store, "evaluation", {"metrics": {users: metrics}})

"""The validation gate and the manifest: what an iteration leaves for good."""

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from jtm_core.config import JtmConfig
from jtm_core.gate import deciding_metric, is_within_tolerance
from tasks.artefacts import save_report
from tasks.caching import step_logger
from tasks.manifests import origin
from tasks.references import Candidate, DataReferences, Standing, VersionRef
from tasks.store import Store, open_store
from tasks.versions import add_version, as_json, data_slug


@task(task_run_name="record-version-{data.name}-{candidate.iteration:02d}", cache_policy=NO_CACHE, persist_result=False)
def record_version(
    data: DataReferences, candidate: Candidate, standing: Standing | None, warm_parent: VersionRef | None, config: JtmConfig
) -> VersionRef:
    """Judge a candidate, write its manifest and make it findable; repeating it changes nothing.

    Parameters
    ----------
    data : DataReferences
    candidate : Candidate
        Tree, model, evaluation of this iteration.
    standing : Standing or None
        Where the loop stood before; None in iteration 0, which is always accepted.
    warm_parent : VersionRef or None
        The version of an earlier run that iteration 0 started from.
    config : JtmConfig

    Returns
    -------
    VersionRef
        Its ``is_accepted`` is the gate's decision.
    """
    store = open_store()
    parent = standing.current if standing else warm_parent
    metrics = store.read_json(candidate.evaluation)["metrics"]
    gate = _gate(metrics["validation"], standing, config, data.num_items)
    manifest = {
        "iteration": candidate.iteration,
        "parent": parent.version if parent else None,
        "gate": gate,
        "metrics": metrics,
        **_tree_learning(store, candidate),
        "candidate": as_json(candidate),
        **origin(data, config),
    }
    reference = save_report(store, "manifest", manifest)
    version = VersionRef(
        version=f"{data_slug(data.name)}-{candidate.iteration:02d}-{reference.sha256[:12]}",
        data=data,
        iteration=candidate.iteration,
        tree=candidate.grown.tree,
        model=candidate.trained.model,
        manifest=reference,
        deciding_recall=gate["recall"],
        is_accepted=gate["is_accepted"],
    )
    add_version(version)
    verdict = "accepted" if version.is_accepted else "refused; the loop goes on from the best version"
    step_logger().info(
        "version %s: %s %.4f, best before %s: %s", version.version, gate["metric"], gate["recall"], gate["best_before"], verdict
    )
    return version


def _gate(validation: dict[str, float], standing: Standing | None, config: JtmConfig, num_items: int) -> dict[str, Any]:
    name = deciding_metric(config.evaluation, validation, num_items)
    recall, tolerance = validation[name], config.tree_learning.validation_tolerance
    best = standing.best.deciding_recall if standing else None
    is_accepted = is_within_tolerance(recall, best, tolerance)
    return {"is_accepted": is_accepted, "metric": f"validation/{name}", "recall": recall, "best_before": best, "tolerance": tolerance}


def _tree_learning(store: Store, candidate: Candidate) -> dict[str, Any]:
    if candidate.grown.report is None:
        return {"objective_before": None, "objective_after": None, "moved_shares": [], "raw_moved_shares": []}
    report = store.read_json(candidate.grown.report)
    return {name: report[name] for name in ("objective_before", "objective_after", "moved_shares", "raw_moved_shares")}

"""Record what a comparison fitted as a version, so that what wins can be released, served, measured again and learned on from."""

from dataclasses import replace
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from jtm_core.comparison_config import PlannedRun
from jtm_core.gate import deciding_name
from tasks.artefacts import save_report
from tasks.caching import step_logger
from tasks.manifests import origin
from tasks.references import DataReferences, JudgedRun, VersionRef
from tasks.store import open_store
from tasks.versions import add_version, data_slug


@task(
    task_run_name="record-system-{data.name}-{planned.system}-{planned.seed}{planned.variation}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def record_system(data: DataReferences, judged: JudgedRun, planned: PlannedRun, data_seed: int) -> JudgedRun:
    """Write the manifest of a run that a beam searches and make it findable; repeating it changes nothing.

    Parameters
    ----------
    data : DataReferences
    judged : JudgedRun
        Its tree and network are those of its best iteration.
    planned : PlannedRun
        The settings it was fitted with, its seed among them.
    data_seed : int
        That of the split, one for all runs of a comparison.

    Returns
    -------
    JudgedRun
        The same with the name of its version. As it was for a system that JTM's beam does not search, which is not served from here.
    """
    fitted, config, store = judged.fitted, planned.settings, open_store()
    if fitted.tree is None or fitted.model is None:
        return judged
    best = _best_round(store.read_json(fitted.rounds)["rounds"])
    manifest = {
        "system": fitted.system,
        "variation": fitted.variation,
        "iteration": best["iteration"],
        "parent": None,
        "gate": {"is_accepted": True, "metric": f"validation/{deciding_name(config.evaluation, data.num_items)}", "recall": _recall(best)},
        "metrics": store.read_json(judged.judgement),
        "rounds": fitted.rounds.sha256,
        "data_seed": data_seed,
        **origin(data, config),
    }
    reference = save_report(store, "manifest", manifest)
    version = VersionRef(
        version=f"{data_slug(data.name)}-{fitted.system}-{fitted.seed}-{reference.sha256[:12]}",
        data=data,
        iteration=best["iteration"],
        tree=fitted.tree,
        model=fitted.model,
        manifest=reference,
        deciding_recall=_recall(best),
        is_accepted=True,
        system=fitted.system,
    )
    add_version(version)
    step_logger().info("%s, seed %d, is version %s", fitted.system, fitted.seed, version.version)
    return replace(judged, version=version.version)


def _best_round(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The round that the loop ended with: accepted, of highest validation recall, the earlier of equals."""
    return max((one for one in rounds if one["is_accepted"]), key=_recall)


def _recall(one: dict[str, Any]) -> float:
    return float(max(one["recalls"]))

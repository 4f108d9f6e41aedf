"""Let the best version of a finished run take the place of the one before."""

from collections.abc import Sequence

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from jtm_core.config import EvaluationConfig, JtmConfig
from jtm_core.gate import best_version, deciding_name, is_within_tolerance
from tasks.progress import artifact_key
from tasks.references import ReportRef, VersionRef
from tasks.store import BrokenArtefactError, open_store
from tasks.versions import recorded_at, recorded_config, release, released


@task(task_run_name="release-best-{config.data.name}", cache_policy=NO_CACHE, persist_result=False)
def release_best(versions: Sequence[VersionRef], parent: VersionRef | None, start: ReportRef | None, config: JtmConfig) -> None:
    """Release the best version, unless something speaks against it: then what was released stays.

    It must not be worse than the version that the run started from. A run that started from none must not be worse than what is released,
    where both were judged by the same users and histories; where they were not, it is released uncompared, and the log says so. A run that
    started from a version takes no other's place, as it is compared with none. An earlier run that is run again and finds all its versions
    made does not take the place of what was released since.

    Parameters
    ----------
    versions : sequence of VersionRef
        In the order of the iterations.
    parent : VersionRef or None
        The version the run started from.
    start : ReportRef or None
        From ``measure_start``; None if a first tree was planted.
    config : JtmConfig
        By its ``tree_learning.validation_tolerance`` the best may fall short of a start from another log, for what it knows of newer
        behaviours; where the log is the same it knows nothing that its start does not, and may not.
    """
    best, before = best_version(versions), released(config.data.name)
    against = _worse_than_start(best, parent, start, config) or (before and _before_stays(best, before, versions, parent))
    if against:
        stays = f"{before.version} stays released, and the next retraining starts from it" if before else "Nothing is released"
        text = f"{best.version} is not released: {against}. {stays}. To take this one nevertheless, run release-version with its name."
        get_run_logger().warning(text)
        create_markdown_artifact(text, key=artifact_key("release", config.data.name), description="Not released")
        return
    release(best)
    get_run_logger().info("released %s", best.version)
    if before and not parent and not _is_judged_alike(best, before):
        get_run_logger().info("%s, whose place it takes, was judged by other users or histories: they were not compared", before.version)


def _worse_than_start(best: VersionRef, parent: VersionRef | None, start: ReportRef | None, config: JtmConfig) -> str:
    """What the run's start had on the same users, if that is more than the best may fall short of; else empty."""
    start_recall = open_store().read_json(start)["recall"] if start else None
    is_of_same_log = parent is not None and parent.data.log == best.data.log
    tolerance = 0.0 if is_of_same_log else config.tree_learning.validation_tolerance
    if is_within_tolerance(best.deciding_recall, start_recall, tolerance):
        return ""
    return (
        f"its validation recall is {best.deciding_recall:.4f}, that of the version this run started from {start_recall:.4f} "
        f"on the same users{' and the same log' if is_of_same_log else ''}"
    )


def _before_stays(best: VersionRef, before: VersionRef, versions: Sequence[VersionRef], parent: VersionRef | None) -> str:
    """Why what is released is not replaced: it was compared with nothing here, is better, or is newer; else empty."""
    if parent and before.version not in {version.version for version in (parent, *versions)}:
        return f"this run started from {parent.version} and is compared with that alone, but {before.version} is released and not that"
    if not parent and best.deciding_recall < before.deciding_recall and _is_judged_alike(best, before):
        recalls = f"{best.deciding_recall:.4f}, that of {before.version}, which is released, {before.deciding_recall:.4f}"
        return f"its validation recall is {recalls} on the same users"
    if recorded_at(before) > max(map(recorded_at, versions)):
        return f"this run made no version that was not there, and {before.version} is newer than all of them"
    return ""


def _is_judged_alike(one: VersionRef, other: VersionRef) -> bool:
    """Whether two versions' recalls are of the same users and histories, counted in the same way, each found by its own beam.

    What cannot be read any more is not: a run must not fail at its end because of the version it replaces.
    """
    try:
        ways = {_way_of(recorded_config(version).evaluation, version.data.num_items) for version in (one, other)}
    except (BrokenArtefactError, ValueError):
        return False
    return (one.data.behaviours, one.data.split) == (other.data.behaviours, other.data.split) and len(ways) == 1


def _way_of(judged: EvaluationConfig, num_items: int) -> tuple[str, str]:
    return deciding_name(judged, num_items), judged.truth

"""Let the best version of a finished run take the place of the one before."""

from collections.abc import Sequence

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from jtm_core.config import JtmConfig
from jtm_core.gate import best_version, is_within_tolerance
from tasks.progress import artifact_key
from tasks.references import ReportRef, VersionRef
from tasks.store import open_store
from tasks.versions import recorded_at, release, released


@task(task_run_name="release-best-{config.data.name}", cache_policy=NO_CACHE, persist_result=False)
def release_best(versions: Sequence[VersionRef], parent: VersionRef | None, start: ReportRef | None, config: JtmConfig) -> None:
    """Release the best version, unless it is worse than the one the run started from: then that one stays.

    A run that started from a version takes no other's place, as it is compared with none. An earlier run that is run again and finds all
    its versions made does not take the place of what was released since.

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
    best, start_recall = best_version(versions), open_store().read_json(start)["recall"] if start else None
    before = released(config.data.name)
    stays = f"{before.version} stays released, and the next retraining starts from it" if before else "Nothing is released"
    is_of_same_log = parent is not None and parent.data.log == best.data.log
    tolerance = 0.0 if is_of_same_log else config.tree_learning.validation_tolerance
    if not is_within_tolerance(best.deciding_recall, start_recall, tolerance):
        _say_that_it_is_not(
            f"{best.version} is not released: its validation recall is {best.deciding_recall:.4f}, that of the version this run started "
            f"from {start_recall:.4f} on the same users{' and the same log' if is_of_same_log else ''}. {stays}.",
            config,
        )
    elif before and parent and before.version not in {version.version for version in (parent, *versions)}:
        _say_that_it_is_not(
            f"{best.version} is not released: this run started from {parent.version} and is compared with that alone, but "
            f"{before.version} is released and not that. It stays released. To take this one, run release-version with its name.",
            config,
        )
    elif before and recorded_at(before) > max(map(recorded_at, versions)):
        _say_that_it_is_not(
            f"{best.version} is not released: this run made no version that was not there, and {before.version} is newer than all of them. "
            "It stays released. To go back to the older one, run release-version with its name.",
            config,
        )
    else:
        release(best)
        uncompared = f" in place of {before.version}, not compared with it: this run started from none" if before and not start else ""
        get_run_logger().info("released %s%s", best.version, uncompared)


def _say_that_it_is_not(text: str, config: JtmConfig) -> None:
    get_run_logger().warning(text)
    create_markdown_artifact(text, key=artifact_key("release", config.data.name), description="Not released")

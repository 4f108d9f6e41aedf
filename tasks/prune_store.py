"""Free the disk of what nothing needs any more: versions, results of steps, and the artefacts that only they referred to.

Mark and sweep. Whatever JSON is kept keeps every artefact whose digest is written in it, and what that one names in turn.
"""

import re
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from jtm_core.formats.atomic import remove
from tasks.references import VersionRef
from tasks.store import Store, canonical_json, open_store
from tasks.versions import all_versions, as_json, recorded_at, released_versions, version_path

_DAY_SECONDS = 24 * 3600.0
_DIGEST = re.compile("[0-9a-f]{64}")
_MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Pruning:
    """What a pruning keeps and what it takes away.

    Parameters
    ----------
    versions, records, artefacts : list of Path
        Files that may go: pointers of versions, results of steps, artefacts. In this order, so that nothing that is still found is
        without what it refers to, whenever the pruning is killed.
    kept : list of Path
        Artefacts that stay.
    """

    versions: list[Path]
    records: list[Path]
    artefacts: list[Path]
    kept: list[Path]


@task(task_run_name="prune-store", cache_policy=NO_CACHE, persist_result=False)
def prune_store(keep_days: int, keep_versions: int, *, may_delete: bool) -> None:
    """Delete what no released or recent version and no recent run needs; see :func:`planned_pruning` for what that is.

    Parameters
    ----------
    keep_days, keep_versions : int
    may_delete : bool
        Otherwise only what would go is told.
    """
    store = open_store()
    pruning = planned_pruning(store, keep_days, keep_versions)
    for path in pruning.versions:
        get_run_logger().info("version %s %s", path.stem, "goes" if may_delete else "would go")
    if may_delete:
        pruning = _forgotten(store, pruning, keep_days, keep_versions)
    rows, megabytes = _table(pruning), _megabytes(pruning.artefacts)
    if may_delete:
        for path in pruning.artefacts:
            remove(path)
    done = "Deleted" if may_delete else "Nothing is deleted, as may_delete is off; there would go"
    text = (
        f"{done}: {len(pruning.versions)} versions, results of {len(pruning.records)} steps and {len(pruning.artefacts)} artefacts, "
        f"{megabytes:,.1f} MB, of {store.home}"
    )
    get_run_logger().info(text)
    create_table_artifact(table=rows, key="pruning", description=text)


def _forgotten(store: Store, pruning: Pruning, keep_days: int, keep_versions: int) -> Pruning:
    """Delete the pointers of versions and the results of steps that were planned to go.

    Returns
    -------
    Pruning
        What is gone and may go: a result that a run has found again since the plan stays, and with it all that it names.
    """
    for path in pruning.versions:
        remove(path)
    since = time.time() - keep_days * _DAY_SECONDS
    records = [path for path in pruning.records if _touched(path) < since]
    for path in records:
        remove(path)
    now = planned_pruning(store, keep_days, keep_versions)
    return replace(now, versions=pruning.versions, records=records)


def planned_pruning(store: Store, keep_days: int, keep_versions: int) -> Pruning:
    """What may go, by these rules.

    A version stays while it is released, among the last ``keep_versions`` of its data set, or younger than ``keep_days``; of the many that
    comparisons leave none stays for being among the last. A step's
    result stays while it was made or found again within ``keep_days``. An artefact stays while it is written in one of these, in an
    artefact that stays, or is itself younger than that: a run may be about to refer to it.

    Parameters
    ----------
    store : Store
    keep_days, keep_versions : int
        At least 1 and 0.

    Raises
    ------
    ValueError
        If one of them is less.
    """
    if keep_days < 1 or keep_versions < 0:
        raise ValueError(f"keep_days is {keep_days} and keep_versions {keep_versions}; allowed are 1 and more, and 0 and more")
    since = time.time() - keep_days * _DAY_SECONDS
    old_versions, kept_versions = _old_versions(keep_versions, since)
    records = sorted((store.home / "steps").glob("*.json"))
    old_records = {path for path in records if _touched(path) < since}
    artefacts = _artefacts(store)
    texts = [canonical_json(as_json(version)) for version in kept_versions]
    needed = _named(artefacts, texts + [path.read_text(encoding="utf-8") for path in records if path not in old_records])
    old = {path for path in artefacts if path.stem not in needed and _touched(path) < since}
    kept = [path for path in artefacts if path not in old]
    return Pruning([version_path(version) for version in old_versions], sorted(old_records), sorted(old), kept)


def _old_versions(keep_versions: int, since: float) -> tuple[list[VersionRef], list[VersionRef]]:
    """Versions that may go, and those that stay."""
    in_service = released_versions()
    served = {version.version for version in in_service}
    old, kept = list[VersionRef](), in_service.copy()
    for versions in all_versions():
        trained = [version.version for version in versions if not version.system]
        named = served.union(trained[-keep_versions:] if keep_versions else ())
        for version in versions:
            stays = version.version in named or recorded_at(version) >= since
            (kept if stays else old).append(version)
    return old, kept


def _artefacts(store: Store) -> list[Path]:
    """Every whole artefact; what is being written has a name of another form."""
    return [path for path in sorted((store.home / "store").glob("*/*")) if _DIGEST.fullmatch(path.stem)]


def _named(artefacts: Iterable[Path], texts: list[str]) -> set[str]:
    """Digests that these texts name, and those that the JSON artefacts among them name in turn."""
    reports = {path.stem: path for path in artefacts if path.suffix == ".json"}
    needed, waiting = set[str](), texts.copy()
    while waiting:
        new = set(_DIGEST.findall(waiting.pop())) - needed
        needed |= new
        waiting += [reports[digest].read_text(encoding="utf-8") for digest in new & reports.keys()]
    return needed


def _touched(path: Path) -> float:
    return path.stat().st_mtime


def _megabytes(paths: Iterable[Path]) -> float:
    return sum(path.stat().st_size for path in paths) / _MEGABYTE


def _table(pruning: Pruning) -> list[dict[str, str | int | float]]:
    """A row for every kind of artefact, those first of which most is not needed."""
    kinds: dict[str, tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    for column, paths in enumerate((pruning.kept, pruning.artefacts)):
        for path in paths:
            kinds[path.parent.name][column].append(path)
    rows: list[dict[str, str | int | float]] = []
    for kind, (kept, old) in sorted(kinds.items(), key=lambda item: -_megabytes(item[1][1])):
        sizes = [round(_megabytes(paths), 3) for paths in (kept, old)]
        rows.append({"kind": kind, "needed": len(kept), "MB needed": sizes[0], "not needed": len(old), "MB not needed": sizes[1]})
    return rows

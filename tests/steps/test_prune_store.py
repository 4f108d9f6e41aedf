"""Pruning: what is old and needed by nothing goes, whatever else is there stays usable, and a killed pruning breaks nothing."""

import itertools
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from tasks import prune_store as pruning
from tasks.prune_store import planned_pruning, prune_store
from tasks.references import ArtefactRef, DataReferences, ModelRef, ReportRef, VersionRef
from tasks.store import BrokenArtefactError, Store, open_store
from tasks.versions import add_version, all_versions, as_json, release, released, require_whole, version_path

DAY = 24 * 3600.0


@pytest.fixture
def store(home: Path) -> Store:
    return open_store()


@pytest.fixture(autouse=True)
def rows(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The table of the last pruning."""
    shown: list[dict[str, object]] = []
    monkeypatch.setattr(pruning, "create_table_artifact", lambda table, key, description: shown.extend(table))
    return shown


def artefact(store: Store, kind: str, content: object) -> ArtefactRef:
    return store.save_json(kind, content)


def version_of(store: Store, name: str, data_name: str = "shop") -> VersionRef:
    """A version whose model and manifest are its own; all of a data set share the rest. The manifest alone names a report."""
    data = {kind: artefact(store, kind, data_name) for kind in ("log", "behaviours", "split", "items", "users", "counts")}
    report = artefact(store, "evaluation", ["report of", name])
    manifest = artefact(store, "manifest", {"version": name, "candidate": as_json(report)})
    return VersionRef(
        version=f"{data_name}-00-{name}",
        data=DataReferences(name=data_name, num_log_rows=1, num_users=1, num_items=1, num_behaviours=1, **data),
        iteration=0,
        tree=artefact(store, "tree", data_name),
        model=ModelRef(artefact(store, "model", name)),
        manifest=ReportRef(manifest),
        deciding_recall=0.5,
        is_accepted=True,
    )


def record_at(version: VersionRef, days_ago: float) -> None:
    add_version(version)
    path = version_path(version)
    pointer = json.loads(path.read_text())
    path.write_text(json.dumps({**pointer, "recorded_at": time.time() - days_ago * DAY}))


def result_of_step(store: Store, name: str, reference: ArtefactRef, days_ago: float) -> Path:
    path = store.home / "steps" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"result": as_json(reference)}))
    age(path, days_ago)
    return path


def age(path: Path, days: float) -> None:
    os.utime(path, (time.time() - days * DAY,) * 2)


def age_artefacts(store: Store, days: float) -> None:
    for path in (store.home / "store").glob("*/*"):
        age(path, days)


def prune(keep_days: int = 30, keep_versions: int = 2, *, may_delete: bool = True) -> None:
    with disable_run_logger():
        prune_store.fn(keep_days, keep_versions, may_delete=may_delete)


def files_of(store: Store) -> set[str]:
    return {path.relative_to(store.home).as_posix() for path in store.home.rglob("*") if path.is_file()}


def names() -> list[str]:
    return [version.version for versions in all_versions() for version in versions]


def test_released_recent_and_last_versions_stay_with_all_they_name(store: Store) -> None:
    versions = [version_of(store, name) for name in "abcdef"]
    for version, days in zip(versions, (90, 80, 70, 60, 29, 50), strict=True):
        record_at(version, days)
    lone = version_of(store, "lone", "library")
    record_at(lone, 400)
    release(versions[1])
    age_artefacts(store, 45)
    prune(30, keep_versions=2)  # of the shop's, f (50) and e (29) are the last two
    assert names() == ["library-00-lone", *(f"shop-00-{name}" for name in "bfe")]
    for version in (versions[1], versions[4], versions[5], lone):
        report = store.read_json(version.manifest)["candidate"]
        require_whole(version, version.tree, version.model, version.data.log, version.data.users, ArtefactRef(**report))
    for version in (versions[0], versions[2], versions[3]):
        for reference in (version.model, version.manifest):
            with pytest.raises(BrokenArtefactError, match="is missing"):
                store.path(reference)
        store.path(version.tree)  # others share it


def test_versions_of_comparisons_push_none_out_and_stay_while_they_are_young_or_released(store: Store) -> None:
    trained = [version_of(store, name) for name in "abc"]
    compared = [replace(version_of(store, name), system="jtm") for name in "xyz"]
    for version, days in zip((*trained, *compared), (90, 80, 70, 60, 50, 29), strict=True):
        record_at(version, days)
    release(compared[0])
    age_artefacts(store, 45)
    prune(30, keep_versions=2)
    assert names() == [f"shop-00-{name}" for name in "bcxz"]


def test_a_version_is_kept_for_its_age_alone(store: Store) -> None:
    versions = [version_of(store, name) for name in "ab"]
    record_at(versions[0], 31)
    record_at(versions[1], 29)
    age_artefacts(store, 45)
    prune(30, keep_versions=0)
    assert names() == ["shop-00-b"]


def test_what_is_released_stays_though_its_pointer_is_gone(store: Store) -> None:
    version = version_of(store, "a")
    release(version)
    age_artefacts(store, 45)
    prune(30, keep_versions=0)
    found = released("shop")
    assert found == version
    require_whole(version, version.tree, version.model, ArtefactRef(**store.read_json(version.manifest)["candidate"]))


def test_results_of_steps_stay_as_long_as_they_are_used(store: Store) -> None:
    references = {name: artefact(store, "lists", name) for name in ("old", "young")}
    shared = artefact(store, "rounds", {"inner": [as_json(references["young"])]})
    old, young = result_of_step(store, "old", references["old"], 31), result_of_step(store, "young", shared, 29)
    age_artefacts(store, 45)
    prune(30)
    assert (old.exists(), young.exists()) == (False, True)
    store.path(references["young"])
    with pytest.raises(BrokenArtefactError):
        store.path(references["old"])


def test_what_a_run_finds_between_plan_and_deletion_stays_and_is_not_told_as_gone(
    store: Store, rows: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, forgotten = (artefact(store, "curves", [name]) for name in ("found", "forgotten"))
    records = [result_of_step(store, name, reference, 45) for name, reference in (("found", found), ("forgotten", forgotten))]
    age_artefacts(store, 45)

    def planned_while_a_run_goes_on(store: Store, keep_days: int, keep_versions: int) -> pruning.Pruning:
        planned = planned_pruning(store, keep_days, keep_versions)
        age(records[0], 0)
        return planned

    monkeypatch.setattr(pruning, "planned_pruning", planned_while_a_run_goes_on)
    prune(30)
    assert [path.is_file() for path in records] == [True, False]
    assert store.read_json(found) == ["found"]
    with pytest.raises(BrokenArtefactError, match="is missing"):
        store.read_json(forgotten)
    assert [(row["kind"], row["needed"], row["not needed"]) for row in rows] == [("curves", 1, 1)]


def test_young_artefacts_and_unfinished_ones_stay(store: Store) -> None:
    young, old = artefact(store, "model", "young"), artefact(store, "model", "old")
    age(store.path(young), 29)
    age(store.path(old), 31)
    unfinished = store.home / "store" / "model" / ".partial-1"
    unfinished.mkdir()
    age(unfinished, 31)
    prune(30)
    assert files_of(store) == {young.uri}
    assert unfinished.is_dir()


def test_without_leave_to_delete_it_only_tells(store: Store, rows: list[dict[str, object]]) -> None:
    version = version_of(store, "a")
    record_at(version, 90)
    result_of_step(store, "old", artefact(store, "lists", "x" * 2_000_000), 31)
    age_artefacts(store, 45)
    before = files_of(store)
    prune(30, keep_versions=0, may_delete=False)
    assert files_of(store) == before
    assert rows[0] == {"kind": "lists", "needed": 0, "MB needed": 0.0, "not needed": 1, "MB not needed": 2.0}
    assert {row["kind"]: row["not needed"] for row in rows} == dict.fromkeys(
        ("lists", "log", "behaviours", "split", "items", "users", "counts", "evaluation", "manifest", "tree", "model"), 1
    )


def test_a_second_pruning_finds_nothing_more(store: Store) -> None:
    for name in "abc":
        record_at(version_of(store, name), 90)
    age_artefacts(store, 45)
    prune(30, keep_versions=1)
    planned = planned_pruning(store, 30, 1)
    assert (planned.versions, planned.records, planned.artefacts) == ([], [], [])
    assert len(planned.kept) == 10


def test_a_pruning_that_is_killed_leaves_nothing_that_is_found_and_not_whole(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        version = version_of(store, name)
        record_at(version, 90)
        result_of_step(store, name, version.model, 31)
    age_artefacts(store, 45)
    planned = planned_pruning(store, 30, 1)
    remove, total = pruning.remove, sum(map(len, (planned.versions, planned.records, planned.artefacts)))
    for done in range(total):
        calls = itertools.count()

        def remove_one(path: Path, calls: Iterator[int] = calls) -> None:
            if next(calls):
                raise KeyboardInterrupt
            remove(path)

        monkeypatch.setattr(pruning, "remove", remove_one)
        with suppress(KeyboardInterrupt):
            prune(30, keep_versions=1)
        left = planned_pruning(store, 30, 1)
        assert sum(map(len, (left.versions, left.records, left.artefacts))) == total - done - 1
        for found in itertools.chain.from_iterable(all_versions()):
            require_whole(found, found.tree, found.model, found.data.log)
        for path in (store.home / "steps").glob("*.json"):
            store.path(ArtefactRef(**json.loads(path.read_text())["result"]))
    assert names() == ["shop-00-c"]


@pytest.mark.parametrize(("days", "versions"), [(0, 10), (30, -1)])
def test_bounds_are_told(store: Store, days: int, versions: int) -> None:
    with pytest.raises(ValueError, match=f"keep_days is {days} and keep_versions {versions}; allowed are"):
        planned_pruning(store, days, versions)


def test_a_version_of_another_place_is_kept_by_its_name(store: Store) -> None:
    """A pointer may say the same in other words, such as an artefact's path; nobody could find the released version without it."""
    version = version_of(store, "a")
    record_at(replace(version, model=ModelRef(replace(version.model, uri="store/model/elsewhere"))), 90)
    release(version)
    prune(30, keep_versions=0)
    assert names() == [version.version]

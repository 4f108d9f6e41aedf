"""Training, tree learning, evaluation, the gate and the report: each task by its function, on a store of its own."""

import dataclasses
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from prefect.logging import disable_run_logger

from jtm_core.config import EvaluationConfig, JtmConfig, ModelConfig, SplitConfig, TrainingConfig
from jtm_core.formats.arrays import read_split
from jtm_core.gate import best_version, deciding_metric
from jtm_core.serving import Retriever
from tasks.artefacts import read_network, read_tree, read_vocabulary
from tasks.check_data import check_log
from tasks.evaluate_model import evaluate_model
from tasks.evaluate_users import evaluate_users, open_version
from tasks.fetch_log import fetch_log
from tasks.find_released import find_released
from tasks.ingest_log import ingest_log
from tasks.iteration_records import iteration_of
from tasks.learn_tree import learn_tree
from tasks.look_back import find_start, look_back
from tasks.measure_start import measure_start
from tasks.open_retriever import open_retriever
from tasks.plant_tree import plant_tree
from tasks.prepare_behaviours import prepare_behaviours
from tasks.prune_store import prune_store
from tasks.record_version import record_version
from tasks.references import Candidate, DataReferences, GrownTree, IngestedLog, ReportRef, Standing, TrainedModel, VersionRef
from tasks.release_best import release_best
from tasks.release_named import release_named
from tasks.report_results import results_rows, table_text
from tasks.store import BrokenArtefactError, open_store
from tasks.train_model import train_model
from tasks.versions import UnknownVersionError, add_version, data_slug, find_version, recorded_config, release, released

MakeConfig = Callable[..., JtmConfig]


@dataclasses.dataclass(frozen=True)
class Made:
    """What a run has made when its first training is over."""

    data: DataReferences
    grown: GrownTree
    trained: TrainedModel
    config: JtmConfig


@pytest.fixture
def made(home: Path, make_config: MakeConfig) -> Made:
    config = make_config()
    data = prepare_behaviours.compute(ingest_log.compute(fetch_log.fn(config), config), config, None)
    grown = plant_tree.compute(data, config, None)
    return Made(data, grown, train_model.compute(0, data, grown, config), config)


def record(made: Made, **options: Any) -> VersionRef:
    """Evaluate and record what was made as iteration 0, or the one given."""
    iteration = options.get("iteration", 0)
    evaluation = evaluate_model.compute(iteration, made.data, made.grown.tree, made.trained.model, made.config)
    candidate = Candidate(iteration, made.grown, made.trained, evaluation)
    return record_version.fn(made.data, candidate, options.get("standing"), None, made.config)


class Killed(BaseException):
    """Stands in for ``kill -9``."""


def killed_after(batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a training die after some batches; every batch leaves a checkpoint."""
    from tasks import train_model as module

    save, saved = module._save, []

    def save_and_die(training: Any, checkpoint: Path) -> None:
        save(training, checkpoint)
        saved.append(checkpoint)
        if len(saved) == batches:
            raise Killed

    monkeypatch.setenv("JTM_CHECKPOINT_SECONDS", "0")
    monkeypatch.setattr(module, "_save", save_and_die)


@pytest.mark.parametrize("batches", [1, 9, 10, 12])
def test_a_killed_training_ends_with_the_same_weights(made: Made, monkeypatch: pytest.MonkeyPatch, home: Path, batches: int) -> None:
    (home / "steps" / f"{train_model.key(0, made.data, made.grown, made.config)}.json").unlink()
    with monkeypatch.context() as patch:
        killed_after(batches, patch)
        with pytest.raises(Killed):
            train_model.compute(0, made.data, made.grown, made.config)
    assert len(list((home / "checkpoints").glob("*"))) == 1
    assert train_model.compute(0, made.data, made.grown, made.config) == made.trained
    assert list((home / "checkpoints").glob("*")) == []


def test_a_damaged_checkpoint_is_passed_over(made: Made, home: Path) -> None:
    key = train_model.key(0, made.data, made.grown, made.config)
    (home / "steps" / f"{key}.json").unlink()
    (home / "checkpoints").mkdir(exist_ok=True)
    (home / "checkpoints" / f"{key}.safetensors").write_bytes(b"not a checkpoint")
    assert train_model.compute(0, made.data, made.grown, made.config) == made.trained


def test_curves_have_a_point_per_epoch_and_a_diagnosis(made: Made) -> None:
    curves = open_store().read_json(made.trained.curves)
    assert [epoch for epoch, _ in curves["validation_recall"]] == [1, 2]
    assert curves["loss"][-1][0] == 200
    assert {"best_epoch", "score_spread", "list_overlap"} <= set(curves["diagnosis"])


def test_the_objective_never_falls_and_the_model_comes_along(made: Made) -> None:
    learned = learn_tree.compute(1, made.data, made.grown.tree, made.trained.model, made.config)
    store = open_store()
    report = store.read_json(learned.report)
    assert report["objective_after"] >= report["objective_before"]
    assert report["segments"][0]["level_from"] == 0
    before, after = read_network(store, made.trained.model), read_network(store, learned.start)
    tree = read_tree(store, learned.tree)
    first_item = (1 << tree.height) - 1
    assert tree.num_items == 40
    np.testing.assert_array_equal(before.vectors.detach()[first_item:], after.vectors.detach()[first_item:])


def test_both_groups_are_evaluated(made: Made) -> None:
    metrics = open_store().read_json(evaluate_model.compute(0, made.data, made.grown.tree, made.trained.model, made.config))["metrics"]
    assert sorted(metrics) == ["test", "validation"]
    assert {"recall_at_10", "filtered/recall_at_10", "full_scan/recall_at_10", "small_beam/recall_at_5"} <= set(metrics["test"])


@pytest.mark.parametrize("users", ["validation", "test"])
def test_a_version_is_worth_to_a_group_of_users_what_it_was_worth(made: Made, users: Any) -> None:
    """Searched from the level that was trained first, which the manifest knows."""
    config = dataclasses.replace(made.config, training=dataclasses.replace(made.config.training, first_level=5))
    made = Made(made.data, made.grown, train_model.compute(0, made.data, made.grown, config), config)
    version, store = record(made), open_store()
    whole = store.read_json(evaluate_model.compute(0, made.data, made.grown.tree, made.trained.model, config))["metrics"]
    assert whole["validation"] != whole["test"]
    assert store.read_json(evaluate_users.compute(version, users, config.evaluation)) == {"metrics": {users: whole[users]}}


def test_the_first_version_is_accepted_and_can_be_found(made: Made) -> None:
    version = record(made)
    manifest = open_store().read_json(version.manifest)
    assert version.is_accepted
    assert version.version == f"small-00-{version.manifest.sha256[:12]}"
    assert find_version(version.version) == version == record(made)
    assert (manifest["parent"], manifest["iteration"], manifest["objective_after"]) == (None, 0, None)
    assert manifest["config"]["seed"] == 1
    assert set(manifest["code"]["libraries"]) >= {"numpy", "torch"}


def test_a_longer_experiment_has_the_same_versions(made: Made) -> None:
    assert record(made) == record(dataclasses.replace(made, config=dataclasses.replace(made.config, iterations=9)))


@pytest.mark.parametrize(("better", "is_accepted"), [(0.0, True), (0.015, True), (0.05, False)])
def test_the_gate_refuses_what_falls_by_more_than_the_tolerance(made: Made, better: float, is_accepted: bool) -> None:
    assert made.config.tree_learning.validation_tolerance == 0.02
    first = record(made)
    best = dataclasses.replace(first, version="best", deciding_recall=first.deciding_recall * (1 + better))
    standing = Standing(first, best)
    version = record(made, iteration=1, standing=standing)
    gate = open_store().read_json(version.manifest)["gate"]
    assert version.is_accepted == gate["is_accepted"] == is_accepted
    assert gate["metric"] == "validation/recall_at_10"
    after = Standing.after_version(standing, version)
    assert after.current == (version if is_accepted else best)
    assert after.best == best, "of equals the earlier one"


def test_the_last_cut_off_with_items_decides() -> None:
    evaluation = EvaluationConfig(cutoffs=(10, 200), beam_width=200)
    both = {"recall_at_10": 0.1, "recall_at_200": 0.5}
    assert deciding_metric(evaluation, both, num_items=201) == "recall_at_200"
    assert deciding_metric(evaluation, both, num_items=200) == "recall_at_10", "a list of all items finds everything"
    assert deciding_metric(evaluation, {"recall_at_10": 0.1}, num_items=99) == "recall_at_10"
    filtered = dataclasses.replace(evaluation, filter_seen=True)
    assert deciding_metric(filtered, {"recall_at_200": 0.5, "filtered/recall_at_200": 0.6}, num_items=201) == "filtered/recall_at_200"
    with pytest.raises(ValueError, match="recall_at_10 decides and was not measured; there are 7 items"):
        deciding_metric(evaluation, {}, num_items=7)


def test_a_retraining_starts_from_what_was_released(made: Made) -> None:
    version = record(made)
    assert released("small") is None
    release(version)
    assert released("small") == version
    extended = plant_tree.compute(made.data, made.config, version)
    assert extended.start is not None
    np.testing.assert_array_equal(read_tree(open_store(), extended.tree).leaf_of_item, read_tree(open_store(), version.tree).leaf_of_item)


def test_a_warm_start_needs_the_same_model(made: Made) -> None:
    version = record(made)
    other = dataclasses.replace(made.config, model=ModelConfig(window_sizes=(4, 2), embedding_width=8, hidden_widths=(16, 8, 8)))
    with pytest.raises(ValueError, match=f"version {version.version} has the model settings .*give the same ones to start warm"):
        plant_tree.compute(made.data, other, version)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {"name": "other"}}, r"data\.name = small, now it is other"),
        ({"model": {"embedding_width": 16}}, r"model\.embedding_width = 8, now it is 16"),
        ({"split": {"protocol": "time"}}, r"split\.protocol = users, now it is time"),
    ],
)
def test_a_start_that_does_not_fit_is_refused_before_the_log_is_read(made: Made, change: dict[str, Any], message: str) -> None:
    version = record(made)
    assert find_start.fn(version.version, made.config) == version
    changed = {part: dataclasses.replace(getattr(made.config, part), **fields) for part, fields in change.items()}
    with pytest.raises(ValueError, match=f"version {version.version} was made with .*{message}"):
        find_start.fn(version.version, dataclasses.replace(made.config, **changed))


def test_by_a_moment_for_all_nothing_is_gone_on_from(made: Made) -> None:
    version = record(made)
    by_moment = dataclasses.replace(made.config, split=SplitConfig(protocol="global_time"))
    with pytest.raises(ValueError, match=r"split\.protocol is global_time, .*retrain by users, users_newest or time"):
        find_start.fn(version.version, by_moment)
    assert find_start.fn("", by_moment) is None


@pytest.mark.parametrize(
    ("before", "now", "is_refused"), [("users", "users_newest", 0), ("users_newest", "users", 0), ("time", "users_newest", 1)]
)
def test_users_held_out_stay_so_whichever_half_is_asked_for(
    made: Made, before: Literal["users", "time"], now: Literal["users_newest"], is_refused: bool
) -> None:
    """Who judges teaches nothing by either, so a team may turn to the newest without starting anew."""
    first, then = (dataclasses.replace(made.config, split=SplitConfig(protocol=protocol)) for protocol in (before, now))
    version = record(dataclasses.replace(made, config=first))
    if is_refused:
        with pytest.raises(ValueError, match=rf"split\.protocol = {before}, now it is {now}"):
            find_start.fn(version.version, then)
    else:
        assert find_start.fn(version.version, then) == version


@pytest.mark.parametrize(("windows", "is_refused"), [((), False), ((2, 4), True)])
def test_a_version_older_than_a_setting_had_none_of_it(
    made: Made, monkeypatch: pytest.MonkeyPatch, windows: tuple[int, ...], is_refused: bool
) -> None:
    version, store = record(made), open_store()
    manifest = store.read_json(version.manifest)
    del manifest["config"]["model"]["neighbour_windows"]
    monkeypatch.setattr(type(store), "read_json", lambda store, reference: manifest)
    now = dataclasses.replace(made.config, model=dataclasses.replace(made.config.model, neighbour_windows=windows))
    if is_refused:
        with pytest.raises(ValueError, match=r"model\.neighbour_windows = None, now it is \[2, 4\]"):
            find_start.fn(version.version, now)
    else:
        assert find_start.fn(version.version, now) == version


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("split", {"train_share": 0.5}, r"split\.train_share = 0\.8, now it is 0\.5"),
        ("data", {"minimum_item_occurrences": 3}, r"data\.minimum_item_occurrences = .*, now it is 3"),
        ("data", {"minimum_rating": 4.5}, r"data\.minimum_rating = .*, now it is 4\.5"),
    ],
)
def test_a_start_in_time_needs_what_decides_where_a_user_is_cut(made: Made, part: str, change: dict[str, Any], message: str) -> None:
    """Among users it does nothing."""
    in_time = dataclasses.replace(made.config, split=SplitConfig(protocol="time"))
    for config, is_refused in ((made.config, False), (in_time, True)):
        version = record(dataclasses.replace(made, config=config))
        changed = dataclasses.replace(config, **{part: dataclasses.replace(getattr(config, part), **change)})
        if is_refused:
            with pytest.raises(ValueError, match=f"was made with {message}: give the same"):
                find_start.fn(version.version, changed)
        else:
            assert find_start.fn(version.version, changed) == version


def test_each_part_that_a_start_needs_must_be_whole(made: Made) -> None:
    version, store = record(made), open_store()
    data, both = version.data, (version.manifest, version.tree, version.model, version.data.split)
    for find, parts in ((find_start.fn, (*both, data.items, data.users)), (open_version.fn, (*both, data.behaviours))):
        for part in parts:
            path = store.path(part)
            content = path.read_bytes()
            path.write_bytes(b"broken")
            with pytest.raises(BrokenArtefactError, match=f"{part.kind} .* is broken.*version {version.version} cannot be used without it"):
                find(version.version, *((made.config,) if find == find_start.fn else ()))
            path.write_bytes(content)


def test_another_log_is_held_against_the_one_of_the_released_version(made: Made) -> None:
    version = record(made)
    release(version)
    log = Path(made.config.data.path)
    assert look_back.fn(ingest_log.compute(fetch_log.fn(made.config), made.config), made.config) is None, "made from this very log"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:60]))
    fewer = ingest_log.compute(fetch_log.fn(made.config), made.config)
    assert look_back.fn(fewer, made.config) == version
    for previous, broken in ((version, {"volume_near_previous": "warned", "volume_not_collapsed": "failed"}), (None, {})):
        assert broken_rules(fewer, made.config, previous) == broken
    lines = [line.rsplit(",", 1) for line in log.read_text().splitlines()]
    log.write_text("".join(f"{start},{int(time) - 1}\n" for start, time in lines * 12))
    older = ingest_log.compute(fetch_log.fn(made.config), made.config)
    assert broken_rules(older, made.config, version)["reaches_previous"] == "warned"
    assert "reaches_previous" not in broken_rules(older, made.config, None)


def broken_rules(ingested: IngestedLog, config: JtmConfig, previous: VersionRef | None) -> dict[str, str]:
    """Rules about volume and age that a log breaks, and how the check takes it."""
    rules = open_store().read_json(check_log.compute(ingested, config, previous).report)["report"]["rules"]
    return {rule["name"]: rule["verdict"] for rule in rules if rule["verdict"] != "passed" and rule["unit"] == "table"}


def test_a_start_that_is_not_whole_is_refused(made: Made) -> None:
    version = record(made)
    open_store().path(version.model).unlink()
    with pytest.raises(BrokenArtefactError, match=f"is missing; version {version.version} cannot be used without it"):
        find_start.fn(version.version, made.config)
    with pytest.raises(BrokenArtefactError, match=f"version {version.version} cannot be used without it"):
        open_version.fn(version.version)


def test_other_judges_at_a_warm_start_never_taught_it(made: Made) -> None:
    """Another seed would draw most of them from those who did."""
    version = record(made)
    ingested = ingest_log.compute(fetch_log.fn(made.config), made.config)
    earlier = read_split(open_store().path(version.data.split))
    for seed in (2, 3):
        data = prepare_behaviours.compute(ingested, dataclasses.replace(made.config, seed=seed), version)
        split = read_split(open_store().path(data.split))
        assert set(split.test.users) <= set(earlier.test.users)
        assert not set(split.validation.users) & set(np.flatnonzero(earlier.train_lengths))


def test_judges_that_a_shorter_log_lacks_are_said_to_be_missing(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    version = record(made)
    earlier = read_split(open_store().path(version.data.split))
    users = read_vocabulary(open_store(), version.data.users).keys.to_pylist()
    gone = {str(users[user]) for user in earlier.test.users[:4]}
    log = Path(made.config.data.path)
    for lost, warned in ((set(), False), (gone, True)):
        kept = [line for line in log.read_text().splitlines() if line.split(",")[0] not in lost]
        log.write_text("\n".join(kept) + "\n")
        prepare_behaviours.compute(ingest_log.compute(fetch_log.fn(made.config), made.config), made.config, version)
        assert ("2 users test where 5 would" in caplog.text) == warned
        assert "validate where" not in caplog.text


def test_a_log_that_the_start_knows_nothing_of_is_refused(made: Made) -> None:
    """An export that writes its ids another way is retrained on by no schedule; one known item among new ones is a log that rolled on."""
    version, log = record(made), Path(made.config.data.path)
    lines = [line.split(",") for line in log.read_text().splitlines()]
    for known, is_refused in (("2000", True), (lines[0][1], False)):
        renamed = [[user, known if item == lines[0][1] else str(1000 + int(item)), *rest] for user, item, *rest in lines]
        log.write_text("\n".join(",".join(line) for line in renamed) + "\n")
        ingested = ingest_log.compute(fetch_log.fn(made.config), made.config)
        if is_refused:
            with pytest.raises(
                ValueError, match=f"none of the log's 40 items is among the 40 of version {version.version}.*data.name of its own"
            ):
                prepare_behaviours.compute(ingested, made.config, version)
        else:
            assert prepare_behaviours.compute(ingested, made.config, version).num_items == 79


def test_users_of_whom_the_start_knows_none_are_told(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    """Sessions are users of one log only, so such a log is taken; one known user among new ones is nothing to speak of."""
    version, log = record(made), Path(made.config.data.path)
    lines = [line.split(",") for line in log.read_text().splitlines()]
    for known, is_told in (("2000", True), (lines[0][0], False)):
        renamed = [[known if user == lines[0][0] else str(1000 + int(user)), *rest] for user, *rest in lines]
        log.write_text("\n".join(",".join(line) for line in renamed) + "\n")
        caplog.clear()
        data = prepare_behaviours.compute(ingest_log.compute(fetch_log.fn(made.config), made.config), made.config, version)
        num_users = data.num_users - version.data.num_users
        told = f"none of the log's {num_users} users is among the {version.data.num_users} of version {version.version}"
        assert (told in caplog.text) == is_told


def test_the_start_is_worth_on_the_same_data_what_it_was_worth(made: Made) -> None:
    version = record(made)
    start = measure_start.compute(made.data, plant_tree.compute(made.data, made.config, version), made.config)
    assert open_store().read_json(start) == {"recall": version.deciding_recall}
    with pytest.raises(ValueError, match="comes without a model"):
        measure_start.compute(made.data, made.grown, made.config)


def test_what_is_worse_than_its_start_is_not_released(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    monkeypatch.setattr("tasks.release_best.create_markdown_artifact", lambda text, key, description: texts.append(text))
    before = record(made)
    start = ReportRef(open_store().save_json("start", {"recall": before.deciding_recall}))
    worse = dataclasses.replace(before, version="small-00-worse", deciding_recall=0.9 * before.deciding_recall)
    near = dataclasses.replace(before, version="small-00-near", deciding_recall=0.99 * before.deciding_recall)
    newer_log = dataclasses.replace(before.data, log=dataclasses.replace(before.data.log, sha256="0" * 64))
    of_newer_log = dataclasses.replace(near, version="small-00-newer", data=newer_log)
    for version in (worse, near, of_newer_log):
        add_version(version)
    with disable_run_logger():
        release_best.fn([before], None, None, made.config)
        release_best.fn([worse], before, start, made.config)
        assert released("small") == before
        assert re.search(rf"small-00-worse is not released.* {before.version} stays released", texts[0])
        release_best.fn([worse, near], before, start, made.config)
        assert released("small") == before, "or a schedule on a log that stands still would lose a little every time"
        assert re.search(r"small-00-near is not released.* on the same users and the same log", texts[1])
        release_best.fn([worse, of_newer_log], before, start, made.config)
    assert released("small") == of_newer_log
    assert len(texts) == 2


def test_a_cold_run_takes_the_place_of_nothing_better_that_the_same_users_judged(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other users judged, or by other lists, or what cannot be read any more, is replaced."""
    texts: list[str] = []
    monkeypatch.setattr("tasks.release_best.create_markdown_artifact", lambda text, key, description: texts.append(text))
    first = record(made)
    other_users = dataclasses.replace(first.data, split=dataclasses.replace(first.data.split, sha256="0" * 64))
    better = dataclasses.replace(first, version="small-00-better", deciding_recall=1.01 * first.deciding_recall)
    elsewhere = dataclasses.replace(better, version="small-00-elsewhere", data=other_users)
    lost = dataclasses.replace(better, version="small-00-lost", manifest=dataclasses.replace(first.manifest, uri="store/gone"))
    manifest = open_store().read_json(first.manifest)
    manifest["config"]["evaluation"]["filter_seen"] = not made.config.evaluation.filter_seen
    unseen = dataclasses.replace(better, version="small-00-unseen", manifest=ReportRef(open_store().save_json("manifest", manifest)))
    for before in (first, better, elsewhere, lost, unseen):
        add_version(before)
    made_now = [dataclasses.replace(first, version=f"small-00-now-{number}") for number in range(5)]
    for version in made_now:
        add_version(version)
    with disable_run_logger():
        for before, version in zip((better, elsewhere, lost, unseen, first), made_now, strict=True):
            release(before)
            release_best.fn([version], None, None, made.config)
            assert released("small") == (before if before == better else version)
    assert len(texts) == 1
    assert re.search(r"small-00-now-0 is not released: .* that of small-00-better, which is released, .* run release-version", texts[0])


def test_a_warm_run_takes_the_place_of_none_but_its_start(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run released in the meantime what this one is not compared with."""
    texts: list[str] = []
    monkeypatch.setattr("tasks.release_best.create_markdown_artifact", lambda text, key, description: texts.append(text))
    first = record(made)
    start = ReportRef(open_store().save_json("start", {"recall": first.deciding_recall}))
    meanwhile, warm, warmer = (dataclasses.replace(first, version=f"small-00-{name}") for name in ("meanwhile", "warm", "warmer"))
    for version in (meanwhile, warm, warmer):
        add_version(version)
    with disable_run_logger():
        release(meanwhile)
        release_best.fn([warm, warmer], first, start, made.config)
        assert released("small") == meanwhile
        assert "small-00-warm is not released: this run started from" in texts[0]
        assert "small-00-meanwhile is released and not that" in texts[0]
        release(first)
        release_best.fn([warm, warmer], first, start, made.config)
        assert released("small") == warm
        release(warmer)  # by name, or by this very run before it was started again with more iterations
        release_best.fn([warm, warmer], first, start, made.config)
        assert released("small") == warm
    assert len(texts) == 1


def test_an_earlier_run_that_makes_nothing_new_leaves_what_was_released_since(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    monkeypatch.setattr("tasks.release_best.create_markdown_artifact", lambda text, key, description: texts.append(text))
    first = record(made)
    later = [dataclasses.replace(first, version=f"small-00-{name}") for name in ("newer", "newest")]
    with disable_run_logger():
        release_best.fn([first], None, None, made.config)
        add_version(later[0])
        release_best.fn([later[0]], None, None, made.config)
        release_best.fn([first], None, None, made.config)
        assert released("small") == later[0]
        assert f"{first.version} is not released" in texts[0]
        assert "small-00-newer is newer" in texts[0]
        add_version(later[1])
        release_best.fn([first, later[1]], None, None, made.config)  # broken off before, and finished now
    assert released("small") == first
    assert len(texts) == 1


def test_a_version_that_somebody_names_is_released_if_it_is_whole(made: Made) -> None:
    first = record(made)
    other = dataclasses.replace(first, version="small-00-other", deciding_recall=2.0)
    broken = dataclasses.replace(other, version="small-00-broken", tree=dataclasses.replace(first.tree, uri="store/tree/gone"))
    for version in (other, broken):
        add_version(version)
    with disable_run_logger():
        release_best.fn([other], None, None, made.config)
        release_named.fn(first.version)
        assert released("small") == first
        with pytest.raises(BrokenArtefactError, match="small-00-broken cannot be used without it"):
            release_named.fn("small-00-broken")
        with pytest.raises(UnknownVersionError, match="'none' is not recorded"):
            release_named.fn("none")
    assert released("small") == first


def test_what_is_released_serves_and_is_gone_on_from_after_a_pruning(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.prune_store.create_table_artifact", lambda **shown: None)
    version = record(made)
    release(version)
    store, used = open_store(), plant_tree.compute(made.data, made.config, version)
    records = {path: path.stat().st_mtime for path in (store.home / "steps").glob("*.json")}
    for path in (*records, *(store.home / "store").glob("*/*")):
        os.utime(path, (time.time() - 40 * 86400,) * 2)
    assert plant_tree.compute(made.data, made.config, version) == used, "found again, and so as good as new"
    with disable_run_logger():
        prune_store.fn(30, 0, may_delete=True)
    assert len(list((store.home / "steps").glob("*.json"))) == 1 < len(records)
    assert len(open_retriever("small").recommend([0], 5).items) == 5
    assert find_start.fn(version.version, made.config) == version
    assert plant_tree.compute(made.data, made.config, version) == used
    evaluate_users.compute(version, "test", made.config.evaluation)
    assert record(made) == version, "what is gone is made again, and is the same"


def test_settings_that_other_code_recorded_are_passed_over(made: Made) -> None:
    version = record(made)
    manifest = open_store().read_json(version.manifest)
    manifest["config"]["training"] |= {"warm_up": 3, "first_level": 2}
    del manifest["config"]["training"]["level_share"]
    of_other_code = dataclasses.replace(version, manifest=ReportRef(open_store().save_json("manifest", manifest)))
    expected = dataclasses.replace(made.config.training, first_level=2)
    found = dataclasses.replace(recorded_config(of_other_code), iterations=made.config.iterations)  # which no version depends on
    assert found == dataclasses.replace(made.config, training=expected)


def test_a_released_version_serves_as_the_readme_says(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    """The snippet itself, with a data set and items that are there."""
    version = record(made)
    with pytest.raises(UnknownVersionError, match="no run on 'small' has finished"):
        open_retriever("small")
    release(version)
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (snippet,) = (block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "open_retriever" in block)
    first, second = read_vocabulary(open_store(), version.data.items).keys.to_pylist()[:2]
    changed = {'"ml-100k"': '"small"', "[50, 181]": str([first, second]), "[50]": str([first]), "count=20": "count=5"}
    for old, new in changed.items():
        snippet = snippet.replace(old, new)
    space: dict[str, Any] = {}
    exec(snippet, space)
    found = space["found"]
    assert capsys.readouterr().out.split()[::2] == [str(item) for item in found.items]
    assert (len(found.items), found.is_personal) == (5, True)
    assert first not in found.items
    network, tree = read_network(open_store(), version.model), read_tree(open_store(), version.tree)
    vocabulary = read_vocabulary(open_store(), version.data.items)
    dense = vocabulary.ids_of(pa.array([first, second]))
    search = Retriever(network, tree, made.config.evaluation.beam_width, made.config.first_level)
    items = search.recommend(dense, 5, dense[:1])[0]
    assert found.items == [vocabulary.keys[item].as_py() for item in items.tolist()]
    assert open_retriever("small", version=version.version, beam_width=40).recommend([], 40).is_personal is False
    with pytest.raises(UnknownVersionError, match="is of the data set 'small', not of 'large'"):
        open_retriever("large", version=version.version)
    open_store().path(version.tree).unlink()
    with pytest.raises(BrokenArtefactError, match=f"{version.tree.uri} is missing"):
        open_retriever("small")


def test_a_warm_start_takes_the_later_epochs(made: Made) -> None:
    config = dataclasses.replace(made.config, training=TrainingConfig(epochs=3, later_epochs=1, batch_samples=64, negatives=20))
    warm = train_model.compute(0, made.data, dataclasses.replace(made.grown, start=made.trained.model), config)
    assert len(open_store().read_json(warm.curves)["validation_recall"]) == 1


def test_mlflow_is_told_everything_about_a_version(made: Made) -> None:
    learned = learn_tree.compute(1, made.data, made.grown.tree, made.trained.model, made.config)
    retrained = Made(made.data, learned, train_model.compute(1, made.data, learned, made.config), made.config)
    told = iteration_of(open_store(), record(retrained, iteration=1))
    assert set(told.artefacts) == {
        "tree.parquet", "model.safetensors", "manifest.json", "evaluation.json", "curves.json", "tree_learning.json",
    }  # fmt: skip
    assert {"test/recall_at_10", "validation/recall_at_10", "training/best_epoch"} <= set(told.metrics)
    assert told.learning is not None
    assert len(told.learning.moved_shares) == 7


def test_the_table_has_all_systems(made: Made) -> None:
    config = made.config
    version = record(made)
    refused = dataclasses.replace(version, iteration=1, is_accepted=False, deciding_recall=0.99)
    popularity = {"test": {"recall_at_5": 0.125, "recall_at_10": 0.25}, "validation": {"recall_at_10": 0.2}}
    rows = results_rows(open_store(), [version, refused], {"popularity": popularity}, config.evaluation)
    assert [(row["system"], row["gate"]) for row in rows] == [
        ("popularity", ""),
        ("JTM, iteration 0", "best"),
        ("JTM, iteration 1", "refused"),
        ("full scan, iteration 0", ""),
    ]
    assert (rows[0]["R@10"], rows[0]["R@5 beam 5"], rows[0]["validation R@10"]) == (0.25, None, 0.2)
    lines = table_text(rows).splitlines()
    assert lines[0].split()[:3] == ["system", "gate", "R@5"]
    assert lines[1].split()[:3] == ["popularity", "12.50", "25.00"]
    assert best_version([version, refused]) is version


def test_versions_are_listed_where_one_is_unknown(made: Made) -> None:
    version = record(made)
    with pytest.raises(UnknownVersionError, match=f"version 'other' is not recorded under .*recorded are: {version.version}"):
        find_version("other")


@pytest.mark.parametrize(("name", "slug"), [("ml-100k", "ml-100k"), ("shop-eu", "shop-eu"), ("../x", "x-d6b96a"), ("ü", "data-607474")])
def test_names_of_data_sets_become_names_of_folders(name: str, slug: str) -> None:
    assert data_slug(name) == slug


def test_no_two_data_sets_share_a_folder() -> None:
    names = ["shop-eu", "shop_eu", "Shop EU", "京东", "淘宝", "data"]
    assert len({data_slug(name) for name in names}) == len(names)


def test_nothing_is_released_at_first(home: Path, make_config: MakeConfig) -> None:
    with disable_run_logger():
        assert find_released.fn(make_config()) == ""

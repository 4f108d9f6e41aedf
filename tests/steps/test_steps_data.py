"""From a log outside to a planted tree: each task by its function, on a store of its own."""

import dataclasses
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from prefect.logging import disable_run_logger

from jtm_core.config import DataConfig, ExecutionConfig, FirstTreeConfig, JtmConfig, SplitConfig, TrainingConfig
from tasks.artefacts import read_data, read_tree, read_vocabulary
from tasks.check_data import check_behaviours, check_log, check_tree
from tasks.check_settings import check_settings
from tasks.choose_example import PLANTED, choose_example
from tasks.compare_baselines import compare_baselines
from tasks.example_data import Example, ExampleDataUnavailable
from tasks.fetch_log import fetch_log
from tasks.ingest_log import ingest_log
from tasks.look_back import find_start, look_back
from tasks.plant_tree import plant_tree
from tasks.prepare_behaviours import prepare_behaviours
from tasks.references import DataReferences, IngestedLog
from tasks.store import open_store
from tasks.versions import UnknownVersionError

MakeConfig = Callable[..., JtmConfig]


@pytest.fixture
def ingested(home: Path, make_config: MakeConfig) -> IngestedLog:
    config = make_config()
    return ingest_log.compute(fetch_log.fn(config), config)


@pytest.fixture
def data(ingested: IngestedLog, make_config: MakeConfig) -> DataReferences:
    return prepare_behaviours.compute(ingested, make_config(), None)


def test_a_missing_log_is_named(tmp_path: Path, make_config: MakeConfig) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"data.path is '.*'; there is no file in the folder .*; names that begin with . or _"):
        fetch_log.fn(make_config(data=DataConfig(path=str(tmp_path / "empty"), format="table")))
    with pytest.raises(FileNotFoundError, match=r"data.path is '.*\*.tsv'; there is no file that fits"):
        fetch_log.fn(make_config(data=DataConfig(path=str(tmp_path / "*.tsv"), format="table")))
    with pytest.raises(FileNotFoundError, match=r"data.path is '/no/such.csv'; there is no file"):
        fetch_log.fn(make_config(data=DataConfig(path="/no/such.csv")))


def test_a_missing_category_table_is_named(make_config: MakeConfig) -> None:
    config = make_config()
    with pytest.raises(FileNotFoundError, match=r"data.category_path is 'nowhere.csv'"):
        fetch_log.fn(dataclasses.replace(config, data=dataclasses.replace(config.data, category_path="nowhere.csv")))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DataConfig(path=""), "data.path is empty; give the log's file"),
        (DataConfig(path="recbole:ml-2m"), "data.path is 'recbole:ml-2m'; the examples are recbole:ml-100k, recbole:ml-1m"),
        (DataConfig(path="log.csv", format="planted_world"), "reads no file; leave the path empty"),
    ],
)
def test_a_log_that_cannot_be_meant_is_refused(data: DataConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fetch_log.fn(JtmConfig(data=data))


def test_a_log_that_moved_is_the_same_log(tmp_path: Path, make_config: MakeConfig) -> None:
    config = make_config()
    moved = tmp_path / "elsewhere" / "log.csv"
    moved.parent.mkdir()
    moved.write_bytes(Path(config.data.path).read_bytes())
    there = dataclasses.replace(config, data=dataclasses.replace(config.data, path=str(moved)))
    assert fetch_log.fn(there).sha256 == fetch_log.fn(config).sha256


def test_the_same_log_zipped_gives_the_same_artefact(ingested: IngestedLog, tmp_path: Path, make_config: MakeConfig) -> None:
    config = make_config()
    zipped = tmp_path / "log.csv.gz"
    zipped.write_bytes(gzip.compress(Path(config.data.path).read_bytes()))
    there = dataclasses.replace(config, data=dataclasses.replace(config.data, path=str(zipped)))
    assert ingest_log.compute(fetch_log.fn(there), there).log == ingested.log


def in_parts(config: JtmConfig, folder: Path, num_parts: int) -> JtmConfig:
    """The config with its log cut into files of a folder."""
    rows = Path(config.data.path).read_text().splitlines(keepends=True)
    folder.mkdir()
    for number in range(num_parts):
        part = rows[number * len(rows) // num_parts : (number + 1) * len(rows) // num_parts]
        (folder / f"part-{number}.csv").write_text("".join(part))
    return dataclasses.replace(config, data=dataclasses.replace(config.data, path=str(folder)))


def test_a_log_in_several_files_is_prepared_as_the_one_file(data: DataReferences, tmp_path: Path, make_config: MakeConfig) -> None:
    config = in_parts(make_config(), tmp_path / "log", 3)
    source = fetch_log.fn(config)
    assert (source.name, source.path) == ("log", str(tmp_path / "log"))
    ingested = ingest_log.compute(source, config)
    assert prepare_behaviours.compute(ingested, config, None).behaviours == data.behaviours
    by_pattern = dataclasses.replace(config, data=dataclasses.replace(config.data, path=str(tmp_path / "log" / "part-*.csv")))
    assert fetch_log.fn(by_pattern).sha256 == source.sha256


def test_the_digest_of_several_files_is_of_their_bytes_and_order(home: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    config = in_parts(make_config(), tmp_path / "log", 2)
    first, second = tmp_path / "log" / "part-0.csv", tmp_path / "log" / "part-1.csv"
    digests = [fetch_log.fn(config).sha256]
    second.rename(tmp_path / "log" / "part-.csv")
    digests.append(fetch_log.fn(config).sha256)
    (tmp_path / "log" / "part-.csv").unlink()
    digests.append(fetch_log.fn(config).sha256)
    assert len(set(digests)) == 3
    one_file = dataclasses.replace(config, data=dataclasses.replace(config.data, path=str(first)))
    assert fetch_log.fn(one_file) == dataclasses.replace(fetch_log.fn(config), path=str(first))


def test_a_file_that_comes_while_the_folder_is_read_is_refused(tmp_path: Path, make_config: MakeConfig) -> None:
    config = in_parts(make_config(), tmp_path / "log", 2)
    source = fetch_log.fn(config)
    (tmp_path / "log" / "part-2.csv").write_bytes((tmp_path / "log" / "part-1.csv").read_bytes())
    with pytest.raises(ValueError, match="log was changed while it was read"):
        ingest_log.compute(source, config)


def test_rows_that_break_a_rule_are_told_by_file_and_line(home: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    config = in_parts(make_config(), tmp_path / "log", 2)
    first, second = ((tmp_path / "log" / f"part-{number}.csv") for number in range(2))
    second.write_text(second.read_text() + first.read_text().splitlines(keepends=True)[1])
    outcome = check_log.compute(ingest_log.compute(fetch_log.fn(config), config), config, None)
    content = open_store().read_json(outcome.report)
    line = len(second.read_text().splitlines())
    copies = next(rule for rule in content["report"]["rules"] if rule["name"] == "no_copies")
    assert [(one["file"], one["line"], one["copy_of"]) for one in copies["examples"]] == [("part-1.csv", line, "part-0.csv line 2")]
    assert f"part-1.csv line {line}: user=" in content["text"]
    page = open_store().path(outcome.page).read_text(encoding="utf-8")
    assert "<th>file</th><th>line</th>" in page


@pytest.mark.parametrize("replaced", ["log", "categories"])
def test_a_log_that_is_replaced_while_it_is_read_is_refused(tmp_path: Path, make_config: MakeConfig, replaced: str) -> None:
    config = make_config()
    files = {"log": tmp_path / "log.csv", "categories": tmp_path / "categories.csv"}
    files["log"].write_bytes(Path(config.data.path).read_bytes())
    files["categories"].write_text("0,1\n1,2\n")
    data = dataclasses.replace(config.data, path=str(files["log"]), category_path=str(files["categories"]))
    config = dataclasses.replace(config, data=data)
    source = fetch_log.fn(config)
    with files[replaced].open("a") as file:
        file.write(files[replaced].read_text())
    with pytest.raises(ValueError, match=rf"{replaced}\.csv was changed while it was read"):
        ingest_log.compute(source, config)


def test_rows_and_times_are_counted(ingested: IngestedLog) -> None:
    assert (ingested.num_rows, ingested.earliest_time, ingested.latest_time) == (720, 1_000_000, 1_000_660)


def test_a_synthetic_world_goes_the_way_of_any_log(home: Path) -> None:
    config = JtmConfig(data=DataConfig(name="world", format="planted_world"), split=SplitConfig(num_test_users=9, num_validation_users=8))
    ingested = ingest_log.compute(fetch_log.fn(config), config)
    data = prepare_behaviours.compute(ingested, config, None)
    behaviours, split = read_data(open_store(), data)
    assert behaviours.num_users == data.num_users > 100
    assert (len(split.test), len(split.validation)) == (9, 8)


def test_prepared_behaviours_are_those_of_the_log(data: DataReferences, make_config: MakeConfig) -> None:
    store = open_store()
    behaviours, _ = read_data(store, data)
    users, items = (np.asarray(read_vocabulary(store, reference).keys) for reference in (data.users, data.items))
    rows = [line.split(",") for line in Path(make_config().data.path).read_text().split()]
    wanted = {user: [int(row[1]) for row in rows if int(row[0]) == user] for user in (0, 17)}
    for user, expected in wanted.items():
        dense = int(np.flatnonzero(users == user)[0])
        assert items[behaviours.history(dense)].tolist() == expected
    assert (data.num_users, data.num_items, data.num_behaviours, data.num_log_rows) == (60, 40, 720, 720)


def test_a_good_log_passes_every_check(ingested: IngestedLog, data: DataReferences, make_config: MakeConfig) -> None:
    config = make_config()
    outcomes = [
        check_log.compute(ingested, config, None),
        check_behaviours.compute(data, config),
        check_tree.compute(data, plant_tree.compute(data, config, None)),
    ]
    assert [(outcome.suite, outcome.is_passed) for outcome in outcomes] == [("log", True), ("behaviours", True), ("tree", True)]


@pytest.mark.parametrize(("duplicates", "what"), [("keep_all", "keeps them, as it is told to."), ("keep_first", "drops them.")])
def test_a_report_says_what_becomes_of_copies(ingested: IngestedLog, make_config: MakeConfig, duplicates: str, what: str) -> None:
    config = make_config()
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, duplicates=duplicates))
    rules = open_store().read_json(check_log.compute(ingested, config, None).report)["report"]["rules"]
    assert [rule["why"].endswith(what) for rule in rules if rule["name"] == "no_copies"] == [True]


def test_a_broken_rule_is_kept_with_the_offending_lines(home: Path, make_config: MakeConfig) -> None:
    config = make_config()
    path = Path(config.data.path)
    path.write_text(path.read_text() + "7,3,3,pv,99\n")
    strict = dataclasses.replace(config, data=dataclasses.replace(config.data, earliest_time=1_000_000))
    outcome = check_log.compute(ingest_log.compute(fetch_log.fn(strict), strict), strict, None)
    content = open_store().read_json(outcome.report)
    assert not outcome.is_passed
    broken = [rule for rule in content["report"]["rules"] if rule["verdict"] == "failed"]
    assert [(rule["name"], rule["violating_rows"], rule["examples"][0]["line"]) for rule in broken] == [("time_in_range", 1, 721)]
    assert "time_in_range" in content["text"]


@pytest.mark.parametrize(
    ("changes", "row", "failed"),
    [
        ({"latest_time": 2_000_000}, "7,3,3,pv,2000001", ["time_in_range"]),
        ({"latest_time": 2_000_000, "out_of_range": "drop"}, "7,3,3,pv,2000001", []),
        ({"behaviour_types": ("pv", "cart")}, "7,3,3,buy,1000000", ["kept_types_occur"]),
        ({"behaviour_types": ("pv", "buy")}, "7,3,3,buy,1000000", []),
        ({}, "7,3,3,view,1000000", ["behaviour_known"]),
    ],
)
def test_the_log_is_held_against_its_settings(
    home: Path, make_config: MakeConfig, changes: dict[str, object], row: str, failed: list[str]
) -> None:
    config = make_config()
    path = Path(config.data.path)
    path.write_text(path.read_text() + row + "\n")
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, **changes))
    outcome = check_log.compute(ingest_log.compute(fetch_log.fn(config), config), config, None)
    rules = open_store().read_json(outcome.report)["report"]["rules"]
    assert [rule["name"] for rule in rules if rule["verdict"] == "failed"] == failed


@pytest.mark.parametrize("protocol", ["time", "global_time"])
def test_behaviours_are_held_against_the_settings_they_were_prepared_by(
    ingested: IngestedLog, make_config: MakeConfig, protocol: Literal["time", "global_time"]
) -> None:
    """In time, users are in both splits and teach; each user has 12 behaviours, at the same times as all others."""
    config = make_config(split=SplitConfig(protocol=protocol))
    data = prepare_behaviours.compute(ingested, config, None)
    assert check_behaviours.compute(data, config).is_passed
    for part, wrong in (("split", SplitConfig()), ("data", dataclasses.replace(config.data, minimum_user_behaviours=13))):
        assert not check_behaviours.compute(data, dataclasses.replace(config, **{part: wrong})).is_passed


@pytest.mark.parametrize("method", ["category", "random", "two_means"])
def test_every_item_has_a_leaf_of_the_first_tree(data: DataReferences, make_config: MakeConfig, method: str) -> None:
    grown = plant_tree.compute(data, make_config(first_tree=FirstTreeConfig(method=method)), None)
    tree = read_tree(open_store(), grown.tree)
    assert (tree.num_items, tree.height) == (40, 6)
    assert (grown.start, grown.report) == (None, None)


def test_baselines_are_judged_on_both_groups_with_and_without_seen_items(data: DataReferences, make_config: MakeConfig) -> None:
    systems = {
        system["name"]: system["metrics"] for system in open_store().read_json(compare_baselines.compute(data, make_config()))["systems"]
    }
    assert list(systems) == ["popularity", "recent-popularity", "personal-popularity", "item-cf", "item-cf-bm25"]
    for metrics in systems.values():
        assert sorted(metrics) == ["test", "validation"]
        assert {"recall_at_10", "filtered/recall_at_10", "ndcg_at_5"} <= set(metrics["test"])
    assert systems["item-cf"]["test"]["recall_at_10"] > 2 * systems["popularity"]["test"]["recall_at_10"]


def test_an_unknown_start_is_refused(ingested: IngestedLog, make_config: MakeConfig) -> None:
    with pytest.raises(UnknownVersionError, match=r"version 'small-00-abc' is not recorded under .*recorded are: none yet"):
        find_start.fn("small-00-abc", make_config())
    assert find_start.fn("", make_config()) is None
    assert look_back.fn(ingested, make_config()) is None


def test_the_demo_says_when_its_data_are_synthetic(monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(example: Example) -> None:
        raise ExampleDataUnavailable("no network")

    texts: list[str] = []
    monkeypatch.setattr("tasks.choose_example.fetch_example", unavailable)
    monkeypatch.setattr("tasks.choose_example.create_markdown_artifact", lambda text, key: texts.append(text))
    with disable_run_logger():
        config = choose_example.fn(JtmConfig(data=DataConfig(path="recbole:ml-100k", format="recbole")))
    assert config.data == PLANTED
    assert "Synthetic data" in texts[0]
    assert "no network" in texts[0]


def test_the_demo_leaves_other_data_alone(make_config: MakeConfig) -> None:
    assert choose_example.fn(make_config()) == make_config()


def test_settings_of_planned_runs_are_asked_about_too(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jtm_core.bfloat16.has_bfloat16", lambda: False)
    config = make_config()
    planned = dataclasses.replace(config, training=dataclasses.replace(config.training, precision="bfloat16"))
    check_settings.fn(config, (config,))
    with pytest.raises(ValueError, match=r"training\.precision is 'bfloat16'"):
        check_settings.fn(config, (config, planned))


@pytest.mark.parametrize(("processes", "is_told"), [(4, False), (5, True)])
def test_training_processes_without_work_are_told_of(
    processes: int, is_told: bool, make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """A batch of 32 samples that share draws by eights."""
    training = TrainingConfig(batch_samples=32, negatives_block=8)
    check_settings.fn(make_config(training=training, execution=ExecutionConfig(training_processes=processes)))
    assert ("so 1 of 5 training processes stay idle" in caplog.text) == is_told


@pytest.mark.parametrize(
    ("share", "protocol", "is_told"),
    [(0.02, "users", True), (0.02, "time", True), (0.02, "users_newest", False), (0.02, "global_time", False), (1.0, "users", False)],
)
def test_learning_from_the_newest_to_be_judged_by_older_is_told_of(
    share: float, protocol: Literal["users"], is_told: bool, make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where only a planned run has such a share; runs with one share are told of once."""
    config = make_config(split=SplitConfig(protocol=protocol))
    planned = dataclasses.replace(config, training=TrainingConfig(later_newest_share=share))
    check_settings.fn(config, (planned, planned))
    assert caplog.text.count(f"later_newest_share is {share}, but by split.protocol {protocol}") == int(is_told)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "http://gpu box:8786", "8786x"])
def test_a_scheduler_that_cannot_be_reached_is_refused_before_anything_is_read(
    address: str, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.shard_runs.SCHEDULER_SECONDS", 0.5)
    config = dataclasses.replace(make_config(), execution=ExecutionConfig(dask_scheduler=address))
    with pytest.raises(RuntimeError, match=r"execution\.dask_scheduler"):
        check_settings.fn(config)
    check_settings.fn(dataclasses.replace(config, iterations=0))

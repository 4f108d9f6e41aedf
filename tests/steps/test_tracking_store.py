"""Tracking against a real MLflow store: what is logged, and that repeating a call after a kill changes nothing."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from jtm_core.config import ExecutionConfig, JtmConfig
from jtm_core.presets import demo_config
from tasks import report_evaluation
from tasks.tracking import client as client_module
from tasks.tracking import iterations as iterations_module
from tasks.tracking.client import compare_url, ensure_experiment, run_url, tracking_client
from tasks.tracking.iterations import log_iteration
from tasks.tracking.nested import nested_run
from tasks.tracking.records import CheckReport, DataInput, Experiment, Iteration, Segment, TreeLearning
from tasks.tracking.releases import mark_released
from tasks.tracking.reports import log_check_report, log_figures, log_html_report, log_results_table
from tasks.tracking.runs import ending_run, finish_run, link_to_prefect, log_data_input, log_summary, open_parent_run, record_system_metrics


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Location of a store with its tables made; making them takes seconds."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        tracking_client().search_experiments()
    return uri


@pytest.fixture(autouse=True)
def _tracking(database, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)


@pytest.fixture
def parent():
    """Make a run of its own for the test."""
    return open_parent_run(ensure_experiment("jtm"), key=_new_key(), name="test", config={"seed": 1}, tags={})


_keys = iter(range(10_000))


def _new_key():
    return f"key-{next(_keys)}"


def _iteration(folder, number=1, **changes):
    names = ("tree.parquet", "manifest.json", "model.safetensors", "evaluation.json")
    for name in names:
        (folder / f"digest-of-{name}").write_text(f"{name} of {number}")
    record = Iteration(
        number=number,
        is_accepted=True,
        metrics={"test/recall_at_10": 0.25 + number / 8, "test/layer_recall/level_03": 0.9},
        curves={"training/loss": [(step, 1 / (1 + step)) for step in range(0, 300, 100)]},
        learning=TreeLearning(
            objective_before=-20.0,
            objective_after=-15.0,
            segments=(Segment(level_from=0, level_to=3, objective_before=-20.0, objective_after=-15.0, kept_parents=0, num_parents=1),),
            moved_shares=(0.0, 0.1, 0.2, 0.4),
        ),
        artefacts={name: folder / f"digest-of-{name}" for name in names},
        tags={"jtm.version": f"v{number}", "jtm.tree_digest": "t" * 64},
    )
    return replace(record, **changes)


def _history(run_id):
    """Every point of every metric of a run."""
    names = tracking_client().get_run(run_id).data.metrics
    return {name: [(point.step, point.value) for point in tracking_client().get_metric_history(run_id, name)] for name in names}


def _files(run_id, folder=None):
    listed = tracking_client().list_artifacts(run_id, folder)
    return sorted(path for entry in listed for path in (_files(run_id, entry.path) if entry.is_dir else [entry.path]))


def _text(run_id, name, folder):
    return Path(tracking_client().download_artifacts(run_id, name, str(folder))).read_text()


def _table(run_id, name, folder):
    content = json.loads(_text(run_id, name, folder))
    return content["columns"], content["data"]


# --- experiments


def test_an_unset_address_is_an_error_and_leaves_no_database_behind(monkeypatch, tmp_path):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="MLFLOW_TRACKING_URI is not set"):
        ensure_experiment("jtm")
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_asked_for_by_many_at_once_is_created_once():
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(ensure_experiment, ["together"] * 8))
    assert len(set(ids)) == 1


def test_the_loser_of_a_creation_race_takes_the_winners_experiment(monkeypatch):
    winner = ensure_experiment("raced")
    lookups = iter([None])
    client_class = type(tracking_client())
    found = client_class.get_experiment_by_name
    monkeypatch.setattr(client_class, "get_experiment_by_name", lambda self, name: next(lookups, found(self, name)))
    assert ensure_experiment("raced") == winner


def test_deleted_and_nameless_experiments_are_refused():
    tracking_client().delete_experiment(ensure_experiment("gone"))
    with pytest.raises(ValueError, match=r"'gone'.*is deleted"):
        ensure_experiment("gone")
    with pytest.raises(ValueError, match="must not be empty"):
        ensure_experiment(" ")


def test_artefacts_lie_beside_the_database_not_in_the_current_directory(database):
    location = tracking_client().get_experiment(ensure_experiment("jtm")).artifact_location
    assert location.startswith("file://" + database.removeprefix("sqlite:///").removesuffix("/mlflow.db"))


def test_addresses_of_run_and_comparison(parent, monkeypatch):
    monkeypatch.setattr(client_module, "page", lambda path: f"http://localhost:5000/#/{path}")
    experiment_id = ensure_experiment("jtm")
    assert f"experiments/{experiment_id}/runs/{parent}?" in run_url(parent)
    assert compare_url([parent, parent]).count(parent) == 2
    with pytest.raises(ValueError, match="at least 2 runs"):
        compare_url([parent])


# --- the parent run


@pytest.mark.parametrize("end", [None, "FAILED", "KILLED"])
def test_an_unfinished_run_of_the_same_key_is_continued(end):
    experiment_id, key = ensure_experiment("jtm"), _new_key()
    first = open_parent_run(experiment_id, key, "first", {"seed": 1}, {})
    if end:
        finish_run(first, end)
    assert open_parent_run(experiment_id, key, "again", {"seed": 1}, {"extra": "tag"}) == first
    run = tracking_client().get_run(first)
    assert (run.info.status, run.data.tags["extra"]) == ("RUNNING", "tag")


def test_a_finished_run_and_another_key_give_a_new_run():
    experiment_id, key = ensure_experiment("jtm"), _new_key()
    first = open_parent_run(experiment_id, key, "first", {}, {})
    finish_run(first)
    second = open_parent_run(experiment_id, key, "second", {}, {})
    third = open_parent_run(experiment_id, _new_key(), "third", {}, {})
    assert len({first, second, third}) == 3


def test_the_config_is_logged_dial_by_dial_and_the_code_is_a_param():
    tags = {"jtm.code_fingerprint": "f" * 64}
    run_id = open_parent_run(ensure_experiment("jtm"), _new_key(), "config", demo_config(), tags)
    params = tracking_client().get_run(run_id).data.params
    assert params["training.epochs"] == str(demo_config().training.epochs) == "6"
    assert params["evaluation.cutoffs"] == "10, 20, 50"
    assert params["input.code_fingerprint"] == "f" * 12


def test_more_params_than_one_batch_holds():
    config = {f"dial_{number}": number for number in range(230)}
    run_id = open_parent_run(ensure_experiment("jtm"), _new_key(), "many", config, {})
    assert len(tracking_client().get_run(run_id).data.params) == 230


def test_a_key_must_stand_for_all_params_and_not_be_empty():
    experiment_id, key = ensure_experiment("jtm"), _new_key()
    open_parent_run(experiment_id, key, "first", {"seed": 1}, {})
    with pytest.raises(ValueError, match=r"seed = 1, now it is 2; different params need a different run key"):
        open_parent_run(experiment_id, key, "second", {"seed": 2}, {})
    with pytest.raises(ValueError, match="run key is empty"):
        open_parent_run(experiment_id, "", "third", {}, {})
    with pytest.raises(ValueError, match="holds a quote"):
        open_parent_run(experiment_id, "it's", "fourth", {}, {})


def test_a_run_goes_on_with_other_processes():
    """Where the work is done is no part of the key: after running out of memory with two processes one is what helps."""
    key, experiment = _new_key(), ensure_experiment("jtm")
    ids = []
    for processes in (2, 1):
        config = JtmConfig(execution=ExecutionConfig(training_processes=processes))
        ids.append(open_parent_run(experiment, key, "run", config, {}))
        finish_run(ids[-1], "FAILED")
    run = tracking_client().get_run(ids[0])
    assert ids[0] == ids[1]
    assert run.data.tags["jtm.execution.training_processes"] == "1"
    assert not [name for name in run.data.params if name.startswith("execution")]


def test_one_version_of_a_data_set_is_marked_as_released_in_all_its_runs():
    def run_of(version, data_name, kind="iteration"):
        run = open_parent_run(ensure_experiment("jtm"), key=_new_key(), name="test", config={}, tags={"jtm.data_name": data_name})
        nested = nested_run(tracking_client(), tracking_client().get_run(run), {"jtm.kind": kind}, "of a version")
        tracking_client().set_tag(nested.info.run_id, "jtm.version", version)
        return nested.info.run_id

    first, again, second = run_of("a-1", "it's a"), run_of("a-1", "it's a"), run_of("a-2", "it's a", "system")
    other = run_of("b-1", "b")
    run_of("a-2", "it's a", "evaluation")  # of a version, and none of the runs that made it
    assert mark_released("b-1", "b") == [other]
    for version, runs in (("a-1", {first, again}), ("a-2", {second}), ("a-2", {second}), ("a-3", set())):
        assert set(mark_released(version, "it's a")) == runs
        tags = {run: tracking_client().get_run(run).data.tags.get("jtm.is_released") for run in (first, again, second, other)}
        assert {run for run, tag in tags.items() if tag == "true"} == runs | {other}
    assert set(tags.values()) == {"true", "false"}


def test_no_run_is_left_active_for_other_threads(parent):
    import mlflow

    assert mlflow.active_run() is None


def test_the_link_to_prefect_can_be_clicked(parent):
    link_to_prefect(parent, "flow-1", "http://localhost:4200/runs/flow-run/flow-1")
    tags = tracking_client().get_run(parent).data.tags
    assert tags["prefect.flow_run_id"] == "flow-1"
    assert "[flow-1](http://localhost:4200/runs/flow-run/flow-1)" in tags["mlflow.note.content"]


def test_the_data_set_is_an_input_named_by_digest(parent):
    data = DataInput(name="shop", uri="store/log/abc.parquet", digest="d" * 64, counts={"rows": 12})
    log_data_input(parent, data)
    log_data_input(parent, data)
    run = tracking_client().get_run(parent)
    (logged,) = run.inputs.dataset_inputs
    assert (logged.dataset.name, logged.dataset.digest) == ("shop", "d" * 36)
    assert json.loads(logged.dataset.profile) == {"rows": 12, "sha256": "d" * 64}
    assert run.data.tags["jtm.data_digest"] == "d" * 64
    assert run.data.params["input.data_digest"] == "d" * 12
    assert _files(parent) == []
    with pytest.raises(ValueError, match=r"input.data_digest"):
        log_data_input(parent, replace(data, digest="e" * 64))
    with pytest.raises(ValueError, match="both must be given"):
        DataInput(name="shop", uri="", digest="")


def test_the_summary_is_kept_apart_from_the_last_iteration(parent):
    for _ in range(2):
        log_summary(parent, {"test/recall_at_10": 0.5})
    assert _history(parent) == {"best/test/recall_at_10": [(0, 0.5)]}


def test_system_metrics_go_to_a_run_of_their_own_that_is_continued(parent):
    for _ in range(2):
        with record_system_metrics(parent, seconds=0.05):
            wanted = tracking_client().search_runs([ensure_experiment("jtm")], f"tags.`mlflow.parentRunId` = '{parent}'")
            _wait_for_points(wanted[0].info.run_id)
    assert len(wanted) == 1
    machine = tracking_client().get_run(wanted[0].info.run_id)
    assert machine.info.status == "FINISHED"
    assert all(name.startswith("system/") for name in machine.data.metrics)
    assert _history(parent) == {}


def _wait_for_points(run_id):
    from time import monotonic, sleep

    known, end = len(_points(run_id)), monotonic() + 10
    while len(_points(run_id)) == known and monotonic() < end:
        sleep(0.05)
    assert len(_points(run_id)) > known


def _points(run_id):
    return [point for points in _history(run_id).values() for point in points]


# --- iterations


def test_an_iteration_is_logged_nested_and_on_the_parent(parent, tmp_path):
    nested = log_iteration(parent, _iteration(tmp_path, number=2))
    run = tracking_client().get_run(nested)
    assert run.info.status == "FINISHED"
    assert (run.data.tags["mlflow.parentRunId"], run.data.tags["jtm.is_accepted"]) == (parent, "true")
    assert run.data.params == {"iteration": "2", "seed": "1"}
    assert _history(nested)["training/loss"] == [(0, 1.0), (100, 1 / 101), (200, 1 / 201)]
    assert _history(parent)["test/recall_at_10"] == [(2, 0.5)]
    assert _history(parent)["tree_learning/objective_gain"] == [(2, 5.0)]
    assert _history(parent)["tree_learning/moved_share"] == [(2, 0.4)]
    assert "training/loss" not in _history(parent)


def test_files_have_their_own_names_and_the_steps_are_a_table(parent, tmp_path):
    nested = log_iteration(parent, _iteration(tmp_path))
    tables = ["tree_learning_steps.csv", "tree_learning_steps.json"]
    assert _files(nested) == sorted(["tree.parquet", "manifest.json", "model.safetensors", "evaluation.json", *tables])
    assert _text(nested, "tree.parquet", tmp_path) == "tree.parquet of 1"
    columns, rows = _table(nested, "tree_learning_steps.json", tmp_path)
    assert dict(zip(columns, rows[0], strict=True))["gain"] == 5.0


def test_logging_twice_is_logging_once(parent, tmp_path):
    first = log_iteration(parent, _iteration(tmp_path))
    before = _history(first), _history(parent)
    assert log_iteration(parent, _iteration(tmp_path)) == first
    assert (_history(first), _history(parent)) == before


@pytest.fixture(scope="module")
def uninterrupted(database, tmp_path_factory):
    """What an iteration logged in one go leaves: metrics and files of its run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", database)
        straight = open_parent_run(ensure_experiment("jtm"), _new_key(), "straight", {"seed": 1}, {})
        nested = log_iteration(straight, _iteration(tmp_path_factory.mktemp("straight")))
        return _history(nested), _files(nested)


@pytest.mark.parametrize("moment", ["log_tags", "log_missing_metrics", "upload_files", "upload_table"])
@pytest.mark.parametrize("is_done", [False, True])
def test_a_kill_at_any_moment_is_made_good_by_the_next_call(parent, tmp_path, monkeypatch, uninterrupted, moment, is_done):
    whole = getattr(iterations_module, moment)

    def killed(*arguments):
        if is_done:
            whole(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(iterations_module, moment, killed)
        with pytest.raises(KeyboardInterrupt):
            log_iteration(parent, _iteration(tmp_path))
    resumed = log_iteration(parent, _iteration(tmp_path))
    assert (_history(resumed), _files(resumed)) == uninterrupted
    assert all(len(points) == 1 for points in _history(parent).values())


def test_a_half_logged_batch_is_completed(parent, tmp_path):
    record = _iteration(tmp_path, curves={"training/loss": [(step, float(step)) for step in range(2500)]})
    client = tracking_client()
    begun = nested_run(client, client.get_run(parent), {"jtm.kind": "iteration", "jtm.iteration": "1"}, "iteration 01").info
    nested, moment = begun.run_id, begun.start_time
    tracking_client().log_metric(nested, "test/recall_at_10", 0.375, timestamp=moment, step=1)
    tracking_client().log_metric(nested, "training/loss", 7.0, timestamp=moment + 1, step=7)
    assert log_iteration(parent, record) == nested
    history = _history(nested)
    assert history["test/recall_at_10"] == [(1, 0.375)]
    assert sorted(history["training/loss"]) == [(step, float(step)) for step in range(2500)]


def test_another_version_of_a_logged_iteration_is_refused(parent, tmp_path):
    log_iteration(parent, _iteration(tmp_path))
    with pytest.raises(ValueError, match=r"iteration 1 was logged in run .* with jtm.tree_digest = t+, now it is u+; to start over"):
        log_iteration(parent, _iteration(tmp_path, tags={"jtm.tree_digest": "u" * 64}))


def test_missing_files_and_clashing_names_are_refused(parent, tmp_path):
    with pytest.raises(ValueError, match=r"are no files: tree.parquet \(.*nowhere\)"):
        log_iteration(parent, _iteration(tmp_path, artefacts={"tree.parquet": tmp_path / "nowhere"}))
    with pytest.raises(ValueError, match=r"metrics \['is_accepted'\] of iteration 5"):
        log_iteration(parent, _iteration(tmp_path, number=5, metrics={"is_accepted": 1.0}))
    with pytest.raises(ValueError, match="number is -1; allowed are 0 and more"):
        _iteration(tmp_path, number=-1)


def test_iterations_logged_from_threads_do_not_mix(parent, tmp_path):
    folders = [tmp_path / str(number) for number in range(4)]
    for folder in folders:
        folder.mkdir()
    records = [_iteration(folder, number=number) for number, folder in enumerate(folders)]
    with ThreadPoolExecutor(4) as pool:
        nested = list(pool.map(lambda record: log_iteration(parent, record), records))
    assert sorted(_history(parent)["test/recall_at_10"]) == [(number, 0.25 + number / 8) for number in range(4)]
    assert [_history(run)["test/recall_at_10"] for run in nested] == [[(number, 0.25 + number / 8)] for number in range(4)]


# --- reports


def test_a_check_report_is_a_folder_and_a_tag(parent, tmp_path):
    (tmp_path / "abc.json").write_text("{}")
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.html").write_text("<p>docs</p>")
    report = CheckReport(
        suite="raw_log", is_passed=False, num_rules=9, num_failed=1, num_warned=2,
        files={"result.json": tmp_path / "abc.json"}, table=[{"rule": "time in range", "count": 35}], data_docs=docs,
    )  # fmt: skip
    for _ in range(2):
        log_check_report(parent, report)
    names = ["data_docs/index.html", "result.json", "table.csv", "table.json"]
    assert _files(parent) == [f"checks/raw_log/{name}" for name in names]
    assert tracking_client().get_run(parent).data.tags["jtm.checks.raw_log"] == "failed: 9 rules, 1 failed, 2 warned"
    assert _history(parent) == {}


def test_a_table_logged_again_replaces_the_old_one(parent, tmp_path):
    log_results_table(parent, [{"system": "popularity", "recall_at_10": 0.1}])
    log_results_table(parent, [{"system": "JTM", "recall_at_10": 0.2}])
    assert _table(parent, "results.json", tmp_path) == (["system", "recall_at_10"], [["JTM", 0.2]])
    assert _text(parent, "results.csv", tmp_path) == "system,recall_at_10\nJTM,0.2\n"
    marked = json.loads(tracking_client().get_run(parent).data.tags["mlflow.loggedArtifacts"])
    assert marked == [{"path": "results.json", "type": "table"}]
    with pytest.raises(ValueError, match=r"row 1 has columns \['b'\], the first row has \['a'\]"):
        log_results_table(parent, [{"a": 1}, {"b": 2}])


def test_figures_and_report_are_logged(parent, tmp_path):
    experiment = Experiment(name="demo", data_name="books", iterations=(_iteration(tmp_path, learning=None, curves={}),))
    names = log_figures(parent, experiment)
    log_html_report(parent, experiment)
    assert names == [f"figures/{name}.{kind}" for name in ("recall_over_iterations", "layer_recall") for kind in ("png", "svg")]
    assert _files(parent) == sorted([*names, "report.html"])


def test_an_evaluation_is_logged_once_continued_where_that_failed_and_other_figures_are_another_run(monkeypatch):
    version = SimpleNamespace(version="v1", data=SimpleNamespace(name="shop"))
    settings = {"version": "v1", "users": "test", "evaluation": "e"}
    rows = [{"search": "beam", "recall_at_10": 0.5}]

    def full(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tasks.tracking.reports.log_table", full)
        with pytest.raises(OSError, match="No space left"):
            report_evaluation._log_to_mlflow(version, "test", settings | {"report": "1"}, {"recall_at_10": 0.5}, rows)
    experiment = ensure_experiment(report_evaluation.EXPERIMENT)
    assert [run.info.status for run in tracking_client().search_runs([experiment])] == ["FAILED"]
    first, _ = report_evaluation._log_to_mlflow(version, "test", settings | {"report": "1"}, {"recall_at_10": 0.5}, rows)
    other, _ = report_evaluation._log_to_mlflow(version, "test", settings | {"report": "2"}, {"recall_at_10": 0.25}, rows)
    ended = {run.info.run_id: run.info.status for run in tracking_client().search_runs([experiment])}
    assert ended == {first: "FINISHED", other: "FINISHED"}
    assert [tracking_client().get_run(run).data.metrics["test/recall_at_10"] for run in (first, other)] == [0.5, 0.25]
    again, _ = report_evaluation._log_to_mlflow(version, "test", settings | {"report": "1"}, {"recall_at_10": 0.5}, rows)
    assert again == first
    assert len(tracking_client().search_runs([experiment])) == 2


def test_a_failure_that_cannot_be_marked_stays_the_error_that_is_shown(parent, monkeypatch):
    def gone(*_):
        raise OSError("no MLflow")

    monkeypatch.setattr("tasks.tracking.runs.finish_run", gone)
    with pytest.raises(ValueError, match="first") as raised, ending_run(parent):
        raise ValueError("first")
    assert raised.value.__notes__ == [f"MLflow run {parent} could not be marked as failed: no MLflow"]

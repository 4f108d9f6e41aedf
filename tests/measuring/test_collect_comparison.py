"""Which comparison is collected: the run asked for or the newest finished one, with its systems' runs and nothing else; its records."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.store.entities import PagedList
from mlflow.tracking import MlflowClient

from benchmarks.collect_comparison import finished_comparison, records
from benchmarks.result_tables import RESULTS
from tasks.track_run import COMPARISONS

Ids = dict[str, str]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    return MlflowClient(tracking_uri=f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'runs.db'}")


@pytest.fixture(scope="module")
def ids(client: MlflowClient) -> Ids:
    """Two finished comparisons of one log, the second of fewer systems, and one that failed after them."""
    experiment = client.create_experiment(COMPARISONS)

    def run(start: int, status: str, tags: dict[str, str]) -> str:
        run_id = client.create_run(experiment, start_time=start, tags=tags).info.run_id
        client.set_terminated(run_id, status)
        return str(run_id)

    def system(start: int, parent: str, name: str, variation: str = "none") -> None:
        tags = {"mlflow.parentRunId": parent, "jtm.kind": "system", "jtm.system": name, "jtm.variation": variation}
        run(start, "FINISHED", tags)

    whole = run(1, "FINISHED", {"jtm.data_name": "log"})
    system(3, whole, "dnn")
    system(2, whole, "jtm")
    system(4, whole, "jtm", "tree_learning.gap=3")
    fewer = run(5, "FINISHED", {"jtm.data_name": "log"})
    system(6, fewer, "jtm")
    failed = run(7, "FAILED", {"jtm.data_name": "log"})
    return {"whole": whole, "fewer": fewer, "failed": failed}


def test_the_newest_finished_comparison_is_collected(client: MlflowClient, ids: Ids) -> None:
    parent, systems = finished_comparison(client, "log")
    assert parent.info.run_id == ids["fewer"]
    assert [run.data.tags["jtm.system"] for run in systems] == ["jtm"]


def test_a_comparison_is_collected_by_its_run(client: MlflowClient, ids: Ids) -> None:
    parent, systems = finished_comparison(client, "log", ids["whole"])
    assert parent.info.run_id == ids["whole"]
    assert [run.data.tags["jtm.system"] for run in systems] == ["jtm", "dnn"]


def test_a_run_that_cannot_be_collected_is_refused_with_those_that_can(client: MlflowClient, ids: Ids) -> None:
    for data_name, run_id in (("log", ids["failed"]), ("other", ids["whole"]), ("other", "")):
        with pytest.raises(LookupError, match=f"log {ids['whole']}"):
            finished_comparison(client, data_name, run_id)


def test_runs_beyond_the_first_page_are_seen(client: MlflowClient, ids: Ids, monkeypatch: pytest.MonkeyPatch) -> None:
    search = client.search_runs

    def search_by_two(experiments: list[str], max_results: int, page_token: str | None) -> PagedList[Run]:
        return search(experiments, max_results=min(max_results, 2), page_token=page_token)

    monkeypatch.setattr(client, "search_runs", search_by_two)
    assert len(finished_comparison(client, "log", ids["whole"])[1]) == 2


def test_a_server_without_comparisons_says_so(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="there are: none"):
        finished_comparison(MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'empty.db'}"), "log")


def test_records_hold_the_measures_kept_and_a_command_that_a_shell_can_run(client: MlflowClient) -> None:
    experiment = client.create_experiment("records")
    parent = client.create_run(experiment)
    system = client.create_run(experiment, tags={"jtm.system": "jtm", "jtm.seed": "2"})
    measured = ("test/popularity_percentile_at_10", "test/filtered/recall_at_10", "test/layer_recall/level_03", "time/fit_seconds")
    for name in measured:
        client.log_metric(system.info.run_id, name, 0.5)
    found = list(records("globo-best", "abc", parent, [client.get_run(system.info.run_id)]))
    assert [(one["users"], one["metric"]) for one in found] == [("test", "filtered/recall_at_10"), ("test", "popularity_percentile_at_10")]
    assert {(one["system"], one["seed"], one["value"], one["commit"]) for one in found} == {("jtm", 2, 0.5, "abc")}
    assert parameters_of(found[0]["command"]) == json.loads((RESULTS / "configs" / "globo-best.json").read_text())


def parameters_of(command: str) -> object:
    """What a shell in the project's root hands to ``--params``."""
    said = subprocess.run(
        ["sh", "-c", f"printf %s {command.split('--params ')[1]}"], cwd=RESULTS.parents[1], capture_output=True, text=True, check=True
    )
    return json.loads(said.stdout)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_the_commands_of_all_records_name_parameters_that_are_there(path: Path) -> None:
    for command in {json.loads(line)["command"] for line in path.read_text().splitlines()}:
        assert "--params" not in command or isinstance(parameters_of(command), dict)
        assert shlex.split(command)[0] in ("prefect", "python")

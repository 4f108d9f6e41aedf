"""A version asked for what its users did later, against a service that is asked for each of them, and logs that ask nothing."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flow_states import artifacts_of
from mlflow.tracking import MlflowClient
from prefect.exceptions import ParameterTypeError

from flows.backtest_version import backtest_version
from flows.train_jtm import train_jtm
from tasks.open_retriever import open_retriever
from tasks.pass_gate import DataRefusedError
from tasks.versions import UnknownVersionError, released

DATA_NAME = "aged"

Parameters = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def log(environment: Mapping[str, str], parameters: Parameters) -> Path:
    """The log of a version that is released; where it ended was a setting."""
    data = {**parameters["config"]["data"], "name": DATA_NAME, "latest_time": 1_500_000, "out_of_range": "drop"}
    assert train_jtm({**parameters["config"], "data": data, "iterations": 0}, return_state=True).is_completed()
    return Path(data["path"])


@pytest.fixture(scope="module")
def newer(place: Path, log: Path) -> Path:
    """A folder: the log, and what came since of every third user, with an item that is new, and of two strangers."""
    folder = place / "newer"
    folder.mkdir()
    (folder / "1.csv").write_text(log.read_text())
    lines = [f"{user},{(7 * user + step) % 40},0,pv,{2_000_000 + step}" for user in range(0, 60, 3) for step in range(4)]
    lines += ["3,77,9,pv,2000009", "900,5,0,pv,2000000", "901,77,9,pv,2000000", "901,5,9,pv,2000001"]
    (folder / "2.csv").write_text("\n".join(lines) + "\n")
    return folder


def rows_of(paths: list[Path]) -> list[tuple[int, int, int]]:
    """User, item and time, in order of time."""
    split = [line.split(",") for path in paths for line in path.read_text().splitlines()]
    return sorted(((int(user), int(item), int(time)) for user, item, _, _, time in split), key=lambda row: row[2])


def test_recall_is_that_of_the_lists_which_a_service_would_have_given(log: Path, newer: Path, mlflow_uri: str) -> None:
    state = backtest_version(DATA_NAME, str(newer), return_state=True)
    assert state.is_completed()
    retriever, recalls, of_all = open_retriever(DATA_NAME), [], []
    end = max(time for _, _, time in rows_of([log]))
    for user in range(0, 60, 3):
        mine = [(item, time) for owner, item, time in rows_of(sorted(newer.iterdir())) if owner == user]
        asked = Counter(item for item, time in mine if time > end and item < 40)
        found = retriever.recommend([item for item, time in mine if time <= end], 10).items
        hits = sum(asked[item] for item in found)
        recalls.append(hits / asked.total())
        of_all.append(hits / sum(time > end for _, time in mine))
    version = released(DATA_NAME)
    assert version is not None
    client = MlflowClient(tracking_uri=mlflow_uri)
    (run,) = client.search_runs([client.get_experiment_by_name("jtm-backtests").experiment_id], "tags.`jtm.kind` = 'experiment'")
    metrics = run.data.metrics
    assert (run.info.status, run.data.params["version"], run.data.tags["jtm.data_name"]) == ("FINISHED", version.version, DATA_NAME)
    assert metrics["later/recall_at_10"] == pytest.approx(np.mean(recalls))
    assert metrics["later/of_all/recall_at_10"] == pytest.approx(np.mean(of_all))
    assert 0 < metrics["later/baselines_of_all/recall_at_10_popularity"] <= metrics["later/baselines/recall_at_10_popularity"]
    counts = {"since": end, "users": 20, "active_users": 22, "strangers": 2, "known_truth_share": 80 / 81}
    assert {name: metrics[f"later/{name}"] for name in counts} == pytest.approx(counts)
    rows = json.loads(artifacts_of(state)["results"].data)
    popularity = next(row for row in rows if row["search"] == "popularity")
    assert popularity["recall_at_10"] == pytest.approx(metrics["later/baselines/recall_at_10_popularity"], abs=1e-5)
    differences = json.loads(artifacts_of(state)["differences"].data)
    over_users, over_both = (row for row in differences if row["version less"] == "popularity")
    ahead = 100 * (metrics["later/recall_at_10"] - metrics["later/baselines/recall_at_10_popularity"])
    ahead_unseen = 100 * (metrics["later/filtered/recall_at_10"] - metrics["later/baselines_filtered/recall_at_10_popularity"])
    for row in (over_users, over_both):
        assert (row["R@10"].split()[0], row["R@10 unseen"].split()[0]) == (f"{ahead:+.2f}", f"{ahead_unseen:+.2f}")
    assert (over_users["interval over"], over_both["interval over"]) == ("users", "users and items")
    assert {artifact.path for artifact in client.list_artifacts(run.info.run_id)} >= {"results.csv", "differences.csv"}
    assert [row["search"] for row in rows][:5] == [
        "beam", "small beam", "full scan", "beam, seen items left out", "beam, of all that they did",
    ]  # fmt: skip


def test_cut_offs_and_judges_may_be_chosen(newer: Path, mlflow_uri: str) -> None:
    evaluation = {"cutoffs": [3], "beam_width": 4, "small_beam_width": 3}
    state = backtest_version(DATA_NAME, str(newer / "*.csv"), evaluation=evaluation, num_users=7, return_state=True)
    assert state.is_completed()
    (table,) = [artifact for key, artifact in artifacts_of(state).items() if key == "results"]
    assert "asked for what 7 users did" in str(table.description)
    assert "recall_at_3" in json.loads(table.data)[0]


def test_a_later_moment_may_be_chosen_and_no_earlier_one(newer: Path, log: Path, mlflow_uri: str) -> None:
    """From the moment on two versions can be compared, whichever ended first."""
    assert backtest_version(DATA_NAME, str(newer), since=2_000_001, num_users=9999, return_state=True).is_completed()
    client = MlflowClient(tracking_uri=mlflow_uri)
    experiment = client.get_experiment_by_name("jtm-backtests").experiment_id
    (run,) = client.search_runs([experiment], "tags.`jtm.kind` = 'experiment' and params.since = '2000001'")
    assert {name: run.data.metrics[f"later/{name}"] for name in ("since", "users", "strangers")} == {
        "since": 2_000_001,
        "users": 20,
        "strangers": 0,
    }
    with pytest.raises(ValueError, match=r"since is 5; version .* was made of behaviours until \d+, give that or a later time"):
        backtest_version(DATA_NAME, str(newer), since=5)


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"log": "/no/such.csv"}, FileNotFoundError, r"data\.path is '/no/such\.csv'"),
        ({"version": "v-9"}, UnknownVersionError, r"version 'v-9' is not recorded"),
        ({"data_name": "other"}, UnknownVersionError, r"no run on 'other' has finished"),
        ({"num_users": 0}, ParameterTypeError, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_asked_is_refused(newer: Path, asked: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        backtest_version(**{"data_name": DATA_NAME, "log": str(newer), **asked})


def test_a_log_without_anything_later_is_refused(log: Path) -> None:
    with pytest.raises(ValueError, match=r"the log ends at \d+, and what came up to \d+ is known; give a log with later behaviours"):
        backtest_version(DATA_NAME, str(log))


def test_a_log_that_fails_the_checks_is_refused(newer: Path, tmp_path: Path) -> None:
    (tmp_path / "strange.csv").write_text((newer / "2.csv").read_text() + "7,3,3,returned,2000000\n")
    with pytest.raises(DataRefusedError, match="returned"):
        backtest_version(DATA_NAME, str(tmp_path / "strange.csv"))

"""Lists for every user of a log, against a service that is asked for each of them; what is refused, and what stays."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from mlflow.tracking import MlflowClient
from prefect.exceptions import ParameterTypeError
from prefect.states import State

from flows.train_jtm import train_jtm
from flows.write_lists import write_lists
from tasks.open_retriever import open_retriever
from tasks.pass_gate import DataRefusedError
from tasks.versions import UnknownVersionError, released

DATA_NAME = "listed"

Parameters = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def data(environment: Mapping[str, str], parameters: Parameters) -> dict[str, Any]:
    """The data settings of a version that is trained and released; users of fewer than 12 behaviours taught it nothing."""
    data = {**parameters["config"]["data"], "minimum_user_behaviours": 12}
    assert train_jtm({**parameters["config"], "data": data, "iterations": 0}, return_state=True).is_completed()
    return data


@pytest.fixture(scope="module")
def newer_log(place: Path, data: dict[str, Any]) -> Path:
    """A later log: the first user has gone on, a new one knows two items, one of them new, and another a new item alone."""
    lines = Path(data["path"]).read_text().splitlines()
    lines[12:12] = ["0,3,3,pv,2000000"]
    lines += ["900,5,0,pv,1000000", "900,77,0,pv,1000001", "901,77,0,pv,1000000"]
    path = place / "newer.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def histories_of(log: Path) -> dict[int, list[int]]:
    histories = defaultdict(list)
    for line in log.read_text().splitlines():
        user, item, *_ = line.split(",")
        histories[int(user)].append(int(item))
    return histories


def test_everybody_has_the_list_that_a_service_would_give(data: dict[str, Any], newer_log: Path, tmp_path: Path, mlflow_uri: str) -> None:
    path = tmp_path / "lists.parquet"
    state: State[Any] = write_lists({**data, "path": str(newer_log)}, str(path), count=8, without_seen=True, return_state=True)
    assert state.is_completed()
    histories, retriever = histories_of(newer_log), open_retriever(DATA_NAME)
    rows = {row["user"]: row for row in pq.read_table(path).to_pylist()}
    assert rows.keys() == histories.keys()
    for user, history in histories.items():
        wanted = retriever.recommend(history, 8, exclude=history)
        assert (rows[user]["items"], rows[user]["is_personal"]) == (wanted.items, wanted.is_personal)
        assert rows[user]["logits"] == (wanted.logits.tolist() if wanted.is_personal else None)
    assert (rows[900]["is_personal"], rows[901]["is_personal"]) == (True, False)
    client = MlflowClient(tracking_uri=mlflow_uri)
    (run,) = client.search_runs([client.get_experiment_by_name("jtm-lists").experiment_id], "tags.`jtm.kind` = 'experiment'")
    version = released(DATA_NAME)
    assert version is not None
    assert (run.info.status, run.data.tags["jtm.start_from"]) == ("FINISHED", version.version)
    assert pq.read_schema(path).metadata[b"jtm.version"].decode() == version.version


def test_a_wider_beam_and_seen_items_are_asked_for(data: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "lists.parquet"
    assert write_lists(data, str(path), count=20, beam_width=32, return_state=True).is_completed()  # evaluation.filter_seen is off
    retriever = open_retriever(DATA_NAME, beam_width=32)
    rows = {row["user"]: row["items"] for row in pq.read_table(path).to_pylist()}
    assert {user: retriever.recommend(history, 20).items for user, history in histories_of(Path(data["path"])).items()} == rows


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"count": 11}, ValueError, r"count is 11; allowed are 1 \.\. 10, the beam's width"),
        ({"path": "lists.parquet"}, ValueError, r"path is 'lists\.parquet'; it must be the absolute path"),
        ({"path": "/lists.csv"}, ValueError, r"path is '/lists\.csv'; it must be the absolute path of a file that ends with \.parquet"),
        ({"path": "/proc/lists.parquet"}, ValueError, r"path is '/proc/lists\.parquet', where nothing can be written"),
        ({"version": "v-9"}, UnknownVersionError, r"version 'v-9' is not recorded"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_log_is_read(
    data: dict[str, Any], asked: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    absent = {**data, "path": str(tmp_path / "absent.csv")}
    with pytest.raises(error, match=message):
        write_lists(absent, **{"path": str(tmp_path / "lists.parquet"), "count": 8, **asked})


def test_a_log_that_fails_the_checks_or_is_another_leaves_the_earlier_lists(
    data: dict[str, Any], tmp_path: Path, make_log: Callable[..., Path]
) -> None:
    path = tmp_path / "lists.parquet"
    path.write_bytes(b"of yesterday")
    cut = make_log(tmp_path / "cut.csv", num_users=5)
    with pytest.raises(DataRefusedError, match="volume"):
        write_lists({**data, "path": str(cut)}, str(path), count=8)
    other = tmp_path / "other.csv"
    other.write_text("".join(f"{user},{1000 + item},0,pv,{1_000_000 + item}\n" for user in range(60) for item in range(12)))
    with pytest.raises(ValueError, match="none of the log's 12 items is among the 40 of version"):
        write_lists({**data, "path": str(other)}, str(path), count=8)
    assert path.read_bytes() == b"of yesterday"


def test_lists_of_nothing_are_no_request(data: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ParameterTypeError, match="count: Input should be greater than or equal to 1"):
        write_lists.validate_parameters({"data": data, "path": str(tmp_path / "lists.parquet"), "count": 0})

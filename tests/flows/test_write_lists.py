"""Lists for every user of a log, against a service that is asked for each of them; what is refused, and what stays."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from flow_states import artifacts_of
from mlflow.tracking import MlflowClient
from prefect.exceptions import ParameterTypeError
from prefect.states import State

from flows.train_jtm import train_jtm
from flows.write_lists import write_lists
from jtm_core import user_lists as core
from tasks.open_retriever import open_retriever
from tasks.pass_gate import DataRefusedError
from tasks.versions import UnknownVersionError, released

DATA_NAME = "listed"

Parameters = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def log(environment: Mapping[str, str], parameters: Parameters) -> Path:
    """The log of a version that is released: page views count, and users of fewer than 12 behaviours taught it nothing."""
    data = {**parameters["config"]["data"], "minimum_user_behaviours": 12, "behaviour_types": ["pv"]}
    data |= {"latest_time": 1_500_000, "out_of_range": "drop"}
    assert train_jtm({**parameters["config"], "data": data, "iterations": 0}, return_state=True).is_completed()
    return Path(data["path"])


@pytest.fixture(scope="module")
def newer_log(place: Path, log: Path) -> Path:
    """A later log: the first user has gone on, 900 knows an item and a new one, 901 a new one alone, 902 bought and looked at nothing."""
    lines = log.read_text().splitlines()
    lines[12:12] = ["0,3,3,pv,2000000", "0,4,4,buy,2000001"]
    lines += ["900,5,0,pv,1000000", "900,77,9,pv,1000001", "901,77,9,pv,1000000", "902,5,0,buy,1000000"]
    path = place / "newer.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def histories_of(log: Path) -> dict[int, list[int]]:
    """Items that users looked at."""
    histories = defaultdict(list)
    for line in log.read_text().splitlines():
        user, item, _, behaviour, _ = line.split(",")
        if behaviour == "pv":
            histories[int(user)].append(int(item))
    return histories


def test_everybody_has_the_list_that_a_service_would_give(log: Path, newer_log: Path, tmp_path: Path, mlflow_uri: str) -> None:
    path, asked = tmp_path / "new" / "lists.parquet", {"count": 8, "without_seen": True}
    state: State[Any] = write_lists(DATA_NAME, str(path), log=str(newer_log), lists=asked, return_state=True)
    assert state.is_completed()
    histories, retriever = histories_of(newer_log), open_retriever(DATA_NAME)
    rows = {row["user"]: row for row in pq.read_table(path).to_pylist()}
    assert rows.keys() == histories.keys()
    for user, history in histories.items():
        wanted = retriever.recommend(history, 8, exclude=history)
        assert (rows[user]["items"], rows[user]["is_personal"]) == (wanted.items, wanted.is_personal)
        assert rows[user]["logits"] == (wanted.logits.tolist() if wanted.is_personal else None)
    assert (rows[900]["is_personal"], rows[901]["is_personal"]) == (True, False)
    version = released(DATA_NAME)
    assert version is not None
    client = MlflowClient(tracking_uri=mlflow_uri)
    (run,) = client.search_runs([client.get_experiment_by_name("jtm-lists").experiment_id], "tags.`jtm.kind` = 'experiment'")
    assert (run.info.status, run.data.params["version"], run.data.params["lists.beam_width"]) == ("FINISHED", version.version, "10")
    known = sum(item < 40 for items in histories.values() for item in items) / sum(map(len, histories.values()))
    counts = {"users": len(histories), "personal_users": len(histories) - 1, "known_behaviours_share": pytest.approx(known)}
    assert {name.removeprefix("lists/"): value for name, value in run.data.metrics.items() if name.startswith("lists/")} == counts
    assert "1 of them did nothing that it knows" in artifacts_of(state)[f"lists-{DATA_NAME}"].data
    notes = pq.read_schema(path).metadata
    assert (notes[b"jtm.version"].decode(), notes[b"jtm.count"], notes[b"jtm.without_seen"]) == (version.version, b"8", b"true")


def test_without_another_log_it_is_the_one_that_was_trained_on(log: Path, tmp_path: Path) -> None:
    """Seen items come where ``evaluation.filter_seen`` is off, and what a killed run left is tidied away."""
    path = tmp_path / "lists.parquet"
    left = tmp_path / ".lists.parquet.1.abc.tmp"
    left.mkdir()
    assert write_lists(DATA_NAME, str(path), lists={"count": 20, "beam_width": 32}, return_state=True).is_completed()
    retriever = open_retriever(DATA_NAME, beam_width=32)
    rows = {row["user"]: row["items"] for row in pq.read_table(path).to_pylist()}
    assert {user: retriever.recommend(history, 20).items for user, history in histories_of(log).items()} == rows
    assert [found.name for found in tmp_path.iterdir()] == ["lists.parquet"]


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"lists": {"count": 11}}, ValueError, r"count is 11; allowed are 1 \.\. 10, the beam's width"),
        ({"path": "lists.parquet"}, ValueError, r"path is 'lists\.parquet'; it must be the absolute path"),
        ({"path": "/lists.csv"}, ValueError, r"path is '/lists\.csv'; it must be the absolute path of a file that ends with \.parquet"),
        ({"path": "/proc/lists.parquet"}, ValueError, r"path is '/proc/lists\.parquet', where nothing can be written"),
        ({"version": "v-9"}, UnknownVersionError, r"version 'v-9' is not recorded"),
        ({"data_name": "other"}, UnknownVersionError, r"no run on 'other' has finished"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_log_is_read(
    log: Path, asked: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    usual = {"data_name": DATA_NAME, "path": str(tmp_path / "lists.parquet"), "lists": {"count": 8}, "log": str(tmp_path / "absent.csv")}
    with pytest.raises(error, match=message):
        write_lists(**{**usual, **asked})


def test_a_log_that_fails_the_checks_or_is_another_leaves_the_earlier_lists(
    log: Path, tmp_path: Path, make_log: Callable[..., Path]
) -> None:
    path = tmp_path / "lists.parquet"
    path.write_bytes(b"of yesterday")
    strange = tmp_path / "strange.csv"
    strange.write_text(log.read_text() + "7,3,3,returned,1000000\n")
    with pytest.raises(DataRefusedError, match="returned"):
        write_lists(DATA_NAME, str(path), log=str(strange), lists={"count": 8})
    other = tmp_path / "other.csv"
    lines = [f"{user},{1000 + item},0,pv,{1_000_000 + item}\n" for user in range(60) for item in range(12)]
    other.write_text("".join([*lines, *log.read_text().splitlines(keepends=True)[:60]]))
    with pytest.raises(ValueError, match=r"7\.7% of the log's 780 behaviours are of items that version .* knows; it must be 10% at least"):
        write_lists(DATA_NAME, str(path), log=str(other), lists={"count": 8})
    assert path.read_bytes() == b"of yesterday"


@pytest.mark.parametrize("case", [("", 8, 21), ("000001.parquet", 8, 7), ("", 7, 0)])
def test_a_killed_run_goes_on_after_the_lists_it_had(
    log: Path, environment: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: tuple[str, int, int]
) -> None:
    """Up to a part that cannot be read, and not where something else is asked for, in whose place nothing of the first stays."""
    path, kept, asked = tmp_path / "lists.parquet", Path(environment["JTM_HOME"]) / "checkpoints", []
    broken, count, done = case
    monkeypatch.setattr(core, "_BLOCK_USERS", 7)
    write_lists(DATA_NAME, str(path), lists={"count": count})
    straight, all_of = path.read_bytes(), core.user_lists
    path.unlink()

    def killed(*args: Any, **kwargs: Any) -> Iterator[core.UserLists]:
        yield from islice(all_of(*args, **kwargs), 3)
        next(kept.glob("*.lists/*")).joinpath(".000003.parquet.1.abc.tmp").mkdir()
        raise KeyboardInterrupt

    def watched(*args: Any, passed_over: int, **kwargs: Any) -> Iterator[core.UserLists]:
        asked.append((passed_over, len(list(kept.glob("*.lists/*/*")))))
        return all_of(*args, passed_over=passed_over, **kwargs)

    monkeypatch.setattr(core, "user_lists", killed)
    with pytest.raises(KeyboardInterrupt):
        write_lists(DATA_NAME, str(path), lists={"count": 8})
    assert [part.name for part in sorted(kept.glob("*.lists/*/0*"))] == ["000000.parquet", "000001.parquet", "000002.parquet"]
    if broken:
        next(kept.glob(f"*.lists/*/{broken}")).write_bytes(b"cut short")
    monkeypatch.setattr(core, "user_lists", watched)
    write_lists(DATA_NAME, str(path), lists={"count": count})
    assert asked == [(done, done // 7)]
    assert path.read_bytes() == straight
    assert not list(kept.glob("*.lists"))


def test_lists_of_nothing_are_no_request(tmp_path: Path) -> None:
    with pytest.raises(ParameterTypeError, match=r"lists\.count: Input should be greater than or equal to 1"):
        write_lists.validate_parameters({"data_name": DATA_NAME, "path": str(tmp_path / "lists.parquet"), "lists": {"count": 0}})
    with pytest.raises(ParameterTypeError, match=r"lists\.number: Unexpected keyword argument"):
        write_lists.validate_parameters({"data_name": DATA_NAME, "path": str(tmp_path / "lists.parquet"), "lists": {"number": 5}})

"""Lists for everybody: each user's is what a service that asks for that user alone gets, whatever the blocks, and files hold them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_worlds import SmallWorld, small_world

from jtm_core import user_lists as module
from jtm_core.behaviours import Behaviours
from jtm_core.formats.list_files import Block, count_user_lists, join_user_lists, list_schema, write_user_lists
from jtm_core.keyed_serving import KeyedRetriever
from jtm_core.serving import Retriever
from jtm_core.user_lists import user_lists

NUM_ITEMS = 300
KEYS = [f"i{item}" for item in range(NUM_ITEMS)]
POPULAR = np.arange(NUM_ITEMS)[::-1]


@pytest.fixture(scope="module")
def world() -> SmallWorld:
    return small_world(num_items=NUM_ITEMS, num_users=30, seed=3)


@pytest.fixture(scope="module")
def retriever(world: SmallWorld) -> Retriever:
    return Retriever(world.network, world.tree, 16, 1)


@pytest.fixture(scope="module")
def behaviours(world: SmallWorld) -> Behaviours:
    """Histories with items that the retriever does not know between the known ones; user 4 has none, user 7 knows only new ones."""
    rows = [list(world.histories.row(user)) for user in range(30)]
    rows = [[*row[:2], NUM_ITEMS + place % 5, *row[2:]] for place, row in enumerate(rows)]
    rows[4], rows[7] = [], [NUM_ITEMS, NUM_ITEMS + 2]
    offsets = np.cumsum([0, *map(len, rows)])
    return Behaviours(np.concatenate(rows).astype(np.int64), offsets, np.zeros(offsets[-1], dtype=np.int64), NUM_ITEMS + 5)


@pytest.mark.parametrize("block", [1, 7, 4096])
@pytest.mark.parametrize("without_seen", [True, False])
def test_lists_are_those_of_a_service(
    retriever: Retriever, behaviours: Behaviours, block: int, without_seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK_USERS", block)
    service, seen = KeyedRetriever(retriever, KEYS, POPULAR), list[int]()
    for found in user_lists(retriever, behaviours, POPULAR, 12, without_seen=without_seen):
        for row, user in enumerate(found.users.tolist()):
            history = [f"i{item}" for item in behaviours.history(user)]
            wanted = service.recommend(history, 12, history if without_seen else None)
            assert [KEYS[item] for item in found.items[row]] == wanted.items
            assert found.is_personal[row] == wanted.is_personal
            np.testing.assert_array_equal(found.logits[row], wanted.logits)
            seen.append(user)
    assert seen == [user for user in range(30) if user != 4]


@pytest.mark.parametrize("done", [1, 8, 28, 29])
def test_those_who_have_their_lists_are_passed_over(retriever: Retriever, behaviours: Behaviours, done: int) -> None:
    (everybody,) = user_lists(retriever, behaviours, POPULAR, 12, without_seen=True)
    rest = list(user_lists(retriever, behaviours, POPULAR, 12, without_seen=True, passed_over=done))
    assert len(rest) == (done < 29)
    for found in rest:
        for name in ("users", "items", "logits", "is_personal"):
            np.testing.assert_array_equal(getattr(found, name), getattr(everybody, name)[done:])


def test_more_items_than_there_are_leave_places_empty() -> None:
    world = small_world(num_items=6, num_users=4)
    everything = Behaviours(np.array([0, 1, 9]), np.array([0, 2, 3]), np.zeros(3, dtype=np.int64), 10)
    (found,) = user_lists(Retriever(world.network, world.tree, 8, 1), everything, np.array([5, 4, 3, 2, 1, 0]), 8, without_seen=True)
    assert set(found.items[0]) == {2, 3, 4, 5, -1}
    assert found.items[1].tolist() == [5, 4, 3, 2, 1, 0, -1, -1]


def blocks_of(*users: int) -> list[Block]:
    """A block a user: items 2 and 0, or 1 alone for a user of whom nothing is known."""
    personal = (np.array([[2, 0, -1]]), np.array([[1.5, 0.5, -np.inf]], dtype=np.float32), np.array([True]))
    popular = (np.array([[1, -1, -1]]), np.full((1, 3), np.nan, dtype=np.float32), np.array([False]))
    return [(np.array([user]), *(personal if user else popular)) for user in users]


USERS, ITEMS = pa.array([70, 80, 90]), pa.array(["a", "b", "c"])
SCHEMA = list_schema(USERS, ITEMS, {"jtm.version": "v-1"})


def test_a_file_has_a_row_a_user_in_the_log_s_own_ids(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lists.parquet"
    write_user_lists(path, blocks_of(1, 0, 2), USERS, ITEMS, SCHEMA)
    table = pq.read_table(path)
    assert table.to_pylist() == [
        {"user": 80, "items": ["c", "a"], "logits": [1.5, 0.5], "is_personal": True},
        {"user": 70, "items": ["b"], "logits": None, "is_personal": False},
        {"user": 90, "items": ["c", "a"], "logits": [1.5, 0.5], "is_personal": True},
    ]
    assert table.schema.metadata[b"jtm.version"] == b"v-1"


@pytest.mark.parametrize("divided", [[[1, 0, 2]], [[1], [0, 2]], [[1, 0], [], [2]], []])
def test_parts_make_the_file_that_was_not_divided(tmp_path: Path, divided: list[list[int]]) -> None:
    whole, joined = tmp_path / "whole.parquet", tmp_path / "joined.parquet"
    users = [user for part in divided for user in part]
    write_user_lists(whole, blocks_of(*users), USERS, ITEMS, SCHEMA)
    parts = [tmp_path / f"{number}.parquet" for number in range(len(divided))]
    for part, listed in zip(parts, divided, strict=True):
        write_user_lists(part, blocks_of(*listed), USERS, ITEMS, SCHEMA)
        assert count_user_lists(part) == len(listed)
    assert join_user_lists(joined, parts, SCHEMA) == (len(users), len(set(users) - {0}))
    assert joined.read_bytes() == whole.read_bytes()


def test_lists_that_fail_half_way_leave_the_earlier_ones(tmp_path: Path) -> None:
    path = tmp_path / "lists.parquet"
    write_user_lists(path, blocks_of(1), USERS, ITEMS, SCHEMA)
    before = path.read_bytes()

    def broken():
        yield from blocks_of(2)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_user_lists(path, broken(), USERS, ITEMS, SCHEMA)
    broken_part = tmp_path / "part.parquet"
    broken_part.write_bytes(b"cut short")
    with pytest.raises(ValueError, match="Parquet"):
        join_user_lists(path, [broken_part], SCHEMA)
    assert path.read_bytes() == before
    assert {found.name for found in tmp_path.iterdir()} == {"lists.parquet", "part.parquet"}

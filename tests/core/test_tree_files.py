"""Tree files: round trip, readable columns, equal bytes, refusal of what was changed."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core.codes import first_code
from jtm_core.formats.tree_files import path_strings, read_tree, write_tree
from jtm_core.tree import TreeIndex, tree_from_order


def planted(num_items: int, height: int) -> TreeIndex:
    return tree_from_order(np.random.default_rng(num_items).permutation(num_items), height)


@pytest.mark.parametrize(("num_items", "height"), [(1, 1), (5, 3), (8, 3), (100, 12)])
def test_round_trip_keeps_the_fingerprint_and_the_bytes(tmp_path: Path, num_items: int, height: int) -> None:
    tree = planted(num_items, height)
    write_tree(tmp_path / "a.parquet", tree)
    again = read_tree(tmp_path / "a.parquet")
    write_tree(tmp_path / "b.parquet", again)
    assert again.height == height
    assert again.fingerprint() == tree.fingerprint()
    assert again.leaf_of_item.dtype == np.int64
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


def test_a_person_can_read_it(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree.parquet", TreeIndex(np.array([5, 3, 4]), height=2), keys=["lamp", "chair", "table"])
    table = pq.read_table(tmp_path / "tree.parquet")
    assert table.to_pydict() == {"item": [0, 1, 2], "key": ["lamp", "chair", "table"], "leaf": [5, 3, 4], "path": ["10", "00", "01"]}
    assert table.schema.metadata[b"jtm.height"] == b"2"


@settings(max_examples=30)
@given(st.integers(1, 40), st.data())
def test_paths_equal_their_slow_twin(height: int, data: st.DataObject) -> None:
    positions = data.draw(st.lists(st.integers(0, 2**height - 1), max_size=5))
    paths = path_strings(np.array(positions, dtype=np.int64) + first_code(height), height)
    assert paths.to_pylist() == [format(position, f"0{height}b") for position in positions]


def rewrite(file: Path, **columns: pa.Array) -> None:
    table = pq.read_table(file)
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    pq.write_table(table, file)


def test_changed_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tree.parquet"
    tree = planted(4, 2)

    def refused(message: str, **columns: pa.Array) -> None:
        write_tree(path, tree)
        rewrite(path, **columns)
        with pytest.raises(ValueError, match=message):
            read_tree(path)

    refused("was changed: its rows have the fingerprint", leaf=pa.array(tree.leaf_of_item[::-1].copy()))
    refused("some path does not lead to its leaf", path=pa.array(["00"] * 4))
    refused(r"are not 0 .. 3 in order", item=pa.array([1, 0, 2, 3]))
    refused("leaves are 3 .. 6", leaf=pa.array([3, 4, 5, 99]))
    refused("column leaf of .* is double", leaf=pa.array([3.5, 4, 5, 6]))
    refused("1 nulls", leaf=pa.array([None, 4, 5, 6], pa.int64()))


def test_other_files_are_refused(tmp_path: Path) -> None:
    text, other, short = tmp_path / "text.parquet", tmp_path / "other.parquet", tmp_path / "short.parquet"
    text.write_text("item,leaf\n0,1\n")
    pq.write_table(pa.table({"item": [0]}), other)
    write_tree(short, planted(4, 2))
    pq.write_table(pq.read_table(short).drop_columns(["path"]), short)
    with pytest.raises(ValueError, match="is not a tree file"):
        read_tree(text)
    with pytest.raises(ValueError, match="height and fingerprint are missing"):
        read_tree(other)
    with pytest.raises(ValueError, match=r"lacks the columns \['path'\]; it has \['item', 'leaf'\]"):
        read_tree(short)
    with pytest.raises(FileNotFoundError):
        read_tree(tmp_path / "nothing.parquet")


def test_keys_must_be_one_an_item(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 keys for a tree of 4 items"):
        write_tree(tmp_path / "tree.parquet", planted(4, 2), keys=["a", "b"])
    assert not list(tmp_path.iterdir())

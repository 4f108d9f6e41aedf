"""Safetensors, vocabularies and atomic writes: round trips, equal bytes, and refusals."""

import hashlib
import mmap
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import save_file

from jtm_core.behaviours import Behaviours, EvaluationUsers, Split
from jtm_core.formats.arrays import map_integers, read_arrays, read_behaviours, read_split, write_arrays, write_behaviours, write_split
from jtm_core.formats.atomic import atomic_path
from jtm_core.formats.vocabularies import Vocabulary, read_vocabulary, write_vocabulary

BEHAVIOURS = Behaviours(np.array([2, 0, 1]), np.array([0, 2, 2, 3]), np.array([5, 6, -1]), num_items=4)


@given(
    array=arrays(
        dtype=st.sampled_from([np.int64, np.int32, np.float32, np.float64, np.uint8, np.bool_]), shape=array_shapes(min_dims=0, min_side=0)
    ),
    metadata=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3),
)
@settings(max_examples=40)
def test_arrays_come_back_transposed_empty_and_scalar_ones_too(tmp_path_factory, array, metadata):
    path = tmp_path_factory.mktemp("arrays") / "a.safetensors"
    write_arrays(path, {"plain": array, "transposed": array.T}, metadata)
    back, words = read_arrays(path)
    assert words == metadata
    for name, expected in (("plain", array), ("transposed", array.T)):
        np.testing.assert_array_equal(back[name], expected)
        assert back[name].dtype == expected.dtype


def test_equal_content_gives_equal_bytes_in_every_process(tmp_path):
    program = (
        "import sys, numpy as np; from pathlib import Path; from jtm_core.formats.arrays import write_arrays;"
        "names = sys.argv[2]; write_arrays(Path(sys.argv[1]), {n: np.arange(ord(n)) for n in names}, {n: n for n in names})"
    )
    digests = set()
    for names in ("abcdefgh", "hgfedcba"):
        path = tmp_path / names
        subprocess.run([sys.executable, "-c", program, str(path), names], check=True)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_behaviours_and_split_come_back(tmp_path):
    write_behaviours(tmp_path / "b", BEHAVIOURS, np.array([0, -1, 1, 0]))
    behaviours, categories = read_behaviours(tmp_path / "b")
    for name in ("items", "offsets", "times"):
        np.testing.assert_array_equal(getattr(behaviours, name), getattr(BEHAVIOURS, name))
    assert behaviours.num_items == 4
    assert categories.tolist() == [0, -1, 1, 0]
    validation, test = (EvaluationUsers(np.array([u]), np.array([1]), np.array([u + 1])) for u in (0, 2))
    write_split(tmp_path / "s", Split(np.array([0, 5, 0]), validation, test))
    split = read_split(tmp_path / "s")
    assert split.train_lengths.tolist() == [0, 5, 0]
    assert [split.validation.users.tolist(), split.test.users.tolist(), split.test.truth_lengths.tolist()] == [[0], [2], [3]]


def test_damaged_missing_and_foreign_files_are_refused(tmp_path):
    write_behaviours(tmp_path / "b", BEHAVIOURS, np.zeros(4, dtype=np.int64))
    with pytest.raises(ValueError, match="holds behaviours; expected split"):
        read_split(tmp_path / "b")
    with pytest.raises(ValueError, match="there is no file"):
        read_arrays(tmp_path / "none")
    save_file({"x": np.zeros(2)}, tmp_path / "foreign")
    with pytest.raises(ValueError, match="arrays of no kind; expected behaviours"):
        read_behaviours(tmp_path / "foreign")
    write_arrays(tmp_path / "part", {"items": BEHAVIOURS.items}, {"kind": "behaviours"})
    with pytest.raises(ValueError, match=r"lacks the arrays \['categories', 'offsets', 'times'\]"):
        read_behaviours(tmp_path / "part")
    (tmp_path / "b").write_bytes((tmp_path / "b").read_bytes()[:-1])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        read_behaviours(tmp_path / "b")
    with pytest.raises(ValueError, match="3 categories for 4 items"):
        write_behaviours(tmp_path / "c", BEHAVIOURS, np.zeros(3, dtype=np.int64))


def test_vocabularies_come_back_with_equal_bytes(tmp_path):
    items = Vocabulary(pa.array(["b", "a"]), pa.array([7, None]))
    for name in ("one", "two"):
        write_vocabulary(tmp_path / name, items, "item")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    back = read_vocabulary(tmp_path / "one")
    assert back.keys.equals(items.keys)
    assert back.categories.equals(items.categories)
    assert back.ids_of(pa.array(["a", "x", "b"])).tolist() == [1, -1, 0]
    write_vocabulary(tmp_path / "users", Vocabulary(pa.array([5, 3])), "user")
    assert read_vocabulary(tmp_path / "users").categories is None


def test_bad_vocabularies_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"keys \[3\] occur more than once"):
        Vocabulary(pa.array([3, 1, 3]))
    with pytest.raises(ValueError, match="1 keys of the vocabulary are null"):
        Vocabulary(pa.array([3, None]))
    with pytest.raises(ValueError, match="1 categories for 2 keys"):
        Vocabulary(pa.array([3, 1]), pa.array([1]))
    with pytest.raises(ValueError, match="type string, those of the known vocabulary of type int64"):
        Vocabulary(pa.array([3])).ids_of(pa.array(["3"]))
    (tmp_path / "v").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="not a whole Parquet file"):
        read_vocabulary(tmp_path / "v")
    pa.parquet.write_table(pa.table({"item": [1, 0], "key": [5, 6]}), tmp_path / "v")
    with pytest.raises(ValueError, match=r"not 0 \.\. 1"):
        read_vocabulary(tmp_path / "v")
    pa.parquet.write_table(pa.table({"key": [5, 6]}), tmp_path / "v")
    with pytest.raises(ValueError, match="has the columns"):
        read_vocabulary(tmp_path / "v")


def test_atomic_write_replaces_whole_or_not_at_all(tmp_path):
    target = tmp_path / "new" / "file"
    with atomic_path(target) as temporary:
        temporary.write_text("one")
        assert not target.exists()
    assert target.read_text() == "one"
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:  # noqa: PT012 - the block is what is tested
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "one"
    assert [file.name for file in target.parent.iterdir()] == ["file"]


def test_reading_maps_and_writing_to_what_was_read_stays_in_the_process(tmp_path):
    write_behaviours(tmp_path / "b", BEHAVIOURS, np.array([0, -1, 1, 0]))
    before = (tmp_path / "b").read_bytes()
    behaviours, categories = read_behaviours(tmp_path / "b")
    for array in (behaviours.items, behaviours.offsets, behaviours.times, categories):
        base = array
        while isinstance(base, np.ndarray) and base.base is not None:
            base = base.base
        assert isinstance(base.obj, mmap.mmap)
        assert array.flags.aligned
    behaviours.items[:] = 3
    assert (tmp_path / "b").read_bytes() == before
    assert read_behaviours(tmp_path / "b")[0].items.tolist() == [2, 0, 1]


@given(values=st.lists(arrays(dtype=np.int64, shape=st.integers(0, 9)), min_size=1, max_size=4), metadata=st.just({"kind": "é"}))
@settings(max_examples=30)
def test_mapping_equals_reading(tmp_path_factory, values, metadata):
    path = tmp_path_factory.mktemp("arrays") / "a.safetensors"
    write_arrays(path, {f"array {place}": value for place, value in enumerate(values)}, metadata)
    (mapped, words), (read, _) = map_integers(path), read_arrays(path)
    assert words == metadata
    assert list(mapped) == list(read)
    for name, array in read.items():
        np.testing.assert_array_equal(mapped[name], array)


@pytest.mark.parametrize("array", [np.zeros(2), np.zeros((2, 2), dtype=np.int64), np.zeros(2, dtype=np.int32)])
def test_only_flat_int64_arrays_are_mapped(tmp_path, array):
    write_arrays(tmp_path / "a", {"x": array}, {})
    with pytest.raises(ValueError, match=r"x is .* allowed are flat arrays of I64"):
        map_integers(tmp_path / "a")
    with pytest.raises(ValueError, match="there is no file"):
        map_integers(tmp_path / "none")

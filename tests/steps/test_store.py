"""The store: whole artefacts or none, named by what is in them, checked when they are read."""

import os
import time
from pathlib import Path

import pytest

from jtm_core.formats.log_files import log_files
from tasks.references import ArtefactRef
from tasks.store import BrokenArtefactError, Store, canonical_json, digest_of_file, digest_of_log, write_text_durably


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def write_bytes(content: bytes):
    return lambda path: path.write_bytes(content)


def test_an_artefact_is_named_by_the_digest_of_its_bytes(store: Store) -> None:
    reference = store.save("tree", "parquet", write_bytes(b"abc"))
    assert reference.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert reference.uri == f"store/tree/{reference.sha256}.parquet"
    assert store.path(reference).read_bytes() == b"abc"


def test_equal_bytes_are_one_artefact(store: Store) -> None:
    assert store.save("tree", "parquet", write_bytes(b"a")) == store.save("tree", "parquet", write_bytes(b"a"))
    assert len(list(store.home.glob("store/tree/*"))) == 1


def test_a_writer_that_fails_leaves_nothing(store: Store) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        store.save("tree", "parquet", fail)
    assert list(store.home.glob("store/tree/*")) == []


def test_a_writer_that_writes_nothing_is_an_error(store: Store) -> None:
    with pytest.raises(ValueError, match="nothing was written for a new tree"):
        store.save("tree", "parquet", lambda path: None)


def test_broken_bytes_are_found_and_the_file_is_named(store: Store) -> None:
    reference = store.save("model", "safetensors", write_bytes(b"weights"))
    path = store.path(reference)
    path.write_bytes(b"weighty")
    with pytest.raises(BrokenArtefactError, match=f"model {path} is broken.*its reference says {reference.sha256}"):
        store.path(reference)


def test_saving_again_mends_a_broken_artefact(store: Store) -> None:
    reference = store.save("model", "safetensors", write_bytes(b"weights"))
    store.path(reference).write_bytes(b"")
    assert store.save("model", "safetensors", write_bytes(b"weights")) == reference
    assert store.path(reference).read_bytes() == b"weights"


def test_a_missing_file_is_named(store: Store) -> None:
    reference = store.save("model", "safetensors", write_bytes(b"weights"))
    store.path(reference).unlink()
    with pytest.raises(BrokenArtefactError, match="is missing; run the flow again"):
        store.path(reference)


def test_the_store_can_move(store: Store, tmp_path: Path) -> None:
    reference = store.save_json("counts", {"rows": 3})
    moved = tmp_path / "elsewhere"
    os.rename(tmp_path / "store", tmp_path / "carried")
    moved.mkdir()
    os.rename(tmp_path / "carried", moved / "store")
    assert Store(moved).read_json(reference) == {"rows": 3}


def test_equal_values_are_equal_json(store: Store) -> None:
    assert store.save_json("counts", {"a": 1, "b": [2.5]}) == store.save_json("counts", {"b": [2.5], "a": 1})
    with pytest.raises(ValueError, match="Out of range float"):
        canonical_json({"recall": float("nan")})


def test_abandoned_partial_files_are_removed_and_young_ones_kept(store: Store) -> None:
    store.save_json("counts", 1)
    folder = store.home / "store" / "counts"
    old, young = folder / ".partial-old.json", folder / ".partial-young.json"
    old.touch()
    young.touch()
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    assert store.remove_abandoned(older_than_seconds=3600) == 1
    assert (old.exists(), young.exists()) == (False, True)


def test_checkpoints_that_nobody_goes_on_from_are_removed_in_the_end(store: Store) -> None:
    folder = store.home / "checkpoints"
    (folder / "old.shards" / "pass").mkdir(parents=True)
    for name, days in (("old.safetensors", 31), ("old.shards/pass/part", 31), ("young.safetensors", 29)):
        (folder / name).write_bytes(b"state")
        os.utime(folder / name, (time.time() - days * 86400,) * 2)
    for path in (folder / "old.shards" / "pass", folder / "old.shards"):
        os.utime(path, (time.time() - 31 * 86400,) * 2)
    assert store.remove_abandoned() == 2
    assert [path.name for path in folder.iterdir()] == ["young.safetensors"]


def test_abandoned_writings_go_with_all_that_was_put_aside_and_those_still_written_to_stay(store: Store) -> None:
    folder = store.home / "store" / "weights"
    long_ago = time.time() - 7200
    for name in ("old", "long"):
        (folder / f".partial-{name}" / "aside").mkdir(parents=True)
        for path in (folder / f".partial-{name}" / "aside" / ".tmpXLf7R1", folder / f".partial-{name}" / "artefact.safetensors"):
            path.touch()
            os.utime(path, (long_ago, long_ago))
        os.utime(folder / f".partial-{name}" / "aside", (long_ago, long_ago))
        os.utime(folder / f".partial-{name}", (long_ago, long_ago))
    os.utime(folder / ".partial-long" / "aside" / ".tmpXLf7R1")
    assert store.remove_abandoned(older_than_seconds=3600) == 1
    assert [path.name for path in folder.iterdir()] == [".partial-long"]


def test_a_saved_artefact_is_all_that_stays(store: Store) -> None:
    def write(path: Path) -> None:
        path.write_text("whole")
        (path.parent / "aside").write_text("more")

    reference = store.save("weights", "txt", write)
    assert [path.name for path in (store.home / "store" / "weights").iterdir()] == [f"{reference.sha256}.txt"]


def test_small_files_are_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "steps" / "a.json"
    write_text_durably(path, "one")
    write_text_durably(path, "two")
    assert path.read_text() == "two"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize("uri", ["/etc/passwd", "store/../../x"])
def test_references_stay_inside_the_home(uri: str) -> None:
    with pytest.raises(ValueError, match="must be relative to JTM_HOME"):
        ArtefactRef(kind="tree", sha256="0" * 64, uri=uri)


def test_a_reference_needs_a_whole_digest() -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        ArtefactRef(kind="tree", sha256="abc", uri="store/tree/abc")


def test_large_files_are_digested_in_blocks(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * (3 << 20))
    import hashlib

    assert digest_of_file(path) == hashlib.sha256(b"x" * (3 << 20)).hexdigest()


def test_what_folders_say_tells_logs_of_the_same_bytes_apart(tmp_path: Path) -> None:
    """A log of one file has the digest of that file, unless its folders say what the rows are."""
    for name in ("event=buy", "event=pv", "plain"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.csv").write_text("user,item,time\n1,7,1\n")
    digests = [digest_of_log(log_files(tmp_path / name)) for name in ("event=buy", "event=pv", "plain", "event=buy/a.csv")]
    assert len(set(digests)) == 3
    assert (digests[0], digests[2]) == (digests[3], digest_of_file(tmp_path / "plain/a.csv"))

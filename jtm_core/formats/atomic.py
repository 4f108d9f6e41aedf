"""Files that appear whole or not at all."""

import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(destination: Path) -> Iterator[Path]:
    """Give a temporary name to write to, in a folder of its own beside ``destination``, and rename it when the block succeeds.

    Whatever stood at ``destination`` stays until the rename; then, or if the block raises, the folder goes. A killed process
    leaves only a ``.*.tmp`` folder, see :func:`discard`: in it lies also what libraries write aside by themselves, as safetensors
    does. Missing folders are made.

    Parameters
    ----------
    destination : Path
        Final name of the file.

    Yields
    ------
    Path
        Name in a new folder on the same disk; the block must create a file there.
    """
    folder = destination.parent / f".{destination.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp"
    folder.mkdir(parents=True)
    temporary = folder / destination.name
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # a rename must not reach the disk before the bytes it names
        temporary.chmod(folder.stat().st_mode & 0o666)  # as any new file has it; safetensors lets nobody else read its own
        os.replace(temporary, destination)
    finally:
        remove(folder)


def discard(destination: Path) -> None:
    """Remove a file, if it is there, and what killed writers of it left; only where nobody can be writing it."""
    remove(destination)
    discard_leftovers(destination)


def discard_leftovers(destination: Path) -> None:
    """Remove what killed writers of a file left beside it; only where nobody can be writing it."""
    for path in destination.parent.glob(f".{glob.escape(destination.name)}.*.tmp"):
        remove(path)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all it holds, if it is there; somebody else may be removing it as well."""
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return

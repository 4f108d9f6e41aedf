"""Files that appear whole or not at all."""

import glob
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(destination: Path) -> Iterator[Path]:
    """Give a temporary name beside ``destination`` to write to, and rename it when the block succeeds.

    Whatever stood at ``destination`` stays until the rename; if the block raises, the temporary file is removed. A
    killed process leaves only a ``.*.tmp`` file, see :func:`discard`. Missing folders are made.

    Parameters
    ----------
    destination : Path
        Final name of the file.

    Yields
    ------
    Path
        Name in the same folder; the block must create a file there.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.parent / f".{destination.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # a rename must not reach the disk before the bytes it names
        os.replace(temporary, destination)
    finally:
        temporary.unlink(missing_ok=True)


def discard(destination: Path) -> None:
    """Remove a file, if it is there, and what killed writers of it left; only where nobody can be writing it."""
    for path in (destination, *destination.parent.glob(f".{glob.escape(destination.name)}.*.tmp")):
        path.unlink(missing_ok=True)

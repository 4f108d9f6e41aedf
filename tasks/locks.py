"""What two runs of one ``JTM_HOME`` must not do at once."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def one_at_a_time(path: Path, what: str, logger: "logging.Logger | logging.LoggerAdapter[logging.Logger]") -> Iterator[None]:
    """Run the block while no other run does; one that comes second says so and waits, for as long as it takes.

    Parameters
    ----------
    path : Path
        The lock's file, there while the block runs. The lock of a run that is killed is free at once, its file is used again.
    what : str
        What the block does, for the message.
    logger : logger
        Told when there is something to wait for.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("another run is at %s already and holds %s; waiting for it to end", what, path)
        lock.acquire()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # filelock sees that what it waited for has no name any more, and takes a new file
        lock.release()


def left_by_killed(folder: Path) -> Iterator[str]:
    """Yield the names of the locks in a folder whose holder was killed; each is held while the caller deals with it, and gone after.

    Parameters
    ----------
    folder : Path
        Of locks of :func:`one_at_a_time`, which takes its file away however its block ends, so that a file nobody holds is of a kill.

    Yields
    ------
    str
        The file's name without ``.lock``.
    """
    for path in sorted(folder.glob("*.lock")):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            yield path.stem
            path.unlink(missing_ok=True)
        finally:
            lock.release()

"""One stack at a time on a ``JTM_HOME``: an advisory lock that dies with whoever holds it."""

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import psutil

_LEFTOVERS_SECONDS = 60.0
_POLL_SECONDS = 0.2


class StackIsRunning(RuntimeError):
    """Another stack is alive on the same folder."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, or held it last."""

    process: int
    prefect_port: int
    mlflow_port: int


class StackLock:
    """The lock file of a folder, held from construction until :meth:`release`.

    Parameters
    ----------
    home : Path
        ``JTM_HOME``; made if it is not there.
    leftovers_seconds : float
        How long to wait for a watchdog that is still stopping what a killed supervisor left.

    Raises
    ------
    StackIsRunning
        If another supervisor is alive on that folder.
    """

    def __init__(self, home: Path, leftovers_seconds: float = _LEFTOVERS_SECONDS) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._path = home / "stack.json"
        self._file: IO[str] = (home / "stack.lock").open("a")
        self.before = read_holder(self._path)
        deadline = time.monotonic() + leftovers_seconds
        while not self._take():
            self._refuse_if_alive(deadline)
            time.sleep(_POLL_SECONDS)

    @property
    def descriptor(self) -> int:
        """File descriptor that the lock hangs on; whoever inherits it keeps the lock alive."""
        return self._file.fileno()

    def announce(self, prefect_port: int, mlflow_port: int) -> None:
        """Write down who holds the lock, for the message a second start gets and for the next start's ports."""
        temporary = self._path.with_suffix(".part")
        temporary.write_text(json.dumps(asdict(Holder(os.getpid(), prefect_port, mlflow_port))), encoding="utf-8")
        os.replace(temporary, self._path)

    def release(self) -> None:
        """Let the next one start."""
        self._file.close()

    def _take(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _refuse_if_alive(self, deadline: float) -> None:
        holder = read_holder(self._path)
        is_leftover = holder is not None and not psutil.pid_exists(holder.process)
        if is_leftover and time.monotonic() < deadline:
            return
        self._file.close()
        who = f"process {holder.process}, Prefect on port {holder.prefect_port}" if holder else "a process that is still starting"
        raise StackIsRunning(
            f"a stack is already running on {self._path.parent} ({who}); "
            "stop it with Ctrl-C there, or give this one another folder by JTM_HOME"
        )


def read_holder(path: Path) -> Holder | None:
    """Who wrote the file last; None if there is no readable file."""
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None

"""Stop processes together with everything they started. Only the standard library and psutil: the watchdog uses it."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

MARK = "JTM_STACK"
"""Names, in the environment of all that a stack starts, the folder it runs on."""

_POLL_SECONDS = 0.1


def members(leader: int) -> list[psutil.Process]:
    """List the living processes of a leader's process group and their descendants, zombies left out."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getpgid(process.pid) == leader:
                found[process.pid] = process
                found.update({child.pid: child for child in process.children(recursive=True)})
    return [process for process in found.values() if _is_living(process)]


def stop_group(leader: int, grace_seconds: float) -> bool:
    """Ask a process group to end, and kill what is left after a while.

    Parameters
    ----------
    leader : int
        Process id of the group's leader (a child started in a session of its own).
    grace_seconds : float
        Time between the request (SIGTERM) and the end (SIGKILL).

    Returns
    -------
    bool
        True if nothing had to be killed.
    """
    return _stop(lambda: members(leader), grace_seconds)[1]


def marked(home: str) -> list[psutil.Process]:
    """List the living processes that a stack on a folder started, whatever their session, whether or not who started them lives."""
    found = list[psutil.Process]()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(MARK) == home:
                found.append(process)
    return [process for process in found if _is_living(process)]


def stop_marked(home: str, grace_seconds: float) -> int:
    """Stop what is left of a stack whose own children are gone, and return how many processes that were.

    A worker that was killed leaves the flow runs it had started: they have sessions of their own, and their parent is gone.
    """
    return _stop(lambda: marked(home), grace_seconds)[0]


def _stop(list_them: Callable[[], list[psutil.Process]], grace_seconds: float) -> tuple[int, bool]:
    """How many processes there were, and whether all ended by themselves when asked."""
    processes = list_them()
    _signal(processes, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while any(_is_living(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    left = [process for process in [*processes, *list_them()] if _is_living(process)]
    _signal(left, signal.SIGKILL)
    return len(processes), not left


def _is_living(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)

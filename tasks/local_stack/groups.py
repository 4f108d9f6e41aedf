"""Stop processes together with everything they started. Only the standard library and psutil: the watchdog uses it."""

import os
import signal
import time
from contextlib import suppress

import psutil

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
    processes = members(leader)
    _signal(processes, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while any(_is_living(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    left = [process for process in [*processes, *members(leader)] if _is_living(process)]
    _signal(left, signal.SIGKILL)
    return not left


def _is_living(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)

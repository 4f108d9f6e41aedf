"""The supervisor's children: started with a log each, watched, stopped last first."""

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from tasks.local_stack.groups import stop_group
from tasks.local_stack.watchdog import ENDED
from tasks.settings import PROJECT_ROOT

_POLL_SECONDS = 0.2
_TAIL_LINES = 40
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is never behind a proxy


class StackFailed(RuntimeError):
    """A part of the stack could not start, or ended while it was needed; the message quotes its log."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process of the stack."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    grace_seconds: float


class Children:
    """Every process of a stack, and the watchdog that stops them should this process vanish.

    Parameters
    ----------
    logs : Path
        Folder of the logs; made if it is not there.
    environment : mapping
        The children's environment.
    lock : int
        File descriptor of the stack's lock, which the watchdog keeps until all children are gone.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str], lock: int) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._environment = dict(environment)
        self._children: list[Child] = []
        self._watchdog = subprocess.Popen(
            [sys.executable, "-m", "tasks.local_stack.watchdog"],
            stdin=subprocess.PIPE,
            cwd=PROJECT_ROOT,
            env=self._environment,
            pass_fds=[lock],
            start_new_session=True,
        )

    def start(self, name: str, command: Sequence[str], grace_seconds: float = 10.0) -> Child:
        """Start ``python -m <command>`` in a session of its own, its output in ``<logs>/<name>.log``; the last is kept."""
        log = self._logs / f"{name}.log"
        if log.exists():
            log.replace(log.with_suffix(".log.before"))  # what the last stack may have died of
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=PROJECT_ROOT,
                env=self._environment,
                start_new_session=True,
            )
        child = Child(name, process, log, grace_seconds)
        self._children.append(child)
        self._tell_watchdog(child)
        return child

    def run(self, name: str, command: Sequence[str], timeout: float) -> None:
        """Run a command of the stack to its end.

        Raises
        ------
        StackFailed
            If it fails or takes longer than ``timeout`` seconds.
        """
        child = self.start(name, command)
        try:
            code = child.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.stop(child)
            raise StackFailed(f"{name} was not done after {timeout:.0f} s; the end of {child.log}:\n{tail(child.log)}") from None
        self._forget(child)
        if code:
            raise StackFailed(f"{name} failed with exit code {code}; the end of {child.log}:\n{tail(child.log)}")

    def wait_for(self, child: Child, is_ready: Callable[[], bool], timeout: float) -> None:
        """Wait until a child does its work.

        Raises
        ------
        StackFailed
            If it ends, or is not ready after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while not is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise StackFailed(f"{child.name} was not ready after {timeout:.0f} s; the end of {child.log}:\n{tail(child.log)}")
            time.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Raise :class:`StackFailed` if a child has ended by itself."""
        for child in self._children:
            code = child.process.poll()
            if code is not None:
                raise StackFailed(f"{child.name} ended by itself with exit code {code}; the end of {child.log}:\n{tail(child.log)}")

    def stop(self, child: Child) -> None:
        """Stop one child and what it started."""
        stop_group(child.process.pid, child.grace_seconds)
        child.process.wait()
        self._forget(child)

    def stop_all(self) -> None:
        """Stop every child, the last started first, then the watchdog."""
        for child in reversed(list(self._children)):
            self.stop(child)
        with suppress(BrokenPipeError):
            if self._watchdog.stdin is not None:
                self._watchdog.stdin.close()
        self._watchdog.wait()

    def _forget(self, child: Child) -> None:
        """Have nobody stop an ended child: the system may give its process id to another."""
        self._children.remove(child)
        with suppress(BrokenPipeError):  # a watchdog that ended stops nothing
            if self._watchdog.stdin is not None:
                self._watchdog.stdin.write(f"{child.process.pid} {ENDED}\n".encode())
                self._watchdog.stdin.flush()

    def _tell_watchdog(self, child: Child) -> None:
        if self._watchdog.stdin is None or self._watchdog.poll() is not None:
            raise StackFailed("the watchdog ended by itself; without it a killed supervisor would leave servers behind")
        self._watchdog.stdin.write(f"{child.process.pid} {child.grace_seconds}\n".encode())
        self._watchdog.stdin.flush()


def tail(log: Path) -> str:
    """Read the last lines of a log."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(f"    {line}" for line in lines[-_TAIL_LINES:]) or "    (empty)"


def answers(url: str) -> bool:
    """Whether a server answers a GET with 200."""
    try:
        with _DIRECT.open(url, timeout=2) as response:
            return bool(response.status == HTTPStatus.OK)
    except (urllib.error.URLError, OSError):
        return False

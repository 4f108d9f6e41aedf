"""Runs measurements, each in a fresh process, and collects the records they print.

A job's peak memory is its own, as the kernel counted it for the process when it ended; this process stays small for
that reason (a child's count begins with its parent's size). A job that fails or takes too long is recorded and reported,
the others go on.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Job:
    """One measurement.

    Parameters
    ----------
    name : str
        Tells it from others in messages.
    module : str
        Run as ``python -m``; prints a JSON object a line.
    arguments : tuple of str
    limit : int
        Seconds after which it is ended.
    about : dict
        Keys added to each of its records.
    python : str
        Interpreter, if not this one.
    """

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    limit: int = 600
    about: dict[str, Any] = field(default_factory=dict)
    python: str = sys.executable

    @property
    def command(self) -> list[str]:
        """What is started."""
        return [self.python, "-m", self.module, *self.arguments]


def run(job: Job) -> Iterator[dict[str, Any]]:
    """Run a job to its end.

    Yields
    ------
    dict
        Each record as it is printed; at last the peak memory and the seconds, or what failed (``<name>_failed``).
    """
    begun = time.monotonic()
    process = subprocess.Popen(job.command, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True)
    overtime = threading.Event()

    def stop() -> None:
        overtime.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(job.limit, stop)
    timer.start()
    try:
        for line in process.stdout or ():
            record = parsed(line)
            if record is None:
                sys.stderr.write(line)
            else:
                yield record | job.about
    finally:
        timer.cancel()
        if sys.exc_info()[0] is not None:
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdout:
            process.stdout.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    about = job.about | {"job": job.name}
    if process.returncode:
        reason = f"not done after {job.limit} s" if overtime.is_set() else f"exit code {process.returncode}"
        yield {"name": f"{job.name}_failed", "value": None, "unit": "", "reason": f"{' '.join(job.command[1:])}: {reason}", **about}
    yield {"name": "peak_rss_gb", "value": round(usage.ru_maxrss / 1e6, 3), "unit": "GB", **about}
    yield {"name": "job_s", "value": round(time.monotonic() - begun, 1), "unit": "s", **about}


def parsed(line: str) -> dict[str, Any] | None:
    """The record that a line holds, None if it is something else."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or not {"name", "value", "unit"} <= record.keys():
        return None
    return record | (record.pop("about", None) or {})


def failed(record: dict[str, Any]) -> bool:
    """Whether a record says that a job did not end well."""
    return bool(record["name"].endswith("_failed"))


def write_results(path: Path, lines: list[dict[str, Any]]) -> None:
    """Write a result file whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    os.replace(part, path)

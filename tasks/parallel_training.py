"""Start a training in several processes by ``torch.distributed``'s own launcher, and listen to the first of them.

``config.execution.training_processes`` processes run :mod:`tasks.train_rank` on this machine. ``JTM_TORCHRUN`` holds other
options of ``torchrun`` instead, for several machines: docs/decisions/0010-work-done-by-existing-engines.md has the commands.

A process that dies takes the others with it and ends the step with its last words; a starter that dies takes all of them
with it, as the first process can no longer report.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jtm_core.threads import available_cores
from tasks.references import TrainedModel
from tasks.settings import PROJECT_ROOT, torchrun_options
from tasks.store import Store, write_text_durably
from tasks.training_jobs import Listener, TrainingJob, hear, job_text

_STOP_SECONDS = 60.0
_LAST_LINES = 60


def is_parallel(processes: int) -> bool:
    """Whether settings or environment ask for more than this process."""
    return processes > 1 or bool(torchrun_options())


def train_in_processes(store: Store, job: TrainingJob, listener: Listener) -> TrainedModel:
    """Train as ``job`` says in processes of their own.

    Raises
    ------
    RuntimeError
        If one of them fails; the message ends with what was last written to standard error.
    """
    path = (store.home / job.checkpoint).with_suffix(".job.json")
    log = path.with_suffix(".log")
    write_text_durably(path, job_text(job))
    processes = job.config.execution.training_processes
    options = torchrun_options() or ["--standalone", f"--nproc-per-node={processes}"]
    with tempfile.TemporaryDirectory(prefix="jtm-launcher-") as notes:  # the launcher's own, which it leaves behind
        launcher = [sys.executable, "-m", "torch.distributed.run", "--log-dir", notes, *options]
        trained, code = _run_launcher(store, [*launcher, "-m", "tasks.train_rank", str(path)], processes, log, listener)
    if code or trained is None:
        raise RuntimeError(f"training in {' '.join(options)} failed with exit code {code}; the end of {log}:\n{_end_of(log)}")
    for used in (path, log):
        used.unlink()
    return trained


def _run_launcher(store: Store, command: list[str], processes: int, log: Path, listener: Listener) -> tuple[TrainedModel | None, int]:
    """Run ``command`` to its end and pass on what it reports; what it trained, if it said so, and its exit code."""
    trained = None
    with log.open("w", encoding="utf-8") as errors, _running(command, _environment(store, processes), errors.fileno()) as process:
        assert process.stdout is not None
        for line in process.stdout:
            trained = hear(line, listener) or trained
        return trained, process.wait()


@contextmanager
def _running(command: list[str], environment: dict[str, str], errors: int) -> "Iterator[subprocess.Popen[str]]":
    """A process that is not left behind, whatever happens here."""
    process = subprocess.Popen(command, env=environment, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()  # the launcher then ends its processes
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_STOP_SECONDS)
            process.kill()  # does nothing to one that has ended


def _environment(store: Store, processes: int) -> dict[str, str]:
    """Ours, with what the new ones need to find us, the store, and their share of the cores."""
    paths = [str(PROJECT_ROOT), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    threads = str(max(1, available_cores() // processes))
    return {"OMP_NUM_THREADS": threads, **os.environ, "PYTHONPATH": os.pathsep.join(paths), "JTM_HOME": str(store.home)}


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:])

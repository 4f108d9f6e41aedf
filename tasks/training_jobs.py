"""What a training in several processes is told and tells: the job one way, what it reports the other.

Both cross a process border as JSON: the job as a file, reports as lines of the first process's standard output.
"""

import json
import logging
import sys
import time
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import TypeAdapter

from jtm_core.config import JtmConfig
from tasks.references import DataReferences, GrownTree, TrainedModel
from tasks.store import canonical_json

SHOW_SECONDS = 0.5
"""Least time between two reports of progress; a first process whose starter is gone learns it by the next one."""


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """Everything a training depends on, and where it keeps its unfinished state."""

    iteration: int
    data: DataReferences
    grown: GrownTree
    config: JtmConfig
    checkpoint: str
    """Path relative to ``JTM_HOME``."""

    @property
    def num_epochs(self) -> int:
        """Epochs at most."""
        return self.config.training.later_epochs if self.grown.start else self.config.training.epochs

    @property
    def newest_share(self) -> float:
        """Share of the training behaviours, the newest, that are targets."""
        return self.config.training.later_newest_share if self.grown.start else 1.0


class Listener(Protocol):
    """Is told how a training goes on."""

    def show(self, done: float, total: float, note: str) -> None:
        """Rows trained on, of how many, and a few words."""
        ...

    def tell(self, level: int, text: str) -> None:
        """A line for the log, at a level of :mod:`logging`."""
        ...


class Silent:
    """For the processes whose progress is the same as the first one's."""

    def show(self, done: float, total: float, note: str) -> None:
        """Nothing."""

    def tell(self, level: int, text: str) -> None:
        """Nothing."""


class LineWriter:
    """Writes every report as a line of JSON on standard output, for :func:`hear`."""

    def __init__(self) -> None:
        self._shown = 0.0

    def show(self, done: float, total: float, note: str) -> None:
        """See :meth:`Listener.show`; at most one line in half a second."""
        if time.monotonic() - self._shown >= SHOW_SECONDS or done == total:
            self._shown = time.monotonic()
            _write_line({"done": done, "total": total, "note": note})

    def tell(self, level: int, text: str) -> None:
        """See :meth:`Listener.tell`."""
        _write_line({"level": level, "text": text})

    def trained(self, trained: TrainedModel) -> None:
        """The end: what was made."""
        _write_line({"trained": TypeAdapter(TrainedModel).dump_python(trained, mode="json")})


def hear(line: str, listener: Listener) -> TrainedModel | None:
    """Pass a line of :class:`LineWriter` on; the model if that is what it tells of. Other lines are for the log."""
    try:
        report = json.loads(line)
    except ValueError:
        report = None
    match report:
        case {"done": done, "total": total, "note": note}:
            listener.show(done, total, note)
        case {"level": level, "text": text}:
            listener.tell(level, text)
        case {"trained": trained}:
            return TypeAdapter(TrainedModel).validate_python(trained)
        case _:
            listener.tell(logging.INFO, line.rstrip())
    return None


def job_text(job: TrainingJob) -> str:
    """A job as JSON."""
    return canonical_json(TypeAdapter(TrainingJob).dump_python(job, mode="json"))


def job_from_text(text: str) -> TrainingJob:
    """A job from :func:`job_text`.

    Raises
    ------
    ValueError
        If the text is none, or a setting is out of range.
    """
    return TypeAdapter(TrainingJob).validate_json(text)


def _write_line(report: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()

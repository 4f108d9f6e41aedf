"""Progress of long steps: a Prefect progress artifact in the UI, a bar in a terminal.

Showing progress must never stop or slow a step: updates are at least ``JTM_PROGRESS_SECONDS`` apart, and a server that
does not answer costs the artifact, not the training.
"""

import logging
import sys
import time
from types import TracebackType
from typing import Self
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar

from tasks.settings import progress_seconds

_logger = logging.getLogger(__name__)


class Progress:
    """Shows how far a step is.

    Parameters
    ----------
    title : str
        What is going on, e.g. ``"train-model-globo-03"``; also the artifact's key, so small letters, digits and dashes.
    unit : str
        What is counted, for the rate ("samples").

    Examples
    --------
    >>> with Progress("count-sheep", "sheep") as progress:
    ...     progress.show(50, 100)
    """

    def __init__(self, title: str, unit: str) -> None:
        self._title = title
        self._unit = unit
        self._artifact: UUID | None = None
        self._wants_artifact = TaskRunContext.get() is not None
        self._bar = _bar_of_terminal()
        self._begun = self._shown = time.monotonic()
        self._first_done: float | None = None
        self._interval = progress_seconds()

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.add_task(self._title, total=100.0, text="")
            self._bar.start()
        if self._wants_artifact:
            self._attempt(0.0, "starting")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        if kind is None and self._wants_artifact:
            self._attempt(100.0, f"done in {_duration(time.monotonic() - self._begun)}")

    def show(self, done: float, total: float, note: str = "") -> None:
        """Tell that ``done`` of ``total`` units are done; cheap, most calls show nothing.

        Parameters
        ----------
        done, total : float
            In units; ``total`` above 0. The first call sets where the rate is measured from, so a resumed step does not
            count what an earlier process did.
        note : str
            A few words more, e.g. the loss.
        """
        now = time.monotonic()
        if self._first_done is None:
            self._first_done, self._begun = done, now
        if now - self._shown < self._interval and done < total:
            return
        self._shown = now
        text = self._describe(done, total, now, note)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=100 * done / total, text=text)
        if self._wants_artifact:
            self._attempt(100 * done / total, text)

    def _describe(self, done: float, total: float, now: float, note: str) -> str:
        rate = (done - (self._first_done or 0)) / max(now - self._begun, 1e-9)
        pace = [_rate_in_words(rate), f"{_duration((total - done) / rate)} left"] if rate > 0 else []
        return " · ".join(filter(None, [f"{done:,.0f} of {total:,.0f} {self._unit}", *pace, note]))

    def _attempt(self, percent: float, text: str) -> None:
        """Create or update the artifact; the first failure is logged and ends the attempts."""
        try:
            description = f"{self._title}: {text}"
            if self._artifact is None:
                self._artifact = UUID(str(create_progress_artifact(percent, key=self._title, description=description)))
            else:
                update_progress_artifact(self._artifact, percent, description=description)
        except Exception as error:  # noqa: BLE001 (whatever the server does, the step goes on)
            self._wants_artifact = False
            _logger.warning("progress of %s is no longer shown in Prefect: %s", self._title, error)


def _bar_of_terminal() -> Bar | None:
    if not sys.stderr.isatty():
        return None
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[text]}"))
    return Bar(*columns, console=Console(stderr=True), transient=True)


def _rate_in_words(per_second: float) -> str:
    """A rate in the smallest unit of time that leaves at least one digit before the point.

    Examples
    --------
    >>> _rate_in_words(1234.5), _rate_in_words(0.04), _rate_in_words(0.0004)
    ('1,234 per second', '2.4 per minute', '1.4 per hour')
    """
    units = ((1, "second"), (60, "minute"), (3600, "hour"))
    seconds, unit = next((unit for unit in units if per_second * unit[0] >= 1), units[-1])
    rate = per_second * seconds
    return f"{rate:,.1f} per {unit}" if rate < 10 else f"{rate:,.0f} per {unit}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def artifact_key(*words: str) -> str:
    """A key Prefect accepts: small letters, digits and single dashes.

    Examples
    --------
    >>> artifact_key("train-model", "ML_100k", "03")
    'train-model-ml-100k-03'
    """
    letters = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in "-".join(words).lower())
    return "-".join(word for word in letters.split("-") if word)

"""Runs of a comparison, or trials, that end in an error: they are told about and held back, so that the others go on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from jtm_core.comparison_config import PlannedRun
from tasks.caching import step_logger

_MOST_WORDS = 300


class RunsFailedError(RuntimeError):
    """Some runs of a comparison, or trials of a search, failed; the message names them. What the others made is kept and reported."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that failed, and why."""

    planned: PlannedRun
    reason: str

    def __str__(self) -> str:
        variation = f", {self.planned.variation}" if self.planned.variation else ""
        return f"{self.planned.system}, seed {self.planned.seed}{variation}: {self.reason}"


@contextmanager
def held_back(failures: list[Failure], planned: PlannedRun) -> Iterator[None]:
    """Add an error of the block to ``failures`` in place of raising it; a cancellation or an interrupt still ends the flow."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (whatever ends one run, the others go on; raised at the end)
        failure = Failure(planned, f"{type(error).__name__}: {error}"[:_MOST_WORDS])
        step_logger().exception("a run failed, the others go on; %s", failure)
        failures.append(failure)


def raise_held_back(failures: Sequence[Failure]) -> None:
    """Fail if anything failed.

    Raises
    ------
    RunsFailedError
        Naming every failed run.
    """
    if failures:
        lines = "\n".join(f"- {failure}" for failure in failures)
        raise RunsFailedError(f"{len(failures)} runs failed; run the flow again to repeat only these:\n{lines}")

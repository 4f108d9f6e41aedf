"""What a flow run is doing now, read from the server: state, task runs, progress, new log lines, results."""

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    ArtifactFilterType,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
    LogFilterTimestamp,
)
from prefect.client.schemas.objects import Artifact, Log
from prefect.client.schemas.sorting import ArtifactSort, LogSort
from prefect.types import DateTime

RESULTS_KEY = "results"
DATA_KEY = "data"
_LATE_SECONDS = 10
_PAGE = 200


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a flow run's log."""

    time: str
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step is: 0 .. 100, and in words."""

    percent: float
    description: str


@dataclass(frozen=True, slots=True)
class Results:
    """What a run came to."""

    title: str
    rows: list[dict[str, Any]]
    data: str
    """Which data it was, synthetic or real, and on what terms."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A flow run at one moment."""

    name: str
    state: str
    message: str
    is_final: bool
    is_completed: bool
    seconds: float
    finished: int
    running: tuple[str, ...]
    progress: Progress | None


class Follower:
    """Reads one flow run again and again.

    Parameters
    ----------
    client : SyncPrefectClient
        Of the server it runs on.
    run : UUID
        The flow run.
    """

    def __init__(self, client: SyncPrefectClient, run: UUID) -> None:
        self._client = client
        self._run = run
        self._seen: set[UUID | None] = set()
        self._names: dict[UUID | None, str] = {}
        self._latest: DateTime | None = None

    def moment(self) -> Moment:
        """Read how it stands now."""
        run = self._client.read_flow_run(self._run)
        tasks = self._client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[self._run])), limit=_PAGE)
        self._names.update({task.id: task.name for task in tasks})
        running = [task for task in tasks if task.state is not None and task.state.is_running()]
        state = run.state
        return Moment(
            name=run.name,
            state=state.name or "" if state else "Scheduled",
            message=state.message or "" if state else "",
            is_final=bool(state and state.is_final()),
            is_completed=bool(state and state.is_completed()),
            seconds=run.estimated_run_time.total_seconds(),
            finished=sum(task.state is not None and task.state.is_final() for task in tasks),
            running=tuple(task.name for task in running),
            progress=self._progress() if running else None,
        )

    def new_lines(self) -> list[LogLine]:
        """Read the log lines that came since the last call; lines arrive in batches, some of them late."""
        after = self._latest - timedelta(seconds=_LATE_SECONDS) if self._latest else None
        which = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[self._run]), timestamp=LogFilterTimestamp(after_=after) if after else None)
        found: list[LogLine] = []
        offset = 0
        while page := self._client.read_logs(which, limit=_PAGE, offset=offset, sort=LogSort.TIMESTAMP_ASC):
            offset += len(page)
            for log in page:
                if log.id in self._seen:
                    continue
                self._seen.add(log.id)
                self._latest = max(self._latest, log.timestamp) if self._latest else log.timestamp
                found.append(self._line(log))
        return found

    def results(self) -> Results | None:
        """Read the run's table artifact ``results``; None if it left none."""
        tables = self._artifacts(key=ArtifactFilterKey(any_=[RESULTS_KEY]))
        notes = self._artifacts(key=ArtifactFilterKey(any_=[DATA_KEY]))
        rows = table_rows(tables[0].data) if tables else []
        if not rows:
            return None
        return Results(tables[0].description or RESULTS_KEY, rows, str(notes[0].data) if notes else "")

    def links(self) -> list[str]:
        """Read the addresses that the run's link artifacts point to, each once, the latest first."""
        texts = [str(artifact.data) for artifact in self._artifacts(type=ArtifactFilterType(any_=["markdown"]))]
        return list(dict.fromkeys(found for text in texts for found in links_in(text)))

    def _line(self, log: Log) -> LogLine:
        """Lay out a log record, with the name of the task run it is from."""
        name = self._names.get(log.task_run_id)
        message = f"{name}: {log.message}" if name else log.message
        return LogLine(f"{log.timestamp.astimezone():%H:%M:%S}", logging.getLevelName(log.level), message)

    def _progress(self) -> Progress | None:
        artifacts = self._artifacts(type=ArtifactFilterType(any_=["progress"]))
        if not artifacts or not isinstance(artifacts[0].data, int | float) or artifacts[0].data >= 100:
            return None
        return Progress(float(artifacts[0].data), artifacts[0].description or "")

    def _artifacts(self, *, key: ArtifactFilterKey | None = None, type: ArtifactFilterType | None = None) -> Sequence[Artifact]:
        which = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[self._run]), key=key, type=type)
        return self._client.read_artifacts(artifact_filter=which, sort=ArtifactSort.UPDATED_DESC)


def table_rows(data: object) -> list[dict[str, Any]]:
    """Rows of a table artifact, which Prefect keeps as JSON: a list of rows, or columns by name.

    Examples
    --------
    >>> table_rows('[{"method": "JTM", "recall": 0.2}]')
    [{'method': 'JTM', 'recall': 0.2}]
    """
    content = json.loads(data) if isinstance(data, str) else data
    if isinstance(content, dict):
        return [dict(zip(content, row, strict=True)) for row in zip(*content.values(), strict=True)]
    return [dict(row) for row in content] if isinstance(content, list) else []


def links_in(markdown: str) -> list[str]:
    """Addresses of a Markdown text's links.

    Examples
    --------
    >>> links_in("[run](http://127.0.0.1:5000/#/experiments/1) and (none)")
    ['http://127.0.0.1:5000/#/experiments/1']
    """
    return re.findall(r"\]\((https?://[^)\s]+)\)", markdown)

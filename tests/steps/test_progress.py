"""Progress of a step: what it says, how often, and that a server which fails costs the artifact alone."""

import uuid
from itertools import count

import pytest

from tasks import progress
from tasks.progress import Progress

Shown = list[tuple[float, str]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds on the clock, in a list of one."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What the server is told: percent and description."""
    told: Shown = []

    def update(artifact: uuid.UUID, percent: float, description: str) -> None:
        told.append((percent, description))

    def create(percent: float, key: str, description: str) -> uuid.UUID:
        told.append((percent, description))
        return uuid.uuid4()

    monkeypatch.setenv("JTM_PROGRESS_SECONDS", "5")
    monkeypatch.setattr(progress.TaskRunContext, "get", object)
    monkeypatch.setattr(progress, "create_progress_artifact", create)
    monkeypatch.setattr(progress, "update_progress_artifact", update)
    return told


def test_rate_and_time_left_are_of_this_process(clock: list[float], shown: Shown) -> None:
    with Progress("train-model", "epochs") as steps:
        clock[0] += 10
        steps.show(4, 14)  # a resumed step: four were done before, how fast is not known yet
        clock[0] += 120
        steps.show(6, 14, "loss 9.5")
        clock[0] += 1
        steps.show(7, 14)  # too soon to be shown
    assert shown[1:] == [
        (100 * 4 / 14, "train-model: 4 of 14 epochs"),
        (100 * 6 / 14, "train-model: 6 of 14 epochs · 1.0 per minute · 8 min 00 s left · loss 9.5"),
        (100.0, "train-model: done in 2 min 01 s"),
    ]


def test_a_server_that_fails_costs_the_artifact_alone(
    clock: list[float], shown: Shown, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = count()

    def fail(*_: object, **__: object) -> None:
        next(calls)
        raise ConnectionError("no server")

    with Progress("train-model", "samples") as steps:
        monkeypatch.setattr(progress, "update_progress_artifact", fail)
        for done in range(1, 5):
            clock[0] += 10
            steps.show(done, 10)
    assert next(calls) == 1
    assert caplog.messages == ["progress of train-model is no longer shown in Prefect: no server"]

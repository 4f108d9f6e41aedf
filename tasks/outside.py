"""Tasks that touch the outside (a download, the MLflow server): tried again, where trying again may help.

Compute is never retried: it is deterministic, so a second attempt would fail the same way.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

from tasks.store import BrokenArtefactError

P = ParamSpec("P")
R = TypeVar("R")

RETRY_SECONDS = (2.0, 10.0, 30.0)
_OURS = (FileNotFoundError, ValueError, TypeError, KeyError, BrokenArtefactError)
"""Errors that stay whatever the outside does."""


def outside_task(run_name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a Prefect task that is retried after 2, 10 and 30 seconds (decorator).

    Parameters
    ----------
    run_name : str
        Template of the task run's name.
    """

    def make(function: Callable[P, R]) -> Task[P, R]:
        settings = task(
            name=function.__name__.replace("_", "-"),
            task_run_name=run_name,
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=len(RETRY_SECONDS),
            retry_delay_seconds=list(RETRY_SECONDS),
            retry_condition_fn=may_pass,
        )
        return settings(function)

    return make


def may_pass(task: Any, task_run: Any, state: Any) -> bool:
    """Whether a failure may go away by itself (Prefect's retry condition)."""
    return not isinstance(state.result(raise_on_failure=False), _OURS)

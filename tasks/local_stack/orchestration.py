"""What the supervisor asks of the Prefect server, over its API."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed
from prefect.types import DateTime
from prefect.workers.process import ProcessWorker

WORK_POOL = "jtm"
_PAGE = 200


@contextmanager
def client_of(api: str) -> Iterator[SyncPrefectClient]:
    """Open a client of the server at ``api``, whatever the environment says."""
    with SyncPrefectClient(api=api) as client:
        yield client


def make_work_pool(client: SyncPrefectClient) -> None:
    """Create the work pool for processes on this machine, unless it is there."""
    try:
        client.read_work_pool(WORK_POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type=ProcessWorker.type, base_job_template=template))


def has_worker(client: SyncPrefectClient) -> bool:
    """Whether a worker polls the pool now."""
    recently = datetime.now(UTC) - timedelta(seconds=30)
    workers = client.read_workers_for_work_pool(WORK_POOL)
    return any(worker.last_heartbeat_time is not None and worker.last_heartbeat_time > recently for worker in workers)


def close_abandoned_runs(client: SyncPrefectClient) -> int:
    """Close what the last stack left behind, before a worker starts; return how many runs that were.

    Runs that look alive cannot be (the caller holds the stack's lock): they crashed. Scheduled runs whose time passed
    while nothing was up are cancelled: a missed retraining should not start in the middle of something else.
    """
    alive = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    crashed = _runs(client, FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=alive))))
    missed_filter = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=DateTime.now(UTC)),
    )
    missed = [run for run in _runs(client, missed_filter) if run.auto_scheduled]
    for run in crashed:
        _close(client, run, Crashed(message="The stack it ran on was stopped."))
    for run in missed:
        _close(client, run, Cancelled(message="Its time passed while the stack was down."))
    return len(crashed) + len(missed)


def start_run(client: SyncPrefectClient, deployment: str, parameters: Mapping[str, Any]) -> UUID:
    """Trigger a deployment, named ``flow/deployment``, and return the flow run's id."""
    found = client.read_deployment_by_name(deployment)
    return client.create_flow_run_from_deployment(found.id, parameters=dict(parameters)).id


def deployment_names(client: SyncPrefectClient) -> list[str]:
    """List the names of all deployments, without their flows'."""
    return sorted(deployment.name for deployment in client.read_deployments())


def scheduled_runs(client: SyncPrefectClient, deployment: str) -> list[FlowRun]:
    """List the runs a deployment's schedule has created and that are still to come."""
    found = client.read_deployment_by_name(deployment)
    scheduled = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])))
    return [run for run in _runs(client, scheduled) if run.deployment_id == found.id and run.auto_scheduled]


def _runs(client: SyncPrefectClient, which: FlowRunFilter) -> list[FlowRun]:
    """Read all pages of a query."""
    found: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=which, limit=_PAGE, offset=len(found)):
        found.extend(page)
    return found


def _close(client: SyncPrefectClient, run: FlowRun, state: State[Any]) -> None:
    client.set_flow_run_state(run.id, state, force=True)

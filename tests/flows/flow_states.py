"""What a finished flow run left in Prefect."""

from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowRunFilter, FlowRunFilterId
from prefect.states import State


def artifacts_of(state: State[Any]) -> dict[str, Any]:
    """Latest artifact of every key that a flow run left."""
    run = ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id])
    with get_client(sync_client=True) as client:
        return {artifact.key: artifact for artifact in client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=run))}


def task_runs_of(state: State[Any]) -> dict[str, str]:
    """Name of every task run of a flow run -> name of its final state."""
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id])))
    return {run.name: run.state_name for run in runs}

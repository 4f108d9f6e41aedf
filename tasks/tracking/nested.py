"""Nested runs, found by what they are, never by their title."""

from collections.abc import Mapping

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from tasks.tracking import tags as names

INHERITED = (names.DATA_NAME, names.DATA_DIGEST, names.FLOW_RUN_ID, names.FLOW_RUN_URL, names.CODE_FINGERPRINT)
"""Tags a nested run takes over from its parent when it is created."""


def nested_run(client: MlflowClient, parent: Run, identity: Mapping[str, str], name: str) -> Run:
    """Find the run under ``parent`` with the tags of ``identity``, or create it.

    Parameters
    ----------
    client : MlflowClient
    parent : Run
    identity : mapping of str to str
        Tags that no other nested run of this parent has together.
    name : str
        Run name in the UI, if it is created.

    Returns
    -------
    Run
        In whatever state an earlier call left it.
    """
    own_tags = {names.PARENT_RUN: parent.info.run_id, **identity}
    experiment_id = parent.info.experiment_id
    found = client.search_runs([experiment_id], names.tag_filter(own_tags), max_results=1, order_by=["attributes.start_time ASC"])
    if found:
        return found[0]
    inherited = {tag: parent.data.tags[tag] for tag in INHERITED if tag in parent.data.tags}
    return client.create_run(experiment_id, tags={**inherited, **own_tags}, run_name=name)

"""Make room: what runs and retrainings leave behind is kept for ever otherwise."""

from typing import Annotated

from annotated_types import Ge
from prefect import flow

from jtm_core.config import PositiveInt
from tasks import prune_store as pruning


@flow(name="prune-store", flow_run_name="prune-store")
def prune_store(keep_days: PositiveInt = 30, keep_versions: Annotated[int, Ge(0)] = 10, may_delete: bool = False) -> None:
    """Delete what no released or recent version and no recent run needs; MLflow is left as it is.

    Args:
        keep_days: What was made or used within so many days stays; more than the longest run takes.
        keep_versions: So many of the last versions of each data set stay whatever their age, a version being what an iteration leaves,
            accepted or refused. Of what comparisons fitted none stays for that. What is released always stays.
        may_delete: Off, the run only tells what would go.
    """
    pruning.prune_store(keep_days, keep_versions, may_delete=may_delete)

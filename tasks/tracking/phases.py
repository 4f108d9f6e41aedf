"""Time, memory and throughput of the phases of an experiment."""

from collections.abc import Mapping

from tasks.tracking.batches import log_missing_metrics, metrics_at_step
from tasks.tracking.client import tracking_client


def log_phase_metrics(run_id: str, metrics: Mapping[str, float], iteration: int) -> None:
    """Log what phases cost; points that a run has already are left as they are.

    Parameters
    ----------
    run_id : str
        An experiment's or an iteration's run.
    metrics : mapping of str to float
        ``phase/<step>/seconds`` and so on.
    iteration : int
        Step of the points.
    """
    client = tracking_client()
    run = client.get_run(run_id)
    log_missing_metrics(client, run, metrics_at_step(metrics, iteration, run.info.start_time))

"""Ask a version for what its users did after it was made, by a newer log."""

from prefect import flow

from jtm_core.config import EvaluationConfig, JtmConfig, PositiveInt
from tasks import backtest as asking
from tasks.check_data import check_log
from tasks.fetch_log import fetch_log
from tasks.ingest_log import ingest_log
from tasks.open_request import open_backtest
from tasks.pass_gate import pass_gate
from tasks.track_run import tracked_backtest


@flow(name="backtest-version", flow_run_name="backtest-{data_name}")
def backtest_version(
    data_name: str,
    log: str,
    version: str = "",
    since: int | None = None,
    evaluation: EvaluationConfig | None = None,
    num_users: PositiveInt = 10_000,
) -> None:
    """Measure what is released by what users did since: behaviours up to the end of its own log are known, later ones asked for.

    Args:
        data_name: The data.name of the runs.
        log: A newer log, file, folder or pattern, that holds what came before and after the end of the version's own. Checks apply.
        version: Name of another version than what is released.
        since: Time up to which behaviours are known, not before the end of the version's own log; empty: that end.
        evaluation: Cut-offs, beam widths, truth and filter; empty: those that the version was judged by.
        num_users: Users who judge, at most; drawn by the version's seed.
    """
    served, request = open_backtest(data_name, version, log, since, evaluation, num_users)
    config = JtmConfig(data=request.data)
    source = fetch_log(config)
    with tracked_backtest(request, source) as run:
        ingested = ingest_log(source, config)
        pass_gate(run, check_log(ingested, config, None))
        asking.report_backtest(run, request, asking.backtest(served, ingested.log, request))

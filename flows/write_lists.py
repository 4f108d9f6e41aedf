"""Recommend to everybody at once: lists for every user of a log, written to a file."""

from prefect import flow

from jtm_core.config import DataConfig, JtmConfig, PositiveInt
from tasks.check_data import check_log
from tasks.deliver_lists import deliver_lists, open_served
from tasks.fetch_log import fetch_log
from tasks.ingest_log import ingest_log
from tasks.list_users import list_users
from tasks.look_back import look_back
from tasks.pass_gate import pass_gate
from tasks.references import WantedLists
from tasks.track_run import tracked_lists


@flow(name="write-lists", flow_run_name="write-lists-{data.name}")
def write_lists(
    data: DataConfig,
    path: str,
    count: PositiveInt = 100,
    version: str = "",
    without_seen: bool | None = None,
    beam_width: PositiveInt | None = None,
) -> None:
    """Write the best items for every user of a log that passes the checks, by what is released of its data set.

    Args:
        data: The log that histories are read from, as training reads it: the one a version was trained on, or a newer one. Its minima of
            behaviours and occurrences do not count.
        path: Absolute path of the Parquet file to write, one row a user; an earlier one stays until all is written.
        count: Items a list.
        version: Name of another version than what is released.
        without_seen: Leave out items of the history; if not given, as the version was judged (evaluation.filter_seen).
        beam_width: Nodes kept per level, at least count; if not given that of the version's run.
    """
    config = JtmConfig(data=data)
    wanted = WantedLists(count=count, without_seen=without_seen, beam_width=beam_width)
    served = open_served(data.name, version, wanted, path)
    source = fetch_log(config)
    with tracked_lists(config, source, served) as run:
        ingested = ingest_log(source, config)
        pass_gate(run, check_log(ingested, config, look_back(ingested, config)))
        deliver_lists(list_users(served, ingested, config, wanted), path)

"""Recommend to everybody at once: lists for every user of a log, written to a file."""

from prefect import flow

from jtm_core.config import JtmConfig
from jtm_core.lists_config import ListsConfig
from tasks import write_lists as listing
from tasks.check_data import check_log
from tasks.fetch_log import fetch_log
from tasks.ingest_log import ingest_log
from tasks.open_request import log_of, open_request
from tasks.pass_gate import pass_gate
from tasks.track_run import tracked_lists

DEFAULT = ListsConfig()


@flow(name="write-lists", flow_run_name="write-lists-{data_name}")
def write_lists(data_name: str, path: str, log: str = "", version: str = "", lists: ListsConfig = DEFAULT) -> None:
    """Write the best items for every user of a log, by what is released of its data set.

    Args:
        data_name: The data.name of the runs.
        path: Absolute path of the Parquet file to write, one row a user; an earlier one stays until all is written.
        log: A newer log, file, folder or pattern, that histories are read from as the version's own was; empty: that one. Checks apply.
        version: Name of another version than what is released.
        lists: How long the lists are, and how they are found.
    """
    served, request = open_request(data_name, version, lists, path, log)
    config = JtmConfig(data=request.data)
    source = fetch_log(config) if log else log_of(served)
    with tracked_lists(request, source) as run:
        histories = served.data.log
        if log:
            ingested = ingest_log(source, config)
            pass_gate(run, check_log(ingested, config, None))
            histories = ingested.log
        listing.report_lists(run, request, listing.write_lists(served, histories, request))

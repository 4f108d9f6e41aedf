"""Lists for every user of a log, however few behaviours the user has: what is served where nothing is asked online."""

from dataclasses import replace
from typing import TYPE_CHECKING

from jtm_core.config import JtmConfig
from tasks.artefacts import read_vocabulary, save_user_lists
from tasks.caching import step, step_logger
from tasks.costs import count_work
from tasks.progress import Progress, artifact_key
from tasks.references import IngestedLog, UserListsRef, VersionRef, WantedLists
from tasks.retrievers import read_retriever
from tasks.store import open_store
from tasks.versions import recorded_config, require_known_items

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jtm_core.formats.list_files import Block
    from jtm_core.formats.prepared_logs import Prepared


@step(run_name="list-users-{version.version}", uses=("data",))
def list_users(version: VersionRef, ingested: IngestedLog, config: JtmConfig, wanted: WantedLists) -> UserListsRef:
    """List the best items of every user of a log.

    Parameters
    ----------
    version : VersionRef
    ingested : IngestedLog
        Where histories are read from.
    config : JtmConfig
        Of it ``data`` counts, without its minima of users and items.
    wanted : WantedLists

    Returns
    -------
    UserListsRef
        See :func:`jtm_core.formats.list_files.write_user_lists`.

    Raises
    ------
    ValueError
        If the version knows none of the log's items.
    """
    from jtm_core.user_lists import user_lists

    store, prepared = open_store(), _histories(ingested, version, config)
    retriever, items_by_popularity = read_retriever(version, wanted.beam_width)
    leaves_out = recorded_config(version).evaluation.filter_seen if wanted.without_seen is None else wanted.without_seen
    total, num_strangers = prepared.behaviours.num_users, 0

    def blocks(progress: Progress) -> "Iterator[Block]":
        nonlocal num_strangers
        for found in user_lists(retriever, prepared.behaviours, items_by_popularity, wanted.count, without_seen=leaves_out):
            num_strangers += int((~found.is_personal).sum())
            progress.show(int(found.users[-1]) + 1, total)
            yield found.users, found.items, found.logits, found.is_personal

    items = read_vocabulary(store, version.data.items).keys
    notes = {"jtm.version": version.version, "jtm.data_name": version.data.name, "jtm.log": ingested.log.sha256}
    with Progress(artifact_key("list-users", version.version), "users") as progress:
        lists = save_user_lists(store, blocks(progress), prepared.users.keys, items, notes)
    count_work("users", total)
    step_logger().info(
        "lists of %d items for %d users by version %s; %d of them did nothing that it knows and got the most popular items",
        wanted.count,
        total,
        version.version,
        num_strangers,
    )
    return lists


def _histories(ingested: IngestedLog, version: VersionRef, config: JtmConfig) -> "Prepared":
    """All behaviours of the log's users, the version's items by its own ids."""
    from jtm_core.formats.prepared_logs import prepare

    store = open_store()
    everybody = replace(config.data, minimum_user_behaviours=1, minimum_item_occurrences=1)
    prepared = prepare(store.path(ingested.log), everybody, read_vocabulary(store, version.data.items))
    require_known_items(version, prepared.behaviours)
    return prepared

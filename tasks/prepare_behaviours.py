"""From the canonical log to histories over dense ids, and a split of the users."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from jtm_core.config import JtmConfig
from tasks.artefacts import read_vocabulary, save_behaviours, save_report, save_split, save_vocabulary
from tasks.caching import step, step_logger
from tasks.costs import count_work
from tasks.references import DataReferences, IngestedLog, VersionRef
from tasks.store import Store, open_store

if TYPE_CHECKING:
    from jtm_core.behaviours import Behaviours, Split
    from jtm_core.formats.prepared_logs import Prepared


@step(run_name="prepare-behaviours-{config.data.name}", uses=("data", "split", "seed"))
def prepare_behaviours(ingested: IngestedLog, config: JtmConfig, parent: VersionRef | None) -> DataReferences:
    """Filter, give dense ids, order in time and split.

    Parameters
    ----------
    ingested : IngestedLog
    config : JtmConfig
    parent : VersionRef or None
        A version to go on from: its users and items keep their ids, and none of its teachers becomes a judge.

    Raises
    ------
    ValueError
        If too little is left, with the counts of every filter, or none of the parent's items.
    """
    from jtm_core.formats.arrays import read_split
    from jtm_core.splitting import split_users

    store = open_store()
    prepared = _prepare(store, ingested, config, parent)
    if parent:
        _require_known_items(prepared.behaviours, parent)
        _warn_of_strangers(prepared.behaviours, parent)
    count_work("rows", ingested.num_rows)
    earlier = read_split(store.path(parent.data.split)) if parent else None
    split = split_users(prepared.behaviours, config.split, config.seed, earlier)
    filters = [asdict(count) for count in prepared.filters]
    for count in prepared.filters:
        step_logger().info("%s", count)
    num_judges = {"validation": len(split.validation), "test": len(split.test)}
    if earlier:
        _warn_of_few_judges(split, split_users(prepared.behaviours, config.split, config.seed))
    return DataReferences(
        name=config.data.name,
        log=ingested.log,
        num_log_rows=ingested.num_rows,
        behaviours=save_behaviours(store, prepared.behaviours, prepared.categories),
        split=save_split(store, split),
        items=save_vocabulary(store, prepared.items, "item"),
        users=save_vocabulary(store, prepared.users, "user"),
        counts=save_report(store, "counts", {"filters": filters, "judges": num_judges}),
        num_users=prepared.behaviours.num_users,
        num_items=prepared.behaviours.num_items,
        num_behaviours=len(prepared.behaviours.items),
        latest_time=int(prepared.behaviours.times.max()),
    )


def _require_known_items(behaviours: "Behaviours", parent: VersionRef) -> None:
    """Refuse a log of which the parent knows nothing: its tree and its weights would say nothing about any of the items."""
    if behaviours.items.min() >= parent.data.num_items:
        raise ValueError(
            f"none of the log's {behaviours.num_items - parent.data.num_items} items is among the {parent.data.num_items} of version "
            f"{parent.version} to start from: are ids written as before? If this is another log, give it a data.name of its own"
        )


def _warn_of_strangers(behaviours: "Behaviours", parent: VersionRef) -> None:
    """Say so where none of the log's users is known: sessions are like that, ids written otherwise too, and then the known may judge."""
    if not behaviours.offsets[parent.data.num_users]:
        step_logger().warning(
            "none of the log's %d users is among the %d of version %s to start from; if ids are written otherwise than before, "
            "users who taught that version may judge it now, and recall is too good",
            behaviours.num_users - parent.data.num_users,
            parent.data.num_users,
            parent.version,
        )


def _warn_of_few_judges(split: "Split", unhindered: "Split") -> None:
    """Say so where users who taught the version to go on from leave fewer to judge by than there would be."""
    for role, drawn, wanted in (("validate", split.validation, unhindered.validation), ("test", split.test, unhindered.test)):
        if len(drawn) < len(wanted):
            step_logger().warning(
                "%d users %s where %d would, as the others taught the version to start from; recall is that much less certain",
                len(drawn),
                role,
                len(wanted),
            )


def _prepare(store: Store, ingested: IngestedLog, config: JtmConfig, parent: VersionRef | None) -> "Prepared":
    from jtm_core.formats.prepared_logs import prepare

    known_items = read_vocabulary(store, parent.data.items) if parent else None
    known_users = read_vocabulary(store, parent.data.users) if parent else None
    return prepare(store.path(ingested.log), config.data, known_items, known_users)

"""A log that a version was not made from, read as the version's own was: its items by the version's ids."""

from dataclasses import replace
from typing import TYPE_CHECKING

from jtm_core.config import DataConfig
from tasks.artefacts import read_vocabulary
from tasks.caching import step_logger
from tasks.references import LogRef, VersionRef
from tasks.store import open_store

if TYPE_CHECKING:
    from jtm_core.behaviours import Behaviours
    from jtm_core.formats.prepared_logs import Prepared

_LEAST_KNOWN, _USUALLY_KNOWN = 0.1, 0.5
"""Shares of a log's behaviours that are of known items: of fewer nothing is made, of fewer people are warned."""


def histories_by(served: VersionRef, log: LogRef, data: DataConfig) -> "Prepared":
    """All behaviours of the log's users, however few, the version's items by its own ids and others behind them."""
    from jtm_core.formats.prepared_logs import prepare
    from jtm_core.formats.vocabularies import Vocabulary

    store = open_store()
    everybody = replace(data, minimum_user_behaviours=1, minimum_item_occurrences=1)
    items = Vocabulary(read_vocabulary(store, served.data.items).keys)  # categories are not asked for, and may be of another kind by now
    return prepare(store.path(log), everybody, items)


def known_share_of(behaviours: "Behaviours", served: VersionRef) -> float:
    """Share of the behaviours that are of items which the version knows.

    Raises
    ------
    ValueError
        If it is next to none.
    """
    share = float((behaviours.items < served.data.num_items).mean())
    found = f"{share:.1%} of the log's {len(behaviours.items):,} behaviours are of items that version {served.version} knows"
    if share < _LEAST_KNOWN:
        raise ValueError(
            f"{found}; it must be {_LEAST_KNOWN:.0%} at least: are ids written as before, and is this a log of {served.data.name}?"
        )
    if share < _USUALLY_KNOWN:
        step_logger().warning("%s; of the others nothing can be told, is it time to retrain?", found)
    return share

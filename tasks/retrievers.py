"""A recorded version as a retriever over dense ids, for a service and for lists of all users alike."""

from typing import TYPE_CHECKING

from tasks.artefacts import read_data, read_network, read_tree
from tasks.references import VersionRef
from tasks.store import open_store
from tasks.versions import recorded_config

if TYPE_CHECKING:
    from jtm_core.behaviours import Ints
    from jtm_core.serving import Retriever


def read_retriever(version: VersionRef, beam_width: int | None = None) -> "tuple[Retriever, Ints]":
    """Load a version's tree and network.

    Parameters
    ----------
    version : VersionRef
    beam_width : int, optional
        That of the version's run if None.

    Returns
    -------
    retriever : Retriever
    items_by_popularity : int64 array (num_items,)
        In the histories it was trained on, most popular first.

    Raises
    ------
    BrokenArtefactError
        If a part of it is missing or has other bytes.
    ValueError
        If the beam is narrower than 1.
    """
    from jtm_core.serving import Retriever

    store, config = open_store(), recorded_config(version)
    width = config.evaluation.beam_width if beam_width is None else beam_width
    retriever = Retriever(read_network(store, version.model), read_tree(store, version.tree), width, config.first_level)
    return retriever, read_popularity(version)


def read_popularity(version: VersionRef) -> "Ints":
    """Dense ids of a version's items, most popular first in the histories it was trained on: int64 (num_items,)."""
    from jtm_core.baselines.popularity import Popularity
    from jtm_core.behaviours import training_histories

    behaviours, split = read_data(open_store(), version.data)
    return Popularity.fit(training_histories(behaviours, split), behaviours.num_items).items_by_popularity

"""Open a recorded version for serving, in a process that knows neither Prefect nor MLflow; see README, "Serving"."""

from typing import TYPE_CHECKING

from tasks.artefacts import read_data, read_network, read_tree, read_vocabulary
from tasks.store import open_store
from tasks.versions import UnknownVersionError, find_version, recorded_config, released

if TYPE_CHECKING:
    from jtm_core.keyed_serving import KeyedRetriever


def open_retriever(data_name: str, version: str = "", beam_width: int | None = None) -> "KeyedRetriever":
    """Load a version from ``JTM_HOME``: tree, network, own ids of its items and how popular they were.

    Parameters
    ----------
    data_name : str
        ``data.name`` of the runs; what is released of it is loaded, as :func:`tasks.versions.released` has it.
    version : str
        Name of another version of this data set.
    beam_width : int, optional
        Nodes kept per level, also the most items a call may ask for; ``evaluation.beam_width`` of the run if None. Wider beams lose less
        and take longer.

    Raises
    ------
    UnknownVersionError
        If nothing is released, or no such version of this data set is recorded.
    BrokenArtefactError
        If a part of it is missing or has other bytes.
    ValueError
        If the beam is narrower than 1.
    """
    from jtm_core.baselines.popularity import Popularity
    from jtm_core.behaviours import training_histories
    from jtm_core.keyed_serving import KeyedRetriever
    from jtm_core.serving import Retriever

    found = find_version(version) if version else released(data_name)
    if found is None:
        raise UnknownVersionError(f"no run on {data_name!r} has finished in this JTM_HOME, so nothing of it is released")
    if found.data.name != data_name:
        raise UnknownVersionError(f"version {version!r} is of the data set {found.data.name!r}, not of {data_name!r}")
    store = open_store()
    config = recorded_config(found)
    tree = read_tree(store, found.tree)
    behaviours, split = read_data(store, found.data)
    popularity = Popularity.fit(training_histories(behaviours, split), tree.num_items)
    width = config.evaluation.beam_width if beam_width is None else beam_width
    retriever = Retriever(read_network(store, found.model), tree, width, config.first_level)
    return KeyedRetriever(retriever, read_vocabulary(store, found.data.items).keys.to_pylist(), popularity.items_by_popularity)

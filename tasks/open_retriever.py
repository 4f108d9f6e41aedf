"""Open a recorded version for serving, in a process that knows neither Prefect nor MLflow; see docs/serving.md."""

from typing import TYPE_CHECKING

from tasks.artefacts import read_vocabulary
from tasks.retrievers import read_retriever
from tasks.store import open_store
from tasks.versions import find_served

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
    from jtm_core.keyed_serving import KeyedRetriever

    found = find_served(data_name, version)
    retriever, items_by_popularity = read_retriever(found, beam_width)
    return KeyedRetriever(retriever, read_vocabulary(open_store(), found.data.items).keys.to_pylist(), items_by_popularity)

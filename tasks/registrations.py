"""Versions as MLflow serves them: which registered model is a data set's, and what of a version goes into it."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from jtm_core.lists_config import ListsConfig
from tasks.artefacts import read_vocabulary
from tasks.references import VersionRef
from tasks.retrievers import read_retriever
from tasks.store import open_store
from tasks.versions import data_slug, recorded_config, released


@dataclass(frozen=True, slots=True)
class Registration:
    """A version in MLflow's registry."""

    name: str
    """Registered model."""
    number: str
    """The version's number in it."""
    page: str
    """Where MLflow shows it."""
    is_released: bool
    """Whether the alias ``released`` means it."""


def model_name(data_name: str) -> str:
    """Registered model of a data set.

    Examples
    --------
    >>> model_name("ml-100k")
    'jtm-ml-100k'
    """
    return f"jtm-{data_slug(data_name)}"


def registered_lists(data_name: str) -> ListsConfig | None:
    """How a data set's registered model makes lists; None if it has none, so nobody asked for one."""
    from tasks.tracking import releases
    from tasks.tracking import tags as names

    tags = releases.model_tags(model_name(data_name))
    if tags is None or names.SERVED_COUNT not in tags:
        return None
    seen, width = tags[names.SERVED_WITHOUT_SEEN], tags[names.SERVED_BEAM_WIDTH]
    return ListsConfig(
        count=int(tags[names.SERVED_COUNT]),
        without_seen=seen == "true" if seen else None,
        beam_width=int(width) if width else None,
    )


def register(version: VersionRef, lists: ListsConfig) -> Registration:
    """Have MLflow serve a version; one that is registered with the same lists keeps its number.

    Parameters
    ----------
    version : VersionRef
        The alias ``released`` means it afterwards, if it is what is released of its data set.
    lists : ListsConfig
        Of calls that do not say; versions that are released later are registered with the same.

    Raises
    ------
    BrokenArtefactError
        If a part of the version is missing or has other bytes.
    ValueError
        If the beam is too narrow for so many items, or MLflow has no run of the version.
    """
    from tasks.tracking import registered_models
    from tasks.tracking import tags as names

    name = model_name(version.data.name)
    asked = lists.resolved(recorded_config(version).evaluation)
    own = {names.VERSION: version.version, **_tags_of(asked)}
    number = registered_models.find_number(name, own) or _log(version, name, asked, own)
    registered_models.describe_model(
        name, f"What JTM recommends by on {version.data.name}.", {names.DATA_NAME: version.data.name, **_tags_of(lists)}
    )
    now = released(version.data.name)
    is_released = now is not None and now.version == version.version
    if is_released:
        registered_models.point_released(name, number)
    return Registration(name, number, registered_models.model_page(name, number), is_released)


def _log(version: VersionRef, name: str, asked: ListsConfig, tags: dict[str, str]) -> str:
    """Put what serving needs of a version into a folder and log that as a model of the version's run."""
    from jtm_core.formats.served_folders import ServedSettings, write_served
    from tasks.tracking import registered_models
    from tasks.tracking.releases import runs_of

    runs, store = runs_of(version.version), open_store()
    if not runs:
        raise ValueError(f"MLflow has no run of version {version.version}; was it deleted, or is this another server?")
    retriever, items_by_popularity = read_retriever(version, asked.beam_width)
    assert asked.without_seen is not None  # nothing is left empty
    settings = ServedSettings(
        version=version.version,
        data_name=version.data.name,
        beam_width=retriever.beam_width,
        first_level=recorded_config(version).first_level,
        count=asked.count,
        without_seen=asked.without_seen,
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "version")
        files = store.path(version.tree), store.path(version.model), store.path(version.data.items)
        write_served(folder, files, items_by_popularity, settings)
        key = read_vocabulary(store, version.data.items).keys[int(items_by_popularity[0])].as_py()
        interface = registered_models.interface_of(key, settings.count, settings.without_seen)
        return registered_models.log_model(runs[0], name, folder, interface, tags)


def _tags_of(lists: ListsConfig) -> dict[str, str]:
    from tasks.tracking import tags as names

    seen, width = lists.without_seen, lists.beam_width
    return {
        names.SERVED_COUNT: str(lists.count),
        names.SERVED_WITHOUT_SEEN: "" if seen is None else str(seen).lower(),
        names.SERVED_BEAM_WIDTH: "" if width is None else str(width),
    }

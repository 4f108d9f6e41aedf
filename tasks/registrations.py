"""Versions as MLflow serves them: which registered model is a data set's, and what of a version goes into it."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from jtm_core.lists_config import ListsConfig
from tasks.artefacts import read_vocabulary
from tasks.references import VersionRef
from tasks.retrievers import read_popularity
from tasks.store import canonical_json, open_store
from tasks.versions import as_json, data_slug, from_json, recorded_config, released


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

    asked = (releases.model_tags(model_name(data_name)) or {}).get(names.LISTS)
    return from_json(ListsConfig, json.loads(asked)) if asked else None


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
    own = {names.VERSION: version.version, names.LISTS: canonical_json(as_json(asked))}
    number = registered_models.find_number(name, own) or _log(version, name, asked, own)
    registered_models.tag_model(name, {names.DATA_NAME: version.data.name, names.LISTS: canonical_json(as_json(lists))})
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
    assert asked.without_seen is not None  # nothing is left empty
    assert asked.beam_width is not None
    settings = ServedSettings(
        version=version.version,
        data_name=version.data.name,
        beam_width=asked.beam_width,
        first_level=recorded_config(version).first_level,
        count=asked.count,
        without_seen=asked.without_seen,
    )
    items_by_popularity = read_popularity(version)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "version")
        files = store.path(version.tree), store.path(version.model), store.path(version.data.items)
        write_served(folder, files, items_by_popularity, settings)
        key = read_vocabulary(store, version.data.items).keys[int(items_by_popularity[0])].as_py()
        interface = registered_models.interface_of(key, settings.count, settings.without_seen)
        return registered_models.log_model(runs[0], name, folder, interface, tags)

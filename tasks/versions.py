"""Which versions there are: a small pointer file for each, beside the store.

``$JTM_HOME/versions/<data name>/<version>.json`` holds the reference and when it was first recorded. Everything else
about a version is in its manifest, which is in the store. So the record survives a new Prefect or MLflow database.
``$JTM_HOME/released/<data name>.json`` is the version of a data set that is released.
"""

import json
import re
import time
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from jtm_core.config import JtmConfig
from tasks.references import ArtefactRef, VersionRef
from tasks.settings import jtm_home
from tasks.store import canonical_json, digest_of_text, open_store, write_text_durably

R = TypeVar("R")


class UnknownVersionError(ValueError):
    """No version of that name was recorded in this ``JTM_HOME``."""


def as_json(record: object) -> Any:
    """Plain values of a record of references."""
    return TypeAdapter(type(record)).dump_python(record, mode="json")


def from_json(kind: type[R], value: Any) -> R:
    """A record of references from its plain values."""
    return TypeAdapter(kind).validate_python(value)


def data_slug(data_name: str) -> str:
    """Folder-safe form of a data set's name, another one for every name: what had to be changed is marked with the name's digest.

    Examples
    --------
    >>> data_slug("ml-100k"), data_slug("Amazon Beauty/5-core")
    ('ml-100k', 'amazon-beauty-5-core-7fbc9f')
    """
    slug = re.sub(r"[^a-z0-9.]+", "-", data_name.lower()).strip("-.") or "data"
    return slug if slug == data_name else f"{slug}-{digest_of_text(data_name)[:6]}"


def add_version(version: VersionRef) -> None:
    """Make a version findable; a version that is recorded again keeps its first time."""
    path = version_path(version)
    if not path.is_file():
        pointer = {"recorded_at": time.time(), "version": as_json(version)}
        write_text_durably(path, canonical_json(pointer, indent=1) + "\n")


def recorded_at(version: VersionRef) -> float:
    """When a version was first recorded, in seconds since 1970; 0 if its record was taken away."""
    path = version_path(version)
    return float(json.loads(path.read_text(encoding="utf-8"))["recorded_at"]) if path.is_file() else 0.0


def version_path(version: VersionRef) -> Path:
    """Where a version's pointer lies, if it is recorded; without it nobody finds the version."""
    return _root() / data_slug(version.data.name) / f"{version.version}.json"


def all_versions() -> list[list[VersionRef]]:
    """The recorded versions of each data set, in the order they were recorded."""
    return [_versions_in(folder) for folder in sorted(_root().glob("*"))]


def find_version(name: str) -> VersionRef:
    """The version of that name.

    Raises
    ------
    UnknownVersionError
        If there is none; the message lists the latest ones.
    """
    known = [version for versions in all_versions() for version in versions]
    for version in known:
        if version.version == name:
            return version
    latest = ", ".join(version.version for version in known[-5:]) or "none yet"
    raise UnknownVersionError(f"version {name!r} is not recorded under {_root()}; recorded are: {latest}")


def find_served(data_name: str, version: str = "") -> VersionRef:
    """The version of a data set to recommend by: what is released, or the one of that name.

    Raises
    ------
    UnknownVersionError
        If nothing is released, or no such version of this data set is recorded.
    """
    found = find_version(version) if version else released(data_name)
    if found is None:
        raise UnknownVersionError(f"no run on {data_name!r} has finished in this JTM_HOME, so nothing of it is released")
    if found.data.name != data_name:
        raise UnknownVersionError(f"version {version!r} is of the data set {found.data.name!r}, not of {data_name!r}")
    return found


def require_whole(version: VersionRef, *references: ArtefactRef) -> None:
    """Make sure that what a version is to be used for is there, before anything is done with it.

    Raises
    ------
    BrokenArtefactError
        If its manifest or one of the artefacts is missing or has other bytes.
    """
    for reference in (version.manifest, *references):
        open_store().path(reference, f"version {version.version} cannot be used without it: take another version, or make it again")


def require_servable(version: VersionRef, *also: ArtefactRef) -> None:
    """Make sure of all that recommending by a version needs, and of what is named besides; see :func:`require_whole`."""
    data = version.data
    require_whole(version, version.tree, version.model, data.items, data.behaviours, data.split, *also)


def release(version: VersionRef) -> None:
    """Name the version that a finished run ended with: what the next retraining of this data set starts from."""
    write_text_durably(_release_path(version.data.name), canonical_json(as_json(version), indent=1) + "\n")


def released(data_name: str) -> VersionRef | None:
    """The version of a data set that is released, None if there is none; an unfinished run changes nothing here."""
    path = _release_path(data_name)
    return _release_at(path) if path.is_file() else None


def released_versions() -> list[VersionRef]:
    """What is released of each data set."""
    return [_release_at(path) for path in sorted(_releases().glob("*.json"))]


def recorded_config(version: VersionRef) -> JtmConfig:
    """The settings a version was made with; what older or newer code called otherwise is passed over, and has our defaults."""
    return from_json(JtmConfig, _known(as_json(JtmConfig()), open_store().read_json(version.manifest)["config"]))


def _known(ours: Any, recorded: Any) -> Any:
    is_of_fields = isinstance(ours, dict) and ours
    return {name: _known(ours[name], value) for name, value in recorded.items() if name in ours} if is_of_fields else recorded


def _versions_in(folder: Path) -> list[VersionRef]:
    """All versions of a data set, in the order they were recorded."""
    pointers = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    pointers.sort(key=lambda pointer: (pointer["recorded_at"], pointer["version"]["iteration"]))
    return [from_json(VersionRef, pointer["version"]) for pointer in pointers]


def _root() -> Path:
    return jtm_home() / "versions"


def _releases() -> Path:
    return jtm_home() / "released"


def _release_path(data_name: str) -> Path:
    return _releases() / f"{data_slug(data_name)}.json"


def _release_at(path: Path) -> VersionRef:
    return from_json(VersionRef, json.loads(path.read_text(encoding="utf-8")))

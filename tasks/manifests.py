"""What every version's manifest says about where it comes from."""

from typing import Any

from jtm_core.config import JtmConfig
from tasks.fingerprints import key_part, library_versions, package_fingerprint
from tasks.references import DataReferences
from tasks.versions import as_json

_FORMAT = 1


def origin(data: DataReferences, config: JtmConfig) -> dict[str, Any]:
    """Data, settings and code of a version; the number of iterations is left out, so that a longer run finds the same versions again."""
    settings = {name: value for name, value in key_part(config).items() if name != "iterations"}
    code = {"jtm_core": package_fingerprint("jtm_core"), "libraries": library_versions()}
    return {"format": _FORMAT, "data": as_json(data), "config": settings, "code": code}

"""What a step's result depends on besides its inputs, as digests: settings, our source, the numeric libraries."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jtm_core.comparison_config import ComparisonConfig, TuningConfig
from jtm_core.config import JtmConfig
from tasks.references import BacktestRequest, ListsRequest
from tasks.store import canonical_json, digest_of_text

_NUMERIC_LIBRARIES = ("numpy", "scipy", "torch", "numba", "llvmlite", "pyarrow", "safetensors", "implicit", "faiss-cpu")


def key_part(value: Any) -> Any:
    """What of an argument enters a key: plain values as they are, records by their fields but labels.

    Raises
    ------
    TypeError
        For anything else: frames, arrays and open objects do not travel between steps.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field for field in dataclasses.fields(value) if field.metadata.get("in_key", True)]
        return {field.name: key_part(getattr(value, field.name)) for field in fields}
    if isinstance(value, tuple | list):
        return [key_part(entry) for entry in value]
    if isinstance(value, Mapping):
        return {str(name): key_part(entry) for name, entry in value.items()}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"a step cannot take a {type(value).__name__}; allowed are references, settings and plain values")


@functools.cache
def package_fingerprint(package: str) -> str:
    """sha256 over the source files of one of our rooms and the versions of the numeric libraries under it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"{package!r} is not a package that can be found; give one of the project's rooms")
    root = Path(next(iter(spec.submodule_search_locations)))
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    digest.update(canonical_json(library_versions()).encode())
    return digest.hexdigest()


def library_versions() -> dict[str, str]:
    """Versions of the libraries that results depend on."""
    return {name: version(name) for name in _NUMERIC_LIBRARIES}


def config_digest(config: JtmConfig | ComparisonConfig | TuningConfig | ListsRequest | BacktestRequest) -> str:
    """sha256 of a whole config, or of a request: which experiment this is."""
    return digest_of_text(canonical_json(key_part(config)))

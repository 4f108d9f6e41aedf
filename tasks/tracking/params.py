"""A nested config as MLflow params: one flat name per dial, so that two runs can be compared dial by dial."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MAXIMUM_NAME = 250
MAXIMUM_VALUE = 500  # MLflow stores 6000, but its comparison page becomes unreadable long before


def flatten_params(config: object, prefix: str = "", only_keyed: bool = False) -> dict[str, str]:
    """Flatten a config into ``{"training.epochs": "4", ...}``, names in the order of the fields.

    Parameters
    ----------
    config : dataclass instance or mapping
        Nested to any depth. Sequences become ``10, 50, 200``, None becomes ``none``, an empty text ``""``.
    prefix : str
        Put before every name, with a dot.
    only_keyed : bool
        Leave out fields that change nothing of what comes out (metadata ``in_key`` false), so that a run may go on with others.

    Returns
    -------
    dict of str to str
        Within MLflow's limits; a longer value is cut and marked with its sha256, so that different values stay different.

    Raises
    ------
    ValueError
        If a name is too long for MLflow.

    Examples
    --------
    >>> flatten_params({"training": {"epochs": 4}, "cutoffs": (10, 200), "path": None})
    {'training.epochs': '4', 'cutoffs': '10, 200', 'path': 'none'}
    """
    params = dict(_leaves(config, prefix, only_keyed))
    too_long = [name for name in params if len(name) > MAXIMUM_NAME]
    if too_long:
        raise ValueError(f"param name {too_long[0][:60]!r}... has {len(too_long[0])} characters; MLflow allows {MAXIMUM_NAME}")
    return {name: _shortened(value) for name, value in params.items()}


def _leaves(value: object, name: str, only_keyed: bool) -> Iterator[tuple[str, str]]:
    if children := _children(value, only_keyed):
        for child, inner in children.items():
            yield from _leaves(inner, f"{name}.{child}" if name else str(child), only_keyed)
    elif name:
        yield name, _text(value)


def _children(value: object, only_keyed: bool) -> Mapping[str, Any]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field for field in dataclasses.fields(value) if not only_keyed or field.metadata.get("in_key", True)]
        return {field.name: getattr(value, field.name) for field in fields}
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, Path)):
        return str(value) or '""'
    if isinstance(value, (set, frozenset)):
        return ", ".join(sorted(map(_text, value)))
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value)) or "none"
    return "none" if isinstance(value, Mapping) else str(value)


def _shortened(value: str) -> str:
    if len(value) <= MAXIMUM_VALUE:
        return value
    digest = hashlib.sha256(value.encode()).hexdigest()[:16]
    return f"{value[: MAXIMUM_VALUE - 40]}... sha256:{digest}"

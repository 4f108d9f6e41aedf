"""Flat arrays in safetensors files: behaviours, splits, and any other named arrays.

Two faults of the library are worked around here, so nobody else should call it: it writes several metadata keys in
random order (equal content, different digests; hence one JSON key), and it writes the memory of a transposed array
as if it were contiguous.

Behaviours are mapped, not read: a step that looks at a part of a long log pays for that part, and what it looked at can
be dropped from memory again. Their arrays may be written to; that stays in the process and never reaches the file.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from jtm_core.behaviours import Behaviours, EvaluationUsers, Ints, Split
from jtm_core.formats.atomic import atomic_path
from jtm_core.formats.row_files import map_array

_METADATA_KEY = "jtm"

Arrays = dict[str, NDArray[Any]]


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write named arrays with a few words about them; equal content gives equal bytes.

    Parameters
    ----------
    path : Path
        Destination, replaced atomically.
    arrays : mapping of str to array
        Numeric arrays of any shape.
    metadata : mapping of str to str
        Kept in the file's header.
    """
    contiguous = {name: np.ascontiguousarray(arrays[name]).reshape(arrays[name].shape) for name in sorted(arrays)}
    with atomic_path(path) as temporary:
        save_file(contiguous, temporary, metadata={_METADATA_KEY: json.dumps(dict(metadata), sort_keys=True)})


def read_arrays(path: Path) -> tuple[Arrays, dict[str, str]]:
    """Read what :func:`write_arrays` wrote.

    Returns
    -------
    arrays, metadata

    Raises
    ------
    ValueError
        If there is no such file, or it is no safetensors file, or it is cut short.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {}).get(_METADATA_KEY, "{}"))
            return {name: file.get_tensor(name) for name in sorted(file.keys())}, metadata
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error


def map_integers(path: Path) -> tuple[Arrays, dict[str, str]]:
    """As :func:`read_arrays` for flat int64 arrays, without reading them: pages come from the file when touched.

    Returns
    -------
    arrays : dict of str to int64 array
        Can be written to, which changes neither the file nor what others read.
    metadata : dict of str to str

    Raises
    ------
    ValueError
        As :func:`read_arrays`, and if an array is not flat or not int64.
    """
    entries, metadata, start = _header(path)
    arrays = {}
    with path.open("rb") as file:
        for name, entry in entries.items():
            if entry["dtype"] != "I64" or len(entry["shape"]) != 1:
                raise ValueError(f"{path}: {name} is {entry['dtype']} of shape {entry['shape']}; allowed are flat arrays of I64")
            arrays[name] = map_array(file, np.dtype(np.int64), entry["shape"][0], start + entry["data_offsets"][0])
    return arrays, metadata


def _header(path: Path) -> tuple[dict[str, Any], dict[str, str], int]:
    """Type, shape and place of every array, our metadata, and where the arrays begin in the file."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        with safe_open(path, framework="numpy"):  # checks the header against the length of the file
            pass
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    metadata = json.loads(header.pop("__metadata__", {}).get(_METADATA_KEY, "{}"))
    return dict(sorted(header.items())), metadata, 8 + size


def _check_kind(path: Path, arrays: Mapping[str, Any], metadata: Mapping[str, str], kind: str, names: tuple[str, ...]) -> None:
    if metadata.get("kind") != kind:
        raise ValueError(f"{path} holds {metadata.get('kind', 'arrays of no kind')}; expected {kind}")
    missing = sorted(set(names) - set(arrays))
    if missing:
        raise ValueError(f"{path} lacks the arrays {missing}; it has {sorted(arrays)}")


def write_behaviours(path: Path, behaviours: Behaviours, categories: Ints) -> None:
    """Write histories and the category of every item.

    Parameters
    ----------
    path : Path
        Destination, replaced atomically.
    behaviours : Behaviours
    categories : int64 array (num_items,)
        Dense category per item, -1 where it is unknown.

    Raises
    ------
    ValueError
        If there is not one category per item.
    """
    if len(categories) != behaviours.num_items:
        raise ValueError(f"{len(categories)} categories for {behaviours.num_items} items; there must be one each")
    arrays = {"items": behaviours.items, "offsets": behaviours.offsets, "times": behaviours.times, "categories": categories}
    write_arrays(path, arrays, {"kind": "behaviours", "num_items": str(behaviours.num_items)})


def read_behaviours(path: Path) -> tuple[Behaviours, Ints]:
    """Map histories and categories written by :func:`write_behaviours` into memory.

    Returns
    -------
    behaviours : Behaviours
        Over the file's pages; writing to its arrays does not reach the file.
    categories : int64 array (num_items,)

    Raises
    ------
    ValueError
        If the file is missing, damaged, of another kind, or its arrays do not fit together.
    """
    entries, metadata, _ = _header(path)
    _check_kind(path, entries, metadata, "behaviours", ("items", "offsets", "times", "categories"))
    arrays, _ = map_integers(path)
    behaviours = Behaviours(arrays["items"], arrays["offsets"], arrays["times"], int(metadata["num_items"]))
    if len(arrays["categories"]) != behaviours.num_items:
        raise ValueError(f"{path} has {len(arrays['categories'])} categories for {behaviours.num_items} items")
    return behaviours, arrays["categories"]


_USERS_ARRAYS = ("users", "history_lengths", "truth_lengths")


def write_split(path: Path, split: Split) -> None:
    """Write which behaviours train and which users judge."""
    arrays: Arrays = {"train_lengths": split.train_lengths}
    for role, users in (("validation", split.validation), ("test", split.test)):
        arrays.update({f"{role}_{name}": getattr(users, name) for name in _USERS_ARRAYS})
    write_arrays(path, arrays, {"kind": "split"})


def read_split(path: Path) -> Split:
    """Read a split written by :func:`write_split`.

    Raises
    ------
    ValueError
        If the file is missing, damaged or of another kind.
    """
    names = [f"{role}_{name}" for role in ("validation", "test") for name in _USERS_ARRAYS]
    arrays, metadata = read_arrays(path)
    _check_kind(path, arrays, metadata, "split", ("train_lengths", *names))
    validation, test = (EvaluationUsers(*(arrays[f"{role}_{name}"] for name in _USERS_ARRAYS)) for role in ("validation", "test"))
    return Split(arrays["train_lengths"], validation, test)

"""A version as a folder of its own, with all that a service needs of it, for where the store is not at hand."""

import json
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from jtm_core.behaviours import Ints
from jtm_core.formats.arrays import read_arrays, write_arrays
from jtm_core.formats.atomic import atomic_path
from jtm_core.formats.tree_files import read_tree
from jtm_core.formats.vocabularies import read_vocabulary
from jtm_core.formats.weights import read_weights
from jtm_core.model import JtmNetwork
from jtm_core.tree import TreeIndex

_TREE, _WEIGHTS, _ITEMS, _POPULARITY, _SETTINGS = (
    "tree.parquet",
    "network.safetensors",
    "items.parquet",
    "popularity.safetensors",
    "served.json",
)


@dataclass(frozen=True, kw_only=True)
class ServedSettings:
    """How a version is asked."""

    version: str
    """Name of the version."""
    data_name: str
    """Data set it was made from."""
    beam_width: int
    """Nodes kept per level, and the most items of a list."""
    first_level: int
    """First level that was trained."""
    count: int
    """Items of a list that asks for no number."""
    without_seen: bool
    """Whether a list that does not say leaves out items of the history."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedVersion:
    """What such a folder holds.

    Parameters
    ----------
    network : JtmNetwork
        On the CPU.
    tree : TreeIndex
    keys : list of int or of str
        Own id of every item, by dense id.
    items_by_popularity : int64 array (num_items,)
        Dense ids, most popular first.
    settings : ServedSettings
    """

    network: JtmNetwork
    tree: TreeIndex
    keys: list[Any]
    items_by_popularity: Ints
    settings: ServedSettings


def write_served(folder: Path, files: tuple[Path, Path, Path], items_by_popularity: Ints, settings: ServedSettings) -> None:
    """Copy a version's files into a folder, under names that tell what they are.

    Parameters
    ----------
    folder : Path
        Made if it is not there; what it has under these names is replaced.
    files : tuple of Path
        Tree, weights and vocabulary of the items, as :mod:`jtm_core.formats` writes them.
    items_by_popularity : int64 array (num_items,)
        Dense ids, most popular first.
    settings : ServedSettings
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file, name in zip(files, (_TREE, _WEIGHTS, _ITEMS), strict=True):
        with atomic_path(folder / name) as temporary:
            shutil.copyfile(file, temporary)
    write_arrays(folder / _POPULARITY, {"items_by_popularity": items_by_popularity}, {"kind": "popularity"})
    with atomic_path(folder / _SETTINGS) as temporary:
        temporary.write_text(json.dumps(asdict(settings), indent=1) + "\n", encoding="utf-8")


def read_served(folder: Path) -> ServedVersion:
    """Read a folder that :func:`write_served` wrote.

    Raises
    ------
    ValueError
        If a file is missing or damaged, or the settings are other ones than these.
    """
    path = folder / _SETTINGS
    if not path.is_file():
        raise ValueError(f"{folder} is no folder of a served version: it has no {_SETTINGS}")
    found, known = json.loads(path.read_text(encoding="utf-8")), {field.name for field in fields(ServedSettings)}
    if set(found) != known:
        raise ValueError(f"{path} has the settings {sorted(found)}; this code knows {sorted(known)}")
    return ServedVersion(
        network=read_weights(folder / _WEIGHTS),
        tree=read_tree(folder / _TREE),
        keys=read_vocabulary(folder / _ITEMS).keys.to_pylist(),
        items_by_popularity=read_arrays(folder / _POPULARITY)[0]["items_by_popularity"],
        settings=ServedSettings(**found),
    )

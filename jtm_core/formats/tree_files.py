"""Trees as Parquet files that a person can read: one row an item, with its leaf and the path to it.

The height and the fingerprint stand in the schema's metadata; a file whose rows do not give that fingerprint is refused.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jtm_core.codes import Codes, first_code
from jtm_core.formats.atomic import atomic_path
from jtm_core.tree import TreeIndex

_HEIGHT = b"jtm.height"
_FINGERPRINT = b"jtm.fingerprint"


def write_tree(path: Path, tree: TreeIndex, keys: Sequence[object] | pa.Array | pa.ChunkedArray | None = None) -> None:
    """Write a tree; the same tree gives the same bytes.

    Parameters
    ----------
    path : Path
        Appears whole or not at all.
    tree : TreeIndex
        What is stored: columns ``item``, ``leaf`` and ``path`` ("0" left, "1" right, from the root).
    keys : sequence or Arrow array (num_items,), optional
        Original item ids, stored beside the dense ones as column ``key``.

    Raises
    ------
    ValueError
        If there is not one key an item.
    """
    columns = {"item": pa.array(np.arange(tree.num_items))}
    if keys is not None:
        if len(keys) != tree.num_items:
            raise ValueError(f"{len(keys)} keys for a tree of {tree.num_items} items; there must be one each")
        columns["key"] = keys if isinstance(keys, pa.Array | pa.ChunkedArray) else pa.array(keys)
    columns["leaf"] = pa.array(tree.leaf_of_item.astype(np.int64))
    columns["path"] = path_strings(tree.leaf_of_item, tree.height)
    metadata = {_HEIGHT: str(tree.height).encode(), _FINGERPRINT: tree.fingerprint().encode()}
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns).replace_schema_metadata(metadata), temporary, compression="zstd")


def read_tree(path: Path) -> TreeIndex:
    """Read a tree back and check that it is the one that was written.

    Raises
    ------
    ValueError
        If the file is no Parquet file or no tree file, lacks a column, or its rows do not give the stored fingerprint.
    """
    table = _read_table(path)
    metadata = table.schema.metadata or {}
    if _HEIGHT not in metadata or _FINGERPRINT not in metadata:
        raise ValueError(f"{path} is not a tree file: height and fingerprint are missing from its metadata")
    missing = [name for name in ("item", "leaf", "path") if name not in table.column_names]
    if missing:
        raise ValueError(f"{path} lacks the columns {missing}; it has {table.column_names}")
    items, leaves = (_integers(table, name, path) for name in ("item", "leaf"))
    if not np.array_equal(items, np.arange(len(items))):
        raise ValueError(f"the items of {path} are not 0 .. {len(items) - 1} in order; a tree file has one row an item")
    tree = TreeIndex(leaves, int(metadata[_HEIGHT]))
    stored, found = metadata[_FINGERPRINT].decode(), tree.fingerprint()
    if stored != found:
        raise ValueError(f"{path} was changed: its rows have the fingerprint {found}, its metadata say {stored}")
    if not pc.all(pc.equal(table["path"], path_strings(leaves, tree.height))).as_py():
        raise ValueError(f"{path} was changed: some path does not lead to its leaf")
    return tree


def path_strings(leaves: Codes, height: int) -> pa.StringArray:
    """Write every leaf's path from the root as a string of 0 and 1, all at once.

    Examples
    --------
    >>> path_strings(np.array([3, 5]), height=2).to_pylist()
    ['00', '10']
    """
    positions = leaves - first_code(height)
    digits = np.empty((len(leaves), height), dtype=np.uint8)
    for level in range(height):
        digits[:, level] = (positions >> (height - 1 - level)) & 1
    digits += ord("0")
    offsets = np.arange(len(leaves) + 1, dtype=np.int64) * height
    strings = pa.LargeStringArray.from_buffers(len(leaves), pa.py_buffer(offsets), pa.py_buffer(digits))
    return strings.cast(pa.string())


def _read_table(path: Path) -> pa.Table:
    try:
        return pq.ParquetFile(path).read()
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is not a tree file: {error}") from error


def _integers(table: pa.Table, name: str, path: Path) -> Codes:
    column = table[name]
    if not pa.types.is_integer(column.type) or column.null_count:
        raise ValueError(f"column {name} of {path} is {column.type} with {column.null_count} nulls; allowed are integers without nulls")
    values: Codes = column.cast(pa.int64()).to_numpy()
    return values

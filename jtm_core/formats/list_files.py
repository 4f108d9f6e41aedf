"""Recommended lists of all users as a Parquet file: one row a user, ids as the log has them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jtm_core.behaviours import Ints
from jtm_core.formats.atomic import atomic_path

Block = tuple[Ints, Ints, NDArray[np.float32], NDArray[np.bool_]]
"""Users (S,), their items (S, M) with -1 behind, logits (S, M), whether the list is personal (S,)."""


def list_schema(users: pa.Array, items: pa.Array, notes: Mapping[str, str]) -> pa.Schema:
    """Columns of a file of lists.

    ``user``, ``items`` (list, best first), ``logits`` (list of float32, null where the list is not personal), ``is_personal``.

    Parameters
    ----------
    users, items : Arrow arrays
        Own ids by dense id.
    notes : mapping of str to str
        Stands in the file's metadata.
    """
    fields = [
        pa.field("user", users.type, nullable=False),
        pa.field("items", pa.list_(items.type), nullable=False),
        pa.field("logits", pa.list_(pa.float32())),
        pa.field("is_personal", pa.bool_(), nullable=False),
    ]
    return pa.schema(fields, metadata=dict(notes))


def write_user_lists(path: Path, blocks: Iterable[Block], users: pa.Array, items: pa.Array, schema: pa.Schema) -> None:
    """Write lists block by block, so that no more than one is in memory.

    Parameters
    ----------
    path : Path
        Appears whole or not at all; what stood there stays until then.
    blocks : iterable of Block
        Each becomes a row group.
    users, items : Arrow arrays
        Own ids by dense id.
    schema : Arrow schema
        Of :func:`list_schema`.
    """
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for block in blocks:
            writer.write_batch(_batch(block, users, items, schema))


def count_user_lists(path: Path) -> int:
    """Number of lists in a file, by what stands at its end.

    Raises
    ------
    ValueError
        If it is no Parquet file.
    """
    return int(pq.read_metadata(path).num_rows)


def join_user_lists(path: Path, parts: Sequence[Path], schema: pa.Schema) -> tuple[int, int]:
    """Write the lists of several files to one, a row group at a time, as if they had been written to it at once.

    Parameters
    ----------
    path : Path
        As in :func:`write_user_lists`.
    parts : sequence of Path
        In order of users.
    schema : Arrow schema
        Of :func:`list_schema`, that of the parts.

    Returns
    -------
    int, int
        Number of lists, and how many of them are personal.
    """
    num_users = num_personal = 0
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for part in parts:
            with pq.ParquetFile(part) as file:
                for group in range(file.num_row_groups):
                    rows = file.read_row_group(group)
                    writer.write_table(rows)
                    num_users += len(rows)
                    num_personal += rows["is_personal"].to_numpy().sum()
    return num_users, int(num_personal)


def _batch(block: Block, users: pa.Array, items: pa.Array, schema: pa.Schema) -> pa.RecordBatch:
    own, listed, logits, is_personal = block
    is_there = listed >= 0
    offsets = np.concatenate([[0], np.cumsum(is_there.sum(axis=1))]).astype(np.int32)
    names = pa.ListArray.from_arrays(offsets, items.take(pa.array(listed[is_there])))
    scores = pa.ListArray.from_arrays(offsets, pa.array(logits[is_there]), mask=pa.array(~is_personal))
    return pa.record_batch([users.take(pa.array(own)), names, scores, pa.array(is_personal)], schema=schema)

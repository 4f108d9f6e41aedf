"""Recommended lists of all users as a Parquet file: one row a user, ids as the log has them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jtm_core.behaviours import Ints
from jtm_core.formats.atomic import atomic_path

Block = tuple[Ints, Ints, NDArray[np.float32], NDArray[np.bool_]]
"""Users (S,), their items (S, M) with -1 behind, logits (S, M), whether the list is personal (S,)."""


def write_user_lists(path: Path, blocks: Iterable[Block], users: pa.Array, items: pa.Array, notes: Mapping[str, str]) -> int:
    """Write lists block by block, so that no more than one is in memory.

    Columns: ``user``, ``items`` (list, best first), ``logits`` (list of float32, null where the list is not personal), ``is_personal``.

    Parameters
    ----------
    path : Path
        Appears whole or not at all; what stood there stays until then.
    blocks : iterable of Block
    users, items : Arrow arrays
        Own ids by dense id.
    notes : mapping of str to str
        Stands in the file's metadata.

    Returns
    -------
    int
        Number of users.
    """
    fields = [
        pa.field("user", users.type, nullable=False),
        pa.field("items", pa.list_(items.type), nullable=False),
        pa.field("logits", pa.list_(pa.float32())),
        pa.field("is_personal", pa.bool_(), nullable=False),
    ]
    schema, num_users = pa.schema(fields, metadata=dict(notes)), 0
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for block in blocks:
            writer.write_batch(_batch(block, users, items, schema))
            num_users += len(block[0])
    return num_users


def _batch(block: Block, users: pa.Array, items: pa.Array, schema: pa.Schema) -> pa.RecordBatch:
    own, listed, logits, is_personal = block
    is_there = listed >= 0
    offsets = np.concatenate([[0], np.cumsum(is_there.sum(axis=1))]).astype(np.int32)
    names = pa.ListArray.from_arrays(offsets, items.take(pa.array(listed[is_there])))
    scores = pa.ListArray.from_arrays(offsets, pa.array(logits[is_there]), mask=pa.array(~is_personal))
    return pa.record_batch([users.take(pa.array(own)), names, scores, pa.array(is_personal)], schema=schema)

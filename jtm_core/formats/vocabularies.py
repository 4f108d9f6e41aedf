"""Vocabularies: which original id every dense id stands for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jtm_core.behaviours import Ints
from jtm_core.formats.atomic import atomic_path
from jtm_core.formats.column_types import INTEGER
from jtm_core.formats.key_codes import narrowed, widened


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """Original ids by dense id: ``keys[7]`` is the log's name of item (or user) 7.

    Parameters
    ----------
    keys : pyarrow array (num_ids,), int64, string, or large_string beyond 2 GiB
        Original ids, no two alike, none null.
    categories : pyarrow array (num_ids,) or None
        Original category of every item, null where it is unknown; None for users.

    Raises
    ------
    ValueError
        If a key is null or occurs twice, or there is not one category per key.
    """

    keys: pa.Array
    categories: pa.Array | None = None

    def __post_init__(self) -> None:
        if self.keys.null_count:
            raise ValueError(f"{self.keys.null_count} keys of the vocabulary are null; every id needs one")
        counts = pc.value_counts(self.keys)
        if len(counts) < len(self.keys):
            repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
            raise ValueError(f"keys {repeated[:5].to_pylist()} occur more than once in the vocabulary; each id needs its own")
        if self.categories is not None and len(self.categories) != len(self.keys):
            raise ValueError(f"{len(self.categories)} categories for {len(self.keys)} keys; there must be one each")

    def __len__(self) -> int:
        return len(self.keys)

    def ids_of(self, keys: pa.Array) -> Ints:
        """Dense ids of original ids, -1 for those the vocabulary does not know: int64, same length as ``keys``.

        Raises
        ------
        ValueError
            If the keys are of another type than the vocabulary's.
        """
        asked, known = (keys, self.keys) if keys.type == self.keys.type else (widened(keys), widened(self.keys))
        if asked.type != known.type:
            raise ValueError(f"ids are of type {keys.type}, those of the known vocabulary of type {self.keys.type}; they must be the same")
        found = pc.fill_null(pc.index_in(asked, value_set=known), -1)
        return np.asarray(found, dtype=np.int64)


def in_type_of(known: pa.DataType, keys: pa.Array, column: str) -> pa.Array:
    """Original ids of a new log in the type that those of an earlier log had.

    Which type a column of text has is guessed for each export alone: one week all ids are integers, the next one is not. Integers and
    their texts stand for each other, as only ids that are written as their integer is are read as integers.

    Parameters
    ----------
    known : pyarrow type
        int64 or string.
    keys : pyarrow array
        int64 or string.
    column : str
        What the ids are, for messages.

    Raises
    ------
    ValueError
        If the known ones are integers and some of these are not.
    """
    if pa.types.is_null(keys.type) or pa.types.is_null(known) or pa.types.is_integer(known) == pa.types.is_integer(keys.type):
        return keys
    if pa.types.is_integer(known):
        others = keys.filter(pc.invert(pc.match_substring_regex(keys, INTEGER)))
        if len(others):
            raise ValueError(
                f"{column}: {len(others)} of {len(keys)} are no integers as all known ones are, such as {others[:5].to_pylist()}; "
                f"take these out of the log, or begin anew under another data.name"
            )
        return keys.cast(known)
    return narrowed(keys.cast(pa.large_string()))


def joined(known: pa.Array, new: pa.Array) -> pa.Array:
    """Known keys and behind them the new ones, of the same kind."""
    return narrowed(pa.concat_arrays([widened(known), widened(new)]))


def write_vocabulary(path: Path, vocabulary: Vocabulary, kind: Literal["item", "user"]) -> None:
    """Write a vocabulary as Parquet: columns ``item`` (or ``user``), ``key`` and, for items, ``category``."""
    columns = {kind: pa.array(np.arange(len(vocabulary))), "key": vocabulary.keys}
    if vocabulary.categories is not None:
        columns["category"] = vocabulary.categories
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a vocabulary written by :func:`write_vocabulary`.

    Raises
    ------
    ValueError
        If the file is missing or damaged, or its ids are not 0, 1, 2 ...
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is not a whole Parquet file: {error}") from error
    if len(table.column_names) < 2 or table.column_names[0] not in ("item", "user") or table.column_names[1] != "key":
        raise ValueError(f"{path} has the columns {table.column_names}; a vocabulary has item or user, then key")
    if not np.array_equal(table.column(0).to_numpy(), np.arange(len(table))):
        raise ValueError(f"the ids in {path} are not 0 .. {len(table) - 1} in this order")
    categories = table.column("category").combine_chunks() if "category" in table.column_names else None
    return Vocabulary(table.column("key").combine_chunks(), categories)

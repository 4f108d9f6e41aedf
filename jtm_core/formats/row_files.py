"""Rows on disk in files without a name: buckets to sort a log by, and columns written from front to back.

A file without a name is gone when it is closed or its process ends, however that happens; so a killed run leaves
nothing behind. (Where the file system has no such files, the name is removed right after opening.)
"""

import mmap
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class RowBuckets:
    """Rows sorted roughly: bucket ``b`` takes the rows whose bucket number is ``b``, in the order they come.

    Parameters
    ----------
    folder : Path
        Where the files lie.
    num_buckets : int
    row : numpy dtype
        Structured type of a row.
    """

    def __init__(self, folder: Path, num_buckets: int, row: np.dtype[Any]) -> None:
        self._row = row
        self._files = [_nameless_file(folder) for _ in range(num_buckets)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for file in self._files:
            file.close()

    def __len__(self) -> int:
        return len(self._files)

    def scatter(self, buckets: NDArray[np.uint16], rows: Array) -> None:
        """Append every row to its bucket.

        Parameters
        ----------
        buckets : uint16 array (N,)
        rows : structured array (N,)
        """
        ordered = rows[np.argsort(buckets, kind="stable")]  # linear: 16 bits are sorted by counting
        ends = np.cumsum(np.bincount(buckets, minlength=len(self._files)))
        for file, first, end in zip(self._files, [0, *ends[:-1]], ends, strict=True):
            if end > first:
                ordered[first:end].tofile(file)

    def read(self, bucket: int) -> Array:
        """Rows of a bucket in the order they came: structured array (N,)."""
        file = self._files[bucket]
        file.seek(0)
        return np.fromfile(file, dtype=self._row)

    def replace(self, bucket: int, rows: Array) -> None:
        """Put other rows in the place of a bucket's."""
        file = self._files[bucket]
        file.seek(0)
        file.truncate()
        rows.tofile(file)


class ColumnFile:
    """A column written piece by piece and then mapped, so that it costs memory only while it is looked at.

    Parameters
    ----------
    folder : Path
        Where the file lies.
    dtype : numpy dtype
    """

    def __init__(self, folder: Path, dtype: type[np.generic]) -> None:
        self._dtype = np.dtype(dtype)
        self._file = _nameless_file(folder)

    def append(self, values: Array) -> None:
        """Write values behind those that are there."""
        np.asarray(values, dtype=self._dtype).tofile(self._file)

    def mapped(self) -> Array:
        """All values, and the end of writing: the array can be changed without touching the file, which lives as long as it."""
        with self._file as file:
            file.flush()
            return map_array(file, self._dtype, file.tell() // self._dtype.itemsize, 0)


def map_array(file: IO[bytes], dtype: np.dtype[Any], length: int, offset: int) -> Array:
    """A flat array over part of a file: pages come when touched and can be dropped; writes stay private to the array.

    Parameters
    ----------
    file : open binary file
        May be closed afterwards.
    dtype : numpy dtype
    length : int
        Number of elements.
    offset : int
        Byte of the first element.
    """
    if not length:
        return np.empty(0, dtype)
    return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), dtype, length, offset)


def _nameless_file(folder: Path) -> Any:
    return tempfile.TemporaryFile(dir=folder, buffering=0)

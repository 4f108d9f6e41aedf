"""Opening source files: plain or gzip, with errors that name the file and what is wrong with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"
_OTHER_MAGIC = {
    b"BZh": "compressed by bzip2",
    b"PK\x03\x04": "a zip archive",
    b"\xfd7zX": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
    _GZIP_MAGIC: "gzip within gzip",
    _PARQUET_MAGIC: "Parquet within gzip",
}


def _magic(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError(f"there is no file {path}" + ("; it is a folder, give the file in it" if path.is_dir() else ""))
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        raise ValueError(f"{path} is empty (0 bytes)")
    return start


def is_parquet(path: Path) -> bool:
    """Whether a file begins as Parquet does, whatever its name.

    Raises
    ------
    ValueError
        If there is no such file or it is empty.
    """
    return _magic(path) == _PARQUET_MAGIC


def _refuse_other(path: Path, start: bytes) -> None:
    for magic, kind in _OTHER_MAGIC.items():
        if start.startswith(magic):
            raise ValueError(f"{path} is {kind}; allowed are text in UTF-8, the same by gzip, and Parquet")


@contextmanager
def open_source(path: Path) -> Iterator[pa.NativeFile]:
    """Open a file for reading, inflating gzip, which is known by its first bytes and not by the name.

    Errors of the stream inside the block come out as ``ValueError``.

    Raises
    ------
    ValueError
        If the file is missing, empty, named ``.gz`` without being gzip, or its gzip stream is cut short or corrupt.
    """
    start = _magic(path)
    is_gzip = start.startswith(_GZIP_MAGIC)
    if not is_gzip:
        _refuse_other(path, start)
    if path.suffix == ".gz" and not is_gzip:
        raise ValueError(f"{path} is named .gz but does not begin as a gzip file does; decompress it or fix its name")
    try:
        with pa.input_stream(str(path), compression="gzip" if is_gzip else None) as stream:
            yield stream
    except OSError as error:
        fault = "is cut short: its gzip stream ends early" if "Truncated" in str(error) else f"cannot be read: {error}"
        raise ValueError(f"{path} {fault}; nothing was kept of it") from error


def read_start(path: Path, num_bytes: int = 1 << 20) -> bytes:
    """First bytes of a file, inflated, without a UTF-8 byte order mark, cut after the last whole line if there are more.

    Raises
    ------
    ValueError
        As :func:`open_source`.
    """
    with open_source(path) as stream:
        start: bytes = stream.read(num_bytes)
        has_more = len(start) == num_bytes
    _refuse_other(path, start)
    if has_more and b"\n" in start:
        start = start[: start.rindex(b"\n") + 1]
    return start.removeprefix(b"\xef\xbb\xbf")


def first_line(start: bytes) -> str:
    """First line of a file's beginning, undecodable bytes replaced."""
    return start.split(b"\n", 1)[0].rstrip(b"\r").decode(errors="replace")

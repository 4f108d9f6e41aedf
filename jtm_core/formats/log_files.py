"""The files of a log: one, or all files of a folder, or all that a pattern fits, read in the order of their names."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

_PASSED_OVER = (".", "_")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def log_files(path: Path) -> tuple[Path, ...]:
    """Files of a log in the order in which they are read: that of their paths, folder by folder, as texts.

    Parameters
    ----------
    path : Path
        A file; a folder, meant with all folders in it; or a pattern with ``*``, ``?`` or ``[`` (``**`` is any number
        of folders) that fits files and folders. In folders, and among what a pattern fits, names that begin with ``.`` or
        ``_`` are passed over, as those of marks and checksums that engines leave beside their files do.

    Raises
    ------
    ValueError
        If there is no such file, or none in the folder or by the pattern.
    """
    if path.is_file():
        return (path,)
    if path.is_dir():
        where, found = f"in the folder {path}", _files_in(path)
    elif any(_is_pattern(part) for part in path.parts):
        where, found = f"that fits {path}", {file for one in _fitting(path) for file in (_files_in(one) if one.is_dir() else [one])}
    else:
        raise ValueError(f"there is no file {path}")
    if not found:
        raise ValueError(f"there is no file {where}; names that begin with . or _ are passed over")
    return tuple(sorted(found, key=lambda file: file.parts))


def _is_pattern(part: str) -> bool:
    return any(sign in part for sign in "*?[")


def _fitting(pattern: Path) -> Iterator[Path]:
    """Files and folders that fit a pattern; what is written out before its first sign may begin with anything."""
    depth = next(depth for depth, part in enumerate(pattern.parts) if _is_pattern(part))
    folder = Path(*pattern.parts[:depth])
    for found in folder.glob(str(Path(*pattern.parts[depth:]))):
        if not any(part.startswith(_PASSED_OVER) for part in found.parts[depth:]):
            yield found


def _files_in(folder: Path) -> set[Path]:
    found = set()
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(_PASSED_OVER)]
        found |= {Path(place) / name for name in names if not name.startswith(_PASSED_OVER)}
    return found


def names_within(files: Sequence[Path]) -> list[str]:
    """Names of files below the last folder that holds all of them."""
    root = _root(files)
    return [file.relative_to(root).as_posix() for file in files]


def folder_values(file: Path) -> dict[str, str | None]:
    """What a file's folders say of all its rows, as Hive and Spark name them: ``event=buy/day=2026-12-01/part-0.parquet``.

    Returns
    -------
    dict of str to str or None
        Name -> value, percent signs taken for what they stand for; None is Hive's word for no value.

    Examples
    --------
    >>> folder_values(Path("log/event=add%20to%20cart/day=__HIVE_DEFAULT_PARTITION__/part-0=.csv"))
    {'event': 'add to cart', 'day': None}
    """
    named = (part.partition("=") for part in file.parts[:-1] if _is_named(part))
    return {unquote(name): None if value == _NO_VALUE else unquote(value) for name, _, value in named}


def identifying_names(files: Sequence[Path]) -> list[str]:
    """Names of files below their common folder, and all that folders above it say of them: what tells two logs of the same bytes apart."""
    said = "".join(f"{part}/" for part in _root(files).parts if _is_named(part))
    return [said + name for name in names_within(files)]


def _root(files: Sequence[Path]) -> Path:
    """The last folder that holds all files."""
    return Path(os.path.commonpath([file.parent for file in files]))


def _is_named(part: str) -> bool:
    return not part.startswith("=") and "=" in part

"""The files of a log: one, or all files of a folder, or all that a pattern fits, read in the order of their names."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

_PASSED_OVER = (".", "_")


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
    root = os.path.commonpath([file.parent for file in files])
    return [file.relative_to(root).as_posix() for file in files]

"""The core of JTM: tree, scoring, search and learning, on arrays alone.

Compiled kernels are kept in a folder named after the source of every module with kernels. numba by itself looks for changes
in a kernel's own file, not in those of the kernels it calls, and would go on with code that is no longer there.
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_FOLDER_PREFIX = "kernels-"


def kernel_folder(package: Path) -> Path:
    """Where the compiled kernels of a package's present source belong."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        source = path.read_bytes()
        if b"numba" in source:
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + source)
    name = f"{_FOLDER_PREFIX}{digest.hexdigest()[:16]}"
    return next(place for place in _places(package) if os.access(place, os.W_OK)) / name


def _places(package: Path) -> Iterator[Path]:
    """Where kernels may be kept: beside the source, in the user's cache, or, as in a container where neither may be written, for once."""
    if os.access(package, os.W_OK):
        yield _made(package / "__pycache__")
    named = Path(os.environ.get("NUMBA_CACHE_DIR", ""))
    if named.name.startswith(_FOLDER_PREFIX):  # a child process goes where its parent is
        yield named.parent
    with suppress(RuntimeError):  # a user without a home
        yield _made(Path.home() / ".cache" / "jtm")
    yield Path(tempfile.mkdtemp(prefix="jtm-"))  # nobody else can put kernels there, which a shared folder would let them


def _made(folder: Path) -> Path:
    """The folder, made if that may be done."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _keep_kernels_by_source() -> None:
    """Point numba to the folder, unless the user named another one."""
    named = os.environ.get("NUMBA_CACHE_DIR", "")
    if named and not Path(named).name.startswith(_FOLDER_PREFIX):
        return
    os.environ["NUMBA_CACHE_DIR"] = str(kernel_folder(Path(__file__).parent))  # child processes import the core themselves and set it anew
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"]


_keep_kernels_by_source()

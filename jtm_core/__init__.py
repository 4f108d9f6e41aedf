"""The core of JTM: tree, scoring, search and learning, on arrays alone.

Compiled kernels are kept in a folder named after the source of every module with kernels. numba by itself looks for changes
in a kernel's own file, not in those of the kernels it calls, and would go on with code that is no longer there.
"""

import hashlib
import os
import sys
from pathlib import Path

_FOLDER_PREFIX = "kernels-"


def kernel_folder(package: Path) -> Path:
    """Where the compiled kernels of a package's present source belong."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        source = path.read_bytes()
        if b"numba" in source:
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + source)
    return package / "__pycache__" / f"{_FOLDER_PREFIX}{digest.hexdigest()[:16]}"


def _keep_kernels_by_source() -> None:
    """Point numba to the folder, unless the user named another one or ours cannot be written."""
    package = Path(__file__).parent
    named = os.environ.get("NUMBA_CACHE_DIR", "")
    if (named and not Path(named).name.startswith(_FOLDER_PREFIX)) or not os.access(package, os.W_OK):
        return
    os.environ["NUMBA_CACHE_DIR"] = str(kernel_folder(package))  # child processes import the core themselves and set it anew
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"]


_keep_kernels_by_source()

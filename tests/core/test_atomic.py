"""Files that appear whole or not at all, and what is left of writers that were killed."""

import os
import subprocess
import sys
from pathlib import Path

from jtm_core.formats.atomic import discard

KILLED = """
import os, sys
from pathlib import Path
from jtm_core.formats.atomic import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    os._exit(9)
"""


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_discarding_takes_a_file_and_what_killed_writers_left_of_it(tmp_path: Path) -> None:
    gone, other = tmp_path / "a[1].safetensors", tmp_path / "b.safetensors"
    for destination in (gone, other):
        destination.write_bytes(b"whole")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        assert subprocess.run([sys.executable, "-c", KILLED, str(destination)], env=environment, check=False).returncode == 9
    assert len(names_in(tmp_path)) == 4
    discard(gone)
    left = names_in(tmp_path)
    assert left[1:] == ["b.safetensors"]
    assert left[0].startswith(".b.safetensors.")
    discard(gone)
    assert names_in(tmp_path) == left

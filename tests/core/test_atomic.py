"""Files that appear whole or not at all, and what is left of writers that were killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jtm_core.formats.atomic import atomic_path, discard

KILLED = """
import os, sys
from pathlib import Path
from jtm_core.formats.atomic import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    (temporary.parent / ".tmpXLf7R1").write_bytes(b"what a library writes aside by itself")
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


@pytest.mark.parametrize(("hidden", "expected"), [(0o022, 0o644), (0o027, 0o640)])
def test_a_file_may_be_read_by_whom_the_umask_lets_whatever_its_writer_did(hidden: int, expected: int, tmp_path: Path) -> None:
    """As safetensors lets nobody else read what it writes, and who serves need not be who trains."""
    before = os.umask(hidden)
    try:
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("whole")
            temporary.chmod(0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == expected


def test_a_file_appears_whole_and_nothing_else_stays(tmp_path: Path) -> None:
    destination = tmp_path / "new" / "a.txt"
    with atomic_path(destination) as temporary:
        temporary.write_text("whole")
        (temporary.parent / "aside").write_text("more")
    with pytest.raises(FileNotFoundError), atomic_path(destination) as temporary:
        (temporary.parent / "aside").write_text("all that a writer that fails leaves")
    assert names_in(destination.parent) == ["a.txt"]
    assert destination.read_text() == "whole"

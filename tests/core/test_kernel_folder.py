"""Compiled kernels are found again as long as no kernel's source changed, and only then."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import jtm_core
from jtm_core import kernel_folder

CALLEE = "import numba\n\n@numba.njit(cache=True)\ndef inner():\n    return {}\n"
CALLER = "import numba\nfrom package.callee import inner\n\n@numba.njit(cache=True)\ndef outer():\n    return inner()\n"
PROGRAM = "import package, package.caller; print(package.caller.outer())"


def test_any_kernel_module_changes_the_folder_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "kernels.py").write_text("import numba\n")
    (tmp_path / "plain.py").write_text("x = 1\n")
    first = kernel_folder(tmp_path)
    (tmp_path / "plain.py").write_text("x = 2\n")
    assert kernel_folder(tmp_path) == first
    (tmp_path / "inner" / "kernels.py").write_text("import numba\nx = 1\n")
    assert kernel_folder(tmp_path) != first


def test_where_the_package_cannot_be_written_the_user_s_cache_is_taken_or_else_a_private_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container; permissions themselves do not bind a superuser, who may run this."""
    package, home, shut = tmp_path / "package", tmp_path / "home", [tmp_path / "package"]
    package.mkdir()
    home.mkdir()
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not any(Path(path).is_relative_to(one) for one in shut) and may(path, mode))
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    own = kernel_folder(package)
    assert own.parent == home / ".cache" / "jtm"
    shut.append(home)
    private = kernel_folder(package)
    assert private.name == own.name
    assert private.parent.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(private))
    assert kernel_folder(package) == private, "child processes share it"


def test_a_change_in_a_called_kernel_is_seen(tmp_path: Path) -> None:
    """The case in which numba alone would go on with the old code."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text(Path(jtm_core.__file__).read_text())
    (package / "caller.py").write_text(CALLER)
    answers = []
    for value in (1, 2):
        (package / "callee.py").write_text(CALLEE.format(value))
        environment = {name: text for name, text in os.environ.items() if name != "NUMBA_CACHE_DIR"}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"  # Python takes two files of one size and second for the same
        done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        answers.append(done.stdout.strip())
    assert answers == ["1", "2"]


def test_a_folder_that_the_user_named_stays(tmp_path: Path) -> None:
    program = "import jtm_core, numba; print(numba.config.CACHE_DIR)"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    root = Path(jtm_core.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path)

"""The rooms and floors of pyproject.toml hold, as import-linter reads them."""

import subprocess
import sysconfig
from pathlib import Path

from importlinter.api import read_configuration
from importlinter.cli import EXIT_STATUS_SUCCESS

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = {
    "rooms",
    "core-floors",
    "core-is-pure",
    "core-files",
    "core-clock",
    "checks-alone",
    "checks-floors",
    "tracking-only",
    "great-expectations-only",
    "tasks-floors",
    "flows-order-only",
}


def test_contracts_are_all_there() -> None:
    found = read_configuration(str(ROOT / "pyproject.toml"))
    assert {contract["id"] for contract in found["contracts_options"]} == CONTRACTS


def test_contracts_hold() -> None:
    command = [Path(sysconfig.get_path("scripts")) / "lint-imports", "--no-cache"]  # in this process it would silence all loggers
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_STATUS_SUCCESS, done.stdout + done.stderr

"""The rooms and floors of pyproject.toml hold, as import-linter reads them."""

from pathlib import Path

from importlinter.api import read_configuration
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

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


def test_contracts_hold(monkeypatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    code = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert code == EXIT_STATUS_SUCCESS, capsys.readouterr().out

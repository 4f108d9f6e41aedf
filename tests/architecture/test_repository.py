"""What a stranger finds: commands that exist, deployments that point somewhere, nothing of the place it was written at."""

import ast
import json
import re
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from jtm_core.comparison_config import ComparisonConfig, TuningConfig, planned_runs
from jtm_core.config import JtmConfig
from jtm_core.presets import demo_config
from tasks.local_stack.commands import DEPLOYMENTS

ROOT = Path(__file__).resolve().parents[2]
PROMISED = {"run", "serve-ui", "test", "check", "bench", "bench-quick", "help", "setup"}
MADE = {".venv", ".git", ".jtm", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache"}
# Spelled in pieces, so that this file does not hold what it looks for.
FORBIDDEN = [
    *("/wor" + "k/", ".." + "/shared", "/opt/whe" + "els", "/opt/py" + "pi", "pypi" + ".org", "python" + "hosted.org"),
    *("download.py" + "torch", "registry." + "npmjs", "deb." + "debian"),
]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def documents() -> list[Path]:
    return [path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")) if path.exists()]


def files() -> list[Path]:
    """List what git tracks or would track; without git, everything but what tools leave."""
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        found = [path for path in ROOT.rglob("*") if MADE.isdisjoint(path.relative_to(ROOT).parts)]
    return [path for path in found if path.is_file()]


def test_promised_commands_exist() -> None:
    assert targets() >= PROMISED


def test_every_command_is_explained_by_help() -> None:
    shown = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert targets() == set(re.findall(r"^  make ([a-z-]+)", shown, flags=re.MULTILINE))


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_documented_commands_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)(?:[A-Z_]+=\S+ )*make ([a-z][a-z-]*)", text, flags=re.MULTILINE))
    assert named <= targets(), f"{document.name} names commands the Makefile does not have"


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_documented_files_exist(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


def headings(document: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_documented_headings_exist(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", document.read_text(encoding="utf-8"))
    assert [(page, anchor) for page, anchor in links if anchor not in headings(document.parent / page if page else document)] == []


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_documented_settings_are_allowed(document: Path) -> None:
    """Examples in JSON are parameters of a flow: settings of a run, of a comparison, or lists and names beside them."""
    for block in re.findall(r"```json\n(.*?)```", document.read_text(encoding="utf-8"), flags=re.DOTALL):
        config = json.loads(block)["config"]
        TypeAdapter(ComparisonConfig if "shared" in config else JtmConfig).validate_python(config)


def test_every_module_of_the_core_has_its_place_in_the_list() -> None:
    (listed,) = re.findall(
        r"## The core by theme\n\n```text\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), flags=re.DOTALL
    )
    named = re.findall(r"[a-z][a-z0-9_]*(?:\.py|/)", listed)
    there = [f"{path.name}/" if path.is_dir() else path.name for path in (ROOT / "jtm_core").iterdir() if not path.name.startswith("__")]
    assert sorted(named) == sorted(there)


def test_deployments_point_at_flows() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    assert {deployment["name"] for deployment in deployments} == set(DEPLOYMENTS)
    for deployment in deployments:
        path, name = deployment["entrypoint"].split(":")
        defined = [node.name for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)]
        assert name in defined, deployment["entrypoint"]
        assert "pull" not in deployment


def test_retrainings_never_overlap() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    (retrain,) = (deployment for deployment in deployments if deployment["name"] == "retrain-jtm")
    assert retrain["concurrency_limit"]["limit"] == 1
    assert {"slug", "cron", "timezone"} <= set(retrain["schedules"][0])


def test_deployed_settings_are_the_demos() -> None:
    """The weekly retraining starts warm from the demo's versions, so their models must be alike."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    given = {deployment["name"]: deployment.get("parameters", {}).get("config") for deployment in deployments}
    read = TypeAdapter(JtmConfig).validate_python
    assert read(given["train-jtm"]) == demo_config()
    assert read(given["retrain-jtm"]).iterations >= 1
    compared, tuned = (
        TypeAdapter(kind).validate_python(given[name])
        for kind, name in ((ComparisonConfig, "compare-systems"), (TuningConfig, "tune-systems"))
    )
    plain = replace(demo_config(), training=replace(demo_config().training, nodes="uniform"))
    assert compared.shared == tuned.shared == plain


def test_deployed_comparison_repeats_no_run() -> None:
    """With the beam's nodes in common ``jtm`` would be ``jtm-otm`` over again."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    given = next(deployment["parameters"]["config"] for deployment in deployments if deployment["name"] == "compare-systems")
    fitted = {run.system: run.settings for run in planned_runs(TypeAdapter(ComparisonConfig).validate_python(given))}
    assert fitted["jtm"] != fitted["jtm-otm"]


def test_lock_holds_versions_only() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9._-]+==[^ ;]+( ; .+)?", line)] == []
    assert not any(line.startswith("torch==") for line in lines), "torch is installed first, not from the lock"
    names = [line.split("==")[0] for line in lines]
    assert names == sorted(set(names)), "one version of each, whatever the platform"


def test_tools_are_pinned_and_in_the_lock() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    text = (ROOT / "requirements.in").read_text(encoding="utf-8")
    pinned = re.findall(r"^([a-z0-9-]+==\S+)$", text, flags=re.MULTILINE)
    assert "ruff" in {line.split("==")[0] for line in pinned}
    assert [line for line in pinned if line not in lock] == []


def test_python_floor_is_the_same_everywhere() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["project"]["requires-python"] == ">=3.11"
    assert settings["tool"]["ruff"]["target-version"] == "py311"
    assert "(3, 11)" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_no_property_is_tested_beside_a_server_of_prefect() -> None:
    """A thread of Prefect that draws from ``random`` while Hypothesis makes an input fails that test."""
    assert not [path.name for path in (ROOT / "tests" / "flows").glob("*.py") if "hypothesis" in path.read_text(encoding="utf-8")]


def test_nothing_names_the_workplace_or_a_registry() -> None:
    found = {}
    for path in files():
        text = path.read_bytes().decode("utf-8", errors="replace")
        named = [word for word in FORBIDDEN if word in text]
        if named:
            found[str(path.relative_to(ROOT))] = named
    assert found == {}

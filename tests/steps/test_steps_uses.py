"""The parts of the config that a step names are those its module looks at: else a cached result could be stale."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from jtm_core.config import JtmConfig
from tasks.caching import Step

TASKS = Path(__file__).parents[2] / "tasks"
PROPERTIES = {"first_level": {"training", "evaluation"}}
"""Properties of the config, and the parts they are worked out from."""

SHARED = ("shards", "training_jobs")
"""Modules that other processes share with a step, and that look at its config."""


EXPERIMENT = "jtm_core.experiment"


def step_names() -> list[str]:
    return [path.stem for path in sorted(TASKS.glob("*.py")) if "@step(" in path.read_text()]


def parts_looked_at(module_path: Path) -> set[str]:
    """Attributes taken of anything called ``config`` in a module, in those of ``SHARED``, and in what it imports of ``EXPERIMENT``."""
    nodes = list(ast.walk(ast.parse(module_path.read_text())))
    shared = {name for node in nodes if isinstance(node, ast.ImportFrom) for name in SHARED if node.module == f"tasks.{name}"}
    nodes += [node for name in shared for node in ast.walk(ast.parse((TASKS / f"{name}.py").read_text()))]
    imported = {name.name for node in nodes if isinstance(node, ast.ImportFrom) and node.module == EXPERIMENT for name in node.names}
    nodes += [node for function in experiment_functions() if function.name in imported for node in ast.walk(function)]
    found = {node.attr for node in nodes if isinstance(node, ast.Attribute) and is_config(node.value)}
    parts = {field for name in found for field in PROPERTIES.get(name, {name})}
    return parts & {name for name, field in JtmConfig.__dataclass_fields__.items() if field.metadata.get("in_key", True)}


def experiment_functions() -> list[ast.FunctionDef]:
    """Functions of the core that take a whole config for the steps that call them."""
    source = inspect.getsource(importlib.import_module(EXPERIMENT))
    return [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]


def is_config(node: ast.expr) -> bool:
    """``config`` or ``anything.config``."""
    return "config" in (getattr(node, "id", ""), getattr(node, "attr", ""))


def steps_of(name: str) -> list[Step]:
    module = importlib.import_module(f"tasks.{name}")
    return [value for value in vars(module).values() if isinstance(value, Step) and value.__module__ == module.__name__]


@pytest.mark.parametrize("name", step_names())
def test_a_step_names_every_part_it_looks_at(name: str) -> None:
    named = {part for step in steps_of(name) for part in step.uses}
    looked_at = parts_looked_at(TASKS / f"{name}.py")
    assert looked_at == named, f"tasks/{name}.py looks at {sorted(looked_at)} of the config, its steps name {sorted(named)}"


def test_there_are_steps() -> None:
    assert {"train_model", "learn_tree", "plant_tree", "evaluate_model"} <= set(step_names())


@pytest.mark.parametrize("name", step_names())
def test_a_step_returns_references_only(name: str) -> None:
    for step in steps_of(name):
        returned = inspect.signature(step.fn).return_annotation
        assert returned.__module__ == "tasks.references", f"{name} returns {returned}"


def test_a_part_that_is_not_named_is_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("def f(config):\n    return config.seed + config.first_level\n")
    assert parts_looked_at(module) == {"seed", "training", "evaluation"}

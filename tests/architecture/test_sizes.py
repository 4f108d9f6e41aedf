"""Nothing grows past the size at which it can be read in one go."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("flows", "tasks", "jtm_core", "data_checks")
MODULES = sorted(path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py"))
MODULE_LINES, FUNCTION_LINES, FLOW_LINES, ARGUMENTS = 300, 45, 40, 6
CALLED_WITH_BAGS = {Path("data_checks/expectations.py")}  # Great Expectations calls an expectation's methods with **kwargs
FORBIDDEN_NAMES = {"utils", "common", "helpers", "base", "registry", "misc"}

Definition = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Function:
    """What a definition weighs; the docstring does not count."""

    name: str
    lines: int
    arguments: int
    untyped: tuple[str, ...]
    has_keyword_bag: bool


def functions_of(source: str) -> Iterator[Function]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Definition):
            yield weigh(node)


def weigh(node: Definition) -> Function:
    body = node.body[1:] if ast.get_docstring(node) else node.body
    arguments = [a for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs) if a.arg not in ("self", "cls")]
    bags = [bag for bag in (node.args.vararg, node.args.kwarg) if bag]
    untyped = [a.arg for a in (*arguments, *bags) if a.annotation is None]
    if node.returns is None:
        untyped.append("return")
    is_forwarding = node.args.kwarg is not None and "P.kwargs" in ast.unparse(node.args.kwarg.annotation or ast.Constant(""))
    return Function(
        name=node.name,
        lines=(node.end_lineno or 0) - body[0].lineno + 1 if body else 0,
        arguments=len(arguments),
        untyped=tuple(untyped),
        has_keyword_bag=node.args.kwarg is not None and not is_forwarding,
    )


def functions_in(module: Path) -> list[Function]:
    return list(functions_of((ROOT / module).read_text(encoding="utf-8")))


def test_weighing_sees_what_it_should() -> None:
    source = 'def f(a: int, *, b, **rest: int) -> int:\n    """Doc.\n\n    More.\n    """\n    a += 1\n    return a\n'
    (function,) = functions_of(source)
    assert function == Function("f", lines=2, arguments=2, untyped=("b",), has_keyword_bag=True)


def test_rooms_are_found() -> None:
    assert {module.parts[0] for module in MODULES} == set(ROOMS)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_module_is_small(module: Path) -> None:
    lines = len((ROOT / module).read_text(encoding="utf-8").splitlines())
    assert lines <= MODULE_LINES, f"{module} has {lines} lines; allowed are {MODULE_LINES}"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_functions_are_small(module: Path) -> None:
    cap = FLOW_LINES if module.parts[0] == "flows" else FUNCTION_LINES
    assert {f.name: f.lines for f in functions_in(module) if f.lines > cap} == {}
    assert {f.name: f.arguments for f in functions_in(module) if f.arguments > ARGUMENTS} == {}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_functions_are_typed(module: Path) -> None:
    assert {f.name: f.untyped for f in functions_in(module) if f.untyped} == {}


@pytest.mark.parametrize("module", [module for module in MODULES if module not in CALLED_WITH_BAGS], ids=str)
def test_no_keyword_bags(module: Path) -> None:
    assert [f.name for f in functions_in(module) if f.has_keyword_bag] == []


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_names_say_something(module: Path) -> None:
    assert FORBIDDEN_NAMES.isdisjoint((*module.parts[:-1], module.stem))


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_module_and_public_names_are_documented(module: Path) -> None:
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    public = [node for node in tree.body if isinstance(node, Definition | ast.ClassDef) and not node.name.startswith("_")]
    assert ast.get_docstring(tree), f"{module} has no docstring"
    assert [node.name for node in public if not ast.get_docstring(node)] == []


def test_no_test_package_shadows_a_room() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names)), "two test files share a name"

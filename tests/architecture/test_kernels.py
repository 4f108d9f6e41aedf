"""What numba compiles: every function says itself whether its sums may be reordered.

A function that does not say so inherits it from whichever caller happens to be compiled first, and is kept so in the cache on disk (numba,
issue 7168): equal seeds then give other bits in a process that compiled in another order.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = sorted(path.relative_to(ROOT) for path in (ROOT / "jtm_core").rglob("*.py"))


def unsaid(source: str) -> Iterator[str]:
    """Compiled functions that leave ``fastmath`` to their callers."""
    for node in ast.walk(ast.parse(source)):
        for decorator in getattr(node, "decorator_list", []):
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            if ast.unparse(called).endswith("njit"):
                said = [one for one in getattr(decorator, "keywords", []) if one.arg == "fastmath"]
                if not said or not isinstance(said[0].value, ast.Constant):
                    yield node.name  # type: ignore[attr-defined]


def test_looking_sees_what_it_should() -> None:
    source = "@njit\ndef a(): ...\n@numba.njit(cache=True)\ndef b(): ...\n@numba.njit(fastmath=FAST)\ndef c(): ...\n"
    assert list(unsaid(source)) == ["a", "b", "c"]
    assert not list(
        unsaid("@numba.njit(fastmath=False)\ndef a(): ...\n@njit(cache=True, fastmath=True)\ndef b(): ...\n@property\ndef c(): ...\n")
    )
    assert sum("njit" in (ROOT / module).read_text(encoding="utf-8") for module in CORE) > 20


@pytest.mark.parametrize("module", CORE, ids=str)
def test_compiled_functions_say_whether_sums_may_be_reordered(module: Path) -> None:
    assert list(unsaid((ROOT / module).read_text(encoding="utf-8"))) == []

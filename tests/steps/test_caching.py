"""Steps are done once: what makes two calls the same, and when a kept result may be used."""

import ast
import dataclasses
import importlib
import json
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from threading import Event

import numpy as np
import pytest

import jtm_core
from jtm_core.config import EvaluationConfig, JtmConfig, TrainingConfig
from tasks import caching
from tasks.caching import Step, running_step_key, step
from tasks.fingerprints import config_digest, key_part, library_versions, package_fingerprint
from tasks.references import ArtefactRef, ReportRef, SourceRef
from tasks.store import open_store

CALLS: list[int] = []


@dataclass(frozen=True)
class Pair:
    first: ReportRef
    second: ReportRef | None
    count: int


@step(run_name="double-{number}", uses=("training", "seed"))
def double(number: int, config: JtmConfig) -> Pair:
    """Store twice the number."""
    CALLS.append(number)
    assert len(running_step_key()) == 64
    return Pair(ReportRef(open_store().save_json("doubled", 2 * number)), None, number)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JTM_HOME", str(tmp_path))
    CALLS.clear()


def test_a_second_call_gives_the_first_result_without_computing() -> None:
    assert double.compute(3, JtmConfig()) == double.compute(3, JtmConfig())
    assert CALLS == [3]


def test_a_result_of_somebody_else_is_found_though_it_cannot_be_marked_as_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    first = double.compute(3, JtmConfig())
    monkeypatch.setattr("tasks.caching.os.utime", refuse)
    assert double.compute(3, JtmConfig()) == first
    assert CALLS == [3]


@pytest.mark.parametrize("fails", [False, True])
def test_a_second_run_of_a_step_waits_for_the_first(fails: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It takes over what the first one made, and goes to work itself only where that failed."""
    entered, may_end = Event(), Event()

    def slow(number: int) -> Pair:
        CALLS.append(number)
        entered.set()
        assert may_end.wait(30)
        if fails and len(CALLS) == 1:
            raise RuntimeError("out of memory")
        return Pair(ReportRef(open_store().save_json("doubled", 2 * number)), None, number)

    slow_step = step(run_name="slow")(slow)
    caplog.set_level(logging.INFO, logger="tasks.caching")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(slow_step.compute, 3)
        assert entered.wait(30)
        second = pool.submit(slow_step.compute, 3)
        deadline = time.monotonic() + 30
        while "another run is at slow" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "another run is at slow" in caplog.text
        assert CALLS == [3]
        may_end.set()
        assert second.result(30).count == 3
    assert bool(first.exception()) == fails
    assert len(CALLS) == 1 + fails
    assert not list((tmp_path / "steps").glob("*.lock"))


@pytest.mark.parametrize("changed", ["the step", "the core"])
def test_what_was_made_while_code_changed_is_not_kept(changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a package that is pulled while a run works, old and new modules may have had their part in it."""
    (tmp_path / "changing_room").mkdir()
    module = tmp_path / "changing_room" / "__init__.py"
    body = "from tasks.store import open_store\nfrom tasks.references import ReportRef\n"
    module.write_text(f"{body}def made(number: int) -> ReportRef:\n    return ReportRef(open_store().save_json('made', number))\n")
    monkeypatch.syspath_prepend(tmp_path)
    function = importlib.import_module("changing_room").made
    del sys.modules["changing_room"]
    of_code = step(run_name="made", packages=("changing_room",) if changed == "the core" else ())(function)
    source = module.read_text()
    assert of_code.compute(1) == of_code.compute(1)
    edited = module if changed == "the step" else module.with_name("other.py")
    edited.write_text(source + "# another\n")
    with pytest.raises(caching.CodeChangedError, match="the project's code was changed while made ran"):
        of_code.compute(2)
    assert len(list((tmp_path / "steps").glob("*.json"))) == 1
    module.write_text(source)
    module.with_name("other.py").unlink(missing_ok=True)
    of_code.compute(2)


def test_other_arguments_compute_again() -> None:
    double.compute(3, JtmConfig())
    double.compute(4, JtmConfig())
    double.compute(3, JtmConfig(seed=2))
    assert CALLS == [3, 4, 3]


def test_only_the_parts_in_use_are_in_the_key() -> None:
    key = double.key(3, JtmConfig())
    assert double.key(3, JtmConfig(iterations=9, evaluation=EvaluationConfig(small_beam_width=7))) == key
    assert double.key(3, JtmConfig(training=TrainingConfig(epochs=9))) != key


def test_positional_and_named_arguments_are_the_same_call() -> None:
    assert double.key(3, JtmConfig()) == double.key(config=JtmConfig(), number=3)


@pytest.mark.parametrize("damage", ["remove", "change"])
def test_a_kept_result_whose_artefact_is_damaged_is_made_again(damage: str) -> None:
    result = double.compute(3, JtmConfig())
    path = open_store().path(result.first)
    if damage == "remove":
        path.unlink()
    else:
        path.write_text("7\n")
    assert double.compute(3, JtmConfig()) == result
    assert CALLS == [3, 3]
    assert open_store().read_json(result.first) == 6


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"result": {"first": 1}}', '{"step": "double"}', '{"step": "double", "result": {"first": 1}}']
)
def test_an_unreadable_record_is_no_result(text: str, tmp_path: Path) -> None:
    result = double.compute(3, JtmConfig())
    (tmp_path / "steps" / f"{double.key(3, JtmConfig())}.json").write_text(text)
    assert double.compute(3, JtmConfig()) == result
    assert CALLS == [3, 3]


def test_a_step_that_fails_leaves_no_record(tmp_path: Path) -> None:
    @step(run_name="fail")
    def fail(number: int) -> ReportRef:
        """Fail."""
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        fail.compute(1)
    assert list((tmp_path / "steps").glob("*")) == []
    with pytest.raises(LookupError):
        running_step_key()


def test_the_record_says_which_step_it_is(tmp_path: Path) -> None:
    double.compute(3, JtmConfig())
    record = json.loads((tmp_path / "steps" / f"{double.key(3, JtmConfig())}.json").read_text())
    assert (record["step"], record["result"]["count"]) == ("double", 3)


def test_a_change_of_the_core_changes_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    key = double.key(3, JtmConfig())
    monkeypatch.setattr(caching, "package_fingerprint", lambda package: "other source")
    assert double.key(3, JtmConfig()) != key


def test_a_fingerprint_sees_every_byte_and_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = tmp_path / "some_room" / "inner"
    room.mkdir(parents=True)
    (room / "a.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    fingerprint = package_fingerprint.__wrapped__
    seen = [fingerprint("some_room")]
    (room / "a.py").write_text("x = 2\n")
    seen.append(fingerprint("some_room"))
    (room / "a.py").rename(room / "b.py")
    seen.append(fingerprint("some_room"))
    assert len(set(seen)) == 3
    (room / "notes.txt").write_text("not source")
    assert fingerprint("some_room") == seen[-1]


def test_keys_know_the_version_of_every_library_that_the_core_computes_with() -> None:
    imported = {
        name.split(".")[0]
        for path in Path(jtm_core.__path__[0]).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in getattr(node, "names", [])])
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    distributions = packages_distributions()
    used = {distributions[name][0] for name in imported - sys.stdlib_module_names - {"jtm_core"}}
    computes_nothing = {"annotated-types", "threadpoolctl"}
    assert used - computes_nothing == set(library_versions())


def test_a_fingerprint_needs_a_package() -> None:
    with pytest.raises(ValueError, match="'no_such_room' is not a package"):
        package_fingerprint("no_such_room")


def test_labels_stay_out_of_keys() -> None:
    here, there = (SourceRef(name="log.csv", sha256="0" * 64, path=path) for path in ("/a/log.csv", "/b/log.csv"))
    assert key_part(here) == key_part(there)
    assert key_part(dataclasses.replace(here, name="log.dat")) != key_part(here)
    assert "uri" not in key_part(ArtefactRef("tree", "0" * 64, "store/tree/x"))


def test_arrays_do_not_travel_between_steps() -> None:
    with pytest.raises(TypeError, match="a step cannot take a ndarray"):
        key_part((1, np.zeros(3)))


def test_every_dial_is_in_the_config_digest() -> None:
    assert config_digest(JtmConfig()) == config_digest(JtmConfig())
    assert config_digest(JtmConfig(seed=2)) != config_digest(JtmConfig())


def test_a_step_looks_like_the_function_it_is_made_of() -> None:
    assert isinstance(double, Step)
    assert (double.__name__, double.name, double.__doc__) == ("double", "double", "Store twice the number.")

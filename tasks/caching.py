"""Steps that are never done twice: a Prefect task whose result is kept beside the store, not in Prefect's database.

A step's key is the sha256 of its name, its arguments (references count by digest, of the config only the parts named
in ``uses``), its own module and the core's source and numeric libraries. When a step ends, ``$JTM_HOME/steps/<key>.json``
appears in one move; when it is called again, that record is used if every artefact it refers to is still whole, and
the task run ends as ``Cached``. Why not Prefect's own cache: docs/decisions/0003-caching.md.
"""

import dataclasses
import functools
import hashlib
import inspect
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar, cast, get_type_hints

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from prefect.states import Completed
from pydantic import TypeAdapter, ValidationError

from jtm_core.config import JtmConfig
from tasks.costs import Cost, StepCost, collect, cost_text, metered
from tasks.fingerprints import key_part, package_fingerprint
from tasks.locks import one_at_a_time
from tasks.references import ArtefactRef
from tasks.settings import jtm_home
from tasks.store import BrokenArtefactError, Store, canonical_json, digest_of_text, open_store, write_text_durably

P = ParamSpec("P")
R = TypeVar("R")

_running_key: ContextVar[str] = ContextVar("running_key")


class CodeChangedError(RuntimeError):
    """The source that a step's key stands for is not the source on disk any more."""


@dataclasses.dataclass(frozen=True, slots=True)
class Kept(Generic[R]):
    """A result found again, and what it cost to make."""

    value: R
    cost: Cost


class Step(Generic[P, R]):
    """A function that runs as a Prefect task unless its result is already there.

    Parameters
    ----------
    function : callable
        Takes references and settings, stores what it makes and returns references. Its annotated return type is what a
        record is read back as.
    run_name : str
        Template of the task run's name, e.g. ``"train-model-{data.name}-{iteration:02d}"``.
    uses : tuple of str
        Parts of an argument ``config: JtmConfig`` that the step looks at, and so the only ones in its key.
    packages : tuple of str
        Rooms whose source is part of the key.
    """

    def __init__(self, function: Callable[P, R], run_name: str, uses: tuple[str, ...], packages: tuple[str, ...]) -> None:
        self.fn = function
        self.name = function.__name__.replace("_", "-")
        self.uses = uses
        self._packages = packages
        self._source = _source_digest(function)
        self._signature = inspect.signature(function)
        functools.update_wrapper(self, function)

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R | State[R]:
            return self._run(*args, **kwargs)

        self.task = task(name=self.name, task_run_name=run_name, cache_policy=NO_CACHE, persist_result=False)(run)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run as a Prefect task, which ends as ``Cached`` if the result is already there."""
        outcome = self.task(*args, **kwargs)
        return cast(R, outcome.result() if isinstance(outcome, State) else outcome)

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Key of one call; equal exactly if the call must give the same result."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        parts = {
            "step": self.name,
            "arguments": {name: self._argument(value) for name, value in bound.arguments.items()},
            "code": [self._source, *(package_fingerprint(package) for package in self._packages)],
        }
        return digest_of_text(canonical_json(parts))

    def kept(self, store: Store, key: str) -> Kept[R] | None:
        """The result recorded under a key, if its artefacts are whole; ``prune-store`` goes by when it was found last."""
        path = _record_path(store, key)
        adapter: TypeAdapter[R] = TypeAdapter(get_type_hints(self.fn)["return"])
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            value, cost = adapter.validate_python(record["result"]), TypeAdapter(Cost).validate_python(record["cost"])
            for reference in references_in(value):
                store.path(reference)
        except (FileNotFoundError, ValueError, TypeError, KeyError, ValidationError, BrokenArtefactError):
            return None
        with suppress(OSError):  # it may be somebody else's, who shares this folder
            os.utime(path)
        return Kept(value, cost)

    def compute(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The result kept under the call's key, or a new one that is kept from now on; needs no Prefect run."""
        store, key = open_store(), self.key(*args, **kwargs)
        found = self.kept(store, key)
        return (found or self._alone(store, key, *args, **kwargs)[0]).value

    def _argument(self, value: Any) -> Any:
        if isinstance(value, JtmConfig):
            return {part: key_part(getattr(value, part)) for part in self.uses}
        return key_part(value)

    def _run(self, *args: P.args, **kwargs: P.kwargs) -> "R | State[R]":
        store, key = open_store(), self.key(*args, **kwargs)
        found = self.kept(store, key)
        iteration = self._signature.bind(*args, **kwargs).arguments.get("iteration")
        result, is_kept = (found, True) if found is not None else self._alone(store, key, *args, **kwargs)
        collect(StepCost(self.name, iteration, result.cost, is_kept=is_kept))
        if is_kept:
            get_run_logger().info("%s is already there, as step %s of %s", self.name, key[:12], store.home)
            return Completed(name="Cached", message=f"kept as step {key[:12]}", data=result.value)
        get_run_logger().info("%s took %s", self.name, cost_text(result.cost))
        return result.value

    def _alone(self, store: Store, key: str, *args: P.args, **kwargs: P.kwargs) -> tuple[Kept[R], bool]:
        """Make the result while no other run does; one that comes second waits, and finds what the first one left: (it, True)."""
        path = _record_path(store, key).with_suffix(".lock")
        with one_at_a_time(path, f"{self.name} (step {key[:12]})", step_logger()):
            found = self.kept(store, key)
            made = found or self._make(store, key, *args, **kwargs)
        return made, found is not None

    def _make(self, store: Store, key: str, *args: P.args, **kwargs: P.kwargs) -> Kept[R]:
        token = _running_key.set(key)
        try:
            with metered() as meter:
                value = self.fn(*args, **kwargs)
                cost = meter.cost()
        finally:
            _running_key.reset(token)
        self._require_code_of_key()
        adapter: TypeAdapter[R] = TypeAdapter(get_type_hints(self.fn)["return"])
        record = {"step": self.name, "result": adapter.dump_python(value, mode="json"), "cost": dataclasses.asdict(cost)}
        write_text_durably(_record_path(store, key), canonical_json(record, indent=1) + "\n")
        return Kept(value, cost)

    def _require_code_of_key(self) -> None:
        """Python loads a module when it is first asked for, so what an edit or a pull changed may have made a part of the result."""
        is_same = _source_digest(self.fn) == self._source
        if not is_same or any(package_fingerprint.__wrapped__(name) != package_fingerprint(name) for name in self._packages):
            raise CodeChangedError(
                f"the project's code was changed while {self.name} ran, so nothing tells which code made its result; it is not kept. "
                "Run the flow again: what was done before the change is there for the code that did it"
            )


def _source_digest(function: Callable[..., Any]) -> str:
    return hashlib.sha256(Path(inspect.getfile(function)).read_bytes()).hexdigest()


def step(*, run_name: str, uses: tuple[str, ...] = (), packages: tuple[str, ...] = ("jtm_core",)) -> Callable[[Callable[P, R]], Step[P, R]]:
    """Make a :class:`Step` of a function (decorator)."""
    return lambda function: Step(function, run_name, uses, packages)


def running_step_key() -> str:
    """Key of the step that is running, for its checkpoint.

    Raises
    ------
    LookupError
        Outside a step.
    """
    return _running_key.get()


def references_in(value: Any) -> Iterator[ArtefactRef]:
    """Every reference inside a step's result."""
    if isinstance(value, ArtefactRef):
        yield value
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from references_in(getattr(value, field.name))
    elif isinstance(value, tuple | list):
        for entry in value:
            yield from references_in(entry)


def step_logger() -> "logging.Logger | logging.LoggerAdapter[logging.Logger]":
    """Logger of the running step: Prefect's, whose lines are shown in the UI, or a plain one outside of a run."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger(__name__)


def checkpoint_path() -> Path:
    """Where the running step keeps its unfinished state."""
    return jtm_home() / "checkpoints" / f"{running_step_key()}.safetensors"


def _record_path(store: Store, key: str) -> Path:
    return store.home / "steps" / f"{key}.json"

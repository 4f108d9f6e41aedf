"""The stack as one thing: entered it runs, left it is gone."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.local_stack.children import Children, answers
from tasks.local_stack.groups import stop_marked
from tasks.local_stack.lock import Holder, StackLock
from tasks.local_stack.orchestration import WORK_POOL, client_of, close_abandoned_runs, has_worker, make_work_pool
from tasks.local_stack.place import LOOPBACK, Place, choose_place

_SERVER_SECONDS = 180.0
_DEPLOY_SECONDS = 180.0
_WORKER_SECONDS = 60.0
_WORKER_GRACE_SECONDS = 20.0
_RUNS_AT_ONCE = 2


@contextmanager
def local_stack(home: Path, tell: Callable[[str], None]) -> Iterator[tuple[Place, Children]]:
    """Start servers and worker on free loopback ports, deploy ``prefect.yaml``, and stop everything at the end.

    Parameters
    ----------
    home : Path
        ``JTM_HOME``: databases, artefacts and logs.
    tell : callable
        Takes one line for each thing that happens.

    Yields
    ------
    place, children
        Where everything is, and the processes, whose ``check`` the caller calls now and then.

    Raises
    ------
    StackIsRunning
        If a stack is alive on ``home``.
    StackFailed
        If a part does not start; the message quotes its log.
    """
    lock = StackLock(home)
    _stop_left_behind(home, tell)
    place = choose_place(home, _ports(lock.before))
    lock.announce(place.prefect_port, place.mlflow_port)
    children = Children(place.logs, place.environment(), lock.descriptor)
    try:
        _start(place, children, tell)
        yield place, children
    finally:
        with _undisturbed():
            tell("Stopping the worker and the servers ...")
            children.stop_all()
            _stop_left_behind(home, tell)
            lock.release()


def _stop_left_behind(home: Path, tell: Callable[[str], None]) -> None:
    """Stop flow runs that outlived their worker, before they are called crashed and others take their place."""
    num_stopped = stop_marked(str(home), _WORKER_GRACE_SECONDS)
    if num_stopped:
        tell(f"Stopped {num_stopped} processes that a worker had left behind")


def _start(place: Place, children: Children, tell: Callable[[str], None]) -> None:
    tell(f"Starting Prefect on port {place.prefect_port} and MLflow on port {place.mlflow_port}; logs are in {place.logs}")
    for folder in ("prefect", "mlflow"):
        (place.home / folder).mkdir(exist_ok=True)
    prefect = children.start("prefect-server", _prefect_server(place))
    mlflow = children.start("mlflow-server", _mlflow_server(place))
    children.wait_for(prefect, lambda: answers(f"{place.prefect_api}/health"), _SERVER_SECONDS)
    with client_of(place.prefect_api) as client:
        make_work_pool(client)
        closed = close_abandoned_runs(client)
        if closed:
            tell(f"Closed {closed} flow runs that an earlier stack had left open or missed")
        children.wait_for(mlflow, lambda: answers(f"{place.mlflow_url}/health"), _SERVER_SECONDS)
        worker = children.start("worker", _worker(), grace_seconds=_WORKER_GRACE_SECONDS)
        tell("Deploying prefect.yaml ...")
        children.run("deploy", ["prefect", "--no-prompt", "deploy", "--all"], _DEPLOY_SECONDS)
        children.wait_for(worker, lambda: has_worker(client), _WORKER_SECONDS)


def _prefect_server(place: Place) -> list[str]:
    return ["prefect", "server", "start", "--host", LOOPBACK, "--port", str(place.prefect_port)]


def _mlflow_server(place: Place) -> list[str]:
    """One process, the only one that opens the database: nobody else can race it while the tables are created."""
    folder = place.home / "mlflow"
    database, artefacts = f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts")
    where = ["--host", LOOPBACK, "--port", str(place.mlflow_port), "--workers", "1"]
    return ["mlflow", "server", *where, "--backend-store-uri", database, "--artifacts-destination", artefacts]


def _worker() -> list[str]:
    return ["prefect", "worker", "start", "--pool", WORK_POOL, "--type", "process", "--name", "local", "--limit", str(_RUNS_AT_ONCE)]


def _ports(before: Holder | None) -> tuple[int, int] | None:
    return (before.prefect_port, before.mlflow_port) if before else None


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold off a second Ctrl-C while things are being stopped: it would leave half of them running."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)

"""The supervisor without its servers: ports, lock, processes and what it shows. The servers themselves are the smoke's."""

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import Completed, Running
from rich.console import Console

from tasks.local_stack import __main__ as entry
from tasks.local_stack import children as children_module
from tasks.local_stack import stack, terminal
from tasks.local_stack.children import Children, StackFailed, answers, tail
from tasks.local_stack.following import Follower, LogLine, Moment, Progress, links_in, table_rows
from tasks.local_stack.groups import MARK, marked, members, stop_group, stop_marked
from tasks.local_stack.lock import Holder, StackIsRunning, StackLock, read_holder
from tasks.local_stack.orchestration import close_abandoned_runs
from tasks.local_stack.place import LOOPBACK, Place, choose_place, free_port, without_proxy
from tasks.local_stack.terminal import follow, results_table, status
from tasks.settings import PROJECT_ROOT

SLEEP = ["timeit", "-n1", "-r1", "import time; time.sleep(60)"]
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"


@contextmanager
def listening() -> Iterator[int]:
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        yield server.getsockname()[1]


def wait_until(is_so: Callable[[], bool], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.05)
    return is_so()


# Ports and environment


def test_preferred_port_is_taken_when_free() -> None:
    with listening() as port:
        pass
    assert free_port((port,)) == port


def test_a_port_in_use_is_passed_over() -> None:
    with listening() as busy:
        assert free_port((busy,)) not in (busy, 0)


def test_the_two_servers_never_share_a_port(tmp_path: Path) -> None:
    with listening() as port:
        pass
    place = choose_place(tmp_path, (port, port))
    assert place.prefect_port == port
    assert place.mlflow_port != port


def test_children_are_told_where_everything_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere/api")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    environment = Place(tmp_path, 4321, 5432).environment()
    assert environment["PREFECT_API_URL"] == environment["PREFECT_UI_API_URL"] == "http://127.0.0.1:4321/api"
    assert environment["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5432"
    assert environment["JTM_HOME"] == environment[MARK] == str(tmp_path)
    assert environment["PREFECT_SERVER_EPHEMERAL_ENABLED"] == environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environment["DO_NOT_TRACK"] == environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environment["OMP_NUM_THREADS"] == "1", "what the user sets stays"
    assert LOOPBACK in environment["NO_PROXY"]


def test_the_servers_database_is_the_stacks_own_whatever_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_HOST"):
        monkeypatch.setenv(name, "a team's server")
    assert not [name for name in Place(tmp_path, 4321, 5432).environment() if "DATABASE" in name]


def test_loopback_goes_past_a_proxy_beside_what_does_so_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("no_proxy", "shop.example,localhost")
    assert without_proxy() == dict.fromkeys(("NO_PROXY", "no_proxy"), "shop.example,localhost,127.0.0.1")


# Lock


def test_second_start_is_refused_by_name(tmp_path: Path) -> None:
    lock = StackLock(tmp_path)
    lock.announce(4321, 5432)
    with pytest.raises(StackIsRunning, match=rf"already running on {tmp_path} \(process {os.getpid()}, Prefect on port 4321\)"):
        StackLock(tmp_path)
    lock.release()
    again = StackLock(tmp_path)
    assert again.before == Holder(os.getpid(), 4321, 5432), "the next start prefers the same ports"
    again.release()


def test_start_waits_for_what_a_killed_supervisor_left(tmp_path: Path) -> None:
    watchdogs = StackLock(tmp_path)
    watchdogs.announce(4321, 5432)
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    text = (tmp_path / "stack.json").read_text().replace(str(os.getpid()), dead.stdout.strip())
    (tmp_path / "stack.json").write_text(text)
    with pytest.raises(StackIsRunning):
        StackLock(tmp_path, leftovers_seconds=0.3)
    timer = threading.Timer(0.5, watchdogs.release)
    timer.start()
    StackLock(tmp_path, leftovers_seconds=10).release()
    timer.join()


def test_unreadable_holder_is_nobody(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text("{")
    assert read_holder(tmp_path / "stack.json") is None
    assert read_holder(tmp_path / "absent.json") is None


# Processes


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[StackLock]:
    held = StackLock(tmp_path / "home")
    yield held
    held.release()


@pytest.fixture
def children(tmp_path: Path, lock: StackLock) -> Iterator[Children]:
    made = Children(tmp_path / "logs", os.environ, lock.descriptor)
    yield made
    made.stop_all()


def test_group_ends_with_what_its_leader_started() -> None:
    leader = subprocess.Popen(["/bin/sh", "-c", "sleep 60 & sleep 60"], start_new_session=True)
    assert wait_until(lambda: len(members(leader.pid)) == 3)
    assert stop_group(leader.pid, 5.0)
    leader.wait()
    assert members(leader.pid) == []


def test_what_does_not_listen_is_killed() -> None:
    leader = subprocess.Popen([sys.executable, "-c", STUBBORN], start_new_session=True, stdout=subprocess.PIPE)
    assert leader.stdout is not None
    leader.stdout.readline()
    assert not stop_group(leader.pid, 0.3)
    assert leader.wait() == -signal.SIGKILL
    leader.stdout.close()


def test_worker_stops_before_the_servers(children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    started = [children.start(name, SLEEP) for name in ("server", "worker")]
    children.check()
    stopped: list[int] = []

    def stop_and_note(leader: int, grace_seconds: float) -> bool:
        stopped.append(leader)
        return stop_group(leader, grace_seconds)

    monkeypatch.setattr(children_module, "stop_group", stop_and_note)
    children.stop_all()
    assert stopped == [child.process.pid for child in reversed(started)]
    assert [child.process.returncode for child in started] == [-signal.SIGTERM] * 2


def test_child_that_ends_by_itself_is_reported_with_its_log(children: Children) -> None:
    child = children.start("server", ["no_such_module"])
    with pytest.raises(StackFailed, match=r"(?s)server ended by itself with exit code 1; .*server\.log:.*No module named no_such_module"):
        children.wait_for(child, lambda: False, 15)


def test_child_that_never_gets_ready_is_reported(children: Children) -> None:
    child = children.start("server", SLEEP)
    with pytest.raises(StackFailed, match=r"server was not ready after 0 s"):
        children.wait_for(child, lambda: False, 0.1)


def test_commands_are_run_to_their_end(children: Children, tmp_path: Path) -> None:
    children.run("list", ["platform"], 30)
    assert "Linux" in (tmp_path / "logs" / "list.log").read_text() or sys.platform != "linux"
    children.check()
    with pytest.raises(StackFailed, match=r"(?s)deploy failed with exit code 1.*no_such_module"):
        children.run("deploy", ["no_such_module"], 30)


def test_command_that_takes_too_long_is_stopped(children: Children) -> None:
    with pytest.raises(StackFailed, match="deploy was not done after 0 s"):
        children.run("deploy", SLEEP, 0.2)
    children.check()


def test_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    script = (
        "import os, sys, time\nfrom pathlib import Path\n"
        "from tasks.local_stack.children import Children\nfrom tasks.local_stack.lock import StackLock\n"
        f"home = Path({str(tmp_path)!r})\nlock = StackLock(home)\nlock.announce(1, 2)\n"
        f"children = Children(home / 'logs', os.environ, lock.descriptor)\nchild = children.start('server', {SLEEP!r})\n"
        "print(child.process.pid, flush=True)\ntime.sleep(60)\n"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=PROJECT_ROOT)
    assert supervisor.stdout is not None
    orphan = psutil.Process(int(supervisor.stdout.readline()))
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    assert wait_until(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE)
    StackLock(tmp_path).release()


def test_what_a_killed_worker_left_is_found_by_its_stack(tmp_path: Path) -> None:
    """A flow run has a session of its own, and once the worker is gone no parent that is ours."""
    run = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, start_new_session=True).pid)"
    command = [sys.executable, "-c", run, sys.executable, "-c", "import time; time.sleep(60)"]
    homes = [str(tmp_path / name) for name in ("ours", "another's")]
    printed = [subprocess.run(command, env={**os.environ, MARK: home}, stdout=subprocess.PIPE, check=True).stdout for home in homes]
    ours, others = (psutil.Process(int(line)) for line in printed)
    assert [process.pid for process in marked(homes[0])] == [ours.pid]
    assert stop_marked(homes[0], 5.0) == 1
    assert wait_until(lambda: not ours.is_running() or ours.status() == psutil.STATUS_ZOMBIE)
    assert stop_marked(homes[0], 5.0) == 0
    assert others.is_running()
    others.kill()


def test_a_stack_stops_what_a_worker_left_when_it_starts_and_when_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "_start", lambda place, children, tell: None)
    environment, told = {**os.environ, MARK: str(tmp_path)}, list[str]()
    left = [subprocess.Popen([sys.executable, "-m", *SLEEP], env=environment)]
    with stack.local_stack(tmp_path, told.append):
        assert left[0].wait(15) == -signal.SIGTERM
        left.append(subprocess.Popen([sys.executable, "-m", *SLEEP], env=environment))
    assert left[1].wait(15) == -signal.SIGTERM
    assert told.count("Stopped 1 processes that a worker had left behind") == 2


def test_the_log_of_the_last_stack_is_kept(children: Children, tmp_path: Path) -> None:
    children.run("list", ["platform"], 30)
    log = next(tmp_path.rglob("list.log"))
    before = log.read_text()
    children.run("list", ["platform"], 30)
    assert before
    assert log.with_suffix(".log.before").read_text() == before


def test_a_killed_supervisors_ended_children_are_nobodys_to_stop(lock: StackLock, tmp_path: Path) -> None:
    """The process that has an ended child's id now is played by the child, told to have ended."""
    made = Children(tmp_path / "logs", os.environ, lock.descriptor)
    ended, alive = made.start("deploy", SLEEP), made.start("server", SLEEP)
    made._forget(ended)
    assert made._watchdog.stdin is not None
    made._watchdog.stdin.close()  # what the end of the supervisor does
    made._watchdog.wait()
    assert ended.process.poll() is None
    assert alive.process.wait() != 0
    stop_group(ended.process.pid, 1.0)
    ended.process.wait()


def test_the_watchdog_is_told_of_every_end(children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(children._watchdog, "stdin", told)
        children.run("deploy", ["platform"], 30)
        server = children.start("server", SLEEP)
        children.stop(server)
    lines = [line.split() for line in told.getvalue().decode().splitlines()]
    assert [word for _, word in lines] == ["10.0", "ended", "10.0", "ended"]
    assert [leader for leader, _ in lines] == [lines[0][0]] * 2 + [str(server.process.pid)] * 2


def test_health_is_asked_over_http() -> None:
    with listening() as port:
        pass
    assert not answers(f"http://{LOOPBACK}:{port}/health")


def test_tail_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    assert tail(log) == "(no log)"
    log.write_text("")
    assert tail(log) == "    (empty)"
    log.write_text("\n".join(map(str, range(100))))
    assert tail(log).splitlines()[-1] == "    99"
    assert len(tail(log).splitlines()) < 60


# What a run shows


class FakeServer:
    """A Prefect server with one flow run, as far as the supervisor asks."""

    def __init__(self) -> None:
        self.logs: list[SimpleNamespace] = []
        self.artifacts: list[SimpleNamespace] = []
        self.tasks: list[SimpleNamespace] = []
        self.state: Any = Running()

    def say(self, message: str, second: int, level: int = 20) -> None:
        self.logs.append(
            SimpleNamespace(
                id=uuid4(), message=message, level=level, task_run_id=None, timestamp=datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)
            )
        )

    def read_logs(self, which: Any, limit: int, offset: int, **_: object) -> list[SimpleNamespace]:
        after = which.timestamp.after_ if which.timestamp else None
        found = sorted((log for log in self.logs if after is None or log.timestamp >= after), key=lambda log: log.timestamp)
        return found[offset : offset + min(limit, 2)]

    def read_flow_run(self, run: UUID) -> SimpleNamespace:
        return SimpleNamespace(name="demo-ml-100k", state=self.state, estimated_run_time=datetime(2, 1, 1) - datetime(2, 1, 1))

    def read_task_runs(self, **_: object) -> list[SimpleNamespace]:
        return self.tasks

    def read_artifacts(self, artifact_filter: Any, **_: object) -> list[SimpleNamespace]:
        keys = artifact_filter.key.any_ if artifact_filter.key else None
        types = artifact_filter.type.any_ if artifact_filter.type else None
        return [a for a in self.artifacts if (keys is None or a.key in keys) and (types is None or a.type in types)]


def follower_of(server: FakeServer) -> Follower:
    return Follower(server, uuid4())  # type: ignore[arg-type]


def test_every_log_line_is_shown_once_though_some_come_late() -> None:
    server = FakeServer()
    follower = follower_of(server)
    for second in (1, 2, 5):
        server.say(f"line {second}", second)
    assert [line.message for line in follower.new_lines()] == ["line 1", "line 2", "line 5"]
    server.say("late", 4)
    server.say("new", 6, level=40)
    assert [(line.level, line.message) for line in follower.new_lines()] == [("INFO", "late"), ("ERROR", "new")]
    assert follower.new_lines() == []


def test_moment_counts_steps_and_shows_the_progress_of_a_running_one() -> None:
    server = FakeServer()
    server.tasks = [
        SimpleNamespace(id=uuid4(), name="check-log", state=Completed()),
        SimpleNamespace(id=uuid4(), name="train-model-01", state=Running()),
    ]
    server.artifacts = [SimpleNamespace(key="train", type="progress", data=40.0, description="40 of 100 samples")]
    moment = follower_of(server).moment()
    assert (moment.finished, moment.running, moment.progress) == (1, ("train-model-01",), Progress(40.0, "40 of 100 samples"))
    assert not moment.is_final
    server.artifacts[0].data = 100.0
    assert follower_of(server).moment().progress is None
    server.state = Completed()
    assert follower_of(server).moment().is_completed


def test_log_lines_name_their_step() -> None:
    server = FakeServer()
    server.tasks = [SimpleNamespace(id=uuid4(), name="train-model-01", state=Running())]
    follower = follower_of(server)
    follower.moment()
    server.say("loss 0.5", 1)
    server.logs[0].task_run_id = server.tasks[0].id
    assert [line.message for line in follower.new_lines()] == ["train-model-01: loss 0.5"]


def test_results_are_read_with_their_title_and_data() -> None:
    server = FakeServer()
    assert follower_of(server).results() is None
    server.artifacts = [
        SimpleNamespace(key="results", type="table", data='[{"method": "JTM", "recall": 0.5}]', description="Test users"),
        SimpleNamespace(key="data", type="markdown", data="**Synthetic data**", description=None),
        SimpleNamespace(key="mlflow", type="markdown", data="[MLflow](http://127.0.0.1:5000/#/1)", description=None),
    ]
    results = follower_of(server).results()
    assert results is not None
    assert (results.title, results.rows, results.data) == ("Test users", [{"method": "JTM", "recall": 0.5}], "**Synthetic data**")
    assert follower_of(server).links() == ["http://127.0.0.1:5000/#/1"]


def test_tables_are_read_by_rows_and_by_columns() -> None:
    assert table_rows('{"a": [1, 2], "b": [3, 4]}') == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    assert table_rows([{"a": 1}]) == [{"a": 1}]
    assert table_rows(None) == []
    assert links_in("no [link](relative.md)") == []


MOMENT = Moment("demo", "Running", "", False, False, 75.0, 3, ("train-model-01",), Progress(50.0, "half of it"))


class FakeFollower:
    """A run that is over at the second look."""

    def __init__(self) -> None:
        self.moments = [MOMENT, replace(MOMENT, state="Completed", is_final=True, is_completed=True)]
        self.lines = [[LogLine("10:00:00", "INFO", "train [one]")], [LogLine("10:00:01", "WARNING", "careful")], []]

    def moment(self) -> Moment:
        return self.moments.pop(0)

    def new_lines(self) -> list[LogLine]:
        return self.lines.pop(0)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_run_is_followed_to_its_end(is_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "_POLL_SECONDS", 0.0)
    monkeypatch.setattr(terminal, "_WORDS_SECONDS", -1.0)
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=100, soft_wrap=True, highlight=False)
    looks: list[int] = []
    ended = follow(FakeFollower(), console, lambda: looks.append(1))  # type: ignore[arg-type]
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert ended.is_completed
    assert len(looks) == 2
    assert all(words in shown for words in ("train [one]", "careful", "half of it"))


def test_status_names_what_is_running() -> None:
    console = Console(file=io.StringIO(), width=200)
    console.print(status(MOMENT))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "demo · 1:15 · 3 steps done · now: train-model-01" in shown
    assert "half of it" in shown


def test_results_table_holds_every_cell() -> None:
    console = Console(file=io.StringIO(), width=200)
    rows = [{"method": "JTM [3]", "recall": 0.25, "users": 94}, {"method": "popularity", "recall": None}]
    console.print(results_table(rows, "Results"))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(words in shown for words in ("JTM [3]", "25.00", "94", "popularity", "Results"))


# What is left open


def test_runs_left_open_are_closed_and_missed_ones_cancelled() -> None:
    alive = SimpleNamespace(id=uuid4(), auto_scheduled=False)
    missed = SimpleNamespace(id=uuid4(), auto_scheduled=True)
    waiting = SimpleNamespace(id=uuid4(), auto_scheduled=False)
    states: dict[UUID, StateType] = {}

    class Server:
        def read_flow_runs(self, flow_run_filter: Any, offset: int, **_: object) -> list[SimpleNamespace]:
            kinds = flow_run_filter.state.type.any_
            found = [missed, waiting] if StateType.SCHEDULED in kinds else [alive]
            return found[offset:]

        def set_flow_run_state(self, run: UUID, state: Any, force: bool) -> None:
            assert force
            states[run] = state.type

    assert close_abandoned_runs(Server()) == 2  # type: ignore[arg-type]
    assert states == {alive.id: StateType.CRASHED, missed.id: StateType.CANCELLED}


# The command


@pytest.fixture
def signals() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    environment = dict(os.environ)
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    os.environ.clear()
    os.environ.update(environment)


@pytest.mark.usefixtures("signals")
def test_second_start_ends_with_a_clear_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("JTM_HOME", str(tmp_path))
    lock = StackLock(tmp_path)
    lock.announce(4321, 5432)
    assert entry.main(["serve"]) == 1
    assert "a stack is already running" in capsys.readouterr().err
    lock.release()


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("inherited", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_nohup_ignores_stays_ignored_and_the_supervisor_asks_directly(
    inherited: signal.Handlers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JTM_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "shop.example")
    signal.signal(signal.SIGHUP, inherited)
    lock = StackLock(tmp_path)
    lock.announce(4321, 5432)
    assert entry.main(["serve"]) == 1
    assert (signal.getsignal(signal.SIGHUP) is signal.SIG_IGN) == (inherited is signal.SIG_IGN)
    assert signal.getsignal(signal.SIGINT) is entry._leave
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "shop.example,127.0.0.1,localhost"
    lock.release()


@pytest.mark.usefixtures("signals")
def test_a_signal_ends_it_through_the_way_out() -> None:
    with pytest.raises(SystemExit) as ended:
        entry._leave(signal.SIGTERM, None)
    assert ended.value.code == 143


def test_unknown_command_is_refused(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        entry.main(["walk"])
    assert "invalid choice: 'walk'" in capsys.readouterr().err

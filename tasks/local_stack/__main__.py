"""``python -m tasks.local_stack run|serve|smoke``."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tasks.local_stack.place import QUIET, without_proxy
from tasks.settings import jtm_home


def main(arguments: Sequence[str]) -> int:
    """Run one of the commands and return the process's exit code."""
    chosen = _parser().parse_args(arguments)
    _leave_on_signals()
    os.environ.update({**QUIET, **without_proxy()})
    _set_prefect_home(jtm_home() / "prefect")

    from tasks.local_stack import commands
    from tasks.local_stack.children import StackFailed
    from tasks.local_stack.lock import StackIsRunning

    try:
        if chosen.command == "smoke":
            return commands.smoke()
        return commands.run(jtm_home(), keep=chosen.keep) if chosen.command == "run" else commands.serve(jtm_home())
    except (StackFailed, StackIsRunning) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tasks.local_stack", description="Prefect, MLflow and a worker on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="start everything, run the demo, show its results, stop everything")
    run.add_argument("--keep", action="store_true", help="leave servers and worker up after the demo, until Ctrl-C")
    commands.add_parser("serve", help="start everything and keep it up until Ctrl-C")
    commands.add_parser("smoke", help="prove the whole path in a temporary folder: servers, worker, deployments, schedule, one run")
    return parser


def _set_prefect_home(folder: Path) -> None:
    """Keep Prefect out of the user's home; before its first import, which reads the variable and wants the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["PREFECT_HOME"] = str(folder)


def _leave_on_signals() -> None:
    """Let signals end the supervisor, but not a terminal's closing where it was started to outlive that (``nohup``)."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _leave)


def _leave(number: int, _frame: object) -> None:
    """End by an exception, so that everything started is stopped on the way out."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

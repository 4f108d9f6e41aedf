"""A flow run in the terminal: a live status under its log, at the end the results and where to look further."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tasks.local_stack.following import Follower, LogLine, Moment

TABLE_WIDTH = 130
"""Characters the results need; a narrower terminal breaks the lines rather than the figures."""
_POLL_SECONDS = 1.0
_WORDS_SECONDS = 15.0
_COLOURS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


def follow(follower: Follower, console: Console, check: Callable[[], None]) -> Moment:
    """Show a flow run until it is final, and return how it ended.

    Parameters
    ----------
    follower : Follower
        Of the run.
    console : Console
        A terminal gets a live status under the log, anything else plain lines.
    check : callable
        Called at every look; raises if the stack has broken.
    """
    said = time.monotonic()
    with Live(console=console, refresh_per_second=4) if console.is_terminal else nullcontext() as live:
        while True:
            check()
            moment = follower.moment()
            for line in follower.new_lines():
                _print_line(console, line)
            if live is not None:
                live.update(status(moment))
            elif moment.progress and time.monotonic() - said > _WORDS_SECONDS:
                said = time.monotonic()
                console.print(f"         {moment.progress.percent:3.0f} % {escape(moment.progress.description)}")
            if moment.is_final:
                break
            time.sleep(_POLL_SECONDS)
    time.sleep(_POLL_SECONDS)  # the last lines of a run reach the server after its last state
    for line in follower.new_lines():
        _print_line(console, line)
    return moment


def status(moment: Moment) -> RenderableType:
    """What stands under the log while a run goes on."""
    minutes, seconds = divmod(round(moment.seconds), 60)
    running = ", ".join(moment.running) or "-"
    head = Text.assemble(
        (f"{moment.state} ", "bold cyan"), f"{moment.name} · {minutes}:{seconds:02d} · {moment.finished} steps done · now: {running}"
    )
    if moment.progress is None:
        return head
    bar = Table.grid(padding=(0, 1))
    bar.add_row(ProgressBar(100, moment.progress.percent, width=30), Text(moment.progress.description))
    return Group(head, bar)


def results_table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """Lay out rows by the columns of the first one, all but the first to the right: they are shares, shown in percent."""
    table = Table(title=f"{title} In %.", title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for column, name in enumerate(rows[0]):
        table.add_column(escape(str(name)), justify="right" if column else "left", no_wrap=not column)
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in rows[0]))
    return table


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.2f}" if isinstance(value, float) else escape(str(value))


def _print_line(console: Console, line: LogLine) -> None:
    colour = _COLOURS.get(line.level, "default")
    console.print(f"[dim]{line.time}[/dim] [{colour}]{escape(line.message)}[/{colour}]")

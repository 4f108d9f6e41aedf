"""One self-contained page per experiment: tables and inline figures, light and dark, no script, nothing loaded."""

from collections.abc import Mapping, Sequence
from html import escape

from tasks.tracking.figures import make_figures
from tasks.tracking.records import Cell, Experiment, Row
from tasks.tracking.rendering import inline_svg
from tasks.tracking.series import SEARCHES, recall_cutoffs, segment_rows

_STYLE = """
:root { color-scheme: light dark; --ink: #24272b; --soft: #5d6269; --grid: #d6d9dd; --paper: #ffffff; --stripe: #f4f5f7; --link: #0b57b0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6e9; --soft: #a3a8b0; --grid: #43474e; --paper: #17191c; --stripe: #202327; --link: #7db7ff; }
}
body { margin: 2rem auto; max-width: 68rem; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif; }
body { color: var(--ink); background: var(--paper); }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; } a { color: var(--link); } p { color: var(--soft); }
div.wide { overflow-x: auto; } svg { width: 100%; height: auto; display: block; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th { white-space: normal; } th:first-child, td:first-child { text-align: left; } tbody tr:nth-child(even) { background: var(--stripe); }
table.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
"""

_TITLES = {
    "recall_over_iterations": "Recall over joint iterations",
    "layer_recall": "Layer-wise recall",
    "objective": "Objective of tree learning",
    "moved_share": "Items moved",
    "training_loss": "Training loss",
    "validation_recall": "Validation recall in training",
}


def make_html_report(experiment: Experiment) -> str:
    """Write an experiment's report.

    Parameters
    ----------
    experiment : Experiment

    Returns
    -------
    str
        An HTML page; the same text for the same experiment.
    """
    title = f"{experiment.name}: joint learning of tree and model on {experiment.data_name}"
    parts = [f"<h1>{escape(title)}</h1>", _facts(experiment.facts)]
    parts += _section("Results", _table(experiment.results), f"Measured on {experiment.users} users; shares between 0 and 1.")
    parts += _section("Iterations", _table(iteration_rows(experiment)), "Iteration 0 is the training on the first tree.")
    parts += [f"<h2>{_TITLES[name]}</h2>{inline_svg(figure, _TITLES[name])}" for name, figure in make_figures(experiment).items()]
    note = "Sum of log p over samples and levels, under the old and the new assignment, for the same model."
    parts += _section("Steps of tree learning", _table(_step_rows(experiment)), note)
    parts += _section("Cost of the steps", _table(experiment.costs), "Memory is the most that the process and its children held.")
    parts += _section("Config", _facts(experiment.config), "")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def iteration_rows(experiment: Experiment) -> list[Row]:
    """Table of iterations: recall at every cut-off, at the last one by every search, objective gain, moved share, gate."""
    cutoffs = recall_cutoffs(experiment)
    wanted = {f"{experiment.users}/recall_at_{cutoff}": f"recall@{cutoff}" for cutoff in cutoffs[:-1]}
    for search, title in SEARCHES.items():
        wanted |= {f"{experiment.users}/{search}recall_at_{cutoff}": f"@{cutoff} {title.removeprefix('JTM, ')}" for cutoff in cutoffs[-1:]}
    shown = {name: title for name, title in wanted.items() if any(name in iteration.metrics for iteration in experiment.iterations)}
    rows: list[Row] = []
    for iteration in experiment.iterations:
        learning = iteration.learning
        rows.append(
            {
                "iteration": iteration.number,
                **{title: iteration.metrics.get(name) for name, title in shown.items()},
                "objective gain": learning.objective_after - learning.objective_before if learning else None,
                "items moved": learning.moved_shares[-1] if learning and learning.moved_shares else None,
                "validation gate": "accepted" if iteration.is_accepted else "refused",
            }
        )
    return rows


_LARGE = 100


def _step_rows(experiment: Experiment) -> list[Row]:
    learned = [(iteration.number, iteration.learning) for iteration in experiment.iterations]
    return [{"iteration": number, **row} for number, learning in learned if learning for row in segment_rows(learning)]


def _section(title: str, content: str, note: str) -> list[str]:
    return [f"<h2>{title}</h2>", f"<p>{escape(note)}</p>" if note else "", content] if content else []


def _table(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(str(column))}</th>" for column in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(cell_text(cell))}</td>" for cell in row.values()) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def cell_text(cell: Cell) -> str:
    """Write a cell for people: shares to four places, large numbers with separators, nothing for None.

    Examples
    --------
    >>> [cell_text(cell) for cell in (0.123456, -76992.4, 12, None, "JTM")]
    ['0.1235', '-76,992.4', '12', '', 'JTM']
    """
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:,.4f}" if abs(cell) < _LARGE else f"{cell:,.1f}"
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)


def _facts(facts: Mapping[str, str]) -> str:
    body = "".join(f"<tr><th>{escape(title)}</th><td>{_linked(value)}</td></tr>" for title, value in facts.items())
    return f'<table class="facts"><tbody>{body}</tbody></table>' if facts else ""


def _linked(value: str) -> str:
    text = escape(value)
    return f'<a href="{text}">{text}</a>' if value.startswith(("http://", "https://")) else text

"""One self-contained page per experiment: tables and inline figures, light and dark, no script, nothing loaded."""

from html import escape

from tasks.tracking.figures import make_figures
from tasks.tracking.pages import make_facts, make_page, make_section, make_table
from tasks.tracking.records import Experiment, Row
from tasks.tracking.rendering import inline_svg
from tasks.tracking.series import SEARCHES, recall_cutoffs, segment_rows

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
    parts = [f"<h1>{escape(title)}</h1>", make_facts(experiment.facts)]
    parts += make_section("Results", make_table(experiment.results), f"Measured on {experiment.users} users; shares between 0 and 1.")
    parts += make_section("Iterations", make_table(iteration_rows(experiment)), "Iteration 0 is the training on the first tree.")
    parts += [f"<h2>{_TITLES[name]}</h2>{inline_svg(figure, _TITLES[name])}" for name, figure in make_figures(experiment).items()]
    note = "Sum of log p over samples and levels, under the old and the new assignment, for the same model."
    parts += make_section("Steps of tree learning", make_table(_step_rows(experiment)), note)
    parts += make_section("Cost of the steps", make_table(experiment.costs), "Memory is the most that the process and its children held.")
    parts += make_section("Config", make_facts(experiment.config), "")
    return make_page(title, parts)


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


def _step_rows(experiment: Experiment) -> list[Row]:
    learned = [(iteration.number, iteration.learning) for iteration in experiment.iterations]
    return [{"iteration": number, **row} for number, learning in learned if learning for row in segment_rows(learning)]

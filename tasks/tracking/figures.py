"""Figures of an experiment: pure functions from records to matplotlib figures, no files, no global state.

Every figure says in its title and axis labels what it shows in the words of the field, and is left out (None) where
there is nothing to draw.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tasks.tracking.drawing import GRID, INK, LEGEND, PANEL_TITLE, make_panels, put_title, shade, share_legend
from tasks.tracking.records import TRAINING_LOSS, VALIDATION_RECALL, Experiment, Iteration, TreeLearning
from tasks.tracking.series import SEARCHES, Points, layer_recall, over_iterations, recall_cutoffs, spread_out

_SEARCH_LINES = {"": ("#0072b2", "o", "-"), "small_beam/": ("#2b93cf", "s", "-"), "full_scan/": ("#009e73", "^", "--")}
_BASELINE_LINES = (("#d55e00", "--"), ("#cc79a7", "-."), ("#8a8d91", ":"), ("#b07d00", (0, (5, 1))))
_MOST_MARKERS = 25
_BEFORE, _AFTER = "#d55e00", "#0072b2"


def make_figures(experiment: Experiment) -> dict[str, Figure]:
    """Draw every figure the experiment has data for.

    Returns
    -------
    dict of str to Figure
        File name without ending -> figure, in the order of a report.
    """
    drawn = {
        "recall_over_iterations": recall_figure(experiment),
        "layer_recall": layer_recall_figure(experiment),
        "objective": objective_figure(experiment),
        "moved_share": moved_share_figure(experiment),
        "training_loss": loss_figure(experiment),
        "validation_recall": validation_figure(experiment),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def recall_figure(experiment: Experiment) -> Figure | None:
    """Recall over joint iterations, one panel per cut-off; comparison systems are horizontal lines, refused trees crosses."""
    cutoffs = recall_cutoffs(experiment)
    if not cutoffs:
        return None
    figure, panels = make_panels(len(cutoffs))
    for panel, cutoff in zip(panels, cutoffs, strict=True):
        _draw_recall(panel, experiment, f"recall_at_{cutoff}")
        panel.set_title(f"Recall@{cutoff}", **PANEL_TITLE)
        panel.set_xlabel("joint iteration")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel(f"recall, {experiment.users} users (%)")
    share_legend(figure, panels[0])
    put_title(figure, f"Recall over joint iterations, {experiment.data_name}")
    return figure


def _draw_recall(panel: Axes, experiment: Experiment, metric: str) -> None:
    for search, title in SEARCHES.items():
        points = over_iterations(experiment, search + metric)
        if points:
            colour, marker, style = _SEARCH_LINES[search]
            panel.plot(*_percent(points), color=colour, marker=marker, linestyle=style, label=title)
    for (title, metrics), (colour, line) in zip(experiment.baselines.items(), _BASELINE_LINES, strict=False):
        if metric in metrics:
            panel.axhline(100 * metrics[metric], color=colour, linestyle=line, label=title)
    refused = {iteration.number for iteration in experiment.iterations if not iteration.is_accepted}
    points = [point for point in over_iterations(experiment, metric) if point[0] in refused]
    if points:
        panel.plot(*_percent(points), color=INK, marker="x", markersize=9, linestyle="none", label="refused by the validation gate")


def layer_recall_figure(experiment: Experiment) -> Figure | None:
    """Share of the truth whose ancestor is in the beam, by level, a line per iteration."""
    lines = [(iteration, layer_recall(experiment, iteration)) for iteration in spread_out(experiment.iterations)]
    drawn = [(f"iteration {iteration.number}", _percent(points)) for iteration, points in lines if points]
    labels = ("level (0 is the root)", f"layer recall, {experiment.users} users (%)")
    return _line_per_iteration(drawn, f"Layer-wise recall of the beam, {experiment.data_name}", labels)


def moved_share_figure(experiment: Experiment) -> Figure | None:
    """Share of items whose ancestor changed in tree learning, by level, a line per iteration."""
    learned = [iteration for iteration in experiment.iterations if iteration.learning and iteration.learning.moved_shares]
    shares = [(iteration.number, list(enumerate(_learning(iteration).moved_shares))) for iteration in spread_out(tuple(learned))]
    drawn = [(f"iteration {number}", _percent(points)) for number, points in shares]
    labels = ("level (0 is the root)", "items with a new ancestor (%)")
    return _line_per_iteration(drawn, f"Items moved by tree learning, {experiment.data_name}", labels)


def loss_figure(experiment: Experiment) -> Figure | None:
    """Training loss over the epochs of each iteration."""
    labels = ("hundredths of an epoch", "mean loss per sample")
    return _line_per_iteration(_curves(experiment, TRAINING_LOSS), f"Training loss, {experiment.data_name}", labels)


def validation_figure(experiment: Experiment) -> Figure | None:
    """Validation recall after each epoch of each iteration."""
    title, labels = f"Validation recall in training, {experiment.data_name}", ("epoch", "recall, validation users")
    return _line_per_iteration(_curves(experiment, VALIDATION_RECALL), title, labels)


def _curves(experiment: Experiment, name: str) -> list[tuple[str, tuple[list[int], list[float]]]]:
    shown = spread_out(tuple(iteration for iteration in experiment.iterations if iteration.curves.get(name)))
    return [(f"iteration {iteration.number}", _columns(iteration.curves[name])) for iteration in shown]


def objective_figure(experiment: Experiment) -> Figure | None:
    """Objective of Algorithm 2 under the old and the new assignment: left in total, right the gain of each step."""
    learned = [iteration for iteration in experiment.iterations if iteration.learning]
    if not learned:
        return None
    figure, (total, gains) = make_panels(2)
    numbers = [iteration.number for iteration in learned]
    before = [_learning(iteration).objective_before for iteration in learned]
    after = [_learning(iteration).objective_after for iteration in learned]
    total.vlines(numbers, before, after, color=GRID, linewidth=3)
    total.plot(numbers, before, color=_BEFORE, marker="o", linestyle="none", label="old assignment")
    total.plot(numbers, after, color=_AFTER, marker="^", linestyle="none", label="new assignment")
    total.set_title("In total", **PANEL_TITLE)
    total.set(xlabel="joint iteration", ylabel="sum of log p over samples and levels")
    total.set_xticks(numbers[:: max(1, len(numbers) // 10)])
    total.margins(x=0.2)
    total.legend(**LEGEND)
    _draw_gains(gains, learned)
    put_title(figure, f"Objective of tree learning, {experiment.data_name}")
    return figure


def _draw_gains(panel: Axes, learned: Sequence[Iteration]) -> None:
    steps = sorted({(step.level_from, step.level_to) for iteration in learned for step in _learning(iteration).segments})
    for place, (top, bottom) in enumerate(steps):
        points = [
            (iteration.number, step.objective_after - step.objective_before)
            for iteration in learned
            for step in _learning(iteration).segments
            if (step.level_from, step.level_to) == (top, bottom)
        ]
        panel.plot(*_columns(points), color=shade(place, len(steps)), marker="o", label=f"levels {top} to {bottom}")
    panel.axhline(0, color=INK, linewidth=0.8)
    panel.set_title("Gain of each step (never below 0)", **PANEL_TITLE)
    panel.set(xlabel="joint iteration", ylabel="new minus old objective")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    if steps:
        panel.legend(**LEGEND)


def _line_per_iteration(lines: list[tuple[str, tuple[list[int], list[float]]]], title: str, labels: tuple[str, str]) -> Figure | None:
    if not lines:
        return None
    figure, (panel,) = make_panels(1)
    for place, (label, (steps, values)) in enumerate(lines):
        marker = "o" if len(steps) <= _MOST_MARKERS else ""
        panel.plot(steps, values, color=shade(place, len(lines)), marker=marker, markersize=4, label=label)
    panel.set(xlabel=labels[0], ylabel=labels[1])
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.legend(**LEGEND)
    put_title(figure, title)
    return figure


def _learning(iteration: Iteration) -> TreeLearning:
    assert iteration.learning is not None
    return iteration.learning


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]


def _percent(points: Points) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [100 * value for _, value in points]

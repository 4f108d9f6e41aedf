"""Figures of a comparison of systems: pure functions from records to matplotlib figures; left out where there is nothing to draw.

A system has the same colour and marker in every figure. Error bars are 95 % intervals where differences are drawn,
standard deviations over seeds elsewhere.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from jtm_core.comparison import Spread
from tasks.tracking.comparison_records import Contrast, ContrastKind, Judgement
from tasks.tracking.comparison_series import (
    LIST_MEASURES,
    Drawn,
    beam_widths,
    contrasts_of,
    ends_of,
    layer_points,
    measure_title,
    rounds_by_iteration,
    runs_of,
    spread,
    spread_of,
    systems_of,
    timing_of,
)
from tasks.tracking.drawing import INK, LEGEND, PANEL_TITLE, make_panels, put_title, share_legend

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a8d91", "#b07d00", "#2b93cf", "#9467bd", "#9a6355")
_MARKERS = "os^Dv<>PX*hpd8"
_BAR: dict[str, Any] = {"capsize": 2.5, "elinewidth": 1.0, "markersize": 5}
_BARS: Mapping[Drawn, dict[str, Any]] = {
    "users and items": {**_BAR, "color": _COLOURS[4], "capsize": 0},
    "users": {**_BAR, "color": _COLOURS[0], "elinewidth": 2.2},
}
"""Wide and grey below narrow and blue."""
_INTERVALS = "95 % intervals over users, grey: and items"
_ROW_HEIGHT = 0.3

Draw = Callable[[str, Judgement], Figure | None]


def make_comparison_figures(data_name: str, judgement: Judgement) -> dict[str, Figure]:
    """Draw every figure the comparison has numbers for: file name without ending -> figure, in the order of a report."""
    makers: Mapping[str, Draw] = {
        "differences": differences_figure,
        "recall_over_iterations": iterations_figure,
        "ablation": ablation_figure,
        "layer_recall": layers_figure,
        "recall_against_latency": latency_figure,
        "sensitivity": sensitivity_figure,
        "lists": lists_figure,
        "objective": objective_figure,
    }
    drawn = {name: make(data_name, judgement) for name, make in makers.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def differences_figure(data_name: str, judgement: Judgement) -> Figure | None:
    """Recall of every system less the reference's, with 95 % intervals, a panel a cut-off."""
    title = f"Recall less {judgement.reference}'s, test users, {_INTERVALS}, {data_name}"
    return _contrast_figure(judgement, "difference", title)


def ablation_figure(data_name: str, judgement: Judgement) -> Figure | None:
    """Gains over TDM of joint tree learning, of hierarchical features, their sum, and of both together."""
    return _contrast_figure(judgement, "ablation", f"Gain over TDM in recall, test users, {_INTERVALS}, {data_name}")


def _contrast_figure(judgement: Judgement, kind: ContrastKind, title: str) -> Figure | None:
    columns = [contrasts_of(judgement, kind, f"test/recall_at_{cutoff}") for cutoff in judgement.cutoffs]
    if not any(columns):
        return None
    figure, panels = make_panels(len(columns), height=1.6 + _ROW_HEIGHT * len(columns[0]))
    for panel, contrasts in zip(panels, columns, strict=True):
        names = [one.name for one in contrasts]
        places = list(range(len(names)))[::-1]
        for drawn, bar in _BARS.items():
            panel.errorbar([100 * one.mean for one in contrasts], places, None, _reaches(contrasts, drawn), fmt="o", **bar)
        panel.axvline(0, color=INK, linewidth=0.8)
        panel.set_yticks(places, names if panel is panels[0] else [""] * len(names))
        panel.set_ylim(-0.6, len(names) - 0.4)
        panel.set_title(measure_title(contrasts[0].measure), **PANEL_TITLE)
        panel.set_xlabel("percentage points")
    put_title(figure, title)
    return figure


def _reaches(contrasts: Sequence[Contrast], drawn: Drawn) -> list[list[float]]:
    """How far an interval reaches down and up from the mean, in percentage points."""
    # Where all users differ alike, mean and ends are equal but for rounding, and a reach below 0 is refused.
    ends = [(one.mean, *ends_of(one, drawn)) for one in contrasts]
    return [[100 * max(0.0, mean - low) for mean, low, _ in ends], [100 * max(0.0, high - mean) for mean, _, high in ends]]


def iterations_figure(data_name: str, judgement: Judgement) -> Figure | None:
    """Validation recall over joint iterations: after training, and hollow right after the tree changed (the paper's figure 2)."""
    systems = [system for system in systems_of(judgement) if len(rounds_by_iteration(judgement, system)) > 1]
    if not systems:
        return None
    figure, (panel,) = make_panels(1)
    for system in systems:
        rounds = rounds_by_iteration(judgement, system)
        colour, marker = _look(judgement, system)
        after = {iteration: spread([one.validation_recall for one in ones]) for iteration, ones in rounds.items()}
        _errorbar(panel, [(iteration, found) for iteration, found in after.items() if found], (colour, marker), system)
        recalls = {
            iteration: [one.recall_after_tree for one in ones if one.recall_after_tree is not None] for iteration, ones in rounds.items()
        }
        hollow = [(iteration, 100 * found.mean) for iteration, values in recalls.items() if (found := spread(values))]
        xs, ys = [i for i, _ in hollow], [value for _, value in hollow]
        panel.plot(xs, ys, color=colour, marker=marker, markerfacecolor="none", linestyle="none", markersize=6)
    panel.plot([], [], color=INK, marker="o", markerfacecolor="none", linestyle="none", label="right after the tree changed")
    panel.set(xlabel="joint iteration", ylabel="recall, validation users (%)")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    share_legend(figure, panel)
    put_title(figure, f"{measure_title(judgement.deciding)} over joint iterations, {data_name}")
    return figure


def layers_figure(data_name: str, judgement: Judgement) -> Figure | None:
    """Share of the truth whose ancestor is in the beam, by level, a line a system."""
    lines = {system: layer_points(judgement, system) for system in systems_of(judgement)}
    if not any(lines.values()):
        return None
    figure, (panel,) = make_panels(1)
    for system, points in lines.items():
        if points:
            colour, marker = _look(judgement, system)
            panel.plot([x for x, _ in points], [100 * y for _, y in points], color=colour, marker=marker, markersize=5, label=system)
    panel.set(xlabel="level (0 is the root)", ylabel="layer recall, test users (%)")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    share_legend(figure, panel)
    put_title(figure, f"Layer-wise recall of the beam, {data_name}")
    return figure


def latency_figure(data_name: str, judgement: Judgement) -> Figure | None:
    """Recall against the time of one user, a point a beam width, a panel a cut-off."""
    systems = [system for system in systems_of(judgement) if beam_widths(judgement, system)]
    if not systems:
        return None
    figure, panels = make_panels(len(judgement.cutoffs))
    for panel, cutoff in zip(panels, judgement.cutoffs, strict=True):
        for system in systems:
            _draw_latency(panel, judgement, system, cutoff)
        panel.set_xscale("log")
        panel.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        for axis_part in (panel.xaxis.set_major_formatter, panel.xaxis.set_minor_formatter):
            axis_part(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.set_xlabel("ms a user, one at a time (median)")
        panel.set_title(f"Recall@{cutoff}", **PANEL_TITLE)
    panels[0].set_ylabel("recall, test users (%)")
    share_legend(figure, panels[0])
    widths = ", ".join(str(width) for width in beam_widths(judgement, systems[0]))
    put_title(figure, f"Recall against latency, beam widths {widths}, {data_name}")
    return figure


def _draw_latency(panel: Axes, judgement: Judgement, system: str, cutoff: int) -> None:
    runs = runs_of(judgement, system)
    points = []
    for width in beam_widths(judgement, system):
        spent, recall = (timing_of(runs, f"beam_{width:04d}/milliseconds"), spread_of(runs, f"test/beam_{width:04d}/recall_at_{cutoff}"))
        if spent is not None and recall is not None:
            points.append((spent.mean, recall))
    _errorbar(panel, points, _look(judgement, system), system)


def sensitivity_figure(data_name: str, judgement: Judgement) -> Figure | None:
    """Recall of each variation of JTM less that of JTM as it is, with 95 % intervals, a panel a dial."""
    contrasts = contrasts_of(judgement, "sensitivity", f"test/recall_at_{judgement.cutoffs[-1]}")
    if not contrasts:
        return None
    dials = list(dict.fromkeys(one.name.partition("=")[0] for one in contrasts))
    figure, panels = make_panels(len(dials))
    for panel, dial in zip(panels, dials, strict=True):
        chosen = [one for one in contrasts if one.name.startswith(f"{dial}=")]
        places = list(range(len(chosen)))
        for drawn, bar in _BARS.items():
            panel.errorbar(places, [100 * one.mean for one in chosen], _reaches(chosen, drawn), fmt="o", **bar)
        panel.axhline(0, color=INK, linewidth=0.8)
        panel.set_xticks(places, [one.name.partition("=")[2] for one in chosen])
        panel.set_xlim(-0.5, len(chosen) - 0.5)
        panel.set_xlabel(dial)
    panels[0].set_ylabel(f"R@{judgement.cutoffs[-1]} less jtm's (percentage points)")
    put_title(figure, f"Sensitivity of jtm, one dial at a time, {_INTERVALS}, {data_name}")
    return figure


def lists_figure(data_name: str, judgement: Judgement) -> Figure | None:
    """Novelty, coverage, Gini and popularity percentile of every system's lists at the last cut-off."""
    systems = systems_of(judgement)
    last = judgement.cutoffs[-1]
    measured = {
        title: [(system, found) for system in systems if (found := spread_of(runs_of(judgement, system), f"test/{measure}_at_{last}"))]
        for measure, title in LIST_MEASURES.items()
    }
    if not any(measured.values()):
        return None
    figure, panels = make_panels(len(measured), height=1.6 + _ROW_HEIGHT * len(systems))
    for panel, (title, spreads) in zip(panels, measured.items(), strict=True):
        places = [len(systems) - 1 - systems.index(system) for system, _ in spreads]
        reaches = [found.deviation or 0.0 for _, found in spreads]
        panel.errorbar([found.mean for _, found in spreads], places, None, reaches, fmt="o", color=_COLOURS[0], **_BAR)
        panel.set_yticks(range(len(systems)), systems[::-1] if panel is panels[0] else [""] * len(systems))
        panel.set(xlim=(-0.05, 1.05), ylim=(-0.6, len(systems) - 0.4), xlabel=f"{title} @{last}")
    put_title(figure, f"What the lists are like, test users, {data_name}")
    return figure


def objective_figure(data_name: str, judgement: Judgement) -> Figure | None:
    """Objective of tree learning under the old and the new tree, per iteration, a panel a system, a shade a seed."""
    systems = [system for system in systems_of(judgement) if any(_objective_points(judgement, system))]
    if not systems:
        return None
    figure, panels = make_panels(len(systems))
    for panel, system in zip(panels, systems, strict=True):
        for place, points in enumerate(_objective_points(judgement, system)):
            shift = 0.12 * (place - (len(runs_of(judgement, system)) - 1) / 2)
            xs, before, after = ([point[column] for point in points] for column in range(3))
            shifted, colour = [x + shift for x in xs], _COLOURS[place % len(_COLOURS)]
            panel.vlines(shifted, before, after, color=colour, linewidth=2, alpha=0.6)
            panel.plot(shifted, after, color=colour, marker="^", linestyle="none", label=f"seed {runs_of(judgement, system)[place].seed}")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set_title(system, **PANEL_TITLE)
        panel.set_xlabel("joint iteration")
        panel.legend(**LEGEND)
    panels[0].set_ylabel("sum of log p, from old tree to new (triangle)")
    put_title(figure, f"Objective of every tree step, {data_name}")
    return figure


def _objective_points(judgement: Judgement, system: str) -> list[list[tuple[float, float, float]]]:
    """Iteration, objective before and after, of each run."""
    return [
        [
            (one.iteration, one.objective_before, one.objective_after)
            for one in run.rounds
            if one.objective_before is not None and one.objective_after is not None
        ]
        for run in runs_of(judgement, system)
    ]


def _look(judgement: Judgement, system: str) -> tuple[str, str]:
    place = systems_of(judgement).index(system)
    return _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]


def _errorbar(panel: Axes, points: Sequence[tuple[float, Spread]], look: tuple[str, str], label: str) -> None:
    """A line of means in percent with deviations over seeds."""
    xs, means = [x for x, _ in points], [100 * found.mean for _, found in points]
    deviations = [100 * (found.deviation or 0.0) for _, found in points]
    panel.errorbar(xs, means, deviations, color=look[0], marker=look[1], label=label, **_BAR)

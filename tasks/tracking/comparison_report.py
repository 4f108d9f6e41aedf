"""One self-contained page per comparison of systems: the paper's tables and figures, light and dark, no script, nothing loaded.

What was not measured has no section.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from matplotlib.figure import Figure

from tasks.tracking.comparison_figures import make_comparison_figures
from tasks.tracking.comparison_records import Comparison, Judgement
from tasks.tracking.comparison_series import (
    beam_rows,
    contrast_rows,
    cost_rows,
    failure_rows,
    list_rows,
    measure_title,
    round_rows,
    search_loss_rows,
    systems_of,
    table_rows,
    version_rows,
)
from tasks.tracking.pages import make_facts, make_page, make_section, make_table
from tasks.tracking.records import Row
from tasks.tracking.rendering import inline_svg


def _no_rows(judgement: Judgement) -> Sequence[Row]:
    return []


@dataclass(frozen=True, slots=True)
class _Section:
    """A part of the page; title and note may name the ``{reference}`` and what is ``{deciding}``."""

    title: str
    note: str
    rows: Callable[[Judgement], Sequence[Row]] = _no_rows
    figure: str = ""


_SPREAD = "Test users, in percent: mean over seeds ± standard deviation over seeds. P precision, R recall, F F-measure."
_POINTS = (
    "Percentage points with 95 % intervals; a user's recall is averaged over the seeds named, then paired. First over test users, each a "
    "judge of his own (bootstrap), then over users and the items they are asked for (two-way clustered variance): where the second is much "
    "wider, few items decide, and other days would ask for others."
)
_SECTIONS = (
    _Section("Precision, recall and F-measure", f"{_SPREAD} Items already seen may be listed.", lambda found: table_rows(found, "")),
    _Section(
        "The same without items already seen", f"{_SPREAD} Items already seen are left out.", lambda found: table_rows(found, "filtered/")
    ),
    _Section(
        "Differences to {reference}",
        f"Recall of a system less that of {{reference}}: below 0 {{reference}} is better. {_POINTS}",
        lambda found: contrast_rows(found.contrasts, "difference", "system"),
        "differences",
    ),
    _Section(
        "Recall over joint iterations",
        "{deciding} of validation users after training, and right after the tree changed. Joint learning (jtm) against clustering "
        "(jtm-two-means) is the paper's figure 2. Mean ± standard deviation over seeds.",
        round_rows,
        "recall_over_iterations",
    ),
    _Section(
        "Ablation in four cells",
        f"Gains over tdm of joint tree learning (J), hierarchical features (H), and both. {_POINTS}",
        lambda found: contrast_rows(found.contrasts, "ablation", "gain"),
        "ablation",
    ),
    _Section("Layer-wise recall", "Share of the truth whose ancestor on a level the beam kept, test users.", figure="layer_recall"),
    _Section(
        "Search loss",
        "Test users, in percent. Full scan: every leaf scored by the system's own network. Search loss: full scan less beam search "
        "of the users scanned, who are not all where the catalogue is large.",
        search_loss_rows,
    ),
    _Section(
        "Recall against latency",
        "Each finished tree searched by beams of several widths; test users. With a narrow beam the tree decides.",
        beam_rows,
        "recall_against_latency",
    ),
    _Section(
        "Sensitivity",
        f"jtm with one dial set otherwise, less jtm as it is, first seed. {_POINTS}",
        lambda found: contrast_rows(found.contrasts, "sensitivity", "setting"),
        "sensitivity",
    ),
    _Section(
        "Novelty, coverage and popularity of the lists",
        "Test users. Novelty: share of a list that is new to its user. Coverage: share of all items that are in any list. Gini: 0 if "
        "all items are listed equally often. Popularity percentile: 1 if only the most popular item of training is listed, 0.5 for "
        "lists at random.",
        list_rows,
        "lists",
    ),
    _Section(
        "Versions",
        "Trees and networks that a beam searches, best by {deciding} of validation users first. The deployment release-version takes one "
        "into service by its name; evaluate-version and open_retriever take any.",
        version_rows,
    ),
    _Section("Objective of every tree step", "Sum of log p under the old and the new tree for the same model.", figure="objective"),
    _Section(
        "Cost of the systems",
        "On the machine of this run, mean ± standard deviation over seeds. Memory is the most that the whole process held meanwhile, which "
        "includes what the systems before it left.",
        cost_rows,
    ),
)


def make_comparison_report(comparison: Comparison) -> str:
    """Write a comparison's report: an HTML page, the same text for the same comparison."""
    judgement = comparison.judgement
    title = f"Systems compared on {comparison.data_name}"
    parts = [f"<h1>{escape(title)}</h1>", make_facts({**_facts(judgement), **comparison.facts})]
    parts += make_section("Runs that failed", make_table(failure_rows(comparison)), "They are missing from everything below.")
    figures = make_comparison_figures(comparison.data_name, judgement)
    words = {"reference": judgement.reference, "deciding": measure_title(judgement.deciding)}
    for section in _SECTIONS:
        heading = section.title.format_map(words)
        drawn = _figure(heading, figures.get(section.figure))
        parts += make_section(heading, drawn + make_table(section.rows(judgement)), section.note.format_map(words))
    parts += make_section("Cost of the steps", make_table(comparison.costs), "Those that all systems share; in the order they were called.")
    parts += make_section(
        "Settings of single systems", make_table(comparison.own), "What they set otherwise than below, besides what makes them."
    )
    parts += make_section("Settings that all systems have in common", make_facts(comparison.config), "Save for those above.")
    return make_page(title, parts)


def _facts(judgement: Judgement) -> dict[str, str]:
    seeds = sorted({run.seed for run in judgement.runs})
    return {
        "systems": ", ".join(systems_of(judgement)),
        "seeds": ", ".join(map(str, seeds)),
        "users": ", ".join(f"{count:,} {role}" for role, count in judgement.num_users.items()),
    }


def _figure(title: str, figure: Figure | None) -> str:
    return "" if figure is None else inline_svg(figure, title)

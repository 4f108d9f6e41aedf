"""The report of a comparison: self-contained, every section, and every number in its tables one of the records."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from jtm_core.comparison import Spread
from tasks.tracking.comparison_figures import (
    _COLOURS,
    _reaches,
    ablation_figure,
    differences_figure,
    iterations_figure,
    latency_figure,
    layers_figure,
    lists_figure,
    make_comparison_figures,
    objective_figure,
    sensitivity_figure,
)
from tasks.tracking.comparison_records import Comparison, Contrast, FailedRun, Judgement, Round, SystemRun
from tasks.tracking.comparison_report import make_comparison_report
from tasks.tracking.comparison_series import (
    beam_rows,
    contrast_rows,
    cost_rows,
    list_rows,
    round_rows,
    search_loss_rows,
    spread_text,
    systems_of,
    table_rows,
    version_rows,
)
from tasks.tracking.comparisons import round_metrics
from tasks.tracking.figures import _BASELINE_LINES, _SEARCH_LINES

CUTOFFS = (10, 50)
SYSTEMS = ("popularity", "tdm", "jtm-j", "jtm-h", "jtm")
SECTIONS = (
    "Precision, recall and F-measure",
    "The same without items already seen",
    "Differences to jtm",
    "Recall over joint iterations",
    "Ablation in four cells",
    "Layer-wise recall",
    "Search loss",
    "Recall against latency",
    "Sensitivity",
    "Novelty, coverage and popularity of the lists",
    "Versions",
    "Objective of every tree step",
    "Cost of the systems",
)


def _metrics(level):
    """A different number for every name, rising with ``level``."""
    names = ("precision", "recall", "f_measure", "novelty", "coverage", "gini", "popularity_percentile")
    flat = [f"{seen}{name}_at_{cutoff}" for seen in ("", "filtered/") for cutoff in CUTOFFS for name in names]
    found = {f"test/{name}": level + place / 1000 for place, name in enumerate(flat)}
    return found | {f"validation/{name}": level + 0.1 + place / 1000 for place, name in enumerate(flat)}


def _tree_metrics(level):
    beams = {f"test/beam_{width:04d}/recall_at_{cutoff}": level + width / 1000 for width in (25, 100) for cutoff in CUTOFFS}
    searches = {f"test/{search}/recall_at_{cutoff}": level / 2 for search in ("full_scan", "search_loss") for cutoff in CUTOFFS}
    searches["test/full_scan/num_users"] = 64.0
    return beams | searches | {f"test/layer_recall/level_{place:02d}": 1 - place / 20 for place in (5, 6, 10)}


def _run(system, seed, variation=""):
    level = 0.1 * SYSTEMS.index(system) + 0.02 * seed
    has_tree = system != "popularity"
    rounds = tuple(
        Round(
            iteration=number,
            validation_recall=level + number / 100,
            recall_after_tree=level - 0.03 if number else None,
            objective_before=-1000.0 - number if number else None,
            objective_after=-900.0 if number else None,
            moved_share=0.4 if number else None,
        )
        for number in range(3 if has_tree else 0)
    )
    return SystemRun(
        system=system,
        seed=seed,
        variation=variation,
        metrics=_metrics(level) | (_tree_metrics(level) if has_tree else {}),
        rounds=rounds,
        timings={
            "fit_seconds": 10.0 * seed,
            "peak_memory_gb": 1.25,
            "list_seconds": 0.5,
            **({"beam_0025/milliseconds": 0.5, "beam_0100/milliseconds": 1.5} if has_tree else {}),
        },
        settings={"training.epochs": "4"},
        version=f"books-{system}-{seed}-{variation}" if has_tree else "",
    )


def _contrasts(kind, names):
    return [
        Contrast(
            kind=kind,
            name=name,
            seeds=(1, 2),
            measure=f"test/{seen}recall_at_{cutoff}",
            mean=0.01 * place,
            low=-0.02,
            high=0.05,
            two_way_low=-0.04,
            two_way_high=0.07,
        )
        for place, name in enumerate(names)
        for seen in ("", "filtered/")
        for cutoff in CUTOFFS
    ]


@pytest.fixture(scope="module")
def comparison():
    runs = [_run("popularity", 1), *(_run(system, seed) for seed in (1, 2) for system in SYSTEMS[1:])]
    runs += [_run("jtm", 1, f"tree_learning.gap={gap}") for gap in (2, 3)] + [_run("jtm", 1, "training.negatives=10")]
    contrasts = _contrasts("difference", SYSTEMS[:-1]) + _contrasts("ablation", ["J: jtm-j - tdm", "both - (J + H)"])
    contrasts += _contrasts("sensitivity", ["tree_learning.gap=2", "tree_learning.gap=3", "training.negatives=10"])
    users = {"validation": 90, "test": 94}
    judgement = Judgement(
        reference="jtm",
        cutoffs=CUTOFFS,
        deciding="validation/filtered/recall_at_10",
        num_users=users,
        runs=tuple(runs),
        contrasts=tuple(contrasts),
    )
    return Comparison(
        data_name="books",
        judgement=judgement,
        facts={"Prefect flow run": "http://localhost:4200/runs/flow-run/1"},
        costs=[{"step": "ingest-log", "seconds": 1.5}],
        config={"training.epochs": "4"},
        own=[{"system": "tdm", "setting": "training.tied_levels", "value": "False"}],
    )


@pytest.fixture(scope="module")
def report(comparison):
    return make_comparison_report(comparison)


class _Page(HTMLParser):
    """Collects headings, cells, and what a page loads; checks that tags nest."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.loaded, self.headings, self.cells = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.loaded += [value for name, value in attrs if name in ("src", "href", "xlink:href") and tag != "a"]
        if tag not in ("meta",):
            self.open.append(tag)
        if tag in ("h2", "td"):
            (self.headings if tag == "h2" else self.cells).append("")

    def handle_startendtag(self, tag, attrs):
        self.loaded += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h2", "td"):
            (self.headings if self.open[-1] == "h2" else self.cells)[-1] += data


def _read(text):
    page = _Page()
    page.feed(text)
    assert page.open == []
    return page


def test_the_report_is_whole_self_contained_and_the_same_each_time(comparison, report):
    page = _read(report)
    assert [heading for heading in page.headings if heading in SECTIONS] == list(SECTIONS)
    assert page.seen.count("svg") == 8
    assert "script" not in page.seen
    assert all(value.startswith("#") for value in page.loaded)
    assert "url(http" not in report
    assert "prefers-color-scheme: dark" in report
    assert report == make_comparison_report(comparison)


def test_every_number_of_every_table_is_in_the_records(comparison, report):
    """Each cell is read back: a mean and a deviation over the two seeds, or a contrast with its interval."""
    judgement = comparison.judgement
    page = _read(report)
    tables = [table_rows(judgement, ""), table_rows(judgement, "filtered/"), list_rows(judgement), beam_rows(judgement)]
    tables += [search_loss_rows(judgement), cost_rows(judgement), round_rows(judgement), version_rows(judgement)]
    tables += [contrast_rows(judgement.contrasts, kind, "name") for kind in ("difference", "ablation", "sensitivity")]
    assert all(str(cell) in page.cells for rows in tables for row in rows for cell in row.values())
    for row in table_rows(judgement, "filtered/")[1:]:
        level = 0.1 * SYSTEMS.index(row["system"]) + 0.03  # mean of the seeds 1 and 2
        places = {"P@10": 14, "R@10": 15, "F@10": 16, "P@50": 21, "R@50": 22, "F@50": 23}
        for column, place in places.items():
            assert row[column] == f"{100 * (level + place / 1000):.2f} ± 1.41"


def test_the_page_says_what_decides_who_was_scanned_and_what_single_systems_set(comparison, report):
    assert "R@10 unseen of validation users after training" in report
    assert f"R@10 unseen over joint iterations, {comparison.data_name}" in report
    assert search_loss_rows(comparison.judgement)[0]["users scanned"] == "64 ± 0"
    cells = _read(report).cells
    assert cells[cells.index("training.tied_levels") :][:2] == ["training.tied_levels", "False"]


def _contrast(one, other):
    """WCAG 2.2: contrast ratio of two colours as ``#rrggbb``."""
    light = []
    for colour in (one, other):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        light.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(light) + 0.05) / (min(light) + 0.05)


def test_lines_stand_out_on_light_and_dark_paper(report):
    """By 3 at least, as WCAG 2.2 (1.4.11) asks of graphics."""
    papers = re.findall(r"--paper: (#[0-9a-f]{6})", report)
    assert len(papers) == 2
    drawn = {*_COLOURS, *(line[0] for line in (*_SEARCH_LINES.values(), *_BASELINE_LINES))}
    assert {colour: paper for colour in drawn for paper in papers if _contrast(colour, paper) < 3} == {}


def test_a_seedless_system_has_no_deviation(comparison):
    first = table_rows(comparison.judgement, "")[0]
    assert (first["system"], first["seeds"], first["R@10"], first["validation R@50"]) == ("popularity", 1, "2.10", "12.80")


def test_versions_begin_with_the_best_by_validation_users(comparison):
    rows = version_rows(comparison.judgement)
    assert len(rows) == sum(run.system != "popularity" for run in comparison.judgement.runs)
    assert [row["variation"] != "none" for row in rows] == sorted(run.variation != "" for run in comparison.judgement.runs if run.version)
    recalls = [float(row["validation R@10 unseen"]) for row in rows if row["variation"] == "none"]
    assert recalls == sorted(recalls, reverse=True)
    assert rows[0] == {
        "version": "books-jtm-2-",
        "system": "jtm",
        "seed": 2,
        "variation": "none",
        "validation R@10 unseen": f"{recalls[0]:.2f}",
    }


def test_contrasts_are_written_with_sign_and_both_intervals(comparison):
    rows = contrast_rows(comparison.judgement.contrasts, "difference", "system")
    ends = {"users": "[-2.00, +5.00]", "users and items": "[-4.00, +7.00]"}
    measures = ["R@10", "R@50", "R@10 unseen", "R@50 unseen"]
    for row, (drawn, end) in zip(rows[2:4], ends.items(), strict=True):
        assert row == {"system": "tdm", "seeds": "1, 2", "interval over": drawn, **dict.fromkeys(measures, f"+1.00 {end}")}


def test_variations_are_in_no_table_of_systems(comparison):
    assert systems_of(comparison.judgement) == list(SYSTEMS)
    assert [row["seeds"] for row in table_rows(comparison.judgement, "")] == [1, 2, 2, 2, 2]


def test_rounds_are_over_seeds_and_say_nothing_of_trees_before_there_is_a_step(comparison):
    rows = [row for row in round_rows(comparison.judgement) if row["system"] == "jtm"]
    assert [row["iteration"] for row in rows] == [0, 1, 2]
    assert (rows[0]["R after tree step"], rows[0]["items moved, %"], rows[0]["objective gain"]) == ("", "", "")
    assert (rows[2]["R after training"], rows[2]["R after tree step"]) == ("45.00 ± 1.41", "40.00 ± 1.41")
    assert (rows[2]["items moved, %"], rows[2]["objective gain"]) == ("40.00 ± 0.00", "102 ± 0")


def test_what_was_not_measured_is_left_out(comparison):
    judgement = comparison.judgement
    plain = replace(judgement, runs=judgement.runs[:1], contrasts=(), reference="popularity")
    page = _read(make_comparison_report(replace(comparison, judgement=plain)))
    assert [heading for heading in page.headings if heading in SECTIONS] == [
        "Precision, recall and F-measure",
        "The same without items already seen",
        "Novelty, coverage and popularity of the lists",
        "Cost of the systems",
    ]
    assert set(make_comparison_figures("books", plain)) == {"lists"}
    empty = replace(judgement, runs=(), contrasts=())
    assert make_comparison_figures("books", empty) == {}


def test_failed_runs_come_first(comparison, report):
    failed = FailedRun(system="hsm", seed=2, variation="", reason="ValueError: <b>")
    page = _read(make_comparison_report(replace(comparison, failures=(failed,))))
    assert page.headings[0] == "Runs that failed"
    assert {"hsm", "ValueError: <b>"} <= set(page.cells)
    assert "Runs that failed" not in _read(report).headings


def test_names_cannot_smuggle_markup_into_the_report(comparison):
    text = make_comparison_report(replace(comparison, data_name="<script>alert(1)</script>"))
    assert "<script>" not in text


def _bars(panel):
    """Places of the markers of every error bar container: x, y."""
    return [(list(bar.lines[0].get_xdata()), list(bar.lines[0].get_ydata())) for bar in panel.containers]


def test_differences_are_drawn_in_percentage_points_with_both_intervals(comparison):
    first, _ = differences_figure("books", comparison.judgement).axes
    for bar, (means, places), ends in zip(first.containers, _bars(first), ([-4.0, 7.0], [-2.0, 5.0]), strict=True):
        assert means == pytest.approx([0.0, 1.0, 2.0, 3.0])
        assert places == [3, 2, 1, 0]  # the first system on top
        (segments,) = bar.lines[2]
        assert segments.get_segments()[1][:, 0] == pytest.approx(ends)


def test_each_figure_draws_what_its_table_says(comparison):
    judgement = comparison.judgement
    (panel,) = iterations_figure("books", judgement).axes
    assert _bars(panel)[-1][1] == pytest.approx([43.0, 44.0, 45.0])
    (layers,) = layers_figure("books", judgement).axes
    assert list(layers.get_lines()[-1].get_xdata()) == [5, 6, 10]
    fast, _ = latency_figure("books", judgement).axes
    assert _bars(fast)[-1] == ([0.5, 1.5], pytest.approx([45.5, 53.0]))
    gaps, negatives = sensitivity_figure("books", judgement).axes
    assert [label.get_text() for label in gaps.get_xticklabels()] == ["2", "3"]
    assert negatives.get_xlabel() == "training.negatives"
    assert len(lists_figure("books", judgement).axes) == 4
    assert [panel.get_title() for panel in objective_figure("books", judgement).axes] == list(SYSTEMS[1:])
    assert len(ablation_figure("books", judgement).axes) == 2


def test_every_figure_is_titled_with_its_data(comparison):
    for figure in make_comparison_figures("a$b$c", comparison.judgement).values():
        assert "a$b$c" in figure.get_suptitle()
        assert all(panel.get_xlabel() for panel in figure.axes)


@pytest.mark.parametrize(("found", "text"), [(None, ""), (Spread(0.5, None, 1), "50.00"), (Spread(0.12345, 0.0012, 3), "12.35 ± 0.12")])
def test_spreads_are_written_for_people(found, text):
    assert spread_text(found) == text


def test_a_round_is_logged_without_what_it_has_not():
    assert round_metrics(Round(iteration=0, validation_recall=0.5)) == {"round/validation_recall": 0.5}
    assert set(round_metrics(Round(iteration=1, validation_recall=0.5, moved_share=0.1))) == {
        "round/validation_recall",
        "round/moved_share",
    }


def test_ends_that_miss_the_mean_by_rounding_alone_reach_nowhere():
    (same,) = _contrasts("difference", ["tdm"])[:1]
    rounded = replace(same, mean=1 / 3, low=np.nextafter(1 / 3, 1), high=np.nextafter(1 / 3, 0))
    assert _reaches([rounded], "users") == [[0.0], [0.0]]

"""Figures and the HTML report: what they show, and that the same experiment gives the same bytes."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.tracking.figures import layer_recall_figure, loss_figure, make_figures, moved_share_figure, objective_figure, recall_figure
from tasks.tracking.html_report import iteration_rows, make_html_report
from tasks.tracking.pages import cell_text
from tasks.tracking.records import TRAINING_LOSS, VALIDATION_RECALL, Experiment, Iteration, Segment, TreeLearning
from tasks.tracking.rendering import inline_svg, png_bytes, svg_bytes
from tasks.tracking.series import layer_recall, recall_cutoffs, segment_rows, spread_out


def _iteration(number):
    recall = 0.125 * (1 + number)
    learning = TreeLearning(
        objective_before=-100.0 + number,
        objective_after=-90.0 + number,
        segments=(
            Segment(level_from=0, level_to=2, objective_before=-60.0, objective_after=-54.0, kept_parents=0, num_parents=1),
            Segment(level_from=2, level_to=3, objective_before=-40.0, objective_after=-36.0, kept_parents=1, num_parents=4),
        ),
        moved_shares=(0.0, 0.25, 0.5, 0.75),
    )
    return Iteration(
        number=number,
        is_accepted=number != 2,
        metrics={
            "test/recall_at_10": recall,
            "test/recall_at_50": 2 * recall,
            "test/small_beam/recall_at_10": recall / 2,
            "test/full_scan/recall_at_10": recall,
            "test/layer_recall/level_9": 0.5,
            "test/layer_recall/level_10": 0.25,
            "validation/recall_at_10": 0.0,
        },
        curves={TRAINING_LOSS: [(0, 3.0), (10, 2.0)], VALIDATION_RECALL: [(1, 0.1), (2, 0.2)]},
        learning=learning if number else None,
    )


@pytest.fixture
def experiment():
    return Experiment(
        name="demo",
        data_name="books",
        iterations=tuple(_iteration(number) for number in range(3)),
        baselines={"popularity": {"recall_at_10": 0.0625}, "Item-CF": {"recall_at_10": 0.1}},
        results=[{"system": "popularity", "recall_at_10": 0.0625}, {"system": "JTM", "recall_at_10": 0.375}],
        facts={"Prefect flow run": "http://localhost:4200/runs/flow-run/1"},
        config={"training.epochs": "4"},
    )


def _lines(panel):
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in panel.get_lines()}


def test_recall_has_a_panel_per_cutoff_with_every_search_and_baseline(experiment):
    first, second = recall_figure(experiment).axes
    lines = _lines(first)
    assert lines["JTM, beam search"] == ([0, 1, 2], [12.5, 25.0, 37.5])
    assert lines["JTM, small beam"] == ([0, 1, 2], [6.25, 12.5, 18.75])
    assert lines["popularity"][1] == [6.25, 6.25]
    assert lines["refused by the validation gate"] == ([2], [37.5])
    assert set(_lines(second)) == {"JTM, beam search", "refused by the validation gate"}
    assert (first.get_title(), second.get_title()) == ("Recall@10", "Recall@50")


def test_the_validation_users_can_be_shown_instead(experiment):
    (panel,) = recall_figure(replace(experiment, users="validation")).axes
    assert _lines(panel)["JTM, beam search"] == ([0, 1, 2], [0.0, 0.0, 0.0])
    assert panel.get_ylabel() == "recall, validation users (%)"


def test_levels_are_ordered_as_numbers(experiment):
    assert layer_recall(experiment, experiment.iterations[0]) == [(9, 0.5), (10, 0.25)]
    (panel,) = layer_recall_figure(experiment).axes
    assert _lines(panel)["iteration 0"] == ([9, 10], [50.0, 25.0])


def test_tree_learning_figures_show_only_iterations_that_learned_a_tree(experiment):
    total, gains = objective_figure(experiment).axes
    assert _lines(total)["old assignment"] == ([1, 2], [-99.0, -98.0])
    assert _lines(total)["new assignment"] == ([1, 2], [-89.0, -88.0])
    assert _lines(gains)["levels 2 to 3"] == ([1, 2], [4.0, 4.0])
    (moved,) = moved_share_figure(experiment).axes
    assert _lines(moved) == {f"iteration {number}": ([0, 1, 2, 3], [0.0, 25.0, 50.0, 75.0]) for number in (1, 2)}


def test_loss_is_drawn_per_iteration(experiment):
    (panel,) = loss_figure(experiment).axes
    assert _lines(panel)["iteration 1"] == ([0, 10], [3.0, 2.0])


def test_every_figure_has_a_title_and_axis_labels(experiment):
    figures = make_figures(experiment)
    assert len(figures) == 6
    for figure in figures.values():
        assert "books" in figure.get_suptitle()
        assert all(panel.get_xlabel() for panel in figure.axes)
        assert figure.axes[0].get_ylabel()


def test_what_was_not_measured_is_left_out():
    bare = Experiment(name="demo", data_name="books", iterations=(Iteration(number=0, is_accepted=True, metrics={}),))
    assert make_figures(bare) == {}
    assert "<svg" not in make_html_report(bare)
    assert make_figures(replace(bare, iterations=())) == {}


@settings(max_examples=30)
@given(st.integers(0, 60), st.integers(2, 9))
def test_iterations_are_spread_out_with_first_and_last(count, at_most):
    iterations = tuple(Iteration(number=number, is_accepted=True, metrics={}) for number in range(count))
    shown = [iteration.number for iteration in spread_out(iterations, at_most)]
    assert shown == sorted(set(shown))
    assert len(shown) == min(count, at_most)
    assert shown[:1] + shown[-1:] == ([0, count - 1] if count else [])


def test_the_same_figure_gives_the_same_bytes(experiment):
    first, second = recall_figure(experiment), recall_figure(experiment)
    assert png_bytes(first, dots_per_inch=50) == png_bytes(second, dots_per_inch=50)
    assert svg_bytes(first) == svg_bytes(second)
    assert png_bytes(first, dots_per_inch=50).startswith(b"\x89PNG")


def test_an_inline_figure_takes_the_colours_of_its_page(experiment):
    text = inline_svg(loss_figure(experiment), "Training loss")
    assert text.startswith('<svg role="img" aria-label="Training loss"')
    assert "var(--ink)" in text
    assert "#35373a" not in text
    assert not re.search(r"<svg[^>]* width=", text)


class _Page(HTMLParser):
    """Collects tags, and checks that they nest."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.loaded = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.loaded += [value for name, value in attrs if name in ("src", "href", "xlink:href") and tag != "a"]
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.loaded += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_is_whole_self_contained_and_the_same_each_time(experiment):
    text = make_html_report(experiment)
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert page.seen.count("svg") == 6
    assert "script" not in page.seen
    assert all(value.startswith("#") for value in page.loaded)
    assert "prefers-color-scheme: dark" in text
    assert '<a href="http://localhost:4200/runs/flow-run/1">' in text
    assert text == make_html_report(experiment)


def test_names_cannot_smuggle_markup_into_the_report(experiment):
    text = make_html_report(
        replace(experiment, data_name="<script>alert(1)</script>", facts={"<b>": "javascript:alert(1)"}, config={"a": "<i>"})
    )
    assert "<script>" not in text
    assert "<b>" not in text
    assert 'href="javascript' not in text


def test_the_iterations_table_shows_recall_gain_moves_and_the_gate(experiment):
    rows = iteration_rows(experiment)
    assert rows[0]["objective gain"] is None
    assert (rows[2]["recall@10"], rows[2]["@50 beam search"], rows[2]["validation gate"]) == (0.375, 0.75, "refused")
    assert (rows[1]["objective gain"], rows[1]["items moved"]) == (10.0, 0.75)
    assert recall_cutoffs(experiment) == [10, 50]
    assert [row["gain"] for row in segment_rows(experiment.iterations[1].learning)] == [6.0, 4.0]


@pytest.mark.parametrize(("cell", "text"), [(0.123456, "0.1235"), (-76992.4, "-76,992.4"), (12345, "12,345"), (None, ""), (True, "True")])
def test_cells_are_written_for_people(cell, text):
    assert cell_text(cell) == text


def test_a_data_set_named_like_a_formula_is_drawn_as_it_is(experiment):
    assert b"a$\\b$c" in svg_bytes(loss_figure(replace(experiment, data_name="a$\\b$c")))

"""The page of a comparison: whole, self-contained, honest about what was not measured."""

import re

import pytest

from tasks.tracking.comparison_figures import make_comparison_figures
from tasks.tracking.comparison_records import Comparison, Contrast, FailedRun, Judgement, Round, SystemRun
from tasks.tracking.comparison_report import make_comparison_report
from tasks.tracking.comparison_series import round_rows, table_rows


def run(system: str, seed: int, recall: float, on_tree: bool = True) -> SystemRun:
    metrics = {f"test/{part}{name}_at_10": recall for part in ("", "filtered/") for name in ("recall", "precision", "f_measure", "novelty")}
    rounds: tuple[Round, ...] = ()
    if on_tree:
        metrics |= {"test/beam_0025/recall_at_10": recall / 2, "test/beam_0050/recall_at_10": recall, "test/layer_recall/level_06": 0.75}
        step = Round(
            iteration=1, validation_recall=0.4, recall_after_tree=0.35, objective_before=-90.0, objective_after=-80.0, moved_share=0.5
        )
        rounds = (Round(iteration=0, validation_recall=0.3), step)
    timings = {"fit_seconds": 4.0, "peak_memory_gb": 0.5, "beam_0025/milliseconds": 1.0, "beam_0050/milliseconds": 2.0}
    return SystemRun(system=system, seed=seed, metrics=metrics, rounds=rounds, timings=timings)


def comparison(*runs: SystemRun, failures: tuple[FailedRun, ...] = ()) -> Comparison:
    bounds = {"low": -0.03, "high": -0.01, "normal_low": -0.03, "normal_high": -0.01}
    better = Contrast(kind="difference", name="tdm", measure="test/recall_at_10", mean=-0.02, **bounds)
    judgement = Judgement(reference="jtm", cutoffs=(10,), num_users={"test": 100}, runs=runs, contrasts=(better,))
    return Comparison(data_name="shop", judgement=judgement, failures=failures)


@pytest.fixture
def whole() -> Comparison:
    return comparison(run("popularity", 1, 0.05, on_tree=False), run("tdm", 1, 0.10), run("jtm", 1, 0.12), run("jtm", 2, 0.16))


def test_the_page_loads_nothing_and_runs_nothing(whole: Comparison) -> None:
    page = make_comparison_report(whole)
    assert re.findall(r"""(?:src|href)=["']https?:""", page) == []
    assert "<script" not in page
    assert page == make_comparison_report(whole)


def test_every_figure_of_a_table_stands_on_the_page(whole: Comparison) -> None:
    page = make_comparison_report(whole)
    jtm = next(row for row in table_rows(whole.judgement, "") if row["system"] == "jtm")
    assert "14.00 ± 2.83" in str(jtm)
    for row in table_rows(whole.judgement, ""):
        for cell in row.values():
            assert str(cell) in page


def test_rounds_show_what_the_tree_step_did(whole: Comparison) -> None:
    assert round_rows(whole.judgement)
    page = make_comparison_report(whole)
    for heading in ("Recall over joint iterations", "Layer-wise recall", "Recall against latency", "Objective of every tree step"):
        assert f"<h2>{heading}</h2>" in page


def test_what_was_not_measured_has_no_section() -> None:
    page = make_comparison_report(comparison(run("popularity", 1, 0.05, on_tree=False)))
    for heading in ("Recall over joint iterations", "Layer-wise recall", "Recall against latency", "Sensitivity", "Runs that failed"):
        assert f"<h2>{heading}</h2>" not in page
    assert "<h2>Precision, recall and F-measure</h2>" in page


def test_failed_runs_are_named_with_their_reason(whole: Comparison) -> None:
    failed = FailedRun(system="als", seed=1, variation="", reason="MemoryError: <no> room")
    page = make_comparison_report(comparison(*whole.judgement.runs, failures=(failed,)))
    assert "MemoryError: &lt;no&gt; room" in page


def test_figures_are_drawn_for_what_there_is(whole: Comparison) -> None:
    assert {"differences", "recall_against_latency", "layer_recall", "objective"} <= set(make_comparison_figures("shop", whole.judgement))

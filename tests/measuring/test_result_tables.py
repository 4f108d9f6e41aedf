"""From a finished comparison to records and from records to the page: every number survives, other runs' records stay."""

import json
from pathlib import Path

import pytest

from benchmarks.collect_comparison import main as collect
from benchmarks.result_tables import RESULTS, accuracy, contrasts, lines_of, whole_page
from jtm_core.comparison_config import ComparisonConfig
from jtm_core.config import DataConfig, JtmConfig
from tasks.kept_comparisons import KeptComparison, UnknownComparisonError, keep_comparison, kept_comparison
from tasks.tracking.comparison_records import Contrast, FailedRun, Judgement, Round, SystemRun

METRICS = ("recall_at_10", "filtered/recall_at_10")


def system_run(system: str, seed: int, recall: float) -> SystemRun:
    metrics = {f"{users}/{metric}": recall for users in ("test", "validation") for metric in METRICS}
    rounds = (Round(iteration=0, validation_recall=recall, objective_after=-5.0),)
    return SystemRun(system=system, seed=seed, metrics=metrics, rounds=rounds, timings={"fit_seconds": 2.0})


def comparison(failures: tuple[FailedRun, ...] = ()) -> KeptComparison:
    ends = {"mean": -0.05, "low": -0.07, "high": -0.03, "normal_low": -0.07, "normal_high": -0.03}
    contrast = Contrast(kind="difference", name="tdm", measure="test/recall_at_10", **ends)
    runs = (system_run("tdm", 1, 0.1), system_run("jtm", 1, 0.15), system_run("jtm", 2, 0.25))
    judgement = Judgement(reference="jtm", cutoffs=(10,), num_users={"test": 9}, runs=runs, contrasts=(contrast,))
    data = DataConfig(name="books", path="/home/somebody/ratings_Books.csv")
    return KeptComparison(ComparisonConfig(shared=JtmConfig(data=data), systems=("tdm", "jtm"), seeds=(1, 2)), judgement, failures)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of results with a record of another run, and a kept comparison."""
    monkeypatch.setenv("JTM_HOME", str(tmp_path / "home"))
    folder = tmp_path / "results"
    (folder / "configs").mkdir(parents=True)
    earlier = {"config": "configs/books.json", "commit": "a", "command": "train", "system": "jtm", "iteration": 1, "users": "test"}
    (folder / "books.jsonl").write_text(json.dumps(earlier | {"metric": "recall_at_10", "value": 0.125}) + "\n")
    keep_comparison(comparison())
    return folder


def test_a_kept_comparison_is_read_back_as_it_was(results: Path) -> None:
    assert kept_comparison("books") == comparison()
    with pytest.raises(UnknownComparisonError, match="no finished comparison on 'films'"):
        kept_comparison("films")


def test_records_hold_every_number_once_and_leave_those_of_other_runs(results: Path) -> None:
    collect("books", "b", results)
    collect("books", "c", results)
    lines = lines_of(results / "books.jsonl")
    assert [line["commit"] for line in lines] == ["a"] + ["c"] * (len(lines) - 1)
    found = {(line["system"], line["seed"], line["users"], line["metric"]): line["value"] for line in lines[1:]}
    assert found["jtm", 2, "test", "recall_at_10"] == 0.25
    assert found["jtm", 2, "validation", "round/validation_recall"] == 0.25
    assert found["jtm", 2, "train", "round/objective_after"] == -5.0
    assert found["tdm", 1, "train", "time/fit_seconds"] == 2.0
    assert found["tdm", None, "test", "difference/recall_at_10"] == -0.05
    assert len(found) == len(lines) - 1 == 3 * (4 + 2 + 1) + 1


def test_the_config_can_be_run_again_and_names_no_place_of_this_machine(results: Path) -> None:
    collect("books", "b", results)
    config = json.loads((results / "configs" / "books-systems.json").read_text())["config"]
    assert config["shared"]["data"]["path"] == "/data/ratings_Books.csv"
    assert config["seeds"] == [1, 2]


def test_a_comparison_with_holes_is_not_kept(results: Path) -> None:
    keep_comparison(comparison((FailedRun(system="hsm", seed=2, variation="", reason="x"),)))
    with pytest.raises(ValueError, match="lacks hsm seed 2"):
        collect("books", "b", results)


def test_tables_have_means_deviations_and_intervals(results: Path) -> None:
    collect("books", "b", results)
    lines = [line for line in lines_of(results / "books.jsonl") if line["commit"] == "b"]
    assert accuracy(lines).splitlines()[2:] == ["| tdm | 10.00 | 10.00 | 10.00 |", "| jtm | 20.00 ± 7.07 | 20.00 ± 7.07 | 20.00 ± 7.07 |"]
    assert contrasts(lines, "difference").splitlines()[2:] == ["| tdm | -5.00 [-7.00, -3.00] |"]
    assert contrasts(lines, "ablation") == ""


def test_the_page_is_filled_between_its_marks_and_nowhere_else(results: Path) -> None:
    page = "before\n<!-- tables: books -->\nold\n<!-- end of tables -->\nafter\n"
    filled = whole_page(page, results)
    assert filled.startswith("before\n<!-- tables: books -->\n")
    assert filled.endswith("<!-- end of tables -->\nafter\n")
    assert "| jtm, iteration 1 | 12.50 |" in filled
    assert "old" not in filled
    assert whole_page(filled, results) == filled


@pytest.mark.parametrize(
    "page", ["nothing", "<!-- tables: books -->\n<!-- end of tables -->\n<!-- tables: films -->\n<!-- end of tables -->"]
)
def test_a_page_that_does_not_fit_the_records_is_refused(results: Path, page: str) -> None:
    with pytest.raises(ValueError, match="each needs the other"):
        whole_page(page, results)


def test_the_committed_page_is_what_the_committed_records_say() -> None:
    page = (RESULTS / "README.md").read_text(encoding="utf-8")
    assert whole_page(page, RESULTS) == page

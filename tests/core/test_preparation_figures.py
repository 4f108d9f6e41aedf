"""The preparation's benchmark goes the whole way of the steps, in a process of its own."""

import pytest

from benchmarks.logs import LogShape, write_user_behavior
from benchmarks.preparation import in_new_process


def test_figures_of_a_small_log(tmp_path):
    write_user_behavior(tmp_path / "log.csv", LogShape(rows=6000, users=150, items=1200, categories=12, seed=1))
    figures = {record.name: record.value for record in in_new_process(tmp_path / "log.csv")}
    assert figures["preparation_rows"] == 6000
    assert 5000 < figures["preparation_behaviours"] < 6000
    assert figures["preparation_rows_per_s"] == pytest.approx(6000 / figures["preparation_s"], rel=0.05)
    assert 0.05 < figures["preparation_peak_rss_gb"] < 3
    phases = ("ingest", "prepare", "split", "store_behaviours", "store_split", "store_items", "store_users")
    assert sum(figures[f"preparation_{phase}_s"] for phase in phases) == pytest.approx(figures["preparation_s"], abs=0.05)
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_a_failure_says_why(tmp_path):
    (tmp_path / "log.csv").write_text("a b c\n")
    with pytest.raises(RuntimeError, match=r"the format of .* cannot be told"):
        in_new_process(tmp_path / "log.csv")

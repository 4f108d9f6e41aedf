"""Records of comparisons become tables; the pages around them stay, and no page says what the records do not."""

import json
from pathlib import Path

import pytest

from benchmarks import collect_comparison, result_tables
from benchmarks.result_tables import SHORT_LOGS, Column, between, comparison_table, made_anew, overview_table, short_table
from jtm_core.comparison_config import SEEDLESS


def record(system: str, seed: int, metric: str, value: float, users: str = "test") -> dict[str, object]:
    return {"system": system, "seed": seed, "users": users, "metric": metric, "value": value}


def write(folder: Path, name: str, *found: dict[str, object]) -> None:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in found), encoding="utf-8")


def test_a_table_holds_means_and_deviations_over_seeds() -> None:
    found = [
        record("jtm", 1, "recall_at_10", 0.10),
        record("jtm", 2, "recall_at_10", 0.20),
        record("jtm", 1, "filtered/recall_at_10", 0.3),
        record("jtm", 1, "filtered/recall_at_10", 0.4, users="validation"),
        record("popularity", 1, "recall_at_10", 0.05),
    ]
    _, _, jtm, popularity = comparison_table(found)
    assert jtm == "| jtm | 2 | 15.00 ± 7.07 | 30.00 | 40.00 |"
    assert popularity == "| popularity | 1 | 5.00 | - | - |"


def test_the_overview_takes_a_system_from_the_first_source_that_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(result_tables, "RESULTS", tmp_path)
    write(tmp_path, "new", record("jtm", 1, "recall_at_10", 0.20), record("jtm", 2, "recall_at_10", 0.30))
    write(tmp_path, "old", record("jtm", 1, "recall_at_10", 0.90), record("hsm", 1, "recall_at_10", 0.10))
    write(tmp_path, "other", record("hsm", 1, "filtered/recall_at_10", 0.4))
    head, _, hsm, jtm = overview_table([Column("A", ("new", "old"), (10,)), Column("B", ("other",), (10,), "filtered/")])
    assert head == "| system | A, 10 | B, 10 |"
    assert (hsm, jtm) == ("| hsm | 10.0 | **40.0** |", "| jtm | **25.0** | - |")


def test_what_is_shown_in_short_has_the_best_of_every_log_and_cutoff() -> None:
    head, _, *rows = short_table()
    assert len(head.split(" | ")) == 1 + len(SHORT_LOGS)
    for cells in list(zip(*(row.strip("| ").split(" | ") for row in rows), strict=True))[1:]:
        shown = [cell.split(" / ") for cell in cells if cell != "-"]
        assert all(any(part.startswith("**") for part in cutoff) for cutoff in zip(*shown, strict=True))


def test_only_what_lies_between_the_marks_changes() -> None:
    page = "a\n<!-- comparison x -->\nold\n<!-- end of comparison x -->\nb\n"
    assert between(page, "comparison x", ["new"]) == "a\n<!-- comparison x -->\nnew\n<!-- end of comparison x -->\nb\n"
    with pytest.raises(ValueError, match="marks"):
        between(page, "comparison y", ["new"])


def test_a_page_names_config_and_commit_of_a_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(result_tables, "RESULTS", tmp_path)
    write(tmp_path, "x", record("jtm", 1, "recall_at_10", 0.20) | {"commit": "abc"})
    page = made_anew("<!-- comparison x -->\nold\n<!-- end of comparison x -->\n")
    assert "[`x`](configs/x.json), commit abc:\n\n| system" in page
    assert "old" not in page


def test_a_comparison_not_collected_yet_keeps_no_other_from_its_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(result_tables, "RESULTS", tmp_path)
    write(tmp_path, "x", record("jtm", 1, "recall_at_10", 0.20) | {"commit": "abc"})
    later = "<!-- comparison later -->\n<!-- end of comparison later -->\n"
    page = made_anew(f"{later}<!-- comparison x -->\n<!-- end of comparison x -->\n")
    assert page.startswith(later)
    assert "commit abc" in page


def test_a_comparison_without_a_place_is_refused_before_anything_is_written() -> None:
    result_tables.require_marks("globo-popularity")
    with pytest.raises(ValueError, match="<!-- comparison nowhere -->"):
        collect_comparison.main("nowhere", "abc")
    assert not (result_tables.RESULTS / "nowhere.jsonl").exists()


def test_every_comparison_named_was_collected() -> None:
    marked = [name for path in result_tables.PAGES for name in result_tables.marked(path.read_text(encoding="utf-8"))]
    sources = [source for column in result_tables.OVERVIEW for source in column.sources]
    assert [name for name in marked + sources if not result_tables.has_records(name)] == []


def test_no_column_mixes_networks_of_different_first_layers() -> None:
    without_first_layer = SEEDLESS | {"als", "jtm-paper"}  # the paper's is its own
    for column in result_tables.OVERVIEW:
        first, *others = (set(result_tables.systems_in(result_tables.read_records(source))) for source in column.sources)
        assert set().union(*others) - first <= without_first_layer, column.title


@pytest.mark.parametrize("path", result_tables.PAGES, ids=lambda path: str(path.relative_to(result_tables.ROOT)))
def test_pages_say_what_the_records_say(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert page == made_anew(page), "run python -m benchmarks.result_tables"

"""Records of a comparison become a table; the page around it stays."""

import pytest

from benchmarks.collect_comparison import put_table, table


def record(system: str, seed: int, metric: str, value: float, users: str = "test") -> dict[str, object]:
    return {"system": system, "seed": seed, "users": users, "metric": metric, "value": value}


def test_a_table_holds_means_over_seeds() -> None:
    found = [
        record("jtm", 1, "recall_at_10", 0.10),
        record("jtm", 2, "recall_at_10", 0.20),
        record("jtm", 1, "filtered/recall_at_10", 0.3),
        record("jtm", 1, "filtered/recall_at_10", 0.4, users="validation"),
        record("popularity", 1, "recall_at_10", 0.05),
    ]
    _, _, jtm, popularity = table(found, [10])
    assert jtm == "| jtm | 2 | 15.00 | 30.00 | 40.00 |"
    assert popularity == "| popularity | 1 | 5.00 | - | - |"


def test_only_what_lies_between_the_marks_changes() -> None:
    page = "a\n<!-- comparison x -->\nold\n<!-- end of comparison x -->\nb\n"
    assert put_table(page, "x", ["new"]) == "a\n<!-- comparison x -->\nnew\n<!-- end of comparison x -->\nb\n"
    with pytest.raises(ValueError, match="marks"):
        put_table(page, "y", ["new"])

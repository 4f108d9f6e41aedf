"""Every rule of the raw log: a log that passes and one that breaks exactly it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_checks.log_checks import LogRules, check_log, log_subjects
from data_checks.log_frames import row_frame
from data_checks.reports import CheckFailed, CheckReport

Row = dict[str, Any]
TYPES = {"user": pa.int64(), "item": pa.int64(), "category": pa.int64(), "behaviour": pa.string(), "rating": pa.float64()}
TYPES |= {"time": pa.int64(), "line": pa.int64()}
STRICT = LogRules(
    earliest_time=100,
    latest_time=200,
    behaviour_types=("pv",),
    known_behaviour_types=("pv", "buy"),
    previous_rows=8,
    previous_latest_time=107,
)


def clean_rows() -> list[Row]:
    """Eight rows without a flaw; line numbers begin at 2, after a header."""
    rows = [{"user": n % 4, "item": n % 3, "category": n % 3, "behaviour": "pv", "rating": 1.0, "time": 100 + n} for n in range(8)]
    return [row | {"line": line} for line, row in enumerate(rows, start=2)]


def write_log(path: Path, rows: list[Row], types: dict[str, pa.DataType] = TYPES) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(list(types.items()))), path)
    return path


@pytest.fixture
def check_rows(tmp_path: Path, plain_check: Any) -> Any:
    def check(rows: list[Row], rules: LogRules = STRICT, types: dict[str, pa.DataType] = TYPES) -> CheckReport:
        report: CheckReport = plain_check("log", log_subjects(write_log(tmp_path / "log.parquet", rows, types), rules))
        return report

    return check


def changed(line: int, **values: Any) -> list[Row]:
    return [row | values if row["line"] == line else row for row in clean_rows()]


def test_clean_log_breaks_no_rule(check_rows: Any) -> None:
    report = check_rows(clean_rows())
    assert report.is_passed
    assert [rule.name for rule in report.rules if not rule.is_passed] == []
    assert report.skipped_rules == ()
    assert report.rule("time_given").checked_rows == 8
    report.raise_if_failed()


@pytest.mark.parametrize(
    ("rule", "line", "values", "also"),
    [
        ("user_given", 5, {"user": None}, set()),
        ("item_given", 5, {"item": None}, set()),
        ("time_given", 5, {"time": None}, set()),
        ("rating_finite", 5, {"rating": float("nan")}, set()),
        ("rating_finite", 5, {"rating": float("inf")}, set()),
        ("behaviour_known", 5, {"behaviour": "pw"}, set()),
        ("time_in_range", 5, {"time": 99}, set()),
        ("time_in_range", 5, {"time": 201}, set()),
        ("time_not_negative", 5, {"time": -1}, {"time_in_range"}),
    ],
)
def test_one_bad_row_breaks_its_hard_rule(check_rows: Any, rule: str, line: int, values: Row, also: set[str]) -> None:
    report = check_rows(changed(line, **values))
    assert {result.name for result in report.failures} == {rule} | also
    assert not report.warnings
    result = report.rule(rule)
    assert (result.violating_rows, result.checked_rows, result.share) == (1, 8, 0.125)
    assert [row["line"] for row in result.examples] == [line]
    with pytest.raises(CheckFailed, match=rf"(?s){rule}.*line {line}:"):
        report.raise_if_failed()


@pytest.mark.parametrize(
    ("rule", "added", "first_line"),
    [
        ("no_copies", {}, 3),
        ("no_repeats", {"behaviour": "buy"}, 3),
        ("one_category_per_item", {"category": 9, "user": 0}, None),
    ],
)
def test_soft_rules_warn_and_are_counted(check_rows: Any, rule: str, added: Row, first_line: int | None) -> None:
    extra = clean_rows()[1] | {"line": 10} | added
    report = check_rows([*clean_rows(), extra])
    assert report.is_passed
    expected = {"no_copies": {"no_copies", "no_repeats"}}.get(rule, {rule})
    assert {result.name for result in report.warnings} == expected
    (example,) = report.rule(rule).examples
    assert example["line"] == 10
    if first_line:
        assert first_line in (example.get("copy_of"), example.get("repeat_of"))
    else:
        assert example["first_category"] == 1


def test_the_rule_of_copies_says_what_preparation_does_with_them(check_rows: Any) -> None:
    assert check_rows(clean_rows(), LogRules()).rule("no_copies").why.endswith("preparation drops them.")
    assert check_rows(clean_rows(), LogRules(keeps_copies=True)).rule("no_copies").why.endswith("preparation keeps them, as it is told to.")


@pytest.mark.parametrize("word", ["NULL", "\\N", "nan", "None", "(null)", " null ", "NaN"])
@pytest.mark.parametrize("column", ["user", "item", "category"])
def test_empty_values_spelled_out_are_named_with_their_lines(check_rows: Any, column: str, word: str) -> None:
    types = TYPES | {"user": pa.string(), "item": pa.string(), "category": pa.string()}
    rows = [row | {"user": f"u{row['user']}", "item": f"nan{row['item']}", "category": None} for row in clean_rows()]
    rows[3][column] = rows[6][column] = word
    report = check_rows(rows, LogRules(), types)
    assert report.is_passed
    too_few = ["category_given"] if column == "category" else []  # no other row has one
    assert [result.name for result in report.warnings] == [*too_few, f"{column}_named"]
    assert [(row["line"], row[column]) for row in report.rule(f"{column}_named").examples] == [(5, word), (8, word)]


@pytest.mark.parametrize("word", [" 7", "7 ", "\t7", "\u00a07", "\ufeff7", '"7"', "'7'", "7.0", "7.", "-12.000"])
@pytest.mark.parametrize("column", ["user", "item"])
def test_ids_that_are_not_written_plainly_are_named_with_their_lines(check_rows: Any, column: str, word: str) -> None:
    types = TYPES | {"user": pa.string(), "item": pa.string()}
    rows = [row | {"user": f"{row['user']}.5", "item": f"a 'b' {row['item']}.0c", "category": None} for row in clean_rows()]
    rows[3][column] = rows[6][column] = word
    report = check_rows(rows, LogRules(), types)
    assert report.is_passed
    assert [result.name for result in report.warnings] == [f"{column}_plain"]
    assert [(row["line"], row[column]) for row in report.rule(f"{column}_plain").examples] == [(5, word), (8, word)]


def test_ids_of_nothing_but_blanks_are_not_given(check_rows: Any) -> None:
    types = TYPES | {"user": pa.string(), "item": pa.string()}
    rows = [row | {"user": f"u{row['user']}", "item": f"i{row['item']}", "category": None} for row in clean_rows()]
    rows[2]["user"], rows[4]["item"] = " ", "\t  "
    report = check_rows(rows, LogRules(), types)
    assert [result.name for result in report.failures] == ["user_given", "item_given"]
    assert [report.rule(f"{name}_given").examples[0]["line"] for name in ("user", "item")] == [4, 6]


def many_rows(num_rows: int, num_largest: int) -> list[Row]:
    """Rows of users 1, 2, 3 ..., of which the first has more than nine others each."""
    users = [7] * num_largest + [10 + n % 40 for n in range(num_rows - num_largest)]
    return [clean_rows()[n % 8] | {"user": user, "time": n, "line": n + 1} for n, user in enumerate(users)]


@pytest.mark.parametrize(("num_rows", "num_largest", "is_broken"), [(1000, 101, True), (1000, 100, False), (999, 900, False)])
def test_a_user_of_more_than_a_tenth_of_many_rows_is_named(check_rows: Any, num_rows: int, num_largest: int, is_broken: bool) -> None:
    report = check_rows(many_rows(num_rows, num_largest), LogRules())
    assert report.is_passed
    assert [result.name for result in report.warnings] == ["no_user_rules_all"] * is_broken
    if is_broken:
        (example,) = report.rule("no_user_rules_all").examples
        assert (example["largest_user"], example["largest_user_share"]) == (7, 0.101)


@pytest.mark.parametrize(("num_without", "is_broken"), [(8, False), (5, True), (4, False)])
def test_categories_that_most_rows_lack_are_reported_unless_all_do(check_rows: Any, num_without: int, is_broken: bool) -> None:
    rows = [row | {"category": None} if n < num_without else row for n, row in enumerate(clean_rows())]
    report = check_rows(rows, LogRules())
    assert report.is_passed
    assert [result.name for result in report.warnings] == ["category_given"] * is_broken


def test_a_log_of_mostly_copies_fails(check_rows: Any) -> None:
    rows = clean_rows() + [row | {"line": row["line"] + 8 * turn} for turn in (1, 2) for row in clean_rows()]
    report = check_rows(rows, LogRules())
    assert {result.name for result in report.failures} == {"few_copies"}
    assert report.rule("few_copies").violating_rows == 16
    assert check_rows(rows, LogRules(maximum_duplicate_share=0.7)).is_passed


def test_range_is_soft_where_rows_are_dropped(check_rows: Any) -> None:
    rules = LogRules(earliest_time=100, latest_time=106, out_of_range="drop")
    report = check_rows(clean_rows(), rules)
    assert report.is_passed
    assert report.rule("time_in_range").verdict == "warned"
    negative = check_rows(changed(5, time=-1), rules)
    assert negative.is_passed
    assert negative.rule("time_not_negative").verdict == "warned"
    mostly = check_rows(clean_rows(), LogRules(latest_time=102, out_of_range="drop"))
    assert {result.name for result in mostly.failures} == {"most_times_in_range"}


@pytest.mark.parametrize(
    ("previous", "broken"), [(8, set()), (16, set()), (4, set()), (17, {"volume_near_previous"}), (3, {"volume_near_previous"})]
)
def test_volume_against_the_previous_run(check_rows: Any, previous: int, broken: set[str]) -> None:
    report = check_rows(clean_rows(), LogRules(previous_rows=previous))
    assert report.is_passed
    assert {result.name for result in report.warnings} == broken


@pytest.mark.parametrize(("previous", "broken"), [(None, set()), (107, set()), (108, {"reaches_previous"})])
def test_a_log_that_ends_before_the_previous_one_is_told(check_rows: Any, previous: int | None, broken: set[str]) -> None:
    report = check_rows(clean_rows(), LogRules(previous_latest_time=previous))
    assert {result.name for result in report.warnings} == broken
    assert report.is_passed
    if broken:
        assert report.rule("reaches_previous").examples[0]["latest_time"] == 107


def test_a_collapsed_volume_fails(check_rows: Any) -> None:
    report = check_rows(clean_rows(), LogRules(previous_rows=81))
    assert {result.name for result in report.failures} == {"volume_not_collapsed"}
    assert report.rule("volume_not_collapsed").examples[0]["rows"] == 8


def test_a_kept_type_must_occur(check_rows: Any) -> None:
    report = check_rows(clean_rows(), LogRules(behaviour_types=("pv", "byu")))
    assert {result.name for result in report.failures} == {"kept_types_occur"}
    assert report.rule("kept_types_occur").examples == ({"behaviour": "byu", "rows": 0},)


def test_one_user_only_and_identical_items(check_rows: Any) -> None:
    report = check_rows([row | {"user": 1} for row in clean_rows()], LogRules())
    assert {result.name for result in report.failures} == {"enough_users"}
    report = check_rows([row | {"item": 1, "category": 1} for row in clean_rows()], LogRules())
    assert {result.name for result in report.failures} == {"enough_items", "no_item_rules_all"}
    assert check_rows(clean_rows(), LogRules(maximum_item_share=3 / 8)).is_passed
    assert not check_rows(clean_rows(), LogRules(maximum_item_share=0.37)).is_passed


def test_empty_log(check_rows: Any) -> None:
    report = check_rows([], LogRules())
    assert {result.name for result in report.failures} == {"log_not_empty", "enough_users", "enough_items"}
    assert report.rule("user_given").share == 0


def test_a_missing_column_stops_all_other_rules(check_rows: Any) -> None:
    types = {name: kind for name, kind in TYPES.items() if name != "time"}
    report = check_rows(clean_rows(), STRICT, types)
    assert [result.name for result in report.rules] == ["columns_as_agreed"]
    assert report.rule("columns_as_agreed").examples[0]["column"] == "time"
    assert report.rule("columns_as_agreed").examples[0]["found"] is None
    assert {"time_given", "log_not_empty", "kept_types_occur"} <= set(report.skipped_rules)


def test_a_wrong_type_is_named(check_rows: Any) -> None:
    report = check_rows([row | {"time": 1.5} for row in clean_rows()], STRICT, TYPES | {"time": pa.float64()})
    assert report.rule("columns_as_agreed").examples == ({"column": "time", "found": "double", "allowed": "int64", "is_allowed": False},)


def test_string_ids_and_empty_columns(check_rows: Any) -> None:
    types = TYPES | {"user": pa.string(), "item": pa.large_string(), "category": pa.string(), "behaviour": pa.null()}
    rows = [row | {"user": f"u{row['user']}", "item": f"i{row['item']}", "category": None, "behaviour": None} for row in clean_rows()]
    assert not [result for result in check_rows(rows, LogRules(), types).rules if not result.is_passed]
    rows[3]["user"] = ""
    rows[5]["item"] = None
    report = check_rows(rows, LogRules(), types)
    assert {result.name for result in report.failures} == {"user_given", "item_given"}
    assert report.rule("user_given").examples[0]["line"] == 5
    assert report.rule("item_given").examples[0]["line"] == 7


def test_large_ids_stay_exact_beside_missing_ones(check_rows: Any) -> None:
    rows = changed(5, user=None)
    rows[0]["time"], rows[0]["item"] = -(2**62) - 1, 2**53 + 1
    example = check_rows(rows, LogRules()).rule("time_not_negative").examples[0]
    assert (example["time"], example["item"]) == (-(2**62) - 1, 2**53 + 1)


def test_dirt_in_a_real_schema_is_found_with_its_lines(check_rows: Any) -> None:
    begin, end = 1_511_539_200, 1_512_316_799  # nine days from 2017-11-25, UTC+8
    rng = np.random.default_rng(3)
    rows = [
        {
            "user": n // 20,
            "item": n,
            "category": n % 7,
            "behaviour": "pv",
            "rating": None,
            "time": int(rng.integers(begin, end + 1)),
            "line": n + 1,
        }
        for n in range(400)
    ]
    dirty = sorted(rng.choice(400, 35, replace=False).tolist())
    for n in dirty:
        rows[n]["time"] = int(rng.choice([begin - 1, end + 1, 0]))
    result = check_rows(rows, LogRules(earliest_time=begin, latest_time=end)).rule("time_in_range")
    assert (result.violating_rows, result.is_hard, result.is_passed) == (35, True, False)
    assert [row["line"] for row in result.examples] == [n + 1 for n in dirty[:10]]


few = st.integers(0, 2)


@settings(max_examples=40)
@given(st.lists(st.tuples(few, few, few, st.sampled_from(["pv", "buy", None]), few), min_size=1, max_size=25))
def test_copies_repeats_and_categories_match_a_slow_twin(tmp_path_factory: pytest.TempPathFactory, values: list[tuple[Any, ...]]) -> None:
    rows = [
        {"user": user, "item": item, "category": category or None, "behaviour": behaviour, "rating": None, "time": time, "line": line}
        for line, (user, item, category, behaviour, time) in enumerate(values, start=1)
    ]
    frame = row_frame(write_log(tmp_path_factory.mktemp("log") / "log.parquet", rows))
    for number, row in enumerate(rows):
        before = rows[:number]
        repeats = [other["line"] for other in before if all(other[name] == row[name] for name in ("user", "item", "time"))]
        copies = [other["line"] for other in before if all(other[name] == row[name] for name in row if name != "line")]
        known = [other["category"] for other in rows if other["item"] == row["item"] and other["category"] is not None]
        first_category = frame["first_category"][number]
        assert frame["repeat_of"][number] == (repeats[0] if repeats else 0)
        assert frame["copy_of"][number] == (copies[0] if copies else 0)
        assert first_category == known[0] if known else pd.isna(first_category)
        assert frame["item_share"][number] == sum(other["item"] == row["item"] for other in rows) / len(rows)


def test_great_expectations_counts_the_same(tmp_path: Path, plain_check: Any, assert_same: Any) -> None:
    rows = clean_rows() + [row | {"line": row["line"] + 8, "category": 5} for row in clean_rows()] + [clean_rows()[0] | {"line": 99}]
    flaws: list[Row] = [{"user": None}, {"item": None}, {"time": None}, {"rating": float("inf")}, {"behaviour": "pw"}, {"time": -1}]
    rows += [clean_rows()[n] | flaw | {"line": 30 + n} for n, flaw in enumerate(flaws)]
    rules = LogRules(earliest_time=100, latest_time=106, behaviour_types=("byu",), known_behaviour_types=("pv",), previous_rows=500)
    for number, (some, limits) in enumerate([(rows, rules), (clean_rows(), STRICT), ([], STRICT)]):
        path = write_log(tmp_path / f"{number}.parquet", some)
        report = check_log(path, limits)
        assert_same(report, plain_check("log", log_subjects(path, limits)))
        assert report.is_passed is (number == 1)
        if number == 0:
            assert report.rule("volume_not_collapsed").message.endswith("of the last accepted run; found 23")
            assert report.rule("item_given").message == "item must not be empty or blank; 1 of 23 rows break this (4.348%)"


def test_great_expectations_counts_the_same_of_strings(tmp_path: Path, plain_check: Any, assert_same: Any) -> None:
    types = TYPES | {"user": pa.string(), "item": pa.string(), "category": pa.string(), "rating": pa.null()}
    rows = [row | {"user": str(row["user"]), "item": str(row["item"]), "category": "c", "rating": None} for row in clean_rows()]
    rows[3] |= {"user": "", "item": None, "category": "d"}
    path = write_log(tmp_path / "log.parquet", rows, types)
    assert_same(check_log(path, STRICT), plain_check("log", log_subjects(path, STRICT)))


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    path.write_text("user,item\n")
    with pytest.raises(pa.ArrowInvalid):
        check_log(path, LogRules())

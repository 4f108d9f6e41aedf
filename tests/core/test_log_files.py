"""Logs of several files: read as one however they are cut, lines told by file, and files that differ refused."""

import gzip
import re
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core.config import DataConfig
from jtm_core.formats.line_numbers import LineNumbers, read_line_numbers
from jtm_core.formats.log_files import log_files, names_within
from jtm_core.formats.raw_logs import CANONICAL_COLUMNS, write_canonical_log

HEADER = "user,item,category,time\n"


@pytest.fixture
def folder(tmp_path):
    """A folder for the files of a log."""
    (tmp_path / "log").mkdir()
    return tmp_path / "log"


def put(folder, files):
    """Files by name: bytes, text, or an Arrow table as Parquet."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def canonical(source, **config):
    """Canonical rows of a log and the numbers of its lines."""
    destination = Path(source).parent / "canonical.parquet"
    write_canonical_log(source, destination, DataConfig(**config))
    return pq.read_table(destination), read_line_numbers(destination)


def values(table, *names):
    return [table.column(name).to_pylist() for name in names]


def error_of(source, **config):
    with pytest.raises(ValueError) as caught:
        canonical(source, **config)
    assert not (Path(source).parent / "canonical.parquet").exists()
    return str(caught.value)


TREE = dict.fromkeys(["b.csv", "a.csv", "day=2/a.csv", "day=1/b.csv", "_SUCCESS", ".a.csv.crc", "_temporary/0/c.csv", "day=1/_meta"], "x")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", ["a.csv", "b.csv", "day=1/b.csv", "day=2/a.csv"]),
        ("*.csv", ["a.csv", "b.csv"]),
        ("day=*", ["day=1/b.csv", "day=2/a.csv"]),
        ("day=*/a.csv", ["day=2/a.csv"]),
        ("**/b.csv", ["b.csv", "day=1/b.csv"]),
        ("day=[2]", ["day=2/a.csv"]),
        ("?.csv", ["a.csv", "b.csv"]),
        ("*", ["a.csv", "b.csv", "day=1/b.csv", "day=2/a.csv"]),
        ("_SUCCESS", ["_SUCCESS"]),
    ],
)
def test_files_are_those_of_a_folder_or_a_pattern_in_the_order_of_their_paths(folder, path, found):
    assert [file.relative_to(folder).as_posix() for file in log_files(put(folder, TREE) / path)] == found


def test_a_folder_below_one_with_a_leading_underscore_or_point_can_be_named(tmp_path):
    put(tmp_path, {".exports/_new/a.csv": "x"})
    assert names_within(log_files(tmp_path / ".exports/_new")) == names_within(log_files(tmp_path / ".exports/_new/*.csv")) == ["a.csv"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.csv", "there is no file .*none.csv"),
        ("*.tsv", r"there is no file that fits .*\*\.tsv; names that begin with . or _ are passed over"),
    ],
)
def test_nothing_found_is_refused(folder, path, message):
    with pytest.raises(ValueError, match=message):
        log_files(put(folder, TREE) / path)


def test_a_name_with_signs_of_patterns_is_a_file_if_there_is_one(folder):
    put(folder, {"log[1].csv": "x", "log1.csv": "x"})
    assert [file.name for file in log_files(folder / "log[1].csv")] == ["log[1].csv"]


ROWS = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(["7", "8", "x9", "007"]), st.sampled_from(["", "1", "shoes"]), st.integers(0, 99)),
    min_size=1, max_size=12,
)  # fmt: skip


@given(rows=ROWS, cuts=st.lists(st.integers(0, 12), max_size=3), has_gzip=st.booleans(), ends_open=st.booleans())
@settings(max_examples=60, deadline=None)
def test_however_a_log_is_cut_its_rows_are_those_of_the_one_file(tmp_path_factory, rows, cuts, has_gzip, ends_open):
    folder = tmp_path_factory.mktemp("log")
    lines = ["{},{},{},{}\n".format(*row) for row in rows]
    bounds = [0, *sorted(cuts), len(lines)]
    parts = [HEADER + "".join(lines[begin:end]) for begin, end in pairwise(bounds)]
    parts = [part.rstrip("\n") if ends_open else part for part in parts]
    contents = [gzip.compress(part.encode(), mtime=0) if has_gzip and number % 2 else part for number, part in enumerate(parts)]
    whole, _ = canonical(put(folder, {"whole.csv": HEADER + "".join(lines)}) / "whole.csv", format="table")
    table, places = canonical(
        put(folder, {f"parts/{number}.csv": content for number, content in enumerate(contents)}) / "parts", format="table"
    )
    assert table.drop_columns("line").equals(whole.drop_columns("line"))
    where = [(f"{number}.csv", line) for number, part in enumerate(parts) for line in range(2, len(part.splitlines()) + 1)]
    if len(parts) == 1:
        where = [("", line) for _, line in where]
    assert [places.place(line) for line in table.column("line").to_pylist()] == where


def parquet(users, items, categories=None, times=None):
    return pa.table(
        {"user": users, "item": items, "category": categories or pa.nulls(len(users)), "time": times or list(range(len(users)))}
    )


def test_types_of_parquet_files_are_brought_together(folder):
    put(folder, {"a.parquet": parquet([1, 2], [5, 6]), "b.parquet": parquet(["x"], [7], ["shoes"])})
    table, places = canonical(folder)
    assert values(table, *CANONICAL_COLUMNS) == [
        ["1", "2", "x"], [5, 6, 7], [None, None, "shoes"], [None] * 3, [None] * 3, [0, 1, 0], [1, 2, 3],
    ]  # fmt: skip
    assert [places.place(line) for line in (1, 2, 3)] == [("a.parquet", 1), ("a.parquet", 2), ("b.parquet", 1)]


def test_a_column_that_holds_nothing_in_any_file_is_as_if_it_were_not_there(folder):
    put(folder, {"a.parquet": parquet([1], [5]), "b.parquet": parquet([2], [6])})
    assert values(canonical(folder)[0], "category") == [[None, None]]


def test_ids_become_text_in_all_files_where_one_has_text_late(folder):
    late = HEADER + "3,7,,1\n" * 70_000 + "x3,7,,1\n"  # beyond what a layout is told by
    put(folder, {"a.csv": HEADER + "01,7,,1\n", "b.csv": late, "c.csv": HEADER + "5,7,,1\n"})
    table, _ = canonical(folder, format="table")
    assert values(table.filter(pc.not_equal(table["user"], "3")), "user") == [["01", "x3", "5"]]
    put(folder, {"a.csv": HEADER + "1,7,,1\n"})
    table, _ = canonical(folder, format="table")
    assert values(table.filter(pc.not_equal(table["user"], "3")), "user") == [["1", "x3", "5"]]


def test_decimal_times_of_one_file_leave_large_whole_ones_of_another(folder):
    large = 2**53 + 1
    late = HEADER + "3,7,,1\n" * 2 + "3,7,,5.0\n"
    put(folder, {"a.csv": HEADER + f"1,7,,{large}\n", "b.csv": late})
    assert values(canonical(folder, format="table")[0], "time") == [[large, 1, 1, 5]]


def test_quotes_that_one_file_shows_to_be_text_are_text_in_all(folder):
    header = "user\titem\ttime\n"
    put(folder, {"a.tsv": header + '"a"\t7\t1\n', "b.tsv": header + '"b\t7\t1\n'})
    assert values(canonical(folder, format="table")[0], "user") == [['"a"', '"b']]


def test_files_may_order_their_columns_otherwise(folder):
    put(folder, {"a.csv": "user,item,time\n1,7,3\n", "b.csv": "time,user,more,item\n4,2,z,8\n"})
    assert values(canonical(folder)[0], "user", "item", "time", "line") == [[1, 2], [7, 8], [3, 4], [2, 4]]


def test_the_one_file_of_a_folder_gives_the_bytes_it_gives_alone(folder):
    put(folder, {"a.csv": HEADER + "1,7,,1\n"})
    written = folder.parent / "canonical.parquet"
    assert canonical(folder)[1].place(2) == ("", 2)
    alone = written.read_bytes()
    canonical(folder / "a.csv")
    assert written.read_bytes() == alone


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.csv": HEADER + "1,7,,1\n", "b.csv": "user,item,time\n1,7,1\n"}, "b.csv has no column category, .*a.csv has one"),
        ({"a.csv": "user,item,time\n1,7,1\n", "b.csv": HEADER + "1,7,,1\n"}, "a.csv has no column category, .*b.csv has one"),
        ({"a.csv": HEADER + "1,7,,1\n", "b.csv": "1,7,,1\n"}, "b.csv has no column user, item, time; its columns are 1, 7"),
        ({"a.csv": HEADER + "1,7,,1\n", "b.parquet": parquet([1], [2])}, "a.csv is text and .*b.parquet Parquet"),
        ({"a.parquet": parquet([1], [2]), "b.csv": HEADER + "1,7,,1\n"}, "b.csv is text and .*a.parquet Parquet"),
        ({"a.csv": HEADER + "1,7,,1\n", "b.csv": HEADER + "1,7,,2020-01-01\n"}, "b.csv has dates as time and .*a.csv numbers"),
        ({"a.csv": HEADER + "1,7,,1\n", "b.csv": HEADER + "1,7,,2\n1,,,2\n"}, "b.csv: item is missing in line 3;"),
        ({"a.csv": HEADER + "1,7,,1\n", "b.csv": HEADER + "1,7,,2\n1,7\n"}, "b.csv: .*line 3"),
        ({"a.csv": HEADER + "1,7,,1\n", "b.csv": ""}, "b.csv is empty"),
        ({"a.csv": HEADER, "b.csv": HEADER}, "log holds no behaviours"),
    ],
)
def test_files_that_are_not_alike_are_refused_by_name(folder, files, message):
    found = error_of(put(folder, files), format="auto" if any("parquet" in name for name in files) else "table")
    assert re.search(message, found), found


ROWS = "user,item,time\n1,7,1\n\n2,8,2\n"


def test_folders_say_behaviour_and_category_of_their_files(folder):
    """As Spark writes what it partitions by; lines of nothing stay nothing, and signs are written as percent signs."""
    put(folder, {"event=buy/shelf=3/a.csv": ROWS, "event=add%20to%20cart/shelf=__HIVE_DEFAULT_PARTITION__/a.csv": ROWS})
    table, lines = canonical(folder, format="table", columns={"behaviour": "event", "category": "shelf"})
    assert values(table, "behaviour", "category") == [["add to cart", "add to cart", "buy", "buy"], [None, None, 3, 3]]
    assert lines.place(table.column("line")[3].as_py()) == ("event=buy/shelf=3/a.csv", 4)


def test_categories_of_folders_are_text_in_all_where_one_is(folder):
    put(folder, {"shelf=3/a.parquet": parquet([1], [7]), "shelf=b/a.parquet": parquet([1], [8])})
    assert values(canonical(folder, columns={"category": "shelf"})[0], "category") == [["3", "b"]]


def test_what_folders_say_may_be_filtered_by_and_goes_before_a_column_of_that_name(folder):
    put(folder, {"event=buy/a.csv": "user,item,time,event\n1,7,1,pv\n"})
    mapped = {"format": "table", "columns": {"behaviour": "event"}, "behaviour_types": ("buy",)}
    assert values(canonical(folder, **mapped)[0], "behaviour") == [["buy"]]


def test_only_what_is_mapped_is_taken_from_folders(folder):
    put(folder, {"category=3/a.csv": ROWS})
    assert values(canonical(folder, format="table")[0], "category") == [[None, None]]


@pytest.mark.parametrize(
    ("files", "columns", "message"),
    [
        (["event=buy/a.csv", "b.csv"], {"behaviour": "event"}, r"b\.csv lies in no folder event=\.\.\., .*event=buy/a\.csv does"),
        (["day=2026-12-01/a.csv"], {"time": "day"}, r"a\.csv has no column time \(day\)"),
        (["day=2026-12-01/a.csv"], {"behaviour": "event"}, r"a\.csv has no column behaviour \(event\)"),
    ],
)
def test_what_folders_do_not_say_is_refused(folder, files, columns, message):
    put(folder, dict.fromkeys(files, ROWS))
    found = error_of(folder, format="table", columns=columns)
    assert re.search(message, found), found


def test_one_category_table_is_for_all_files(folder):
    table = folder.parent / "categories.csv"
    table.write_text("item,category\n8,b\n")
    put(folder, {"a.csv": "user,item,time\n1,7,1\n", "b.csv": "user,item,time\n1,8,1\n"})
    assert values(canonical(folder, category_path=str(table))[0], "category") == [[None, "b"]]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_every_line_is_in_the_file_that_it_was_counted_in(lengths):
    lines = LineNumbers()
    counted = []
    for number, length in enumerate(lengths):
        before = lines.begin(f"{number}")
        if length:
            lines.add(length)
        counted += [(before + line, (f"{number}", line)) for line in range(1, length + 1)]
    assert [lines.place(running) for running, _ in counted] == [place for _, place in counted]
    assert [running for running, _ in counted] == list(range(1, sum(lengths) + 1))

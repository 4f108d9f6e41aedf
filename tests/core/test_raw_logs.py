"""Readers of published logs: known answers, round trips, and the error of every kind of bad file."""

import gzip
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core.behaviours import Behaviours
from jtm_core.config import DataConfig
from jtm_core.formats import raw_logs, text_blocks, text_values
from jtm_core.formats.column_types import id_type
from jtm_core.formats.raw_logs import CANONICAL_COLUMNS, write_canonical_log, write_world_log

zipped = partial(gzip.compress, mtime=0)  # no time of day within, and so in no name of a test
TAOBAO = "1,10,7,pv,100\n1,11,7,buy,101\n2,10,8,pv,99\n"


def read(path, content, **config):
    """Canonical rows of a file with this content."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    destination = path.parent / "canonical.parquet"
    write_canonical_log(path, destination, DataConfig(**config))
    table = pq.read_table(destination)
    assert tuple(table.column_names) == CANONICAL_COLUMNS
    return table


def columns(table, *names):
    return [table.column(name).to_pylist() for name in names]


def error_of(path, content, **config):
    """Message of the error a file gives; nothing may be left behind."""
    with pytest.raises(ValueError) as caught:
        read(path, content, **config)
    assert [file.name for file in path.parent.iterdir() if file.name != path.name] == []
    return str(caught.value)


def test_user_behavior(tmp_path):
    table = read(tmp_path / "UserBehavior.csv", TAOBAO)
    assert columns(table, *CANONICAL_COLUMNS) == [
        [1, 1, 2], [10, 11, 10], [7, 7, 8], ["pv", "buy", "pv"], [None] * 3, [100, 101, 99], [1, 2, 3],
    ]  # fmt: skip
    assert table.schema.field("user").type == pa.int64()


@pytest.mark.parametrize("content", [TAOBAO, zipped(TAOBAO.encode()), TAOBAO.replace("\n", "\r\n"), TAOBAO.rstrip(), "\ufeff" + TAOBAO])
def test_gzip_line_ends_and_byte_order_marks_change_nothing(tmp_path, content):
    assert read(tmp_path / "log", content).equals(read(tmp_path / "plain.csv", TAOBAO))


def test_members_of_a_concatenated_gzip_are_all_read(tmp_path):
    assert len(read(tmp_path / "log.csv.gz", zipped(TAOBAO.encode()) * 2)) == 6


def test_empty_lines_are_passed_over_and_counted_in_line_numbers(tmp_path):
    assert columns(read(tmp_path / "log.csv", TAOBAO.replace("\n", "\n\n", 1) + "\n\n"), "line") == [[1, 3, 4]]


@pytest.mark.parametrize("block_bytes", [32, 1 << 20])
def test_lines_that_lack_our_columns_alone_are_no_empty_lines(tmp_path, monkeypatch, block_bytes):
    monkeypatch.setattr(text_blocks, "_BLOCK_BYTES", block_bytes)
    content = "user,item,time,page\n1,2,3,a\n\n,,,\n1,3,4,d\n"
    assert columns(read(tmp_path / "log.csv", content), "line") == [[2, 5]]
    (tmp_path / "canonical.parquet").unlink()
    message = error_of(tmp_path / "log.csv", content.replace("1,3,4,d", ",,,b\n1,3,4,d\n,,,c"))
    assert "user, item and time are missing in line 5, 7, where other columns are not empty" in message


def test_amazon_ids_are_strings_even_if_they_look_like_numbers(tmp_path):
    table = read(tmp_path / "ratings_Books.csv", "A1,0001714538,4.0,1000\nA2,B00X,5.0,2000\n")
    expected = [["A1", "A2"], ["0001714538", "B00X"], [None, None], [None, None], [4.0, 5.0], [1000, 2000], [1, 2]]
    assert columns(table, *CANONICAL_COLUMNS) == expected


@pytest.mark.parametrize(
    ("name", "content", "first_line"),
    [
        ("ratings.dat", "1::10::5::978300760\n2::11::3.5::978302109\n", 1),
        ("u.data", "1\t10\t5\t978300760\n2\t11\t3.5\t978302109\n", 1),
        ("ratings.csv", "userId,movieId,rating,timestamp\n1,10,5,978300760\n2,11,3.5,978302109\n", 2),
        ("x.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t10\t5\t978300760\n2\t11\t3.5\t9.78302109e8\n", 2),
    ],
)
def test_movielens_and_recbole(tmp_path, name, content, first_line):
    table = read(tmp_path / name, content)
    assert columns(table, "user", "item", "rating", "time") == [[1, 2], [10, 11], [5.0, 3.5], [978300760, 978302109]]
    assert columns(table, "line") == [[first_line, first_line + 1]]


def test_table_with_a_header_its_own_names_and_quotes(tmp_path):
    content = 'when;"who";what;extra\n100;"a;b";1;x\n200;c;2;y\n'
    table = read(tmp_path / "log.csv", content, columns={"user": "who", "item": "what", "time": "when"})
    assert columns(table, "user", "item", "time", "line") == [["a;b", "c"], [1, 2], [100, 200], [2, 3]]


def test_a_column_that_only_happens_to_be_called_like_ours_is_left_out(tmp_path):
    content = "user,item,time,rating\n1,2,3,good\n"
    assert "rating" in error_of(tmp_path / "log.csv", content)
    assert columns(read(tmp_path / "log.csv", content, columns={"rating": ""}), "user", "rating") == [[1], [None]]


def test_ratings_and_behaviours_may_be_empty(tmp_path):
    table = read(tmp_path / "log.csv", "user,item,behaviour,rating,time\n1,2,view,,3\n1,2,,5,4\n")
    assert columns(table, "behaviour", "rating") == [["view", None], [None, 5.0]]


@pytest.mark.parametrize("block_bytes", [64, 1 << 20])
def test_quotes_that_no_line_closes_belong_to_the_values_between_tabs(tmp_path, monkeypatch, block_bytes):
    monkeypatch.setattr(text_blocks, "_BLOCK_BYTES", block_bytes)
    rows = [f'u{n}\t{n}\ta{n}\t"Untitled' if n % 4 else f'u{n}\t{n}\ta{n}\tB "C"' for n in range(40)]
    table = read(tmp_path / "log.tsv", "\n".join(rows) + "\n", format="table", columns={"user": "1", "time": "2", "item": "3"})
    assert columns(table, "user", "time") == [[f"u{n}" for n in range(40)], list(range(40))]


@pytest.mark.parametrize("many", [0, 60_000])  # more than the MiB that the layout is told from
@pytest.mark.parametrize("row", ['u2\t"b\t6', '"u2\tb\t6', 'u2\t"b ""\t6', 'u2\t"b\t6\nu2\t2\t6\nu2\tc"\t6'])
@pytest.mark.parametrize("block_bytes", [9973, 1 << 20])
def test_a_quote_that_its_line_does_not_close_is_the_value_s_between_tabs_in_any_column(tmp_path, monkeypatch, many, row, block_bytes):
    monkeypatch.setattr(text_blocks, "_BLOCK_BYTES", block_bytes)
    rows = [*(f"u{n}\ta\t1511539200" for n in range(many)), row, "u3\tc\t7"]
    content = "user\titem\ttime\n" + "\n".join(rows) + "\n"
    table = read(tmp_path / "log.tsv", content)
    written = [line.split("\t") for line in content.splitlines()[1:]]
    assert columns(table, "user", "item") == [[line[0] for line in written], [line[1] for line in written]]


def test_a_quote_that_no_line_closes_is_the_value_s_between_tabs_in_the_first_line_too(tmp_path):
    content = 'u2\t"b\t6\nu3\t7\t7\n'
    table = read(tmp_path / "log.tsv", content, columns={"user": "1", "item": "2", "time": "3"})
    assert columns(table, "user", "item", "time", "line") == [["u2", "u3"], ['"b', "7"], [6, 7], [1, 2]]


def test_quotes_that_shift_columns_leave_the_types_of_the_others(tmp_path):
    rows = ['1\t"b\tx\t5', '2\tc\t"y\t6', "3\td\tz\t7"]
    table = read(tmp_path / "log.tsv", "user\tnote\tword\ttime\n" + "\n".join(rows) + "\n", columns={"item": "word"})
    assert columns(table, "user", "item", "time") == [[1, 2, 3], ["x", '"y', "z"], [5, 6, 7]]


def test_quotes_closed_in_their_lines_are_taken_off_and_empty_lines_at_the_end_count_for_nothing(tmp_path):
    table = read(tmp_path / "log.csv", 'user,item,time\n"a, ""b""",2,3\nc,4,5\n\n\n')
    assert columns(table, "user", "line") == [['a, "b"', "c"], [2, 3]]


def test_parquet_columns_without_a_type_are_absent(tmp_path):
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"user": [1], "item": [2], "time": [3], "rating": pa.nulls(1), "category": pa.nulls(1)}), path)
    assert columns(read(path, path.read_bytes()), "user", "rating", "category") == [[1], [None], [None]]


def test_blank_categories_are_none_in_parquet_as_in_text(tmp_path):
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"user": [1, 1, 2], "item": [2, 3, 4], "time": [3, 4, 5], "category": ["", " ", "shoes"]}), path)
    assert columns(read(path, path.read_bytes()), "category") == [[None, None, "shoes"]]


def test_an_hour_that_is_there_twice_is_no_obstacle(tmp_path):
    path, seconds = tmp_path / "log.parquet", [1509859800, 1509863400]  # half past one in New York, twice
    times = pa.array([second * 1_000_000 for second in seconds], pa.timestamp("us", "America/New_York"))
    pq.write_table(pa.table({"user": [1, 1], "item": [2, 2], "time": times}), path)
    assert columns(read(path, path.read_bytes()), "time") == [seconds]


def test_table_without_a_header_by_column_numbers(tmp_path):
    table = read(tmp_path / "log.csv", "100,7,3\n200,8,4\n", columns={"user": "3", "item": "2", "time": "1"})
    assert columns(table, "user", "item", "time", "line") == [[3, 4], [7, 8], [100, 200], [1, 2]]


@pytest.mark.parametrize("left_out", [{}, {"rating": ""}])
def test_columns_given_by_number_mean_no_header_whatever_the_first_line_holds(tmp_path, left_out):
    numbers = {"user": "1", "item": "2", "time": "3", **left_out}
    table = read(tmp_path / "log.csv", "1,2,978300019,3\n4,5,978300020,1\n", columns=numbers)
    assert columns(table, "user", "item", "time", "line") == [[1, 4], [2, 5], [978300019, 978300020], [1, 2]]


@pytest.mark.parametrize("first", ["0,1,2,3", "1,2,3,4", "4;3;2;1"])
def test_a_first_line_that_may_be_a_header_of_numbers_is_refused(tmp_path, first):
    message = error_of(tmp_path / "log.csv", f"{first}\n7,8,9,10\n".replace(",", first[1]), columns={"user": "1", "item": "2", "time": "3"})
    assert "which could be one" in message
    assert ", ".join(first.split(first[1])) in message


@pytest.mark.parametrize(
    ("line", "separator", "numbers"),
    [
        ("7;10;1|2|3|4|5;1600000000", r"';' or '\|'", "124"),
        ("7\t10\t1,2,3,4,5\t1600000000", r"',' or '\\t'", "124"),
        ("7;10;a|b|c|d|e;never", r"';' or '\|', each of which gives enough columns but no behaviour", "124"),
    ],
)
def test_a_first_line_without_header_that_two_separators_can_divide_is_refused(tmp_path, line, separator, numbers):
    with pytest.raises(ValueError, match=rf"{separator}.*; give the file a header") as caught:
        read(tmp_path / "log.csv", f"{line}\n", columns=dict(zip(("user", "item", "time"), numbers, strict=True)))
    assert repr(line) in str(caught.value)


@pytest.mark.parametrize(
    ("line", "numbers", "expected"),
    [
        ("7;10;a|b|c|d|e;1600000000", "124", ["7", "10", 1600000000]),
        ("7;10;1|2|3|4 5|6;2020-09-13 12:26:40", "124", ["7", "10", 1600000000]),
        ("7\t10\tone, two, three, four\t1600000000.0", "124", ["7", "10", 1600000000]),
        ("7;;;|10|5|1600000000", "124", ["7;;;", "10", 1600000000]),
        ('7;"1,2,3,4,5";1600000000', "123", ["7", "1,2,3,4,5", 1600000000]),
        ('"a;b;5;6",10,1600000000', "123", ["a;b;5;6", "10", 1600000000]),
    ],
)
def test_the_separator_of_a_file_without_header_is_the_one_that_gives_a_behaviour(tmp_path, line, numbers, expected):
    table = read(tmp_path / "log.csv", f"{line}\n", columns=dict(zip(("user", "item", "time"), numbers, strict=True)))
    assert [str(value) for (value,) in columns(table, "user", "item", "time")] == list(map(str, expected))


def test_separators_within_quotes_of_a_header_do_not_count(tmp_path):
    table = read(tmp_path / "log.csv", 'user;"a, b, c, d, e";item;time\n1;x;2;3\n')
    assert columns(table, "user", "item", "time") == [[1], [2], [3]]


def test_table_of_our_own_names_needs_no_mapping(tmp_path):
    table = read(tmp_path / "log.csv", "time,user,item,behaviour\n5,u,i,buy\n")
    assert columns(table, "user", "item", "time", "behaviour") == [["u"], ["i"], [5], ["buy"]]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("1970-01-02", 86400),
        ("1970-01-01 00:01:00.9", 60),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:05Z", 5),
        ("1970-01-01 00:00:05 UTC", 5),
        ("1970-01-01 00:00:05.123456 UTC", 5),
        (" 1970-01-02 UTC ", 86400),
        ("1970-01-01 01:00:00+01", 0),
        ("978300019.0", 978300019),
        ("9007199254740991.0", 2**53 - 1),
        ("9223372036854775807", 2**63 - 1),
        ("-1.5e1", -15),
    ],
)
def test_times_become_whole_seconds(tmp_path, written, seconds):
    assert columns(read(tmp_path / "log.csv", f"user,item,time\n1,2,{written}\n"), "time") == [[seconds]]


@pytest.mark.parametrize("many", [0, 60_000])  # more than the MiB that types are guessed from
@pytest.mark.parametrize(("name", "header"), [("log.csv", "user,item,time"), ("x.inter", "user_id:token,item_id:token,timestamp:float")])
def test_integer_and_whole_decimal_times_may_stand_in_one_column(tmp_path, name, header, many):
    content = header + "\n1,2,5\n" + "1,2,1511539200\n" * many + "1,2,6.0\n1,2,7e2\n1,2,8\n"
    table = read(tmp_path / name, content.replace(",", "\t") if name == "x.inter" else content)
    assert columns(table, "time") == [[5, *[1511539200] * many, 6, 700, 8]]
    assert columns(table, "line") == [list(range(2, many + 6))]


def test_integer_times_of_nanoseconds_are_exact_in_recbole_s_files_too(tmp_path):
    times = [1600000000123456789, 1600000000123456788]
    rows = "".join(f"1\t2\t{time}\n" for time in times)
    assert columns(read(tmp_path / "x.inter", "user_id:token\titem_id:token\ttimestamp:float\n" + rows), "time") == [times]


def test_dates_of_bigquery_are_read_with_and_without_fractions_in_one_column(tmp_path):
    rows = ["1970-01-01 00:00:01 UTC", "1970-01-01 00:00:02.5 UTC", "1970-01-01 00:00:03"]
    table = read(tmp_path / "log.csv", "user,item,time\n" + "".join(f"1,2,{row}\n" for row in rows) + "\n")
    assert columns(table, "time") == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("2017-11-25 00:00:00", "0000-00-00 00:00:00"),
        ("2017-11-25", "2017-02-30"),
        ("2017-11-25", "2500-01-01"),
        ("2017-11-25T00:00:00Z", "2017-11-25T25:00:00Z"),
        ("2017-11-25 00:00:00 UTC", "2017-11-31 00:00:00 UTC"),
        ("2017-11-25 00:00:00 UTC", "5"),
        ("2017-11-25 00:00:00", "2017-11-25 00:00:00.5 UTC"),
    ],
)
def test_dates_that_do_not_exist_or_are_of_another_kind_are_named(tmp_path, good, bad):
    message = error_of(tmp_path / "log.csv", "user,item,time\n" + "".join(f"1,2,{date}\n" for date in [good] * 9 + [bad]))
    assert "time (column 'time') must be a date that exists" in message
    assert f"in every line, but line 11: {bad!r}" in message


def test_a_date_that_does_not_exist_is_named_in_the_first_line_too(tmp_path):
    message = error_of(tmp_path / "log.csv", "user,item,time\n1,2,0000-00-00 00:00:00\n1,2,2017-11-25 00:00:00\n")
    assert "line 2: '0000-00-00 00:00:00'" in message


def test_of_many_wrong_dates_the_first_are_found_without_looking_at_each(tmp_path, monkeypatch):
    """Days and months exchanged, on every second of ten thousand lines."""
    looks, are_dates = [], text_values._are_dates
    monkeypatch.setattr(text_values, "_are_dates", lambda *arguments: looks.append(1) or are_dates(*arguments))
    message = error_of(tmp_path / "log.csv", "user,item,time\n" + "1,2,2017-11-25\n1,2,2017-25-11\n" * 5000)
    assert "; ".join(f"line {line}: '2017-25-11'" for line in (3, 5, 7, 9, 11)) in message
    assert len(looks) < 100


@pytest.mark.parametrize("written", ["Nov 25 2017", "2017/11/25 09:30:00", "20171125T093000Z"])
def test_times_that_are_neither_integers_nor_dates_are_told_which_forms_there_are(tmp_path, written):
    message = error_of(tmp_path / "log.csv", f"user,item,time\n1,2,{written}\n")
    for part in ("must be an integer of 64 bits, or a date (2017-11-25, 2017-11-25 09:30:00, ", "UTC", "+08:00", f"line 2: {written!r}"):
        assert part in message


def test_ids_that_turn_out_to_be_words_later_make_the_whole_column_string(tmp_path, monkeypatch):
    monkeypatch.setattr(text_blocks, "_BLOCK_BYTES", 1 << 16)
    many = "".join(f"{user},1,5\n" for user in range(200_000))  # beyond the first MiB that types are guessed from
    table = read(tmp_path / "log.csv", "user,item,time\n" + many + "x,1,5\n")
    assert table.column("user")[0].as_py() == "0"
    assert table.column("user")[200_000].as_py() == "x"
    assert table.schema.field("item").type == pa.int64()
    assert table.column("line")[200_000].as_py() == 200_002


def test_published_formats_take_string_ids_if_the_first_line_has_one(tmp_path):
    table = read(tmp_path / "log.csv", "1,b0,7,pv,5\n2,11,7,pv,6\n")
    assert columns(table, "user", "item") == [[1, 2], ["b0", "11"]]


def test_leading_zeros_are_kept(tmp_path):
    assert columns(read(tmp_path / "log.csv", "user,item,time\n007,1,5\n7,1,5\n"), "user") == [["007", "7"]]


@pytest.mark.parametrize("block_bytes", [9973, 1 << 20])
@pytest.mark.parametrize(
    ("row", "column", "ids"),
    [
        ("007,9,5", "user", "007"),
        ('9,"0x1F",5', "item", "0x1F"),
        ('"00",9,5', "user", "00"),
        (" 007,9,5", "user", " 007"),
        ("9,    -07,5", "item", "    -07"),
        ('" 007",9,5', "user", " 007"),
        ("9,-0,5", "item", "-0"),
    ],
)
def test_leading_zeros_beyond_the_part_that_types_are_guessed_from_are_kept(tmp_path, monkeypatch, block_bytes, row, column, ids):
    monkeypatch.setattr(text_blocks, "_BLOCK_BYTES", block_bytes)
    many = "".join(f"{number},{number},1511539200\n" for number in range(60_000))  # more than a MiB
    table = read(tmp_path / "log.csv", f"user,item,time\n{many}{row}\n{many}")
    other = "item" if column == "user" else "user"
    assert columns(table, column) == [[*map(str, range(60_000)), ids, *map(str, range(60_000))]]
    assert table.schema.field(other).type == pa.int64()
    assert columns(table, "line") == [list(range(2, 120_003))]


LARGEST, SMALLEST = 2**63 - 1, -(2**63)


@pytest.mark.parametrize("row", [0, 1, 60_000])
@pytest.mark.parametrize(
    ("number", "is_integer"),
    [(LARGEST, True), (SMALLEST, True), (10**18, True), (LARGEST + 1, False), (SMALLEST - 1, False)],
)
def test_ids_are_integers_up_to_64_bits_and_text_beyond_wherever_they_stand(tmp_path, monkeypatch, row, number, is_integer):
    monkeypatch.setattr(text_blocks, "_BLOCK_BYTES", 9973)
    ids = [*range(row), number, *range(row, 60_000)]  # more than the MiB that types are guessed from
    table = read(tmp_path / "log.csv", "user,item,time\n" + "".join(f"1,{one},1511539200\n" for one in ids))
    assert columns(table, "item") == [ids if is_integer else list(map(str, ids))]


@given(st.integers(-(2**64), 2**64) | st.integers(0, 100).flatmap(lambda by: st.sampled_from([LARGEST - by, LARGEST + by, SMALLEST + by])))
def test_the_pattern_of_integer_ids_is_what_64_bits_hold(number):
    for text, is_one in (
        (str(number), SMALLEST <= number <= LARGEST),
        (f"0{abs(number)}", False),
        (f"+{abs(number)}", False),
        ("-0", False),
    ):
        assert (id_type(pa.array([text])) == pa.int64()) == is_one


def test_a_time_with_a_leading_zero_leaves_the_ids_integers(tmp_path):
    many = "".join(f"{number},{number},1511539200\n" for number in range(60_000))
    table = read(tmp_path / "log.csv", f"user,item,time\n{many}4,0,05\n")
    assert [values[-1] for values in columns(table, "user", "item", "time")] == [4, 0, 5]


@pytest.mark.parametrize(
    ("log_format", "content", "column", "line"),
    [
        ("movielens", "7::10::5::978300760\n007::11::3::978302109\n8::12::3::978302109\n", "user", "line 2: '007'"),
        ("user_behavior", "1,2,3,pv,4\n1,2,3,pv,4\n1,2,03,pv,4\n", "category", "line 3: '03'"),
    ],
)
def test_leading_zeros_in_a_published_format_are_refused_with_their_lines(tmp_path, log_format, content, column, line):
    message = error_of(tmp_path / "log", content, format=log_format)
    assert all(part in message for part in (column, line, "without leading zeros", "format table"))


def test_parquet_log(tmp_path):
    path = tmp_path / "log.bin"
    times = pa.array([datetime(1970, 1, 1, 0, 0, 3), datetime(1970, 1, 1, 0, 0, 4)])
    pq.write_table(pa.table({"u": pa.array([1, 2], pa.int32()), "i": pa.array(["a", "b"]).dictionary_encode(), "t": times}), path)
    table = read(path, path.read_bytes(), columns={"user": "u", "item": "i", "time": "t"})
    assert columns(table, "user", "item", "time", "line") == [[1, 2], ["a", "b"], [3, 4], [1, 2]]


def test_summary(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("1,10,,pv,100\n1,11,7,buy,-101\n")
    summary = write_canonical_log(path, tmp_path / "c.parquet", DataConfig())
    assert (summary.log_format, summary.num_rows, summary.num_without_category) == ("user_behavior", 2, 1)
    assert (summary.earliest_time, summary.latest_time, summary.source_bytes) == (-101, 100, path.stat().st_size)


def test_equal_logs_give_equal_bytes_however_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(raw_logs, "_ROW_GROUP", 7)
    lines = [f"{i % 5},{i % 11},3,pv,{i}\n" for i in range(100)]
    read(tmp_path / "a.csv", "".join(lines))
    one = (tmp_path / "canonical.parquet").read_bytes()
    monkeypatch.setattr(text_blocks, "_BLOCK_BYTES", 100)
    read(tmp_path / "a.csv.gz", zipped("".join(lines).encode()))
    assert (tmp_path / "canonical.parquet").read_bytes() == one
    assert pq.read_metadata(tmp_path / "canonical.parquet").num_row_groups == 15


def test_world_log_holds_the_world(tmp_path):
    behaviours = Behaviours(np.array([2, 0, 1]), np.array([0, 2, 3]), np.array([5, 6, 1]), num_items=3)
    write_world_log(tmp_path / "world.parquet", behaviours, np.array([4, -1, 5]))
    table = pq.read_table(tmp_path / "world.parquet")
    assert columns(table, "user", "item", "category", "time", "line") == [[0, 0, 1], [2, 0, 1], [5, 4, None], [5, 6, 1], [1, 2, 3]]


names = st.text(st.characters(codec="utf-8", exclude_characters='",\n\r\x00', exclude_categories=("Cs", "Z", "Cc")), min_size=1, max_size=5)
rows = st.lists(st.tuples(names, names, st.integers(-(2**62), 2**62)), min_size=1, max_size=20)


@given(rows=rows)
@settings(max_examples=30)
def test_any_table_comes_back_as_it_was(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("log")
    table = read(folder / "log.csv", "user,item,time\n" + "".join(f"{user},{item},{time}\n" for user, item, time in rows))
    users, items, times = (list(column) for column in zip(*rows, strict=True))
    assert [str(user) for user in table.column("user").to_pylist()] == users
    assert [str(item) for item in table.column("item").to_pylist()] == items
    assert columns(table, "time", "line") == [times, list(range(2, len(rows) + 2))]


# Bad files


def test_wrong_types_name_the_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(text_blocks, "_BLOCK_BYTES", 200)
    lines = [f"{i},{i},3,pv,{i}" for i in range(1, 101)]
    lines[16], lines[17] = "17,17,3,pv,abc", "18,18,3,pv,1.5"
    message = error_of(tmp_path / "UserBehavior.csv", "\n".join(lines))
    assert "time" in message
    assert "must be an integer" in message
    assert "line 17: 'abc'; line 18: '1.5'" in message


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("log.csv", "1,2,3,pv,5\n1,x,3,pv,5\n", ["item", "an integer", "line 2: 'x'"]),
        ("log.csv", "1,2,3,pv,5\n1,99999999999999999999,3,pv,5\n", ["item", "line 2: '99999999999999999999'"]),
        ("log.csv", "1,2,3,pv,5\n1,9999999999999999999,3,pv,5\n", ["line 2", "9999999999999999999"]),
        ("log.csv", b"1,2,3,pv,5\n1,2,3,p\xff,5\n", ["behaviour", "UTF-8", "line 2"]),
        ("log.csv", "1,2,3,pv,5\n\n1,2,3,pv\n1,2,3,pv,5,6\n", ["5 columns", "line 3 has 4: '1,2,3,pv'", "line 4 has 6"]),
        ("ratings.dat", "1::2::3::4\n1::2::3\n", ["4 columns", "'::'", "line 2 has 3: '1::2::3'"]),
        ("log.csv", "1,2,3,pv,5\n1,,3,pv,5\n,2,3,pv,5\n", ["user is missing in line 3; item is missing in line 2"]),
        ("log.csv", "1,2,3,pv,5\n1,2,3,pv,\n", ["time is missing in line 2"]),
        ("log.csv", "user,item,time\n1,2,3.0\n1,2,nan\n1,2,nan\n", ["time is missing in line 3, 4;"]),
        ("log.csv", "user,item,time\n1,2,3.0\n1,2,1e30\n", ["line 3 has 1e+30 as time", "64-bit"]),
        ("log.csv", "user,item,time\n1,2,5.0\n1,2,1600000000123456789.0\n", ["line 3 has 1.6000000001234568e+18 as time", "below 2^53"]),
        ("log.csv", "user,item,time\n1,2,-9007199254740991.0\n1,2,-9007199254740993.0\n", ["line 3 has -9007199254740992.0", "integers"]),
        ("log.csv", "user,item,time\n1,2,0.025\n1,2,1.0\n1,2,0.05\n", ["line 2 has 0.025; line 4 has 0.05 as time", "scale them"]),
        ("log.csv", "user,item,time\n1,2,1511544070.0\n1,2,1511544070.25\n", ["line 3 has 1511544070.25", "milliseconds"]),
        ("log.csv", "user,item,time\n1,2,5\n1,2,6.5\n1,2,x\n", ["time (column 'time') must be a number", "in every line, but line 4: 'x'"]),
        ("log.csv", "user,item,time\n1,2,5\n1,2,6.5\n", ["line 3 has 6.5 as time; allowed is whole numbers"]),
        ("log.csv", "user,item,time\n1,2,1600000000123456789\n1,2,6.0\n", ["line 2 has 1.6000000001234568e+18", "below 2^53"]),
        ("x.inter", "\nuser_id:token\titem_id:token\ttimestamp:float\n1\t2\t3\n", ["the first line of", "is empty; there the header"]),
        ("log.csv", "user,item,time\n1,2,2017-11-25\n1,2,5\n", ["time", "a date", "line 3: '5'"]),
        ("ratings_Books.csv", "A,B,5.0,1\nA,B,good,1\n", ["rating", "a number", "line 2: 'good'"]),
        ("log.csv", "", ["empty (0 bytes)"]),
        ("UserBehavior.csv", "\n\n\n", ["no behaviours"]),
        ("log.csv", "user,item,time\n", ["no behaviours"]),
        ("ratings.csv", "userId,movieId,rating,timestamp", ["no behaviours"]),
        ("log.csv.gz", zipped(TAOBAO.encode())[:-9], ["cut short", "gzip"]),
        ("log.csv.gz", zipped(b"user,item,time\n" + b"1,2,3\n" * 99)[:-9], ["cut short", "gzip"]),
        ("log.csv.gz", zipped(TAOBAO.encode())[:-8] + b"\0\0\0\0\x2f\0\0\0", ["incorrect data check"]),
        ("log.csv.gz", b"\x1f\x8bnonsense", ["cannot be read"]),
        ("log.csv.gz", TAOBAO, ["named .gz but"]),
        ("log.txt", "a b c\n", ["cannot be told", "user_behavior, amazon_ratings, movielens, recbole, table"]),
        ("x.inter", "1\t2\t3\n", ["name:type"]),
        ("x.inter", "user_id:token\titem_id:token\n1\t2\n", ["no column time (timestamp)", "user_id, item_id"]),
        ("log.parquet", b"PAR1garbage", ["not a whole Parquet file"]),
        (
            "log.csv",
            "user,item,time,note\n" + '1,2,3,"bad\n' + "1,2,3,x\n" * 9,
            ["a quote in line 2", "'1,2,3,\"bad", "a line is a behaviour"],
        ),
        ("log.csv", 'user,item,time\n1,2,3\n1,"2,3\n1,2,3\n', ["a quote in line 3 is not closed in it: '1,\"2,3"]),
        ("log.tsv", 'user\titem\ttime\nu\t"b\t6\nu\t"b"\tc"\t6\n', ["3 columns separated by '\\t'", "line 3 has 4"]),
        ("log.csv", 'user,item,time\n1,"a"" b"",c",3\n1,2 "x",3\n1,2,"3\n"\n1,2,x\n', ["a quote in line 4 is not closed"]),
        ("log.csv", 'user,item,time,note\n1,2,3,x\n1,2,3,"a\nb"\n', ["a quote in line 3", "a line is a behaviour"]),
        ("log.csv", "user,item,time,rating\n1,2,3,4\n,,,5\n", ["user is missing in line 3; item is missing in line 3"]),
        ("ratings.csv", "userId,movieId,timestamp,rating\n1,2,100,5\n", ["'userId,movieId,rating,timestamp'", "format table"]),
        ("log.csv", "user,item,time\n" + "1,2,1511570400000000000\n" * 8 + "1,2,abc\n", ["line 10: 'abc'"]),
        ("log.csv", b"user,item,time\r1,2,3\r", ["first line", "no line of text"]),
        ("log.csv.bz2", b"BZh91AY&SY", ["compressed by bzip2", "allowed are text in UTF-8"]),
        ("log.csv.gz", zipped(zipped(TAOBAO.encode())), ["gzip within gzip"]),
        ("log.csv", TAOBAO.encode("utf-16"), ["text in UTF-16"]),
    ],
)
def test_bad_files(tmp_path, name, content, parts):
    message = error_of(tmp_path / name, content)
    assert name in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ({"columns": {"user": "uid", "item": "i", "time": "t"}}, ["no column user (uid)", "u, i, t"]),
        ({"columns": {"user": "u", "item": "i"}}, ["no column time", "u, i, t"]),
        ({"columns": {"user": "u", "item": "i", "when": "t"}}, ["maps when", "allowed are user, item"]),
        ({"columns": {"user": "u", "item": "i", "category": "i", "time": "t"}}, ["column i", "more than once"]),
        ({"columns": {"user": "1", "item": "2", "time": "4"}}, ["no column time (4)", "1, 2, 3"]),
        ({"format": "planted_world"}, ["planted_world is generated"]),
    ],
)
def test_bad_settings(tmp_path, config, parts):
    message = error_of(tmp_path / "log.csv", "u,i,t\n1,2,3\n", **config)
    for part in parts:
        assert part in message


@pytest.mark.parametrize("content", ["\nuser,item,time\n1,2,3\n", "\n\n\n", " \r\n1,2,3\n"])
@pytest.mark.parametrize("columns", [{}, {"user": "1", "item": "2", "time": "3"}])
def test_an_empty_first_line_is_told(tmp_path, content, columns):
    message = error_of(tmp_path / "log.csv", content, format="table", columns=columns)
    assert "log.csv is empty; there the header is expected, or the first behaviour" in message


@pytest.mark.parametrize(
    ("config", "column"), [({"minimum_rating": 4.0}, "minimum_rating is set"), ({"behaviour_types": ("buy",)}, "behaviour_types is set")]
)
def test_a_filter_on_a_column_that_is_not_there_is_refused_before_reading(tmp_path, config, column):
    message = error_of(tmp_path / "log.csv", "user,item,time\n1,2,nonsense\n", format="table", **config)
    assert column in message
    (tmp_path / "log.csv").unlink()
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"user": [1], "item": [1], "time": [1], "rating": pa.nulls(1), "behaviour": pa.nulls(1)}), path)
    assert column in error_of(path, path.read_bytes(), **config)


def test_a_header_of_our_names_says_more_than_the_name_of_the_file(tmp_path):
    table = read(tmp_path / "ratings_Books.csv", "user,item,rating,time\n1,a,4,100\n")
    assert columns(table, "user", "item", "rating", "time", "line") == [[1], ["a"], [4.0], [100], [2]]


@pytest.mark.parametrize("log_format", ["amazon_ratings", "user_behavior", "movielens"])
def test_published_formats_take_no_mapping(log_format):
    with pytest.raises(ValueError, match=f"format {log_format} has columns of its own; set format to table"):
        DataConfig(format=log_format, columns={"user": "2", "item": "1", "time": "4"})


def test_bounds_of_time_fit_64_bits():
    with pytest.raises(ValueError, match="must rise and fit 64 bits"):
        DataConfig(latest_time=2**63)


@pytest.mark.parametrize("name", ["", " ", "x" * 101])
def test_names_that_no_run_or_file_could_have_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="allowed are 1 to 100 characters"):
        DataConfig(name=name)


@pytest.mark.parametrize("as_dictionary", [False, True])
@pytest.mark.parametrize(
    ("texts", "times"),
    [
        (["1511544070", " 7 "], [1511544070, 7]),
        (["978300019.0", "5"], [978300019, 5]),
        (["2017-11-25 09:30:00", "2017-11-25"], [1511602200, 1511568000]),
        (["2017-11-25T09:30:00+08:00", "2017-11-25T09:30:00Z"], [1511573400, 1511602200]),
        (["2017-11-25 09:30:00.5 UTC", "2017-11-25 09:30:01 UTC"], [1511602200, 1511602201]),
    ],
)
def test_times_of_parquet_may_be_texts(tmp_path, texts, times, as_dictionary):
    column = pa.array(texts, pa.large_string())
    table = pa.table({"user": [1, 2], "item": [1, 2], "time": column.dictionary_encode() if as_dictionary else column})
    pq.write_table(table, tmp_path / "log.parquet")
    assert read(tmp_path / "log.parquet", (tmp_path / "log.parquet").read_bytes()).column("time").to_pylist() == times


def test_decimals_of_parquet_are_numbers(tmp_path):
    whole, cents = pa.decimal128(38, 0), pa.decimal128(10, 2)
    values = {
        "user": ([2**62], whole),
        "item": ([7], whole),
        "behaviour": ([3], whole),
        "rating": (["4.50"], cents),
        "time": (["9.00"], cents),
    }
    table = pa.table({name: pa.array([Decimal(value) for value in given], kind) for name, (given, kind) in values.items()})
    pq.write_table(table, tmp_path / "log.parquet")
    table = read(tmp_path / "log.parquet", (tmp_path / "log.parquet").read_bytes())
    assert columns(table, "user", "item", "behaviour", "rating", "time") == [[2**62], [7], ["3"], [4.5], [9]]


def test_bad_parquet_columns(tmp_path):
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"user": [1.5], "item": ["a"], "time": [1]}), path)
    assert "user (column 'user') is of type double; allowed is string or integer" in error_of(path, path.read_bytes())
    pq.write_table(pa.table({"user": [1, 1], "item": ["a", "b"], "time": ["2017-11-25", "2017-11-31"]}), path)
    assert "time does not fit timestamp[ns]: line 2 has 2017-11-31" in error_of(path, path.read_bytes())
    pq.write_table(pa.table({"user": [1, 1], "item": ["a", "b"], "time": ["yesterday", "2"]}), path)
    assert "time does not fit int64: line 1 has yesterday" in error_of(path, path.read_bytes())
    pq.write_table(pa.table({"user": pa.array([Decimal("1.50")]), "item": ["a"], "time": [1]}), path)
    assert "user (column 'user') is of type decimal128(3, 2); allowed is string or integer" in error_of(path, path.read_bytes())
    pq.write_table(pa.table({"user": pa.array([1, 2**63], pa.decimal128(38, 0)), "item": ["a", "b"], "time": [1, 1]}), path)
    assert "user does not fit int64: line 2 has 9223372036854775808" in error_of(path, path.read_bytes())
    pq.write_table(pa.table({"user": [1, None], "item": ["a", "b"], "time": [1, 2]}), path)
    assert "user is missing in line 2" in error_of(path, path.read_bytes())
    pq.write_table(pa.table({"user": pa.array([2**63], pa.uint64()), "item": ["a"], "time": [1]}), path)
    assert "user does not fit int64" in error_of(path, path.read_bytes())
    pq.write_table(pa.table({"user": [1, 1], "item": ["a", "b"], "time": pa.array([1, 2**63], pa.uint64())}), path)
    assert "time does not fit int64: line 2 has 9223372036854775808" in error_of(path, path.read_bytes())
    pq.write_table(pa.table({"user": [1, None], "item": ["a", None], "time": [1, None]}), path)
    assert "user is missing in line 2; item is missing in line 2; time is missing in line 2" in error_of(path, path.read_bytes())
    pq.write_table(pa.table({"user": [1, 1], "item": ["a", "b"], "time": [1.0, 2.5]}), path)
    assert "line 2 has 2.5 as time; allowed is whole numbers" in error_of(path, path.read_bytes())
    pq.write_table(pa.table({"user": [1, 1], "item": ["a", "b"], "time": [1.0, 2.0**53]}), path)
    assert "line 2 has 9007199254740992.0 as time; allowed is what a decimal number tells exactly" in error_of(path, path.read_bytes())
    assert "format must be table" in error_of(path, path.read_bytes(), format="movielens")


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        write_canonical_log(Path(tmp_path / "none.csv"), tmp_path / "c.parquet", DataConfig())
    with pytest.raises(ValueError, match="no file in the folder"):
        write_canonical_log(tmp_path, tmp_path / "c.parquet", DataConfig())


def test_a_failure_leaves_the_file_that_was_there(tmp_path):
    read(tmp_path / "log.csv", TAOBAO)
    before = (tmp_path / "canonical.parquet").read_bytes()
    with pytest.raises(ValueError, match="line 4"):
        read(tmp_path / "log.csv", TAOBAO + "1,2,3,pv,abc\n")
    assert (tmp_path / "canonical.parquet").read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["canonical.parquet", "log.csv"]

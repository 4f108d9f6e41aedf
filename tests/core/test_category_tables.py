"""Category tables: every kind that is read, and what is refused."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jtm_core.config import DataConfig
from jtm_core.formats.category_tables import read_category_table
from jtm_core.formats.raw_logs import write_canonical_log

GENRES = [["1", "2"], ["Animation", "Drama"]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"1,toys\n2,books\n", [["1", "2"], ["toys", "books"]]),
        (b"item,category\n1,toys\n2,\n", [["1", "2"], ["toys", None]]),
        (b"asin\tcategory\nB0\ttoys, small\n", [["B0"], ["toys, small"]]),
        (b"1::toys\n", [["1"], ["toys"]]),
        (gzip.compress(b"1,toys\n", mtime=0), [["1"], ["toys"]]),
        (b'movieId,title,genres\n1,"Toys, The",Animation|Comedy\n2,X,Drama\n', GENRES),
        (b"1::Caf\xe9: a film (1995)::Animation|Children's\n2::Y::Drama\n", GENRES),
        (b"item_id:token\tmovie_title:token_seq\tclass:token_seq\n1\tToy Story\tAnimation Children's\n2\tX\tDrama\n", GENRES),
        (b"item_id:token\tgenre:token\n1\tSci Fi\n", [["1"], ["Sci Fi"]]),
        (b"category_id,item_id\n10,1\n20,2\n", [["1", "2"], ["10", "20"]]),
        (b"item_1,toys\nitem_2,books\n", [["item_1", "item_2"], ["toys", "books"]]),
    ],
)
def test_kinds_of_tables(tmp_path, content, expected):
    path = tmp_path / "table"
    path.write_bytes(content)
    table = read_category_table(path)
    assert [table.items.to_pylist(), table.categories.to_pylist()] == expected


def test_parquet_table(tmp_path):
    pq.write_table(pa.table({"item": [1, 2], "category": [10, None]}), tmp_path / "table.parquet")
    table = read_category_table(tmp_path / "table.parquet")
    assert [table.items.to_pylist(), table.categories.to_pylist()] == [["1", "2"], ["10", None]]


@pytest.mark.parametrize(
    ("names", "own", "item"),
    [
        (["sku", "category"], "sku", "sku"),
        (["category", "SKU", "asin"], "sku", "SKU"),
        (["asin", "category"], "", "asin"),
        (["category", "movieId"], "3", "movieId"),
        (["asin", "item", "category"], "", "item"),
        (["item", "category"], "category", "item"),
    ],
)
def test_a_parquet_table_calls_its_items_as_a_header_may(tmp_path, names, own, item):
    pq.write_table(pa.table({name: [f"a {name}"] for name in names}), tmp_path / "table.parquet")
    table = read_category_table(tmp_path / "table.parquet", own)
    assert [table.items.to_pylist(), table.categories.to_pylist()] == [[f"a {item}"], ["a category"]]


@pytest.mark.parametrize(
    ("names", "own"),
    [(["sku", "category"], ""), (["item", "sku", "category"], "sku"), (["asin", "movieId", "category"], ""), (["1", "category"], "1")],
)
def test_a_parquet_table_without_or_with_two_columns_of_items_is_refused(tmp_path, names, own):
    pq.write_table(pa.table({name: ["x"] for name in names}), tmp_path / "table.parquet")
    with pytest.raises(ValueError, match=f"has the columns {', '.join(names)}; it needs one item .* as in the log or one of asin, item,"):
        read_category_table(tmp_path / "table.parquet", own)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["empty"]),
        (b"item,category\n", ["no rows"]),
        (b"1,toys\n2\n3,a,b\n", ["2 columns (item, category)", "line 2 has 1: '2'", "line 3 has 3"]),
        (b"1,toys\n,books\n", ["1 rows without an item"]),
        (b"item_id:token\tyear:float\n1\t1995\n", ["item_id and one of class"]),
        (gzip.compress(b"1,toys\n", mtime=0)[:-5], ["cut short"]),
        ("é1,toys\n".encode() + b"2,b\xfccher\n", ["must be text in UTF-8 in every line, but line 2: '2,b\ufffdcher'"]),
        (b"item_id:token\tclass:token_seq\n1\tCaf\xe9\n", ["line 2: '1\\tCaf\ufffd'"]),
        (b"caf\xe9::toys\n", ["line 1"]),
        (b'1,"toys\n2,books\n3,games\n', ["a quote is not closed in the line of item '1'"]),
    ],
)
def test_malformed_tables(tmp_path, content, parts):
    path = tmp_path / "table"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_category_table(path)
    for part in (str(path), *parts):
        assert part in str(caught.value)


def with_table(tmp_path, log, table):
    (tmp_path / "ratings_x.csv").write_text(log)
    (tmp_path / "table.csv").write_text(table)
    config = DataConfig(category_path=str(tmp_path / "table.csv"))
    write_canonical_log(tmp_path / "ratings_x.csv", tmp_path / "c.parquet", config)
    return pq.read_table(tmp_path / "c.parquet").column("category").to_pylist()


def test_log_takes_the_first_category_of_an_item_and_null_for_unknown_ones(tmp_path):
    assert with_table(tmp_path, "u,a,5,1\nu,b,5,2\nu,c,5,3\n", "a,x\nc,y\na,z\n") == ["x", None, "y"]


def test_items_of_integer_logs_are_found_among_words(tmp_path):
    assert with_table(tmp_path, "1,2,3,pv,5\n1,3,3,pv,5\n", "word,x\n3,y\nother,z\n") == [None, "y"]


def test_an_item_with_a_leading_zero_is_no_integer_log_s(tmp_path):
    assert with_table(tmp_path, "1,7,,pv,5\n1,8,,pv,5\n", "007,wrong\n8,right\n-0,x\n") == [None, "right"]


def test_a_table_whose_items_alone_have_leading_zeros_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"knows none of the items .* Items such as '07' have leading zeros in it"):
        with_table(tmp_path, "1,7,,pv,5\n1,8,,pv,5\n", "07,x\n08,y\n")


@pytest.mark.parametrize("unclosed", ["", '5\t"z\n'])
def test_quotes_between_tabs_are_those_of_the_log(tmp_path, unclosed):
    rows = 'u\t"say ""hi"""\t1\nu\tplain\t2\n'
    (tmp_path / "log.tsv").write_text("user\titem\ttime\n" + rows + ('u\t"z\t3\n' if unclosed else ""))
    (tmp_path / "table.tsv").write_text('item\tcategory\n"say ""hi"""\t"toys"\nplain\tbooks\n' + unclosed)
    write_canonical_log(tmp_path / "log.tsv", tmp_path / "c.parquet", DataConfig(category_path=str(tmp_path / "table.tsv")))
    table = pq.read_table(tmp_path / "c.parquet")
    assert table.column("item").to_pylist()[:2] == (['"say ""hi"""', "plain"] if unclosed else ['say "hi"', "plain"])
    assert table.column("category").to_pylist()[:2] == (['"toys"', "books"] if unclosed else ["toys", "books"])


def test_items_of_19_digits_have_their_category_as_any_and_what_64_bits_do_not_hold_is_none_of_them(tmp_path):
    items = [2**63 - 1, 1234567890123456789, -(2**63)]
    pq.write_table(pa.table({"user": [1, 1, 1], "item": items, "time": [1, 2, 3]}), tmp_path / "log.parquet")
    (tmp_path / "table.csv").write_text("".join(f"{item},x{item}\n" for item in [2**63, *items, -(2**63) - 1, 2**64 + items[1]]))
    write_canonical_log(tmp_path / "log.parquet", tmp_path / "c.parquet", DataConfig(category_path=str(tmp_path / "table.csv")))
    assert pq.read_table(tmp_path / "c.parquet").column("category").to_pylist() == [f"x{item}" for item in items]


@pytest.mark.parametrize("table", ["007,wrong\n7,right\n", "item,category\n007,wrong\n7,right\n", "item,category\nword,wrong\n7,right\n"])
def test_an_odd_first_item_below_a_known_header_or_of_digits_is_an_item(tmp_path, table):
    assert with_table(tmp_path, "1,7,,pv,5\n1,8,,pv,5\n", table) == ["right", None]


@pytest.mark.parametrize("table", ["department,sku\n10,1\n20,2\n", "SKU,department\n1,10\n2,20\n"])
def test_a_header_may_call_the_items_column_as_the_log_does(tmp_path, table):
    (tmp_path / "table.csv").write_text(table)
    read = read_category_table(tmp_path / "table.csv", "sku")
    assert [read.items.to_pylist(), read.categories.to_pylist()] == [["1", "2"], ["10", "20"]]


def test_the_log_s_own_name_of_the_items_column_reaches_the_table_but_a_number_is_none(tmp_path):
    (tmp_path / "table.csv").write_text("department,sku\n10,1\n20,2\n")
    for name, header, own in (("log.csv", "who,sku,at\n", ("who", "sku", "at")), ("bare.csv", "", ("1", "2", "3"))):
        (tmp_path / name).write_text(header + "5,1,8\n5,2,9\n")
        columns = dict(zip(("user", "item", "time"), own, strict=True))
        config = DataConfig(format="table", category_path=str(tmp_path / "table.csv"), columns=columns)
        write_canonical_log(tmp_path / name, tmp_path / "c.parquet", config)
        assert pq.read_table(tmp_path / "c.parquet").column("category").to_pylist() == ["10", "20"]
        (tmp_path / "table.csv").write_text("2,20\n1,10\n")


def test_a_first_line_of_words_above_integers_is_no_item_of_theirs(tmp_path):
    with pytest.raises(ValueError, match=r"but that of the first line, 'department,sku'; .* asin, item, item_id, itemid, movieid"):
        with_table(tmp_path, "1,2,3,pv,5\n1,3,3,pv,5\n", "department,sku\n3,1\n4,2\n")


def test_a_table_of_other_items_is_refused(tmp_path):
    with pytest.raises(ValueError, match="knows none of the items"):
        with_table(tmp_path, "u,a,5,1\n", "b,x\n")
    assert not (tmp_path / "c.parquet").exists()


def test_a_missing_table_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "ratings_x.csv").write_text("u,a,5,1\n")
    with pytest.raises(ValueError, match=r"there is no file .*none\.csv"):
        write_canonical_log(tmp_path / "ratings_x.csv", tmp_path / "c.parquet", DataConfig(category_path=str(tmp_path / "none.csv")))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"item": [1], "category": pa.array([["toys"]], pa.list_(pa.string()))}, "category is of type list"),
        ({"item": [1], "category": pa.array([b"\xff"], pa.binary())}, "category is of type binary; allowed is string or integer"),
        ({"item": [1], "kind": ["toys"]}, "has the columns item, kind; it needs one item and one category"),
    ],
)
def test_parquet_tables_of_other_columns_are_refused(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "table.parquet")
    with pytest.raises(ValueError, match=f"table.parquet.*{message}"):
        read_category_table(tmp_path / "table.parquet")


def test_a_table_that_knows_the_items_but_no_category_is_no_other_log_s(tmp_path):
    assert with_table(tmp_path, "A,1,5.0,1\n", "1,\n") == [None]

"""Preparation: against a plain twin on tiny logs, known answers, ids that stay, and what is refused."""

import signal
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core import preparation
from jtm_core.config import DataConfig
from jtm_core.formats import key_codes, log_rows, prepared_logs
from jtm_core.formats.prepared_logs import prepare
from jtm_core.formats.raw_logs import write_canonical_log
from jtm_core.formats.vocabularies import Vocabulary, in_type_of, read_vocabulary, write_vocabulary
from jtm_core.preparation import ROW, CategoryCounts, dense_ids, order_by_user_and_time, stable_order, unrepeated

TYPES = ("pv", "buy")


def log_of(folder, rows, header="user,item,category,behaviour,rating,time"):
    """Canonical log of rows (user, item, category, behaviour, rating, time)."""
    text = "".join(",".join("" if value is None else str(value) for value in row) + "\n" for row in rows)
    (folder / "log.csv").write_text(header + "\n" + text)
    write_canonical_log(folder / "log.csv", folder / "log.parquet", DataConfig(format="table"))
    return folder / "log.parquet"


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def parts_of(block_rows, bucket_rows, widest_table=1 << 27):
    """Logs as if they were long: blocks and buckets of a few rows, and ids too scattered for a table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_rows, "_BLOCK_ROWS", block_rows)
        patch.setattr(prepared_logs, "_BUCKET_ROWS", bucket_rows)
        patch.setattr(key_codes, "_WIDEST_TABLE", widest_table)
        patch.setattr(key_codes, "_PENDING_KEYS", 2)
        patch.setattr(preparation, "_PENDING_PAIRS", 2)
        yield


def prepared(folder, rows, known=(None, None), **config):
    return prepare(log_of(folder, rows), DataConfig(**config), *known)


def simple(*pairs):
    """Rows of (user, item) at rising times."""
    return [(user, item, 1, "pv", 5, time) for time, (user, item) in enumerate(pairs)]


def histories(result):
    """Original ids of every user's items, by the user's original id."""
    users, items, behaviours = result.users.keys.to_pylist(), result.items.keys.to_pylist(), result.behaviours
    return {users[user]: [items[item] for item in behaviours.history(user)] for user in range(behaviours.num_users)}


def twin_rows(rows, config):
    """What is left of rows, in plain Python: (user, time, line, item, category), sorted."""
    kept = [(user, time, line, item, category) for line, (user, item, category, kind, rating, time) in enumerate(rows)
            if (not config.behaviour_types or kind in config.behaviour_types)
            and (config.minimum_rating is None or rating >= config.minimum_rating)
            and (config.out_of_range == "fail" or config.earliest_time <= time <= config.latest_time)]  # fmt: skip
    kept.sort(key=lambda row: row[:3])
    if config.duplicates != "keep_all":
        chosen = {}
        for row in reversed(kept) if config.duplicates == "keep_last" else kept:
            user, time, _, item, _ = row
            chosen.setdefault((user, item, time if config.duplicates == "drop_exact" else None), row)
        kept = sorted(chosen.values(), key=lambda row: row[:3])
    items = Counter(row[3] for row in kept)
    kept = [row for row in kept if items[row[3]] >= config.minimum_item_occurrences]
    users = Counter(row[0] for row in kept)
    return [row for row in kept if users[row[0]] >= config.minimum_user_behaviours]


row = st.tuples(
    st.integers(0, 4),
    st.integers(0, 5),
    st.one_of(st.none(), st.integers(0, 2)),
    st.sampled_from(TYPES),
    st.integers(1, 5),
    st.integers(-3, 3),
)
configs = st.builds(
    DataConfig,
    behaviour_types=st.sampled_from([(), ("pv",), TYPES]),
    minimum_rating=st.sampled_from([None, 2.0, 4.5]),
    duplicates=st.sampled_from(["keep_all", "keep_first", "keep_last", "drop_exact"]),
    minimum_item_occurrences=st.integers(1, 3),
    minimum_user_behaviours=st.integers(1, 4),
    earliest_time=st.just(-2),
    latest_time=st.just(2),
    out_of_range=st.sampled_from(["fail", "drop"]),
)


sizes = st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([0, 4, 1 << 27]))


@given(rows=st.lists(row, min_size=1, max_size=60), config=configs, parts=sizes)
@settings(max_examples=100)
def test_prepare_equals_its_twin_in_any_parts(tmp_path_factory, rows, config, parts):
    folder = tmp_path_factory.mktemp("log")
    path = log_of(folder, rows)
    with parts_of(*parts):
        check_against_twin(path, rows, config)
    assert names_in(folder) == ["log.csv", "log.parquet"]


def check_against_twin(path, rows, config):
    expected = twin_rows(rows, config)
    users, items = sorted({row[0] for row in expected}), sorted({row[3] for row in expected})
    if len(users) < 2 or len(items) < 2:
        with pytest.raises(ValueError, match=f"{len(users)} users and {len(items)} items are left"):
            prepare(path, config)
        return
    result = prepare(path, config)
    assert [result.users.keys.to_pylist(), result.items.keys.to_pylist()] == [users, items]
    assert histories(result) == {user: [row[3] for row in expected if row[0] == user] for user in users}
    assert result.behaviours.times.tolist() == [row[1] for row in expected]
    assert result.filters[0].rows_before == len(rows)
    assert result.filters[-1].rows_after == len(expected)
    check_categories(result, expected, items)


def check_categories(result, expected, items):
    common = []
    for item in items:
        counts = Counter(row[4] for row in expected if row[3] == item and row[4] is not None)
        common.append(min(counts, key=lambda category: (-counts[category], category)) if counts else None)
    assert result.items.categories.to_pylist() == common
    codes = {category: code for code, category in enumerate(sorted({category for category in common if category is not None}))}
    assert result.categories.tolist() == [codes.get(category, -1) for category in common]


@given(rows=st.lists(row, min_size=8, max_size=60), known=st.lists(st.integers(-2, 9), min_size=1, unique=True), parts=sizes)
@settings(max_examples=40)
def test_parts_change_nothing_when_data_grow(tmp_path_factory, rows, known, parts):
    path = log_of(tmp_path_factory.mktemp("log"), [*rows, *simple((7, 7), (8, 8))])
    vocabularies = Vocabulary(pa.array(known), pa.array([5] * len(known))), Vocabulary(pa.array(known))
    config = DataConfig(minimum_user_behaviours=1)
    whole = prepare(path, config, *vocabularies)
    with parts_of(*parts):
        result = prepare(path, config, *vocabularies)
    assert result.users.keys.to_pylist()[: len(known)] == known
    for name in ("items", "offsets", "times"):
        np.testing.assert_array_equal(getattr(result.behaviours, name), getattr(whole.behaviours, name))
    assert result.users.keys.equals(whole.users.keys)
    assert result.items.keys.equals(whole.items.keys)
    assert result.items.categories.equals(whole.items.categories)
    assert result.categories.tolist() == whole.categories.tolist()
    own = {user: [line[1] for line in sorted(rows, key=lambda line: line[5]) if line[0] == user] for user in {line[0] for line in rows}}
    if len({(line[0], line[1], line[5]) for line in rows}) == len(rows):
        assert {user: items for user, items in histories(result).items() if user in own} == own


def test_equal_times_keep_the_order_of_the_file(tmp_path):
    rows = [(1, item, 1, "pv", 5, 7) for item in (3, 1, 2)] + [(2, 1, 1, "pv", 5, 7), (1, 9, 1, "pv", 5, 6)]
    assert histories(prepared(tmp_path, rows, minimum_user_behaviours=1)) == {1: [9, 3, 1, 2], 2: [1]}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("keep_all", "abaaac"), ("keep_first", "abc"), ("keep_last", "bac"), ("drop_exact", "abaac")],
)
def test_policies_for_repeats(tmp_path, policy, expected):
    rows = [("u", item, 1, "pv", 5, time) for item, time in [("a", 1), ("b", 2), ("a", 3), ("a", 3), ("a", 4), ("c", 5)]] + simple(
        ("v", "a")
    )
    assert "".join(histories(prepared(tmp_path, rows, duplicates=policy, minimum_user_behaviours=1))["u"]) == expected


def test_items_are_counted_before_users_and_once(tmp_path):
    pairs = [(1, "a"), (1, "b"), (2, "a"), (2, "b"), (2, "c"), (3, "c"), (3, "d")]
    result = prepared(tmp_path, simple(*pairs), minimum_user_behaviours=2, minimum_item_occurrences=2)
    assert histories(result) == {1: ["a", "b"], 2: ["a", "b", "c"]}  # c is left with one, and stays
    assert [str(one) for one in result.filters] == [
        "duplicates (drop_exact): 7 -> 7 rows",
        "items with 2 or more occurrences: 7 -> 6 rows",
        "users with 2 or more behaviours: 6 -> 5 rows",
    ]


def test_known_ids_stay_when_data_grow(tmp_path):
    old = prepared(tmp_path, simple((5, "m"), (5, "x"), (7, "m")), minimum_user_behaviours=1)
    rows = [*simple((7, "z"), (7, "a"), (1, "m")), (1, "a", 2, "pv", 5, 9)]
    new = prepared(tmp_path, rows, known=(old.items, old.users), minimum_user_behaviours=1)
    assert new.items.keys.to_pylist() == ["m", "x", "a", "z"]
    assert new.users.keys.to_pylist() == [5, 7, 1]
    assert histories(new) == {5: [], 7: ["z", "a"], 1: ["m", "a"]}
    assert new.items.categories.to_pylist() == [1, 1, 1, 1]  # x is not in the log: known from before


def test_integers_of_a_later_log_are_the_texts_they_are_written_as_where_known_ids_are_texts(tmp_path):
    old = prepared(tmp_path, simple(("u", "12"), (7, "A7"), (7, "12")), minimum_user_behaviours=1)
    new = prepared(tmp_path, simple((7, 12), (10, 13), (9, 5), (7, 13)), known=(old.items, old.users), minimum_user_behaviours=1)
    assert new.users.keys.to_pylist() == ["7", "u", "9", "10"]
    assert new.items.keys.to_pylist() == ["12", "A7", "5", "13"]
    assert histories(new) == {"7": ["12", "13"], "u": [], "9": ["5"], "10": ["13"]}


def test_texts_of_a_later_log_that_are_integers_are_these_where_known_ids_are_integers(tmp_path):
    rows = [("x", 2, 1, "pv", 5, 1), ("x", 3, 1, "pv", 5, 2), (10, 4, 1, "pv", 5, 3), (9, 2, 1, "pv", 5, 4)]
    path, known = log_of(tmp_path, rows), Vocabulary(pa.array([9, 8]))
    with pytest.raises(ValueError, match=r"user: 1 of 3 are no integers as all known ones are, such as \['x'\]; take these out of the log"):
        prepare(path, DataConfig(minimum_user_behaviours=1), None, known)
    table = pa.parquet.read_table(path).slice(2)
    assert table.schema.field("user").type == pa.string()
    pa.parquet.write_table(table, path)
    new = prepare(path, DataConfig(minimum_user_behaviours=1), None, known)
    assert new.users.keys.to_pylist() == [9, 8, 10]
    assert histories(new) == {9: [2], 8: [], 10: [4]}


def test_texts_of_19_digits_are_known_integers_up_to_64_bits_and_named_beyond():
    ids = [2**63 - 1, 10**18, -(2**63)]
    assert in_type_of(pa.int64(), pa.array(map(str, ids)), "item").to_pylist() == ids
    with pytest.raises(ValueError, match=r"item: 2 of 5 are no integers .* \['9223372036854775808', '-9223372036854775809'\]"):
        in_type_of(pa.int64(), pa.array(map(str, [*ids, 2**63, -(2**63) - 1])), "item")


def test_items_that_are_no_integers_are_named_where_known_ones_are_integers(tmp_path):
    rows = simple((1, "07"), (2, "b"), (2, "3"))
    with pytest.raises(ValueError, match=r"item: 2 of 3 are no integers .* \['07', 'b'\]; .* another data.name"):
        prepared(tmp_path, rows, known=(Vocabulary(pa.array([1, 2])), None), minimum_user_behaviours=1)


@pytest.mark.parametrize("limit", [0, 3, 8])
def test_ids_too_long_for_one_string_array_are_prepared_as_any(tmp_path, monkeypatch, limit):
    def run():
        old = prepared(tmp_path, simple(("u", "ab"), ("v", "cd"), ("v", "a")), minimum_user_behaviours=1)
        return old, prepared(tmp_path, simple((7, "ab"), ("u", "x"), ("v", "yz")), known=(old.items, old.users), minimum_user_behaviours=1)

    whole = run()
    monkeypatch.setattr(key_codes, "_MOST_TEXT", limit)
    for one, other in zip(run(), whole, strict=True):
        assert other.items.keys.type == pa.string()
        assert (one.items.keys.type == pa.large_string()) == (len("".join(other.items.keys.to_pylist())) > limit)
        assert one.users.keys.to_pylist() == other.users.keys.to_pylist()
        assert one.items.keys.to_pylist() == other.items.keys.to_pylist()
        assert histories(one) == histories(other)
        write_vocabulary(tmp_path / "items", one.items, "item")
        assert read_vocabulary(tmp_path / "items").keys.equals(one.items.keys)


def test_categories_take_the_type_of_the_known_ones_or_are_refused(tmp_path):
    known = Vocabulary(pa.array(["a"]), pa.array(["toys"]))
    numbered = prepared(tmp_path, simple((1, "c"), (2, "b")), known=(known, None), minimum_user_behaviours=1)
    assert numbered.items.categories.to_pylist() == ["toys", "1", "1"]
    without = [(1, "a", None, "pv", 5, 1), (2, "b", None, "pv", 5, 2)]
    assert prepared(tmp_path, without, known=(known, None), minimum_user_behaviours=1).items.categories.to_pylist() == ["toys", None]
    named = [(1, "a", "7.0", "pv", 5, 1), (2, "b", "8", "pv", 5, 2)]
    with pytest.raises(ValueError, match=r"category: 1 of 2 are no integers .* \['7.0'\]"):
        prepared(tmp_path, named, known=(Vocabulary(pa.array(["a"]), pa.array([1])), None), minimum_user_behaviours=1)
    no_matter = prepared(tmp_path, named, known=(Vocabulary(pa.array(["a"])), None), minimum_user_behaviours=1)  # as lists are made
    assert histories(no_matter) == {1: ["a"], 2: ["b"]}


@pytest.mark.parametrize(
    ("pairs", "config", "parts"),
    [
        ([(1, 1), (1, 2)], {}, ["1 users and 2 items"]),
        ([(1, 1), (2, 1)], {}, ["2 users and 1 items"]),
        ([(1, 1), (2, 2)], {"behaviour_types": ("cart", "fav")}, ["0 users", "behaviour types cart, fav: 2 -> 0 rows"]),
        ([(1, 1), (2, 2)], {"minimum_rating": 6.0}, ["ratings of 6 or more: 2 -> 0 rows"]),
        ([(1, 1), (2, 2)], {"out_of_range": "drop", "earliest_time": 1}, ["times of 1 .. None: 2 -> 1 rows"]),
        ([(1, 1), (2, 2)], {"minimum_user_behaviours": 2}, ["users with 2 or more behaviours: 2 -> 0 rows"]),
        ([(1, 1), (2, 2)], {"minimum_item_occurrences": 2}, ["items with 2 or more occurrences: 2 -> 0 rows"]),
    ],
)
def test_too_little_left_says_what_each_filter_did(tmp_path, pairs, config, parts):
    with pytest.raises(ValueError) as caught:
        prepared(tmp_path, simple(*pairs), **{"minimum_user_behaviours": 1, **config})
    for part in parts:
        assert part in str(caught.value)


def test_filters_on_columns_the_log_does_not_carry_are_refused(tmp_path):
    path = log_of(tmp_path, [(1, 1, 1), (2, 2, 2)], header="user,item,time")
    with pytest.raises(ValueError, match=r"behaviour types pv cannot be applied: .* carries no behaviour"):
        prepare(path, DataConfig(behaviour_types=("pv",)))
    with pytest.raises(ValueError, match="carries no rating"):
        prepare(path, DataConfig(minimum_rating=3.0))
    assert prepare(path, DataConfig(minimum_user_behaviours=1)).categories.tolist() == [-1, -1]


def test_what_is_no_canonical_log_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        prepare(tmp_path / "none", DataConfig())
    (tmp_path / "x").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="not a whole Parquet file"):
        prepare(tmp_path / "x", DataConfig())
    pa.parquet.write_table(pa.table({"user": [1]}), tmp_path / "x")
    with pytest.raises(ValueError, match="a canonical log has user, item"):
        prepare(tmp_path / "x", DataConfig())


def coded(users, times, items=None, categories=None):
    rows = np.empty(len(users), dtype=ROW)
    rows["user"], rows["time"] = users, times
    rows["item"] = range(len(users)) if items is None else items
    rows["category"] = -1 if categories is None else categories
    return rows


def test_order_holds_for_times_that_cannot_be_packed():
    extreme = [2**63 - 1, -(2**63), 0, -(2**63)]
    assert order_by_user_and_time(coded([1, 1, 1, 0], extreme))["item"].tolist() == [3, 1, 2, 0]


@given(
    pairs=st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([0, 1, 2, 2**40, 2**62, -(2**62)])), max_size=40),
    is_narrow=st.booleans(),
)
@settings(max_examples=60)
def test_stable_order_sorts_by_both_and_the_position(pairs, is_narrow):
    pairs = [(major, minor % 5 if is_narrow else minor) for major, minor in pairs]
    major, minor = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    assert stable_order(major, minor).tolist() == sorted(range(len(pairs)), key=lambda row: (pairs[row], row))


def test_empty_parts_pass():
    nothing = coded([], [])
    assert len(order_by_user_and_time(nothing)) == len(unrepeated(nothing, "drop_exact")) == 0
    counts = CategoryCounts(9, 0)
    counts.add(nothing)
    assert counts.common().tolist() == [-1] * 9


def test_categories_are_counted_over_all_parts(monkeypatch):
    monkeypatch.setattr(preparation, "_PENDING_PAIRS", 1)
    counts = CategoryCounts(4, 3)
    for items, categories in (([0, 0, 1], [2, 1, 2]), ([0, 1, 1], [1, 0, -1]), ([0, 2], [1, -1]), ([0, 0], [2, 0])):
        counts.add(coded([0] * len(items), [0] * len(items), items, categories))
    assert counts.common().tolist() == [1, 0, -1, -1]  # 0: three times 1, twice 2; 1: a tie of 0 and 2


def long_log(path, num_rows):
    rng = np.random.default_rng(num_rows)
    lines = zip(rng.integers(0, 1000, num_rows), rng.integers(0, 40, num_rows), range(num_rows), strict=True)
    path.write_text("user,item,time\n" + "".join(f"{user},{item},{time}\n" for user, item, time in lines))
    write_canonical_log(path, path.with_suffix(".parquet"), DataConfig(format="table"))
    return path.with_suffix(".parquet")


def peak_of_preparation(path):
    """Bytes; the least of three runs, as other threads and rubbish not yet collected only ever add."""
    peaks = []
    for _ in range(3):
        tracemalloc.start()
        prepare(path, DataConfig())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return min(peaks)


def test_memory_does_not_grow_with_the_log(tmp_path):
    """What stays is one offset a user and one count an item, the rest is a bucket's."""
    paths = [long_log(tmp_path / f"{num_rows}.csv", num_rows) for num_rows in (40_000, 320_000)]
    with parts_of(8000, 8000):
        peaks = [peak_of_preparation(path) for path in paths]
    assert peaks[1] < 1.5 * peaks[0]
    assert peaks[1] < 320_000 * 20 / 5  # the coded rows alone take five times that


def test_a_killed_preparation_leaves_no_file(tmp_path):
    path = long_log(tmp_path / "log.csv", 5000)
    program = (
        "import sys, time; from pathlib import Path; from jtm_core.config import DataConfig; from jtm_core.formats import prepared_logs\n"
        "def stop(*_): print('filled', flush=True); time.sleep(60)\n"
        "prepared_logs._BUCKET_ROWS, prepared_logs._filter = 100, stop\n"
        "prepared_logs.prepare(Path(sys.argv[1]), DataConfig())"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"filled\n"
        descriptors = [str(link.readlink()) for link in Path(f"/proc/{process.pid}/fd").iterdir()]
        process.send_signal(signal.SIGKILL)
    assert sum(str(tmp_path) in name for name in descriptors) >= 50  # the rows were on disk
    time.sleep(0.1)
    assert names_in(tmp_path) == ["log.csv", "log.parquet"]


def test_dense_ids_known_answer():
    ids, num_ids = dense_ids(np.array([True, False, True, True, False]), np.array([-1, -1, 0, -1, 1]), num_known=2)
    assert (ids.tolist(), num_ids) == ([2, -1, 0, 3, 1], 4)

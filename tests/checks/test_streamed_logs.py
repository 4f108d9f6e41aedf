"""A streamed log: the same report as in one frame, whatever is wrong with it and wherever it is cut."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_checks import log_blocks, log_keys
from data_checks.blocks import Blocks
from data_checks.log_checks import LogRules, check_log, log_subjects
from data_checks.log_keys import NarrowIntegers, ScatteredIntegers, Texts
from data_checks.log_tables import read_log
from data_checks.mixing import hash_texts
from data_checks.reports import CheckReport
from data_checks.results import GREAT_EXPECTATIONS, STREAMED

Row = dict[str, Any]
INTEGERS = {"user": pa.int64(), "item": pa.int64(), "category": pa.int64(), "behaviour": pa.string(), "rating": pa.float64()}
INTEGERS |= {"time": pa.int64(), "line": pa.int64()}
STRINGS = INTEGERS | {"user": pa.string(), "item": pa.large_string(), "category": pa.string()}
BARE = INTEGERS | {"category": pa.null(), "behaviour": pa.null(), "rating": pa.null()}
CODED = STRINGS | {"user": pa.dictionary(pa.int32(), pa.string()), "behaviour": pa.dictionary(pa.int8(), pa.string())}
STRICT = LogRules(
    earliest_time=100,
    latest_time=200,
    behaviour_types=("pv",),
    known_behaviour_types=("pv", "buy"),
    previous_rows=24,
    previous_latest_time=110,
)
DROPPING = replace(STRICT, out_of_range="drop", earliest_time=0, maximum_duplicate_share=0.2, maximum_item_share=0.4)


def clean_rows() -> list[Row]:
    rows = [{"user": n % 5, "item": n % 7, "category": n % 7, "behaviour": "pv", "rating": 1.0, "time": 100 + n} for n in range(23)]
    return [row | {"line": line} for line, row in enumerate(rows, start=2)]


def write_log(path: Path, rows: list[Row], types: dict[str, pa.DataType], group: int = 5) -> Path:
    def value(row: Row, name: str) -> Any:
        is_text = not pa.types.is_integer(types[name]) and name in ("user", "item", "category")
        return None if row[name] is None or pa.types.is_null(types[name]) else str(row[name]) if is_text else row[name]

    columns = [pa.array([value(row, name) for row in rows], kind) for name, kind in types.items()]
    pq.write_table(pa.Table.from_arrays(columns, list(types)), path, row_group_size=group)
    return path


def assert_equal_but_for_engine(streamed: CheckReport, whole: CheckReport) -> None:
    assert streamed.skipped_rules == whole.skipped_rules
    same: dict[str, Any] = {"engine": GREAT_EXPECTATIONS, "sampled_rows": None, "sampled_violating_rows": None}
    for one, other in zip(streamed.rules, whole.rules, strict=True):
        assert asdict(one) | same == asdict(other)


DAMAGE: dict[str, list[tuple[int, Row]]] = {
    "nothing": [],
    "user": [(3, {"user": None}), (22, {"user": None}), (21, {"user": ""})],
    "words for nothing": [(3, {"user": "NULL", "item": "nan"}), (22, {"user": "None"}), (9, {"item": " "})],
    "no categories but a few": [(n, {"category": None}) for n in range(20)],
    "item": [(0, {"item": None}), (7, {"item": None}), (8, {"item": None})],
    "time": [(22, {"time": None}), (5, {"time": -1}), (6, {"time": 201}), (4, {"time": 2**62}), (9, {"time": 99})],
    "rating": [(4, {"rating": float("nan")}), (5, {"rating": float("inf")}), (6, {"rating": None}), (22, {"rating": -float("inf")})],
    "behaviour": [(22, {"behaviour": "pw"}), (1, {"behaviour": None}), (2, {"behaviour": ""})],
    "no kept type": [(n, {"behaviour": "buy"}) for n in range(23)],
    "category": [(0, {"category": None}), (7, {"category": 9}), (14, {"category": 8}), (3, {"item": None})],
    "one item": [(n, {"item": 3, "category": 3}) for n in range(23)],
    "one user": [(n, {"user": 4}) for n in range(23)],
    "copies": [(n, clean_rows()[n % 4]) for n in range(4, 23)],
    "all one": [(n, clean_rows()[0]) for n in range(23)],
    "repeats": [(n, clean_rows()[n - 11] | {"behaviour": "buy", "category": None}) for n in range(11, 22)],
    "copies of rows with nothing": [
        (n, {"user": None, "item": None, "time": None, "rating": float("nan"), "category": 1}) for n in (2, 9, 21)
    ],
    "nearly copies of them": [(2, {"user": None, "time": 0}), (9, {"user": 0, "time": 0}), (21, {"user": None, "time": None})],
    "zeros": [(n, clean_rows()[0] | {"rating": rating}) for n, rating in [(1, 0.0), (12, -0.0), (13, None), (20, float("nan"))]],
    "far apart": [
        (4, {"user": 2**62, "item": -(2**62)}),
        (5, {"user": -(2**63), "item": 2**63 - 1, "category": 2**63 - 1}),
        (6, {"user": None}),
    ],
}


def damaged(kind: str) -> list[Row]:
    rows = clean_rows()
    for place, change in DAMAGE[kind]:
        rows[place] |= {name: value for name, value in change.items() if name != "line"}
    return rows


def without_words(row: Row) -> Row:
    return row | {name: None for name in ("user", "item") if isinstance(row[name], str)}


@pytest.mark.parametrize("types", [INTEGERS, STRINGS], ids=["integers", "strings"])
@pytest.mark.parametrize("kind", DAMAGE)
def test_every_kind_of_damage_is_counted_the_same(
    tmp_path: Path, plain_check: Any, streamed_check: Any, assert_same: Any, kind: str, types: dict[str, pa.DataType]
) -> None:
    rows = [without_words(row) if types is INTEGERS else row for row in damaged(kind)]
    path = write_log(tmp_path / "log.parquet", rows, types)
    for rules in (STRICT, DROPPING):
        whole = plain_check("log", log_subjects(path, rules))
        assert_same(streamed_check("log", log_subjects(path, rules, largest_frame=3)), whole)
        assert any(not rule.is_passed for rule in whole.rules) is (kind != "nothing")


@pytest.mark.parametrize("types", [INTEGERS, STRINGS], ids=["integers", "strings"])
def test_the_largest_user_is_the_same_however_the_log_is_read(
    tmp_path: Path, plain_check: Any, streamed_check: Any, assert_same: Any, types: dict[str, pa.DataType]
) -> None:
    users = [9] * 300 + [None] * 400 + [8] * 300 + [n % 7 for n in range(100)]
    rows = [clean_rows()[0] | {"user": user, "item": n % 9, "time": n, "line": n} for n, user in enumerate(users)]
    path = write_log(tmp_path / "log.parquet", rows, types, group=211)
    whole = plain_check("log", log_subjects(path, LogRules()))
    assert_same(streamed_check("log", log_subjects(path, LogRules(), largest_frame=50)), whole)
    (example,) = whole.rule("no_user_rules_all").examples
    assert (example["largest_user"], example["largest_user_share"]) == (8 if types is INTEGERS else "8", 300 / 1100)


ALL_DAMAGE = [change for kind in ("user", "item", "time", "rating", "behaviour", "category", "repeats") for change in DAMAGE[kind]]


@pytest.mark.parametrize("rules", [STRICT, DROPPING], ids=["strict", "dropping"])
@pytest.mark.parametrize("types", [STRINGS, INTEGERS], ids=["strings", "integers"])
def test_both_ways_give_the_same_report_to_the_letter(tmp_path: Path, types: dict[str, pa.DataType], rules: LogRules) -> None:
    rows = clean_rows()
    for place, change in ALL_DAMAGE:
        rows[place] |= {name: None if value == "" and name == "user" else value for name, value in change.items() if name != "line"}
    path = write_log(tmp_path / "log.parquet", rows, types)
    whole, streamed = check_log(path, rules), check_log(path, rules, largest_frame=3)
    assert_equal_but_for_engine(streamed, whole)
    by_rows = [rule for rule in streamed.rules if rule.unit == "rows"]
    assert {(rule.engine, rule.checked_rows) for rule in by_rows} == {(STREAMED, 23)}
    assert all(0 < rule.sampled_rows < 23 for rule in by_rows if rule.sampled_rows is not None)
    assert len([rule for rule in whole.rules if not rule.is_passed]) > 6


@pytest.mark.parametrize("types", [BARE, CODED], ids=["bare", "coded"])
def test_columns_without_values_and_stored_codes(tmp_path: Path, types: dict[str, pa.DataType]) -> None:
    path = write_log(tmp_path / "log.parquet", damaged("copies"), types)
    rules = LogRules(latest_time=101)
    whole = check_log(path, rules)
    assert_equal_but_for_engine(check_log(path, rules, largest_frame=4), whole)
    assert whole.rule("no_copies").violating_rows > 0


SOME = st.integers(0, 2)
WORLDS = st.lists(
    st.tuples(
        st.one_of(st.none(), SOME),
        st.one_of(st.none(), SOME),
        st.one_of(st.none(), SOME),
        st.sampled_from(["pv", "buy", "", None]),
        st.sampled_from([0.0, -0.0, 1.5, None, float("nan"), float("inf")]),
        st.sampled_from([None, -1, 0, 100, 150]),
    ),
    min_size=2,
    max_size=30,
)


CUTS = st.tuples(st.sampled_from([INTEGERS, STRINGS]), st.integers(1, 7), st.integers(1, 9), st.booleans())


@settings(max_examples=25)
@given(WORLDS, CUTS)
def test_any_rows_are_counted_as_by_the_slow_twin(
    tmp_path_factory: pytest.TempPathFactory, plain_check: Any, streamed_check: Any, values: list[tuple[Any, ...]], cut: tuple[Any, ...]
) -> None:
    types, group, largest_frame, is_weak = cut
    names = ("user", "item", "category", "behaviour", "rating", "time")
    rows = [dict(zip(names, row, strict=True)) | {"line": line} for line, row in enumerate(values, start=1)]
    path = write_log(tmp_path_factory.mktemp("log") / "log.parquet", rows, types, group)
    with pytest.MonkeyPatch.context() as patch:
        if is_weak:
            patch.setattr(log_blocks, "fingerprints", weak_fingerprints)
        streamed = streamed_check("log", log_subjects(path, DROPPING, largest_frame=min(largest_frame, len(rows) - 1)))
    whole = plain_check("log", log_subjects(path, DROPPING))
    assert [asdict(rule) | {"message": ""} for rule in streamed.rules] == [asdict(rule) for rule in whole.rules]


def weak_fingerprints(start: Any, columns: Any) -> Any:
    """Only two values, so that nearly all rows share one with rows they do not equal."""
    mixed = np.broadcast_to(start, columns[-1].shape)
    for column in columns:
        mixed = mixed ^ column
    return mixed & np.uint64(1)


def test_rows_with_one_fingerprint_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_log(tmp_path / "log.parquet", damaged("copies"), STRINGS)
    whole = check_log(path, STRICT)
    monkeypatch.setattr(log_blocks, "fingerprints", lambda start, columns: np.zeros(len(columns[-1]), dtype=np.uint64))
    assert_equal_but_for_engine(check_log(path, STRICT, largest_frame=2), whole)


def test_the_limit_decides_and_is_documented_by_who_counted(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.parquet", clean_rows(), INTEGERS)
    assert not isinstance(read_log(path, 23).rows, Blocks)
    assert isinstance(read_log(path, 22).rows, Blocks)
    with pytest.raises(ValueError, match="largest_frame is 0; allowed is 1 or more"):
        read_log(path, 0)


def test_the_last_of_many_rows_is_named_with_its_line(tmp_path: Path) -> None:
    rows = clean_rows()
    rows[-1]["time"] = -5
    result = check_log(write_log(tmp_path / "log.parquet", rows, INTEGERS), LogRules(), largest_frame=2).rule("time_not_negative")
    assert (result.verdict, result.violating_rows, result.checked_rows) == ("failed", 1, 23)
    assert (result.examples[0]["line"], result.examples[0]["time"]) == (24, -5)


def values(some: list[Any], kind: pa.DataType) -> pa.Array:
    array = pa.array(some, kind)
    return array.dictionary_encode() if pa.types.is_string(kind) else array


@pytest.mark.parametrize(
    ("make", "kind", "some"),
    [
        (lambda keys: NarrowIntegers(3, 9), pa.int64(), [3, 9, 4]),
        (lambda keys: NarrowIntegers(2**63 - 2, 2**63 - 1), pa.int64(), [2**63 - 1, 2**63 - 2]),
        (ScatteredIntegers, pa.int64(), [-(2**63), 2**63 - 1, 0]),
        (Texts, pa.string(), ["", "a", "a\0", "a\0\0", "é" * 30, "12345678", "123456789"]),
    ],
)
def test_places_and_identities_are_one_to_one(make: Callable[[pa.Array], Any], kind: pa.DataType, some: list[Any]) -> None:
    keys = make(pa.array(some, kind))
    column = values([None, *some, *some, None], kind)
    places, identities = keys.places(column), keys.identities(column)
    assert len(set(places[1:-1].tolist())) == len(set(identities[1:-1].tolist())) == len(some)
    assert places[0] == places[-1] == keys.num_places - 1
    assert (places[1 : len(some) + 1] == places[len(some) + 1 : -1]).all()
    assert keys.values_at(places).to_pylist() == [None, *some, *some, None]


def test_values_beyond_the_file_s_own_statistics_are_refused() -> None:
    with pytest.raises(ValueError, match=r"values beyond 3 \.\. 5"):
        NarrowIntegers(3, 5).places(pa.array([3, 6]))


def test_texts_that_share_a_hash_get_another(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = pa.array(["a", "b", "c"])
    monkeypatch.setattr(log_keys, "hash_texts", lambda texts, seed: hash_texts(texts, seed) % np.uint64(2 + seed))
    texts = Texts(keys)
    assert len(set(texts.identities(keys.dictionary_encode()).tolist())) == 3
    monkeypatch.setattr(log_keys, "hash_texts", lambda texts, seed: np.zeros(len(texts), dtype=np.uint64))
    with pytest.raises(RuntimeError, match="two of 3 strings"):
        Texts(keys)


def test_hashes_do_not_depend_on_where_a_text_lies() -> None:
    texts = pa.array(["", "xyz", "12345678abcdefgh", "é", "y" * 100])
    assert (hash_texts(texts, 1)[2:] == hash_texts(texts.slice(2), 1)).all()
    assert (hash_texts(texts, 1) == hash_texts(texts.cast(pa.large_string()), 1)).all()
    assert not (hash_texts(texts, 1) == hash_texts(texts, 2)).any()
    assert len(hash_texts(pa.array([], pa.string()), 1)) == 0

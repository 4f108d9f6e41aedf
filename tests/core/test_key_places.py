"""Places of ids among keys: as of a list's index, unknown ids and nulls included, whatever the hashes are."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core.formats import key_places
from jtm_core.formats.category_tables import CategoryLookup, CategoryTable
from jtm_core.formats.key_places import KeyPlaces

TEXTS = st.sampled_from(["", "a", "a\0", "a\0\0", "é" * 30, "12345678", "123456789", "b", "c"])
INTEGERS = st.sampled_from([-(2**63), 2**63 - 1, 0, -1, 5, 2**40])
CASES = st.one_of(
    st.tuples(st.just(pa.string()), st.lists(TEXTS, unique=True, max_size=9), st.lists(st.one_of(st.none(), TEXTS), max_size=20)),
    st.tuples(st.just(pa.int64()), st.lists(INTEGERS, unique=True, max_size=6), st.lists(st.one_of(st.none(), INTEGERS), max_size=20)),
)


@given(case=CASES, begin=st.integers(0, 3), is_weak=st.booleans())
@settings(max_examples=150, deadline=None)
def test_ids_are_found_where_they_stand_and_nowhere_else(case, begin, is_weak):
    kind, keys, ids = case
    with pytest.MonkeyPatch.context() as patch:
        if is_weak:  # hashes that unknown ids often share with keys, so that only a comparison tells them apart
            hashes_of = key_places._hashes_of
            patch.setattr(key_places, "_hashes_of", lambda values, seed: hashes_of(values, seed) % np.uint64(97 + seed))
        places = KeyPlaces(pa.array([*keys[:begin], *keys], kind)[len(keys[:begin]) :]).of(
            pa.array([*ids[:begin], *ids], kind)[len(ids[:begin]) :]
        )
    assert places.tolist() == [keys.index(value) if value in keys else -1 for value in ids]


def test_texts_of_either_type_are_the_same_and_no_keys_know_nothing():
    places = KeyPlaces(pa.array(["b", "a"], pa.large_string()))
    assert places.of(pa.array(["a", "b", None, "c"])).tolist() == [1, 0, -1, -1]
    for kind in (pa.null(), pa.string(), pa.int64()):
        for num_ids in (0, 2):
            assert KeyPlaces(pa.array([], kind)).of(pa.nulls(num_ids, kind)).tolist() == [-1] * num_ids


def test_keys_that_share_every_hash_are_an_error(monkeypatch):
    monkeypatch.setattr(key_places, "_hash_texts", lambda bounds, data, seed: np.zeros(len(bounds) - 1, dtype=np.uint64))
    places = KeyPlaces(pa.array(["a", "b", "c"]))
    with pytest.raises(RuntimeError, match="two of 3 ids"):
        places.of(pa.array(["a"]))


def test_keys_are_hashed_once_and_not_for_every_block(monkeypatch):
    sizes = []
    hashes_of = key_places._hashes_of
    monkeypatch.setattr(key_places, "_hashes_of", lambda values, seed: (sizes.append(len(values)), hashes_of(values, seed))[1])
    table = CategoryTable(pa.array([f"i{number}" for number in range(500)]), pa.array(["c"] * 500))
    lookup = CategoryLookup(table, pa.string())
    assert [lookup.categories_of(pa.array(["i3", "x", None])).to_pylist() for _ in range(3)] == [["c", None, None]] * 3
    assert sizes == [500, 3, 3, 3]

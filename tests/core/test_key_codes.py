"""Codes of original ids: both ways of finding them agree with sorting the distinct ids, nulls and extremes included."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core.formats import key_codes
from jtm_core.formats.key_codes import make_key_codes

integers = st.one_of(st.none(), st.integers(-4, 4), st.sampled_from([2**63 - 1, -(2**63)]))


def coded(blocks, kind, span=None):
    """Keys and codes of blocks of values."""
    arrays = [pa.array(block, kind) for block in blocks]
    coding = make_key_codes(kind, span)
    for array in arrays:
        coding.gather(array)
    keys = coding.keys().to_pylist()
    return keys, [coding.codes(array).tolist() for array in arrays]


def expected(blocks):
    keys = sorted({value for block in blocks for value in block if value is not None})
    return keys, [[-1 if value is None else keys.index(value) for value in block] for block in blocks]


@given(blocks=st.lists(st.lists(integers, max_size=8), max_size=5), is_merged_often=st.booleans())
@settings(max_examples=60)
def test_scattered_integers(blocks, is_merged_often):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_codes, "_PENDING_KEYS", 1 if is_merged_often else 1 << 22)
        assert coded(blocks, pa.int64()) == expected(blocks)


@given(blocks=st.lists(st.lists(st.one_of(st.none(), st.integers(90, 99)), max_size=8), max_size=5))
@settings(max_examples=60)
def test_integers_of_a_narrow_span(blocks):
    assert coded(blocks, pa.int64(), span=(90, 99)) == expected(blocks)


@given(blocks=st.lists(st.lists(st.one_of(st.none(), st.sampled_from(["", "0", "00", "B", "b", "é"])), max_size=8), max_size=5))
@settings(max_examples=60)
def test_strings(blocks):
    assert coded(blocks, pa.string()) == expected(blocks)


@pytest.mark.parametrize("low", [-(2**63), 2**63 - 5])
def test_tables_begin_at_any_number(low):
    blocks = [[low + 4, None, low], [low + 2]]
    assert coded(blocks, pa.int64(), span=(low, low + 4)) == expected(blocks)


def test_the_way_follows_the_span():
    wide = make_key_codes(pa.int64(), (-(2**63), 2**63 - 1))  # a table would need 2 ** 64 entries
    wide.gather(pa.array([2**63 - 1, -(2**63)]))
    assert wide.keys().to_pylist() == [-(2**63), 2**63 - 1]
    assert wide.codes(pa.array([2**63 - 1])).dtype == np.int32

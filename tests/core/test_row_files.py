"""Rows on disk: buckets keep order, columns come back mapped, files have no name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core.formats.row_files import ColumnFile, RowBuckets

ROW = np.dtype([("number", "<i4"), ("time", "<i8")])


def rows_of(numbers):
    rows = np.empty(len(numbers), dtype=ROW)
    rows["number"], rows["time"] = numbers, np.arange(len(numbers))
    return rows


@given(blocks=st.lists(st.lists(st.integers(0, 3), max_size=12), max_size=5))
@settings(max_examples=40)
def test_buckets_keep_the_order_in_which_rows_come(tmp_path_factory, blocks):
    with RowBuckets(tmp_path_factory.mktemp("rows"), 4, ROW) as buckets:
        for block in blocks:
            buckets.scatter(np.array(block, dtype=np.uint16), rows_of(block))
        assert len(buckets) == 4
        for bucket in range(4):
            expected = [(bucket, place) for block in blocks for place, number in enumerate(block) if number == bucket]
            assert buckets.read(bucket).tolist() == expected
            assert buckets.read(bucket).tolist() == expected


def test_a_bucket_can_be_replaced_by_fewer_rows(tmp_path):
    with RowBuckets(tmp_path, 2, ROW) as buckets:
        buckets.scatter(np.array([0, 1, 1], dtype=np.uint16), rows_of([0, 1, 1]))
        buckets.replace(1, buckets.read(1)[1:])
        assert buckets.read(1).tolist() == [(1, 2)]
        assert buckets.read(0).tolist() == [(0, 0)]
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="closed"):
        buckets.read(0)


def test_a_column_outlives_its_file_and_can_be_changed(tmp_path):
    column = ColumnFile(tmp_path, np.int64)
    for part in (np.array([3, 1], dtype=np.int32), np.array([], dtype=np.int32), np.array([2**40])):
        column.append(part)
    values = column.mapped()
    assert list(tmp_path.iterdir()) == []
    assert (values.tolist(), values.dtype) == ([3, 1, 2**40], np.int64)
    values[0] = 7
    assert values.tolist() == [7, 1, 2**40]


def test_an_empty_column_is_an_empty_array(tmp_path):
    assert ColumnFile(tmp_path, np.int64).mapped().tolist() == []

"""Quotes in lines of text: the pattern of closed lines and Arrow's parser tell the same."""

import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtm_core.formats.quotes import SEPARATORS, first_open_quote, without_quoted


def swallows(line, separator):
    """Whether Arrow's parser takes the following line for a part of this one."""
    others = []
    table = pa.csv.read_csv(
        pa.BufferReader(f"x\n{line}\nz\n".encode()),
        pa.csv.ReadOptions(column_names=["a"], use_threads=False),
        pa.csv.ParseOptions(
            delimiter=separator, quote_char='"', ignore_empty_lines=False, invalid_row_handler=lambda row: others.append(row) or "skip"
        ),
        pa.csv.ConvertOptions(column_types={"a": pa.string()}),
    )
    return len(table) + len(others) < 3


@given(line=st.text('"",a ', max_size=12), separator=st.sampled_from(SEPARATORS))
def test_open_quotes_are_those_that_the_parser_reads_on_behind(line, separator):
    line = line.replace(",", separator)
    found = first_open_quote([b"x\n", line.encode() + b"\r\n", b"z"], separator)
    assert found == ((2, line.encode() + b"\r\n") if swallows(line, separator) else None)


def test_a_byte_order_mark_is_not_what_a_value_begins_with():
    assert first_open_quote([b'\xef\xbb\xbf"a,b\n'], ",") == (1, b'\xef\xbb\xbf"a,b\n')


@pytest.mark.parametrize(
    ("line", "rest"),
    [('a;"b, ""c"", d";e', "a;;e"), ('"a|b"', ""), ('3" x, 5" y', '3" x, 5" y'), ('a\t"b, c', 'a\t"b, c'), ('"a,b" c,d', '"a,b" c,d')],
)
def test_quoted_values_are_left_out_whichever_the_separator(line, rest):
    assert without_quoted(line) == rest

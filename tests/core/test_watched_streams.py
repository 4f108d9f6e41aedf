"""Streams that look for leading zeros: wherever a read ends, they see what a look at the whole sees."""

import re

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from jtm_core.formats.watched_streams import WatchedStream


@given(st.lists(st.sampled_from([b"0", b"7", b",", b"\n", b'"', b"x", b"-", b" "]), max_size=40).map(b"".join), st.integers(1, 7))
def test_zeros_and_lines_are_seen_wherever_reads_end(content, num_bytes):
    watched = WatchedStream(pa.BufferReader(content), b",", seeks_zeros=True)
    passed = []
    while part := watched.read(num_bytes):
        passed.append(part)
    assert b"".join(passed) == content
    assert watched.has_zero_led == bool(re.search(rb'[,"\n] *(-0|0[0-9xX])', b"\n" + content))
    assert watched.num_lines == len(content.removesuffix(b"\n").split(b"\n")) - (not content)

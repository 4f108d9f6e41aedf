"""A log's rows and totals, as a frame or in blocks by its length."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from data_checks.blocks import Rows, block_rows
from data_checks.log_blocks import StreamedLog
from data_checks.log_frames import row_frame


@dataclass(frozen=True, slots=True)
class LogTable:
    """What the rules ask of a log.

    Parameters
    ----------
    rows : frame or Blocks
        As of ``log_frames.row_frame``.
    num_rows, num_users, num_items : int
    type_counts : mapping of str to int
        Rows of each behaviour type that occurs.
    """

    rows: Rows
    num_rows: int
    num_users: int
    num_items: int
    type_counts: Mapping[str, int]


def read_log(log_path: Path, largest_frame: int) -> LogTable:
    """Read a canonical log whose columns are as agreed: as one frame up to ``largest_frame`` rows, in blocks above.

    Raises
    ------
    ValueError
        If ``largest_frame`` is not positive.
    """
    block_rows(largest_frame)
    if pq.read_metadata(log_path).num_rows > largest_frame:
        log = StreamedLog(log_path)
        totals = log.totals
        return LogTable(log.blocks(largest_frame), totals.num_rows, totals.num_users, totals.num_items, totals.type_counts)
    frame = row_frame(log_path)
    type_counts = {str(name): int(count) for name, count in frame["behaviour"].value_counts().items()}
    return LogTable(frame, len(frame), int(frame["user"].nunique()), int(frame["item"].nunique()), type_counts)

"""A log's rows and totals, as a frame or in blocks by its length."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from data_checks.blocks import Rows, block_rows
from data_checks.log_blocks import StreamedLog
from data_checks.log_frames import LogCounts, frame_counts, row_frame


@dataclass(frozen=True, slots=True)
class LogTable:
    """What the rules ask of a log.

    Parameters
    ----------
    rows : frame or Blocks
        As of ``log_frames.row_frame``.
    counts : LogCounts
    """

    rows: Rows
    counts: LogCounts


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
        return LogTable(log.blocks(largest_frame), log.totals.counts)
    frame = row_frame(log_path)
    return LogTable(frame, frame_counts(frame))

"""Counting a table in blocks: every rule on every row, with one block in memory at a time.

A rule asks of one row at a time, so the counts of the blocks add up to that of the table, and the first offending rows
of the table are those of its first blocks. Columns that need the whole table (is this row equal to an earlier one?) were
worked out by whoever makes the blocks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from data_checks.blocks import Blocks
from data_checks.conditions import Mask, is_met
from data_checks.results import MAXIMUM_EXAMPLES
from data_checks.rules import Condition, Rule, Subject
from data_checks.verdicts import Tally, plain_rows, shown_columns


@dataclass(slots=True)
class _Count:
    """What is known of one rule so far."""

    violating: int = 0
    sampled_violating: int = 0
    examples: list[Mapping[str, Any]] = field(default_factory=list)

    def add(self, is_right: Mask, frame: pd.DataFrame, names: list[str], *, is_sampled: bool) -> None:
        violating = len(is_right) - int(np.count_nonzero(is_right))
        self.violating += violating
        self.sampled_violating += violating if is_sampled else 0
        wanted = MAXIMUM_EXAMPLES - len(self.examples)
        if violating and wanted:
            self.examples += plain_rows(frame[names].iloc[np.flatnonzero(~is_right)[:wanted]])


@dataclass(frozen=True, slots=True)
class StreamedCounts:
    """What was counted over all blocks, and the rows to hold it against.

    Parameters
    ----------
    tallies : tuple of Tally
        One per rule of the subject, over all rows.
    sampled_violating : tuple of int
        One per rule: offending rows among those of ``sample``.
    sample : frame
        The sampled blocks end to end.
    """

    tallies: tuple[Tally, ...]
    sampled_violating: tuple[int, ...]
    sample: pd.DataFrame


def count_blocks(subject: Subject, blocks: Blocks) -> StreamedCounts:
    """Count every rule of a subject on every row of its blocks, and keep the sampled blocks.

    Raises
    ------
    RuntimeError
        If there are not as many blocks as announced, which is a mistake of their maker.
    """
    counts = [_Count() for _ in subject.rules]
    sampled, kept = blocks.sampled(), list[pd.DataFrame]()
    num_rows = num_blocks = 0
    for number, frame in enumerate(blocks.make()):
        _add_block(counts, subject, frame, is_sampled=number in sampled)
        if number in sampled:
            kept.append(frame.copy())  # else the group of rows it is a slice of would stay
        num_rows, num_blocks = num_rows + len(frame), num_blocks + 1
    if num_blocks != blocks.num_blocks:
        raise RuntimeError(f"{subject.unit}: {num_blocks} blocks came, {blocks.num_blocks} were announced")
    tallies = tuple(Tally(num_rows, count.violating, tuple(count.examples)) for count in counts)
    return StreamedCounts(tallies, tuple(count.sampled_violating for count in counts), pd.concat(kept, ignore_index=True))


def is_tolerated(rule: Rule, tally: Tally) -> bool:
    """Whether so many offending rows leave a rule unbroken: the comparison Great Expectations makes of ``mostly``."""
    return not tally.checked or (float(tally.checked) - tally.violating) / tally.checked >= 1.0 - rule.allowed_share


def _add_block(counts: list[_Count], subject: Subject, frame: pd.DataFrame, *, is_sampled: bool) -> None:
    answers: dict[Condition, Mask] = {}
    for count, rule in zip(counts, subject.rules, strict=True):
        if rule.condition not in answers:
            answers[rule.condition] = is_met(rule.condition, frame)
        count.add(answers[rule.condition], frame, shown_columns(rule, subject), is_sampled=is_sampled)

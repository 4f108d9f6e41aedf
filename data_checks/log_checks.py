"""Rules for the raw log, in its canonical Parquet form."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from data_checks.blocks import LARGEST_FRAME
from data_checks.example_places import PlaceOf, with_places
from data_checks.log_frames import CANONICAL, column_frame
from data_checks.log_tables import LogTable, read_log
from data_checks.reports import CheckReport
from data_checks.rules import Among, Given, Holds, Rule, Same, Subject, Within
from data_checks.validation import check_subjects

_MANY_ROWS = 1000  # in fewer one user may have many
_SHOWN_TOTALS = ("num_users", "num_items", "largest_user")


@dataclass(frozen=True, kw_only=True, slots=True)
class LogRules:
    """Limits of the log's rules; the defaults suit any log."""

    earliest_time: int | None = None
    """Times before this are out of range; empty sets no bound."""
    latest_time: int | None = None
    """Times after this are out of range; empty sets no bound."""
    out_of_range: Literal["fail", "drop"] = "fail"
    """``drop`` makes the range a soft rule, as preparation will remove such rows."""
    behaviour_types: tuple[str, ...] = ()
    """Types that are to be kept; each must occur in the log."""
    known_behaviour_types: tuple[str, ...] = ()
    """All types the log may hold; empty allows any."""
    minimum_users: int = 3
    """One each for training, validation and test."""
    minimum_items: int = 2
    """With fewer there is nothing to choose from."""
    maximum_item_share: float = 0.9
    """Largest share of all rows that one item may have."""
    maximum_user_share: float = 0.1
    """Largest share of all rows that one user may have, in logs of a thousand rows and more."""
    minimum_category_share: float = 0.5
    """Smallest share of rows that must have a category if any has."""
    keeps_copies: bool = False
    """Whether preparation keeps exact copies."""
    maximum_duplicate_share: float = 0.5
    """Largest share of rows that may be exact copies of earlier ones."""
    maximum_dropped_share: float = 0.5
    """Largest share of rows that may be dropped for a time out of range."""
    previous_rows: int | None = None
    """Rows of the log of the last accepted run; empty if there was none."""
    previous_latest_time: int | None = None
    """Time of the last behaviour that the last accepted run was made of; empty if it is not known."""


def check_log(log_path: Path, rules: LogRules, *, largest_frame: int = LARGEST_FRAME, place_of: PlaceOf | None = None) -> CheckReport:
    """Check a canonical log before anything is made of it.

    Parameters
    ----------
    log_path : Path
        Canonical Parquet: user, item, category, behaviour, rating, time, line.
    rules : LogRules
    largest_frame : int
        Rows of the longest log that is checked as one frame. A longer one is streamed: every rule is still counted on every
        row, and Great Expectations runs on a sample. At least 1.
    place_of : callable (int) -> (str, int), optional
        For a log of several files: file, and line in it, of a line number that runs on through all.

    Returns
    -------
    CheckReport
        Examples carry the row's line number in the source file, and the file where there are several.

    Raises
    ------
    OSError, pyarrow.ArrowInvalid
        If the file cannot be read as Parquet.
    """
    report = check_subjects("log", log_subjects(log_path, rules, largest_frame=largest_frame))
    return with_places(report, place_of) if place_of else report


def log_subjects(log_path: Path, rules: LogRules, *, largest_frame: int = LARGEST_FRAME) -> Iterator[Subject]:
    """The tables about a log and their rules, for whichever engine counts."""
    log = cache(lambda: read_log(log_path, largest_frame))
    yield Subject("columns", _column_rules(), lambda: column_frame(log_path), key="column", shown=("found", "allowed"), is_gate=True)
    yield Subject("table", _table_rules(rules), lambda: _totals(log()), key="table", shown=_SHOWN_TOTALS)
    yield Subject("rows", _row_rules(rules), lambda: log().rows, key="line", shown=tuple(CANONICAL))
    if rules.behaviour_types:
        yield Subject("types", _type_rules(), lambda: _types(log(), rules), key="behaviour")


def _totals(log: LogTable) -> pd.DataFrame:
    """One row of counts; shares that no rule asks of such a log are left empty."""
    counts = log.counts
    totals = {
        "table": "log",
        "rows": counts.num_rows,
        "num_users": counts.num_users,
        "num_items": counts.num_items,
        "category_share": counts.num_with_category / counts.num_rows if counts.num_with_category else np.nan,
        "largest_user": counts.largest_user,
        "latest_time": np.nan if counts.latest_time is None else counts.latest_time,
        "largest_user_share": counts.largest_user_rows / counts.num_rows if counts.num_rows >= _MANY_ROWS else np.nan,
    }
    return pd.DataFrame([totals])


def _types(log: LogTable, rules: LogRules) -> pd.DataFrame:
    found = [log.counts.type_counts.get(name, 0) for name in rules.behaviour_types]
    return pd.DataFrame({"behaviour": list(rules.behaviour_types), "rows": found})


def _column_rules() -> tuple[Rule, ...]:
    demand = "every column of the canonical log must be there with an allowed type"
    return (Rule("columns_as_agreed", Holds("is_allowed"), demand, "Every later step reads these columns by name and type."),)


def _type_rules() -> tuple[Rule, ...]:
    demand = "every behaviour type that is to be kept must occur in the log"
    return (Rule("kept_types_occur", Within("rows", minimum=1), demand, "A misspelt type silently empties the training data."),)


def _table_rules(rules: LogRules) -> tuple[Rule, ...]:
    fewest = [
        Rule("log_not_empty", Within("rows", minimum=1), "rows must be at least 1", "An empty export is a broken export."),
        Rule(
            "enough_users",
            Within("num_users", minimum=rules.minimum_users),
            f"num_users must be at least {rules.minimum_users}",
            "Training, validation and test need a user each.",
        ),
        Rule(
            "enough_items",
            Within("num_items", minimum=rules.minimum_items),
            f"num_items must be at least {rules.minimum_items}",
            "With all items identical there is nothing to learn.",
        ),
    ]
    return tuple(fewest + _share_rules(rules) + _volume_rules(rules.previous_rows) + _age_rules(rules.previous_latest_time))


def _share_rules(rules: LogRules) -> list[Rule]:
    return [
        Rule(
            "category_given",
            Within("category_share", minimum=rules.minimum_category_share),
            f"category_share must be at least {rules.minimum_category_share:.3g}, if any row has a category",
            "Where as many items have none, the first tree is planted without them; often the category table is another log's.",
            is_hard=False,
        ),
        Rule(
            "no_user_rules_all",
            Within("largest_user_share", maximum=rules.maximum_user_share),
            f"no user may have more than {rules.maximum_user_share:.3g} of all rows, from {_MANY_ROWS:,} rows on",
            "Such a user is a robot, a test account, or all those who were not signed in.",
            is_hard=False,
        ),
    ]


def _volume_rules(previous_rows: int | None) -> list[Rule]:
    if not previous_rows:
        return []
    low, high, least = previous_rows * 0.5, previous_rows * 2, previous_rows * 0.1
    return [
        Rule(
            "volume_near_previous",
            Within("rows", low, high),
            f"rows must lie within {low:,.0f} .. {high:,.0f}, half to twice the {previous_rows:,} of the last accepted run",
            "A sudden change of volume often is a partial or doubled export.",
            is_hard=False,
        ),
        Rule(
            "volume_not_collapsed",
            Within("rows", minimum=least),
            f"rows must be at least {least:,.0f}, a tenth of the {previous_rows:,} of the last accepted run",
            "A tree learned from a fraction of the log would replace a good one; a log meant to be so short takes another data.name.",
        ),
    ]


def _age_rules(previous_latest_time: int | None) -> list[Rule]:
    if previous_latest_time is None:
        return []
    demand = f"latest_time must be at least {previous_latest_time}, that of the last behaviour of the last accepted run"
    why = "A log that ends earlier is an old export, or one that misses its newest part."
    return [Rule("reaches_previous", Within("latest_time", minimum=previous_latest_time), demand, why, is_hard=False)]


def _row_rules(rules: LogRules) -> tuple[Rule, ...]:
    return (*_value_rules(rules), *_time_rules(rules), *_copy_rules(rules), *_item_rules(rules))


def _value_rules(rules: LogRules) -> list[Rule]:
    given = [
        Rule(f"{name}_given", Given(name), f"{name} must not be empty or blank", "A behaviour without it cannot be placed in a history.")
        for name in ("user", "item", "time")
    ]
    named = [
        Rule(
            f"{name}_named",
            Holds(f"is_{name}_named"),
            rf"{name} must not be NULL, (null), \N, nan or None",
            f"An empty value that an export spelled out would become one {what} of its own.",
            is_hard=False,
        )
        for name, what in (("user", "id"), ("item", "id"), ("category", "category"))
    ]
    plain = [
        Rule(
            f"{name}_plain",
            Holds(f"is_{name}_plain"),
            f"{name} must not have blanks or quotes around it, nor a decimal point if it is a whole number",
            "Ids are told apart by every character: the same id written otherwise, here or in a later log, is another one.",
            is_hard=False,
        )
        for name in ("user", "item")
    ]
    why_finite, why_known = "NaN passes every threshold unseen.", "An unknown type is a new kind of event or a shifted column."
    finite = Rule("rating_finite", Holds("is_rating_finite"), "rating must be a finite number or empty", why_finite)
    types = rules.known_behaviour_types
    known = Rule("behaviour_known", Among("behaviour", types), f"behaviour must be one of {', '.join(types)}", why_known)
    return [*given, *named, *plain, finite, *([known] if types else [])]


def _time_rules(rules: LogRules) -> list[Rule]:
    early, late, is_dropped = rules.earliest_time, rules.latest_time, rules.out_of_range == "drop"
    is_negative_dropped = is_dropped and early is not None and early >= 0
    negative = Rule(
        "time_not_negative",
        Within("time", minimum=0),
        "time must be 0 or more",
        "Times before 1970 are overflows or shifted columns.",
        is_hard=not is_negative_dropped,
    )
    if early is None and late is None:
        return [negative]
    bounds = f"{'any' if early is None else early} .. {'any' if late is None else late}"
    why = "Rows outside the log's period are known dirt and would come first or last in every history."
    in_range = Rule("time_in_range", Within("time", early, late), f"time must lie within {bounds}", why, is_hard=not is_dropped)
    mostly = Rule(
        "most_times_in_range",
        Within("time", early, late),
        f"time must lie within {bounds}",
        "If most rows would be dropped, the bounds or the time unit are wrong.",
        allowed_share=rules.maximum_dropped_share,
    )
    return [negative, in_range, mostly] if is_dropped else [negative, in_range]


def _copy_rules(rules: LogRules) -> list[Rule]:
    demand = "a row must not equal an earlier one in everything"
    repeat = "a row must not equal an earlier one in user, item and time"
    kept = "keeps them, as it is told to" if rules.keeps_copies else "drops them"
    return [
        Rule("no_copies", Within("copy_of", 0, 0), demand, f"Copies count a behaviour twice; preparation {kept}.", is_hard=False),
        Rule(
            "few_copies",
            Within("copy_of", 0, 0),
            demand,
            "A log that is mostly copies was exported or joined wrongly.",
            allowed_share=rules.maximum_duplicate_share,
        ),
        Rule("no_repeats", Within("repeat_of", 0, 0), repeat, "One behaviour may have been logged several times.", is_hard=False),
    ]


def _item_rules(rules: LogRules) -> list[Rule]:
    return [
        Rule(
            "one_category_per_item",
            Same("category", "first_category"),
            "an item must keep the category it came with first",
            "The first tree is planted by category; the most frequent one is taken.",
            is_hard=False,
        ),
        Rule(
            "no_item_rules_all",
            Within("item_share", maximum=rules.maximum_item_share),
            f"no item may have more than {rules.maximum_item_share:.3g} of all rows",
            "Nearly identical items leave nothing to learn; often a constant column was read.",
        ),
    ]

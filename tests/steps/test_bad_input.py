"""Ten kinds of bad input, each as a user would meet it: what came, what was allowed, where; and nothing trained.

``pytest tests/steps/test_bad_input.py -s`` prints the errors.
"""

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.train_jtm import train_jtm
from jtm_core.config import DataConfig, JtmConfig
from tasks.check_data import check_log
from tasks.fetch_log import fetch_log
from tasks.ingest_log import ingest_log
from tasks.prepare_behaviours import prepare_behaviours
from tasks.store import open_store

HEADER = "user,item,time\n"
GOOD = HEADER + "".join(f"{user},{item},{100 * user + item}\n" for user in range(8) for item in range(12))
COLUMNS = {"user": "user", "item": "item", "time": "time"}


def table(path: Path, text: str | bytes, **changes: Any) -> DataConfig:
    """A log as a table, and the config that reads it."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return replace(DataConfig(name="bad", path=str(path), format="table", columns=COLUMNS), **changes)


def lines(rows: list[tuple[int, int, int]]) -> str:
    return HEADER + "".join(f"{user},{item},{time}\n" for user, item, time in rows)


def missing_column(folder: Path) -> DataConfig:
    return table(folder / "log.csv", GOOD, columns={**COLUMNS, "time": "timestamp"})


def wrong_type(folder: Path) -> DataConfig:
    return table(folder / "log.csv", GOOD.replace("\n0,5,5\n", "\n0,5,noon\n"))


def negative_time(folder: Path) -> DataConfig:
    return table(folder / "log.csv", GOOD.replace("\n0,5,5\n", "\n0,5,-5\n"))


def empty_file(folder: Path) -> DataConfig:
    return table(folder / "log.csv", "")


def truncated_gzip(folder: Path) -> DataConfig:
    return table(folder / "log.csv.gz", gzip.compress(GOOD.encode())[:-40])


def unknown_category_table(folder: Path) -> DataConfig:
    return table(folder / "log.csv", GOOD, category_path=str(folder / "categories.csv"))


def one_user_only(folder: Path) -> DataConfig:
    return table(folder / "log.csv", lines([(7, item, item) for item in range(40)]))


def all_items_identical(folder: Path) -> DataConfig:
    return table(folder / "log.csv", lines([(user, 3, time) for user in range(8) for time in range(12)]))


def duplicate_rows(folder: Path) -> DataConfig:
    return table(folder / "log.csv", HEADER + "".join(f"{user},{item},{item}\n" * 4 for user in range(8) for item in range(12)))


CASES: dict[str, tuple[Callable[[Path], DataConfig], list[str]]] = {
    "missing column": (missing_column, ["timestamp", "log.csv"]),
    "wrong type": (wrong_type, ["time", "noon", "7"]),
    "negative time": (negative_time, ["-5", "7", "time"]),
    "empty file": (empty_file, ["log.csv", "empty"]),
    "truncated gzip": (truncated_gzip, ["log.csv.gz"]),
    "unknown category table": (unknown_category_table, ["categories.csv", "category_path"]),
    "one user only": (one_user_only, ["user"]),
    "all items identical": (all_items_identical, ["item"]),
    "duplicate rows": (duplicate_rows, ["few_copies", "line 3"]),
}


@pytest.mark.parametrize("kind", CASES)
def test_bad_data_is_refused_with_its_place(kind: str, tmp_path: Path, home: Path) -> None:
    make, words = CASES[kind]
    config = JtmConfig(data=make(tmp_path))
    with pytest.raises((ValueError, OSError)) as refused:
        run_up_to_training(config)
    print(f"\n--- {kind}: {type(refused.value).__name__}\n{refused.value}")  # noqa: T201
    assert all(word in str(refused.value) for word in words)
    assert not (home / "store" / "model").exists()


def run_up_to_training(config: JtmConfig) -> None:
    """What the flow does before it trains, without servers."""
    ingested = ingest_log.compute(fetch_log.fn(config), config)
    outcome = check_log.compute(ingested, config, None)
    if not outcome.is_passed:
        raise ValueError(open_store().read_json(outcome.report)["text"])
    prepare_behaviours.compute(ingested, config, None)


def test_a_parameter_out_of_range_is_refused_with_its_path() -> None:
    with pytest.raises(Exception, match=r"config\.training\.epochs|training.*epochs") as refused:
        train_jtm.validate_parameters({"config": {"training": {"epochs": 0}}})
    print(f"\n--- parameter out of range: {type(refused.value).__name__}\n{refused.value}")  # noqa: T201

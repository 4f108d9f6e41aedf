"""``python -m benchmarks.logs KIND PATH``: behaviour logs shaped like the published ones, of any size, for measurements.

``user-behavior`` writes UserBehavior.csv's columns (user,item,category,behaviour type,time, no header): rows by user but
not by time, some of them exact repeats. ``amazon-books`` writes ratings_Books.csv's (user,item,rating,time; string ids,
random order) and beside it ``<name>_categories.csv`` (item,category). Equal arguments give equal bytes.
"""

import argparse
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from benchmarks.walks import Catalogue, bring_in_all, make_catalogue, rising_times, shares_of, shuffled_within, walk
from jtm_core.behaviours import Ints

CHUNK_ROWS = 1 << 20
THREADS = 2
KINDS, KIND_SHARES = ("pv", "cart", "fav", "buy"), (0.9, 0.055, 0.025, 0.02)
FIRST_SECOND, LAST_SECOND = 1511539200, 1512316799  # 2017-11-25 00:00:00 .. 2017-12-03 23:59:59 in Beijing
FIRST_DAY, LAST_DAY = 9000, 16272  # 1994-08-23 .. 2014-07-21, in days since 1970
REPEATED_SHARE = 0.0005
_DIGITS = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", dtype=np.uint8)


@dataclass(frozen=True, kw_only=True)
class LogShape:
    """How large a log is.

    Parameters
    ----------
    rows, users, items, categories : int
        All at least 1; every user has a row.
    seed : int
    """

    rows: int
    users: int
    items: int
    categories: int
    seed: int


def write_user_behavior(path: Path, shape: LogShape) -> None:
    """Write a log like Taobao's in chunks of about a million rows, two at a time.

    Raises
    ------
    ValueError
        If there are fewer rows than users or fewer items than categories.
    """
    rng = np.random.default_rng([shape.seed, 0])
    catalogue = make_catalogue(shape.items, shape.categories, rng)
    lengths = shares_of(shape.rows, rng.lognormal(0.0, 0.9, shape.users), 1)
    users = rng.permutation(shape.users + shape.users // 20)[: shape.users] + 1
    items = (rng.permutation(shape.items + shape.items // 4)[: shape.items] + 1).astype(np.int32)
    categories = (rng.permutation(shape.categories * 500)[: shape.categories] + 1).astype(np.int32)
    bounds = _chunk_bounds(lengths)

    def chunk(number: int) -> pa.Table:
        own = slice(bounds[number], bounds[number + 1])
        return _user_behavior_rows(np.random.default_rng([shape.seed, 1, number]), catalogue, lengths[own], (users[own], items, categories))

    _write_chunks(path, len(bounds) - 1, chunk)


def _user_behavior_rows(rng: np.random.Generator, catalogue: Catalogue, lengths: Ints, ids: tuple[Any, Any, Any]) -> pa.Table:
    users, item_ids, category_ids = ids
    items, categories = walk(rng, lengths, *catalogue, False)
    kinds = np.searchsorted(np.cumsum(KIND_SHARES)[:-1], rng.random(len(items)), side="right").astype(np.int8)
    times = rising_times(rng, lengths, FIRST_SECOND, LAST_SECOND)
    order = shuffled_within(rng, lengths)
    owners = np.repeat(users, lengths)
    again = np.flatnonzero(rng.random(len(items) - 1) < REPEATED_SHARE) + 1
    again = again[owners[again] == owners[again - 1]]
    order[again] = order[again - 1]
    kind_column = pa.DictionaryArray.from_arrays(pa.array(kinds[order]), pa.array(KINDS)).cast(pa.string())
    columns = [owners, item_ids[items[order]], category_ids[categories[order]], kind_column, times[order]]
    return pa.table(columns, names=["user", "item", "category", "behaviour", "time"])


def write_amazon_books(path: Path, shape: LogShape) -> Path:
    """Write a log like Amazon's ratings of books: 10 rows a user or more, no item twice by a user, every item at least once.

    Returns
    -------
    Path
        The category table beside it.

    Raises
    ------
    ValueError
        If there are fewer rows than 10 a user or than items, or fewer items than categories.
    """
    if shape.rows < shape.items:
        raise ValueError(f"{shape.rows} rows for {shape.items} items; each item needs one")
    rng = np.random.default_rng([shape.seed, 0])
    catalogue = make_catalogue(shape.items, shape.categories, rng, exponent=0.9)
    lengths = shares_of(shape.rows, rng.lognormal(0.0, 1.4, shape.users), 10)
    items, categories = walk(rng, lengths, *catalogue, True)
    bring_in_all(items, categories, rng.permutation(shape.rows), catalogue.starts)
    return _write_books(path, rng, catalogue, lengths, (items, categories))


def _write_books(path: Path, rng: np.random.Generator, catalogue: Catalogue, lengths: Ints, walks: tuple[Ints, Ints]) -> Path:
    items, _ = walks
    days = rising_times(rng, lengths, FIRST_DAY, LAST_DAY)
    stars = 1 + np.searchsorted(np.cumsum([0.04, 0.04, 0.08, 0.21]), rng.random(len(items)), side="right")
    owners = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    order = rng.permutation(len(items))
    users, names = _names(rng, "A", len(lengths), 36, 12), _book_names(rng, int(catalogue.starts[-1]))
    ratings = pa.array(["1.0", "2.0", "3.0", "4.0", "5.0"])

    def chunk(number: int) -> pa.Table:
        rows = order[number * CHUNK_ROWS : (number + 1) * CHUNK_ROWS]
        columns = [users.take(pa.array(owners[rows])), names.take(pa.array(items[rows])), ratings.take(pa.array(stars[rows] - 1))]
        return pa.table([*columns, days[rows] * 86400], names=["user", "item", "rating", "time"])

    _write_chunks(path, -(-len(items) // CHUNK_ROWS), chunk)
    table_path = path.with_name(f"{path.stem}_categories.csv")
    of_item = np.repeat(np.arange(len(catalogue.starts) - 1), np.diff(catalogue.starts))
    listed = rng.permutation(len(of_item))
    shelves = pa.array([f"Books {number}" for number in range(len(catalogue.starts) - 1)])
    table = pa.table([names.take(pa.array(listed)), shelves.take(pa.array(of_item[listed]))], names=["item", "category"])
    table_path.write_bytes(b"item,category\n" + _as_text(table).to_pybytes())
    return table_path


def _book_names(rng: np.random.Generator, count: int) -> pa.Array:
    """Two of three are numbers of ten digits with a leading 0 or 1, as old books have; the others begin with B00."""
    num_old = 2 * count // 3
    old, new = _names(rng, "0", num_old, 10, 9), _names(rng, "B00", count - num_old, 36, 7)
    return pa.concat_arrays([old, new]).take(pa.array(rng.permutation(count)))


def _names(rng: np.random.Generator, prefix: str, count: int, radix: int, width: int) -> pa.Array:
    """Distinct random names: a prefix and ``width`` digits."""
    numbers = np.empty(0, dtype=np.int64)
    while len(numbers) < count:
        numbers = np.unique(np.concatenate([numbers, rng.integers(0, radix**width, count + 10)]))
    numbers = rng.permutation(numbers)[:count]
    start = np.frombuffer(prefix.encode(), dtype=np.uint8)
    letters = np.empty((count, len(start) + width), dtype=np.uint8)
    letters[:, : len(start)] = start
    for place in range(letters.shape[1] - 1, len(start) - 1, -1):
        letters[:, place] = _DIGITS[numbers % radix]
        numbers //= radix
    offsets = np.arange(count + 1, dtype=np.int32) * letters.shape[1]
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(letters))


def _chunk_bounds(lengths: Ints) -> Ints:
    """First user of every chunk, and the number of users: each chunk ends with the user that fills it."""
    ends = np.cumsum(lengths)
    filled = np.searchsorted(ends, np.arange(CHUNK_ROWS, ends[-1], CHUNK_ROWS)) + 1
    return np.unique(np.concatenate([[0], filled, [len(lengths)]]))


def _write_chunks(path: Path, num_chunks: int, chunk: Callable[[int], pa.Table]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file, ThreadPoolExecutor(THREADS) as pool:
        for done, text in enumerate(_in_order(pool, lambda number: _as_text(chunk(number)), num_chunks), start=1):
            file.write(text)
            sys.stderr.write(f"\r{path.name}: {done} of {num_chunks} chunks" + "\n" * (done == num_chunks))


def _in_order(pool: ThreadPoolExecutor, work: Callable[[int], Any], count: int) -> Iterator[Any]:
    """Results in order, never more than ``THREADS + 1`` at a time in memory."""
    pending: deque[Future[Any]] = deque()
    for number in range(count):
        pending.append(pool.submit(work, number))
        if len(pending) > THREADS:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _as_text(table: pa.Table) -> pa.Buffer:
    stream = pa.BufferOutputStream()
    pa.csv.write_csv(table, stream, pa.csv.WriteOptions(include_header=False, quoting_style="none"))
    return stream.getvalue()


def main(arguments: list[str]) -> None:
    """Write a log."""
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind, sizes in (
        ("user-behavior", (100_150_807, 987_994, 4_162_024, 9_439)),
        ("amazon-books", (8_654_619, 294_739, 1_477_922, 1_600)),
    ):
        one = kinds.add_parser(kind)
        one.add_argument("path", type=Path)
        for name, size in zip(("rows", "users", "items", "categories"), sizes, strict=True):
            one.add_argument(f"--{name}", type=int, default=size)
        one.add_argument("--seed", type=int, default=1)
    chosen = vars(parser.parse_args(arguments))
    write = {"user-behavior": write_user_behavior, "amazon-books": write_amazon_books}[chosen.pop("kind")]
    write(chosen.pop("path"), LogShape(**chosen))


if __name__ == "__main__":
    main(sys.argv[1:])

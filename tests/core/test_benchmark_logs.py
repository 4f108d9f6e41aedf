"""Generated logs have the shape they claim, are the same for the same seed, and hold something to learn."""

from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks import logs
from benchmarks.logs import LAST_SECOND, LogShape, write_amazon_books, write_user_behavior
from benchmarks.walks import bring_in_all, make_catalogue, shares_of, walk
from jtm_core.config import DataConfig
from jtm_core.formats.raw_logs import write_canonical_log

SHAPE = LogShape(rows=6000, users=150, items=1200, categories=12, seed=3)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(logs, "CHUNK_ROWS", 1000)


def canonical(path, **config):
    destination = path.with_suffix(".parquet")
    write_canonical_log(path, destination, DataConfig(**config))
    return pq.read_table(destination).to_pandas()


@pytest.mark.usefixtures("small_chunks")
def test_user_behavior(tmp_path):
    write_user_behavior(tmp_path / "a.csv", SHAPE)
    table = canonical(tmp_path / "a.csv", format="auto")
    assert (len(table), table["user"].nunique()) == (6000, 150)
    assert (table["user"].diff().fillna(1) != 0).sum() == 150  # grouped by user
    assert 500 < table["item"].nunique() <= 1200
    assert (table.groupby("item")["category"].nunique() == 1).all()
    assert 5 <= table["category"].nunique() <= 12
    assert 0.85 < (table["behaviour"] == "pv").mean() < 0.95
    assert set(table["behaviour"]) == {"pv", "buy", "cart", "fav"}
    assert table["time"].between(1511539200, LAST_SECOND).all()
    assert any(not times.is_monotonic_increasing for _, times in table.groupby("user")["time"])
    assert 0 < table.duplicated(["user", "item", "category", "behaviour", "time"]).sum() < 60


@pytest.mark.usefixtures("small_chunks")
def test_amazon_books(tmp_path):
    table_path = write_amazon_books(tmp_path / "b.csv", SHAPE)
    table = canonical(tmp_path / "b.csv", format="amazon_ratings", category_path=str(table_path))
    counts = table["user"].value_counts()
    assert (len(table), len(counts)) == (6000, 150)
    assert counts.min() >= 10
    assert table["item"].nunique() == 1200  # each at least once
    assert not table.duplicated(["user", "item"]).any()
    assert table["category"].notna().all()
    assert table["rating"].between(1, 5).all()
    assert table["item"].str.len().eq(10).all()
    assert (table["user"].shift() != table["user"]).mean() > 0.9  # random order


@pytest.mark.parametrize("write", [write_user_behavior, write_amazon_books])
@pytest.mark.usefixtures("small_chunks")
def test_the_seed_decides(tmp_path, write):
    contents = []
    for seed in (1, 1, 2):
        write(tmp_path / "log.csv", LogShape(rows=6000, users=150, items=1200, categories=12, seed=seed))
        contents.append((tmp_path / "log.csv").read_bytes())
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_walks_stay_in_categories_and_popularity_is_skewed():
    rng = np.random.default_rng(0)
    catalogue = make_catalogue(5000, 100, rng)
    items, categories = walk(rng, np.full(200, 100), *catalogue, False)
    np.testing.assert_array_equal(categories, np.searchsorted(catalogue.starts, items, side="right") - 1)
    same = (categories[1:] == categories[:-1]).mean()
    shuffled = rng.permutation(categories)
    assert same > 0.7 > 3 * (shuffled[1:] == shuffled[:-1]).mean()
    counts = np.sort(np.bincount(items, minlength=5000))[::-1]
    assert counts[:50].sum() > 0.15 * counts.sum()  # 1 % of the items


def test_no_item_twice_even_if_a_walk_takes_nearly_all():
    rng = np.random.default_rng(0)
    catalogue = make_catalogue(50, 5, rng)
    items, categories = walk(rng, np.array([50, 30]), *catalogue, True)
    assert sorted(items[:50]) == list(range(50))
    assert len(set(items[50:])) == 30
    np.testing.assert_array_equal(categories, np.searchsorted(catalogue.starts, items, side="right") - 1)


def test_all_items_are_brought_in_within_their_category_if_it_has_rows_to_spare():
    starts = np.array([0, 3, 5])
    items, categories = np.array([0, 0, 0, 0, 0, 0]), np.zeros(6, dtype=np.int64)
    bring_in_all(items, categories, np.array([5, 1, 0, 2, 3, 4]), starts)
    assert Counter(items.tolist()) == {0: 2, 1: 1, 2: 1, 3: 1, 4: 1}
    assert (items[5], items[1]) == (1, 2)
    np.testing.assert_array_equal(categories, items >= 3)


def test_shares_are_whole_and_sum_up():
    shares = shares_of(1000, np.random.default_rng(0).lognormal(0, 2, 37), 5)
    assert (shares.sum(), shares.min() >= 5) == (1000, True)
    with pytest.raises(ValueError, match="100 cannot be shared among 37 with at least 5"):
        shares_of(100, np.ones(37), 5)


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match="12 categories for 5 items"):
        write_user_behavior(tmp_path / "a.csv", LogShape(rows=100, users=5, items=5, categories=12, seed=1))
    with pytest.raises(ValueError, match="100 rows for 500 items"):
        write_amazon_books(tmp_path / "a.csv", LogShape(rows=100, users=5, items=500, categories=12, seed=1))
    with pytest.raises(ValueError, match="cannot be shared"):
        write_amazon_books(tmp_path / "a.csv", LogShape(rows=100, users=50, items=50, categories=12, seed=1))

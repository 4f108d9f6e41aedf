"""Baselines: worked examples, slow twins, exact exclusion, full lists."""

from collections import Counter
from collections.abc import Callable
from math import log, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core.baselines import item_cf, popularity
from jtm_core.baselines.blocks import blocks_by_length
from jtm_core.baselines.inner_products import ProductIndex
from jtm_core.baselines.item_cf import ItemCF, Weighting
from jtm_core.baselines.personal_popularity import PersonalPopularity
from jtm_core.baselines.popularity import Popularity
from jtm_core.baselines.protocol import Recommender
from jtm_core.behaviours import Ragged

NUM_ITEMS = 9


def ragged(rows: list[list[int]]) -> Ragged:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return Ragged(np.array([value for row in rows for value in row], dtype=np.int64), offsets)


def slow_popularity(rows: list[list[int]], num_items: int) -> list[int]:
    counts = Counter(item for row in rows for item in row)
    return sorted(range(num_items), key=lambda item: (-counts[item], item))


def slow_scores(rows: list[list[int]], history: list[int], num_neighbours: int, own_items: bool) -> dict[int, float]:
    """Summed cosines with dictionaries of sets."""
    users = {item: {user for user, row in enumerate(rows) if item in row} for item in range(NUM_ITEMS)}
    scores: Counter[int] = Counter()
    for item in set(history):
        cosines = {
            other: len(users[item] & users[other]) / sqrt(len(users[item]) * len(users[other]))
            for other in range(NUM_ITEMS)
            if (own_items or other != item) and users[item] & users[other]
        }
        for other in sorted(cosines, key=lambda other: (-round(cosines[other], 12), other))[:num_neighbours]:
            scores[other] += cosines[other]
    return dict(scores)


histories = st.lists(st.lists(st.integers(0, NUM_ITEMS - 1), max_size=7), min_size=1, max_size=8)


def test_popularity_counts_repeats_and_breaks_ties_by_id() -> None:
    model = Popularity.fit(ragged([[3, 3, 1], [2]]), num_items=5)
    assert model.items_by_popularity.tolist() == [3, 1, 2, 0, 4]


@settings(max_examples=60)
@given(histories, st.integers(1, 12), st.booleans(), st.data())
def test_personal_popularity_lists_own_items_first(rows: list[list[int]], length: int, excludes: bool, data: st.DataObject) -> None:
    excluded = [data.draw(st.lists(st.integers(0, NUM_ITEMS - 1), max_size=12)) if excludes else [] for _ in rows]
    model = PersonalPopularity.fit(ragged(rows), NUM_ITEMS)
    lists = model.recommend(ragged(rows), length, ragged(excluded) if excludes else None)
    for row, left_out, found in zip(rows, excluded, lists.tolist(), strict=True):
        last = {item: place for place, item in enumerate(row)}
        own = sorted(last, key=lambda item: (-row.count(item), -last[item]))
        expected = [item for item in own + slow_popularity(rows, NUM_ITEMS) if item not in left_out]
        expected = list(dict.fromkeys(expected))[:length]
        assert found == expected + [-1] * (length - len(expected))


@settings(max_examples=40)
@given(histories, st.data())
def test_popularity_leaves_out_exactly_the_excluded(rows: list[list[int]], data: st.DataObject) -> None:
    excluded = [data.draw(st.lists(st.integers(0, NUM_ITEMS - 1), max_size=12)) for _ in rows]
    lists = Popularity.fit(ragged(rows), NUM_ITEMS).recommend(ragged(rows), 5, ragged(excluded))
    order = slow_popularity(rows, NUM_ITEMS)
    for user, banned in enumerate(excluded):
        expected = [item for item in order if item not in banned][:5]
        assert lists[user].tolist() == expected + [-1] * (5 - len(expected))


def test_item_cf_worked_example() -> None:
    model = ItemCF.fit(ragged([[0, 1], [0, 1, 2], [0, 2], [3]]), num_items=4)
    first = slice(model.offsets[0], model.offsets[1])
    assert model.items[first].tolist() == [1, 2]
    assert model.similarities[first] == pytest.approx([2 / sqrt(6), 2 / sqrt(6)])
    assert model.recommend(ragged([[0, 0]]), 4).tolist() == [[1, 2, 0, 3]]


@settings(max_examples=40)
@given(histories)
def test_bm25_similarities_are_inner_products_of_bm25_vectors(rows: list[list[int]]) -> None:
    model = ItemCF.fit(ragged(rows), NUM_ITEMS, weighting="bm25")
    users = {item: {user for user, row in enumerate(rows) if item in row} for item in range(NUM_ITEMS)}
    mean = max(sum(map(len, users.values())) / NUM_ITEMS, 1e-9)

    def vector(item: int) -> dict[int, float]:
        factor = 2.2 / (1.2 * (0.25 + 0.75 * len(users[item]) / mean) + 1)
        return {user: factor * log(1 + (NUM_ITEMS - len(set(rows[user])) + 0.5) / (len(set(rows[user])) + 0.5)) for user in users[item]}

    def product(one: int, other: int) -> float:
        left, right = vector(one), vector(other)
        return sum(left[user] * right[user] for user in left.keys() & right.keys())

    largest = max(product(item, item) for item in range(NUM_ITEMS))
    for item in range(NUM_ITEMS):
        part = slice(model.offsets[item], model.offsets[item + 1])
        found = dict(zip(model.items[part].tolist(), model.similarities[part].tolist(), strict=True))
        wanted = {other: product(item, other) / largest for other in range(NUM_ITEMS) if other != item and users[item] & users[other]}
        assert found == pytest.approx(wanted, abs=1e-9)


def test_bm25_trusts_users_of_few_items_where_cosine_sees_no_difference() -> None:
    """Items 1 and 2 each share one user with 0: item 1 a user of two items, item 2 one of all items."""
    rows = ragged([[0, 1], [0, 2, 3, 4, 5, 6], [1], [2]])
    cosine, bm25 = (neighbours_of_0(ItemCF.fit(rows, 7, weighting=weighting)) for weighting in ("cosine", "bm25"))
    assert cosine[1] == cosine[2] == pytest.approx(1 / 2)
    assert bm25[1] > 2 * bm25[2] > 0


def neighbours_of_0(model: ItemCF) -> dict[int, float]:
    part = slice(model.offsets[0], model.offsets[1])
    return dict(zip(model.items[part].tolist(), model.similarities[part].tolist(), strict=True))


@pytest.mark.parametrize("weighting", ["cosine", "bm25"])
def test_item_cf_lists_own_items_for_their_own_sake_if_it_may(weighting: Weighting) -> None:
    """Items 0 and 1 have no user in common with anything else, so that only they themselves speak for them."""
    rows = ragged([[0], [1], [2, 3], [2, 3, 4], [3, 4], [2, 4]])
    barred, allowed = (ItemCF.fit(rows, 5, weighting=weighting, own_items=own).recommend(ragged([[0], [1]]), 1) for own in (False, True))
    assert allowed.ravel().tolist() == [0, 1]
    assert not {0, 1} & set(barred.ravel().tolist())


def test_an_unknown_weighting_is_refused() -> None:
    with pytest.raises(ValueError, match="weighting is 'tfidf'; allowed are 'cosine' and 'bm25'"):
        ItemCF.fit(ragged([[0, 1]]), 2, weighting="tfidf")  # type: ignore[arg-type]


@settings(max_examples=40)
@given(histories, histories, st.sampled_from([2, 100]), st.booleans())
def test_item_cf_scores_equal_the_slow_twin(rows: list[list[int]], queries: list[list[int]], num_neighbours: int, own_items: bool) -> None:
    lists = ItemCF.fit(ragged(rows), NUM_ITEMS, num_neighbours, own_items=own_items).recommend(ragged(queries), 4)
    for user, history in enumerate(queries):
        scores = slow_scores(rows, history, num_neighbours, own_items)
        best = sorted(scores.values(), reverse=True)[:4]
        assert [scores.get(item, 0.0) for item in lists[user].tolist()] == pytest.approx(best + [0.0] * (4 - len(best)))
        assert len(set(lists[user].tolist())) == 4


@settings(max_examples=40)
@given(histories, st.integers(1, NUM_ITEMS + 2))
def test_item_cf_fills_lists_and_leaves_out_exactly_the_excluded(rows: list[list[int]], num_recommended: int) -> None:
    given_rows = ragged(rows)
    model = ItemCF.fit(given_rows, NUM_ITEMS)
    lists = model.recommend(given_rows, num_recommended, excluded=given_rows)
    free = model.recommend(given_rows, NUM_ITEMS)
    for user, history in enumerate(rows):
        expected = [item for item in free[user].tolist() if item not in history][:num_recommended]
        assert lists[user].tolist() == expected + [-1] * (num_recommended - len(expected))


def test_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = ragged([rng.integers(0, 30, 6).tolist() for _ in range(20)])
    models: list[Recommender] = [Popularity.fit(rows, 30), ItemCF.fit(rows, 30)]
    whole = [model.recommend(rows, 8, rows) for model in models]
    monkeypatch.setattr(item_cf, "_ROWS_PER_CHUNK", 7)
    monkeypatch.setattr(popularity, "_USERS_PER_BLOCK", 7)
    again: list[Recommender] = [Popularity.fit(rows, 30), ItemCF.fit(rows, 30)]
    for expected, model in zip(whole, again, strict=True):
        assert (model.recommend(rows, 8, rows) == expected).all()


def test_neighbours_of_wanted_items_are_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_cf, "_ROWS_PER_CHUNK", 3)
    rng = np.random.default_rng(1)
    rows = ragged([rng.integers(0, 30, 6).tolist() for _ in range(40)])
    every, some = ItemCF.fit(rows, 30, 5), ItemCF.fit(rows, 30, 5, wanted=np.array([7, 3, 7, 29]))
    for item in range(30):
        whole, part = (slice(model.offsets[item], model.offsets[item + 1]) for model in (every, some))
        expected = every.items[whole].tolist() if item in (3, 7, 29) else []
        assert some.items[part].tolist() == expected
    queries = ragged([[3, 7], [29]])
    assert (every.recommend(queries, 6) == some.recommend(queries, 6)).all()


def test_only_the_end_of_a_very_long_history_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_cf, "LONGEST_HISTORY", 3)
    cut, short = (ItemCF.fit(ragged(rows), 6) for rows in ([[0, 1, 2, 3, 4], [3, 5]], [[2, 3, 4], [3, 5]]))
    assert cut.items.tolist() == short.items.tolist()
    assert cut.similarities.tolist() == short.similarities.tolist()


def test_histories_are_not_changed() -> None:
    rows, query = ragged([[1, 1, 0], [2, 2]]), ragged([[2, 1, 1]])
    ItemCF.fit(rows, 3).recommend(query, 2, query)
    assert (rows.values.tolist(), query.values.tolist()) == ([1, 1, 0, 2, 2], [2, 1, 1])


def test_planted_checkerboard_has_one_right_answer() -> None:
    """Users of even items and of odd items: whoever did some of one kind gets the missing one of that kind."""
    rows = [[item for item in range(20) if item % 2 == user % 2 and item != user % 20] for user in range(40)]
    lists = ItemCF.fit(ragged(rows), 20).recommend(ragged(rows), 1, ragged(rows))
    assert lists[:, 0].tolist() == [user % 20 for user in range(40)]


def test_errors_say_what_came_and_what_is_allowed() -> None:
    rows = ragged([[1], [2]])
    with pytest.raises(ValueError, match="num_neighbours is 0; allowed are 1 and more"):
        ItemCF.fit(rows, 3, num_neighbours=0)
    models: list[Recommender] = [Popularity.fit(rows, 3), ItemCF.fit(rows, 3)]
    for model in models:
        with pytest.raises(ValueError, match="1 rows of excluded items for 2 users"):
            model.recommend(rows, 2, ragged([[1]]))


@given(st.lists(st.integers(0, 5000), max_size=60), st.integers(1, 20))
def test_blocks_hold_every_row_once_and_no_long_row_beside_short_ones(lengths: list[int], most_rows: int) -> None:
    blocks = [rows.tolist() for rows in blocks_by_length(np.array(lengths, dtype=np.int64), most_rows)]
    assert sorted(row for rows in blocks for row in rows) == list(range(len(lengths)))
    for rows in blocks:
        shortest, longest = min(lengths[row] for row in rows), max(lengths[row] for row in rows)
        assert len(rows) <= most_rows
        assert longest <= 4 * shortest + 64


def test_blocks_are_bounded_in_cells() -> None:
    lengths = np.full(100, 1 << 20, dtype=np.int64)
    blocks = list(blocks_by_length(lengths, 4096))
    assert max(len(rows) for rows in blocks) * (1 << 20) <= 1 << 24
    assert len(np.concatenate(blocks)) == 100


def test_rows_of_all_lengths_get_the_lists_they_get_alone() -> None:
    """Excluded rows of 0 to 250 items, in no order, for popularity and for inner products."""
    rng = np.random.default_rng(3)
    excluded = ragged([rng.permutation(300)[:length].tolist() for length in rng.permutation([0, 1, 5, 90, 250, 250, 40, 3])])
    histories = Ragged(rng.integers(0, 300, 2000), np.array([0, 2000]))
    systems: list[Callable[[Ragged], Any]] = [
        lambda rows: Popularity.fit(histories, 300).recommend(rows, 20, rows),
        lambda rows: ProductIndex(vectors).largest(np.repeat(user, len(rows), axis=0), 20, rows),
    ]
    vectors, user = rng.standard_normal((300, 4), dtype=np.float32), rng.standard_normal((1, 4), dtype=np.float32)
    for lists_of in systems:
        together = lists_of(excluded)
        assert np.array_equal(together, np.concatenate([lists_of(excluded.rows(row, row + 1)) for row in range(8)]))
        assert all(set(excluded.row(row).tolist()).isdisjoint(together[row].tolist()) for row in range(8))

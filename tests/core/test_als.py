"""ALS against its equations, and exact search of inner products against sorting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core.baselines import inner_products
from jtm_core.baselines.als import ImplicitALS
from jtm_core.baselines.inner_products import ProductIndex
from jtm_core.baselines.popularity import Popularity
from jtm_core.behaviours import Ragged
from jtm_core.counting_config import CountingConfig

NUM_ITEMS = 12


def ragged(rows: list[list[int]]) -> Ragged:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return Ragged(np.array([value for row in rows for value in row], dtype=np.int64), offsets)


def two_tastes(num_users: int = 40) -> Ragged:
    """Even users do items 0 .. 5, odd ones 6 .. 11, four behaviours each."""
    rng = np.random.default_rng(0)
    return ragged([(user % 2 * 6 + rng.integers(0, 6, 4)).tolist() for user in range(num_users)])


@pytest.mark.parametrize(
    "dials", [CountingConfig(als_factors=4), CountingConfig(als_factors=3, als_regularisation=0.5, als_confidence=7.0)]
)
def test_folded_in_vectors_solve_the_normal_equations(dials: CountingConfig) -> None:
    """Hu, Koren and Volinsky, equation 4: (Y' C Y + regularisation) x = Y' C p; here C is the count and 1 where there is none."""
    model = ImplicitALS.fit(two_tastes(), NUM_ITEMS, seed=1, counting=dials)
    items = model.model.item_factors.astype(np.float64)
    histories = [[0, 0, 3], [7], []]
    for row, vector in zip(histories, model.user_vectors(ragged(histories)), strict=True):
        counts = dials.als_confidence * np.bincount(row, minlength=NUM_ITEMS)
        weights = np.where(counts > 0, counts, 1.0)
        matrix = items.T @ (weights[:, None] * items) + dials.als_regularisation * np.eye(dials.als_factors)
        expected = np.linalg.solve(matrix, items.T @ (weights * (counts > 0)))
        assert vector == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_tastes_are_told_apart_and_users_without_history_get_what_is_popular() -> None:
    rows = two_tastes()
    model = ImplicitALS.fit(rows, NUM_ITEMS, seed=1, counting=CountingConfig(als_factors=2, als_confidence=10.0))
    lists = model.recommend(ragged([[1, 2], [8, 9], []]), 6)
    assert sorted(lists[0].tolist()) == list(range(6))
    assert sorted(lists[1].tolist()) == list(range(6, 12))
    banned = ragged([[], [], [3]])
    popular = Popularity.fit(rows, NUM_ITEMS).recommend(ragged([[]]), 6, ragged([[3]]))
    assert lists[2].tolist() == Popularity.fit(rows, NUM_ITEMS).recommend(ragged([[]]), 6)[0].tolist()
    assert model.recommend(ragged([[1, 2], [8, 9], []]), 6, banned)[2].tolist() == popular[0].tolist()


def test_rows_without_behaviours_teach_nothing() -> None:
    rows = two_tastes()
    padded = Ragged(rows.values, np.concatenate([[0, 0], rows.offsets[1:], [len(rows.values)]]))
    vectors = [ImplicitALS.fit(histories, NUM_ITEMS, seed=1, counting=CountingConfig()).model.item_factors for histories in (rows, padded)]
    assert np.array_equal(vectors[0], vectors[1])


vectors = st.integers(0, 2**31).map(lambda seed: np.random.default_rng(seed).integers(-3, 4, (9, 3)).astype(np.float32))


@settings(max_examples=60)
@given(vectors, vectors, st.integers(1, 12), st.lists(st.lists(st.integers(0, 8), max_size=12), min_size=9, max_size=9))
def test_largest_products_equal_sorting(users: np.ndarray, items: np.ndarray, num_recommended: int, banned: list[list[int]]) -> None:
    """Products are small whole numbers, so many are equal: they are compared, not the items."""
    products = users @ items.T
    lists = ProductIndex(items).largest(users, num_recommended, ragged(banned))
    for user in range(9):
        allowed = [item for item in range(9) if item not in banned[user]]
        expected = sorted((products[user, item] for item in allowed), reverse=True)[:num_recommended]
        listed = lists[user][: len(expected)]
        assert set(listed.tolist()) <= set(allowed)
        assert len(set(listed.tolist())) == len(expected)
        assert products[user, listed].tolist() == expected
        assert (lists[user][len(expected) :] == -1).all()


def test_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    users, items = rng.standard_normal((30, 4), dtype=np.float32), rng.standard_normal((50, 4), dtype=np.float32)
    banned = ragged([rng.integers(0, 50, user % 5).tolist() for user in range(30)])
    whole = ProductIndex(items).largest(users, 7, banned)
    monkeypatch.setattr(inner_products, "_USERS_PER_BLOCK", 4)
    assert np.array_equal(ProductIndex(items).largest(users, 7, banned), whole)


def test_users_of_items_that_nobody_taught_get_the_popular_ones() -> None:
    model = ImplicitALS.fit(ragged([[1, 2], [2, 1], [2, 3], [2, 3, 1]]), NUM_ITEMS, seed=1, counting=CountingConfig(als_factors=2))
    cold = ragged([[0], [0, 5]])
    assert not model.user_vectors(cold).any()
    popular = model.popularity.recommend(cold, 3)
    assert model.recommend(cold, 3).tolist() == popular.tolist()
    assert popular[0].tolist() != [0, 1, 2]


def test_errors_say_what_came_and_what_is_allowed() -> None:
    with pytest.raises(ValueError, match="newest_share is 0; allowed is 0 < share <= 1"):
        CountingConfig(newest_share=0)
    with pytest.raises(ValueError, match="recent_share is 2; allowed is 0 < share <= 1"):
        CountingConfig(recent_share=2)
    with pytest.raises(ValueError, match="als_factors is 0; allowed are 1 and more"):
        CountingConfig(als_factors=0)
    with pytest.raises(ValueError, match=r"als_confidence is -1\.0; it must be above 0"):
        CountingConfig(als_confidence=-1.0)
    with pytest.raises(ValueError, match=r"als_regularisation is 0\.0; it must be above 0"):
        CountingConfig(als_regularisation=0.0)
    with pytest.raises(ValueError, match="ALS needs at least 1"):
        ImplicitALS.fit(ragged([[]]), 3, seed=1, counting=CountingConfig())

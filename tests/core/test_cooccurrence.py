"""Vectors from co-occurrence: a slow twin of the counts, thinning that is fair and symmetric, neighbours that come together."""

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from jtm_core.behaviours import Ragged
from jtm_core.cooccurrence import cooccurrence_vectors, positive_information
from jtm_core.low_rank import SparseRows
from jtm_core.seeding import generator
from jtm_core.threads import num_threads, set_num_threads

ALL = 1 << 20


def random_histories(num_users: int = 60, num_items: int = 40, seed: int = 0) -> Ragged:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 30, num_users)
    items = (num_items * rng.random(lengths.sum()) ** 3).astype(np.int64)
    return Ragged(items, np.concatenate([[0], np.cumsum(lengths)]))


def dense(matrix: SparseRows) -> NDArray[np.float64]:
    values = np.zeros((len(matrix.starts), len(matrix.starts)))
    for row, (start, size) in enumerate(zip(matrix.starts, matrix.sizes, strict=True)):
        columns = matrix.columns[start : start + size]
        assert (np.diff(columns) > 0).all()
        values[row, columns] = matrix.weights[start : start + size]
    return values


def slow_information(histories: Ragged, num_items: int) -> NDArray[np.float64]:
    pairs: Counter[tuple[int, int]] = Counter()
    for user in range(len(histories)):
        history = histories.row(user).tolist()
        for place, item in enumerate(history):
            for other in history[place + 1 : place + 6]:
                if item != other:
                    pairs.update([(item, other), (other, item)])
    counts = np.zeros((num_items, num_items))
    for pair, count in pairs.items():
        counts[pair] = count
    totals = np.maximum(counts.sum(axis=1), 1)
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(counts * totals.sum() / np.outer(totals, totals)), 0)


def test_information_equals_its_slow_twin() -> None:
    histories = random_histories()
    found = dense(positive_information(histories, 42, generator(1, "vectors"), ALL))
    np.testing.assert_allclose(found, slow_information(histories, 42), rtol=1e-12)
    assert (found[41] == 0).all()


def test_thinning_keeps_the_matrix_symmetric_and_within_its_bound() -> None:
    histories = random_histories(num_users=400, num_items=60)
    whole = positive_information(histories, 60, generator(1, "vectors"), ALL)
    for bound in (len(whole.columns) // 2, len(whole.columns) // 8):
        thinned = positive_information(histories, 60, generator(1, "vectors"), bound)
        assert 0 < len(thinned.columns) <= 1.1 * bound
        values = dense(thinned)
        np.testing.assert_array_equal(values, values.T)
        assert (values >= 0).all()


def test_a_thinned_count_is_right_on_average_and_rare_items_lose_nothing() -> None:
    """Items 0 and 1 stand together 900 times, 2 and 3 thrice; the first pair is thinned to about a tenth, and weighed ten times."""
    histories = Ragged(np.array([0, 1] * 900 + [2, 3] * 3), np.arange(904) * 2)
    whole = dense(positive_information(histories, 4, generator(1, "vectors"), ALL))
    ratios, sizes = [], []
    for seed in range(40):
        matrix = positive_information(histories, 4, generator(seed, "vectors"), 2 * (90 + 90 + 3 + 3))
        thinned = dense(matrix)
        assert thinned[2, 3] == pytest.approx(whole[2, 3])
        ratios.append(np.exp(thinned[0, 1] - whole[0, 1]))
        sizes.append(len(matrix.columns))
    assert np.mean(sizes) == pytest.approx(2 * (90 + 3), rel=0.1)
    assert np.mean(ratios) == pytest.approx(1, abs=0.06)


def test_thinned_vectors_still_tell_groups_apart() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.choice(np.arange(10) + 10 * (user % 3), 8) for user in range(300)]
    histories = Ragged(np.concatenate(rows), np.arange(301) * 8)
    vectors = cooccurrence_vectors(histories, 30, 4, generator(1, "vectors"), maximum_entries=3000)
    cosines = vectors @ vectors.T
    is_same = np.repeat(np.arange(3), 10)[:, None] == np.repeat(np.arange(3), 10)
    assert cosines[is_same].min() > cosines[~is_same].max()


def test_vectors_are_the_same_for_any_number_of_threads() -> None:
    histories = random_histories(num_users=400)
    before, found = num_threads(), []
    try:
        for number in (1, 2, 5):
            set_num_threads(number)
            found.append(cooccurrence_vectors(histories, 40, 4, generator(1, "vectors"), maximum_entries=4000))
    finally:
        set_num_threads(before)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"items span 0 .. 39; allowed are 0 .. 9"):
        cooccurrence_vectors(random_histories(), 10, 4, generator(1, "vectors"))
    with pytest.raises(ValueError, match=r"maximum_entries is 0; allowed are 1 .. 2147483648"):
        cooccurrence_vectors(random_histories(), 40, 4, generator(1, "vectors"), maximum_entries=0)


def test_cooccurrence_vectors_bring_together_what_stands_together() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.choice(np.arange(10) + 10 * (user % 3), 8) for user in range(60)]
    histories = Ragged(np.concatenate(rows), np.arange(61) * 8)
    vectors = cooccurrence_vectors(histories, 31, 4, generator(1, "vectors"))
    assert vectors.shape == (31, 4)
    assert vectors.dtype == np.float32
    assert (vectors[30] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(vectors[:30], axis=1), 1, rtol=1e-5)
    cosines = vectors[:30] @ vectors[:30].T
    is_same = np.repeat(np.arange(3), 10)[:, None] == np.repeat(np.arange(3), 10)
    assert cosines[is_same].min() > cosines[~is_same].max()
    assert np.array_equal(vectors, cooccurrence_vectors(histories, 31, 4, generator(1, "vectors")))


def test_cooccurrence_vectors_of_nearly_nothing() -> None:
    assert cooccurrence_vectors(Ragged(np.array([0]), np.array([0, 1])), 2, 3, generator(1, "vectors")).tolist() == [[0, 0, 0]] * 2

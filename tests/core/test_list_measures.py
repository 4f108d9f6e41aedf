"""Coverage, Gini and popularity of lists: known answers and slow twins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core.list_measures import gini, list_measures, popularity_percentiles
from jtm_core.seeding import generator


def slow_gini(counts):
    """Half the mean absolute difference of all pairs, over the mean."""
    pairs = [abs(int(one) - int(other)) for one in counts for other in counts]
    return np.mean(pairs) / (2 * np.mean(counts)) if sum(counts) else 0.0


def slow_measures(lists, popularity, cutoff):
    """Item by item, place by place."""
    places = [int(item) for row in lists for item in row[:cutoff] if item >= 0]
    counts = [places.count(item) for item in range(len(popularity))]
    below = [np.mean([0.5 * (other == one) + (other < one) for other in popularity]) for one in popularity]
    percentile = [(share * len(popularity) - 0.5) / (len(popularity) - 1) for share in below]
    return {
        f"coverage_at_{cutoff}": len(set(places)) / len(popularity),
        f"gini_at_{cutoff}": slow_gini(counts),
        f"popularity_percentile_at_{cutoff}": np.mean([percentile[item] for item in places]) if places else 0.0,
    }


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(1, 8))
def test_measures_are_their_slow_twin(seed, num_items, num_users):
    rng = generator(seed, "lists")
    lists = np.array([rng.permutation(num_items)[:2] for _ in range(num_users)], dtype=np.int32)
    lists[rng.random(lists.shape) < 0.2] = -1
    popularity = rng.integers(0, 4, num_items)
    measured = list_measures(lists, popularity, [1, 2])
    assert measured == pytest.approx(slow_measures(lists, popularity, 1) | slow_measures(lists, popularity, 2))


def test_equal_lists_of_the_most_popular_item_are_the_extreme():
    measured = list_measures(np.zeros((5, 1), dtype=np.int64), np.array([9, 2, 1, 0]), [1])
    assert measured == {"coverage_at_1": 0.25, "gini_at_1": 0.75, "popularity_percentile_at_1": 1.0}


def test_lists_that_share_the_catalogue_evenly_lean_nowhere():
    lists = np.arange(6).reshape(3, 2)
    measured = list_measures(lists, np.arange(6), [2])
    assert measured == {"coverage_at_2": 1.0, "gini_at_2": 0.0, "popularity_percentile_at_2": 0.5}


def test_gini_does_not_depend_on_the_number_of_users():
    counts = np.array([0, 3, 5, 8])
    assert gini(counts) == pytest.approx(gini(10 * counts))


def test_percentiles_of_ties_are_their_mean():
    assert popularity_percentiles(np.array([4, 4, 4])).tolist() == [0.5, 0.5, 0.5]
    assert popularity_percentiles(np.array([4])).tolist() == [0.5]


def test_empty_places_count_for_nothing():
    assert list_measures(np.full((2, 3), -1), np.array([1, 2]), [3])["popularity_percentile_at_3"] == 0.0


@pytest.mark.parametrize("cutoffs", [[], [0], [3]])
def test_cutoffs_beyond_the_lists_are_refused(cutoffs):
    with pytest.raises(ValueError, match=r"allowed are 1 \.\. 2"):
        list_measures(np.zeros((1, 2), dtype=np.int64), np.array([1]), cutoffs)


@pytest.mark.parametrize("item", [-2, 2])
def test_items_outside_the_catalogue_are_refused(item):
    with pytest.raises(ValueError, match="listed items span"):
        list_measures(np.array([[item]]), np.array([1, 1]), [1])

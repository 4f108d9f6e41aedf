"""Serving in own ids: what is unknown is passed over, nobody goes without, lists hold no places without an item."""

import pickle
from typing import Any

import numpy as np
import pytest
from small_worlds import SmallWorld, small_world

from jtm_core.behaviours import Ragged
from jtm_core.keyed_serving import KeyedRetriever
from jtm_core.serving import Retriever

NUM_ITEMS = 300


@pytest.fixture(scope="module")
def world() -> SmallWorld:
    return small_world(num_items=NUM_ITEMS, num_users=60, seed=3)


@pytest.fixture(scope="module")
def plain(world: SmallWorld) -> Retriever:
    return Retriever(world.network, world.tree, 16, 1)


@pytest.fixture(scope="module")
def keyed(plain: Retriever) -> KeyedRetriever:
    """Item 7 is called ``i7``; the highest ids are the most popular ones."""
    return KeyedRetriever(plain, [f"i{item}" for item in range(NUM_ITEMS)], np.arange(NUM_ITEMS)[::-1])


def named(items: Any) -> list[Any]:
    return [f"i{item}" for item in items]


def test_a_pickled_retriever_gives_the_same_lists(world: SmallWorld, keyed: KeyedRetriever) -> None:
    rows = [named(world.histories.row(0)), ["of whom nothing is known"]]
    copies, kept = pickle.loads(pickle.dumps(keyed)).recommend_batch(rows, 10), keyed.recommend_batch(rows, 10)
    for copy, own in zip(copies, kept, strict=True):
        assert (copy.items, copy.is_personal) == (own.items, own.is_personal)
        np.testing.assert_array_equal(copy.logits, own.logits)


def test_lists_are_the_retriever_s_in_own_ids(world: SmallWorld, plain: Retriever, keyed: KeyedRetriever) -> None:
    items, logits = plain.recommend_batch(world.histories, 10, world.histories)
    rows = [named(world.histories.row(user)) for user in range(len(world.histories))]
    found = keyed.recommend_batch(rows, 10, rows)
    for user, one in enumerate(found):
        assert (one.items, one.is_personal) == (named(items[user]), True)
        assert np.array_equal(one.logits, logits[user])
        alone = keyed.recommend(rows[user], 10, rows[user])
        assert alone.items == one.items
        assert np.array_equal(alone.logits, one.logits)


def test_unknown_items_are_passed_over_and_who_knows_none_gets_the_popular_ones(plain: Retriever, keyed: KeyedRetriever) -> None:
    histories = [["i3", "new", "i5"], ["new"], [], ["i5"]]
    found = keyed.recommend_batch(histories, 4, [["new"], ["i299", "i297"], [], ["i4"]])
    assert [one.is_personal for one in found] == [True, False, False, True]
    assert found[0].items == named(plain.recommend([3, 5], 4)[0])
    assert found[1].items == ["i298", "i296", "i295", "i294"]
    assert found[2].items == ["i299", "i298", "i297", "i296"]
    assert np.isnan(found[2].logits).all()
    assert found[3].items == named(plain.recommend([5], 4, [4])[0])
    assert keyed.recommend_batch([], 4) == []


def test_items_that_are_not_sold_do_not_come(keyed: KeyedRetriever) -> None:
    """Histories may hold them; one of whom nothing is known gets the popular ones among the others."""
    gone, left = named(range(3, 300)), named(range(3))
    for retriever in (keyed.without([*gone, "never known"]), keyed.restricted_to([*left, "not yet known"])):
        known, unknown = retriever.recommend_batch([["i250", "i7"], []], 4)
        assert sorted(known.items) == left
        assert known.is_personal
        assert unknown.items == ["i2", "i1", "i0"]
        assert retriever.recommend(["i250"], 4, exclude=["i1", "i299"]).items == [item for item in known_order(retriever) if item != "i1"]
        assert pickle.loads(pickle.dumps(retriever)).recommend(["i250"], 4).items == known_order(retriever)
    assert keyed.without(["i2"]).restricted_to(left).recommend([], 3).items == ["i1", "i0"]  # what is left out stays out
    assert keyed.recommend([], 1).items == ["i299"]
    for items in (["never known"], []):
        with pytest.raises(ValueError, match="none of the 300 items that may come would be left"):
            keyed.restricted_to(items)
    with pytest.raises(ValueError, match="none of the 299 items that may come would be left"):
        keyed.without(["i4"]).restricted_to(["i4"])
    with pytest.raises(TypeError, match="ids \\[3\\] are of type int; those of this log are of type str"):
        keyed.without([3])  # type: ignore[list-item]


def known_order(retriever: KeyedRetriever) -> list[Any]:
    return list(retriever.recommend(["i250"], 3).items)


def test_lists_end_where_the_items_do(keyed: KeyedRetriever) -> None:
    """As places without an item would stand for the last item in an array of keys."""
    but_two = named(range(2, NUM_ITEMS))
    for history in (["i9"], ["new"]):
        found = keyed.recommend(history, 10, but_two)
        assert sorted(found.items) == ["i0", "i1"]
        assert len(found.logits) == 2


def test_integer_ids(plain: Retriever) -> None:
    keyed = KeyedRetriever(plain, list(range(1000, 1000 + NUM_ITEMS)), np.arange(NUM_ITEMS))
    expected = (plain.recommend([3, 5], 4)[0] + 1000).tolist()
    for history in (np.array([1003, 1005]), iter([1003, 1005]), list(np.array([1003, 1005]))):
        assert keyed.recommend(history, 4).items == expected
    with pytest.raises(TypeError, match=r"ids \['1003'\] are of type str; those of this log are of type int"):
        keyed.recommend(["1003"], 4)


def test_bad_questions_are_refused(plain: Retriever, keyed: KeyedRetriever) -> None:
    with pytest.raises(TypeError, match=r"ids \[3\] are of type int; those of this log are of type str"):
        keyed.recommend([3], 4)
    with pytest.raises(TypeError, match="'i3' is one id; a history, and what it excludes, is a list of them"):
        keyed.recommend("i3", 4)
    with pytest.raises(ValueError, match=r"count is 17; allowed are 1 .. 16"):
        keyed.recommend(["new"], 17)
    for count in ("5", 1.5, None, True):
        with pytest.raises(TypeError, match=f"count is {count!r} of type {type(count).__name__}; it must be an integer"):
            keyed.recommend(["new"], count)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="b'i3' is one id"):
        keyed.recommend(b"i3", 4)  # type: ignore[arg-type]
    for history in (None, 3, np.array("i3")):
        with pytest.raises(TypeError, match=r"is of type .*; a history, and what it excludes, is a list of ids"):
            keyed.recommend(history, 4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 rows of exclude for 2 histories"):
        keyed.recommend_batch([["i1"], ["i2"]], 4, [["i3"]])
    with pytest.raises(ValueError, match="2 keys and 300 items by popularity for a retriever of 300 items"):
        KeyedRetriever(plain, ["a", "b"], np.arange(NUM_ITEMS))


def test_ragged_rows_stay_for_the_retriever_below(keyed: KeyedRetriever) -> None:
    items, _ = keyed.retriever.recommend_batch(Ragged(np.array([3, 5]), np.array([0, 2])), 4)
    assert keyed.recommend(["i3", "i5"], 4).items == named(items[0])

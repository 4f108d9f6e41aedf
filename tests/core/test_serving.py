"""Serving: the same lists from many threads as from one, little memory a call, clear refusals."""

import dataclasses
import multiprocessing
import os
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from small_worlds import NEAR, SMALL_MODEL, SmallWorld, small_world

from jtm_core.beam import BeamSearch, without_items
from jtm_core.behaviours import Ragged
from jtm_core.bfloat16 import has_bfloat16
from jtm_core.config import Precision
from jtm_core.scoring import make_scorer
from jtm_core.serving import Retriever
from jtm_core.widening import widening_of
from jtm_core.windows import windows_of

needs_bfloat16 = pytest.mark.skipif(not has_bfloat16(), reason="this CPU multiplies no bfloat16 numbers")


@pytest.fixture(scope="module")
def world() -> SmallWorld:
    return small_world(num_items=300, num_users=60, seed=3)


def test_lists_are_those_of_the_slow_walk(world: SmallWorld) -> None:
    slow, _ = BeamSearch(make_scorer(world.network, world.tree), 16, 1).walked(windows_of(world.histories, world.network.reading))
    items, logits = Retriever(world.network, world.tree, 16, 1).recommend_batch(world.histories, 16)
    assert np.array_equal(items, slow.items[:, :16])
    np.testing.assert_allclose(logits, slow.logits[:, :16], rtol=1e-4, atol=1e-5)


def test_one_user_gets_the_bits_of_the_batch(world: SmallWorld) -> None:
    retriever = Retriever(world.network, world.tree, 16, 1)
    items, logits = retriever.recommend_batch(world.histories, 10)
    for user in range(len(world.histories)):
        alone = retriever.recommend(world.histories.row(user).tolist(), 10)
        assert np.array_equal(alone[0], items[user])
        assert np.array_equal(alone[1], logits[user])


@pytest.mark.parametrize("attention", [False, True])
def test_many_threads_get_what_one_gets(attention: bool) -> None:
    config = dataclasses.replace(SMALL_MODEL, attention=attention)
    world = small_world(num_items=300, num_users=40, config=config)
    retriever = Retriever(world.network, world.tree, 16, 1)
    expected = [retriever.recommend(world.histories.row(user), 10) for user in range(40)]
    order = np.random.default_rng(0).integers(0, 40, 400 if not attention else 80)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda user: retriever.recommend(world.histories.row(user), 10), order))
    for user, (items, logits) in zip(order, got, strict=True):
        assert np.array_equal(items, expected[user][0])
        assert np.array_equal(logits, expected[user][1])


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=needs_bfloat16)])
def test_a_pickled_retriever_gives_the_same_bits_and_widens_its_beam_alike(world: SmallWorld, precision: Precision) -> None:
    retriever = Retriever(world.network, world.tree, 16, 1, cache_bytes=4096, precision=precision)
    copy = pickle.loads(pickle.dumps(retriever))
    known = world.histories
    for given, expected in zip(copy.recommend_batch(known, 12, known), retriever.recommend_batch(known, 12, known), strict=True):
        assert np.array_equal(given, expected)
    with pytest.raises(ValueError, match=r"count is 17; allowed are 1 \.\. 16"):
        copy.recommend([0], 17)


def test_what_is_excluded_does_not_come_and_the_rest_moves_up(world: SmallWorld) -> None:
    retriever = Retriever(world.network, world.tree, 16, 1)
    everything, everything_logits = retriever.recommend_batch(world.histories, 16)
    unwanted = Ragged(everything[:, [0, 2, 5]].ravel(), 3 * np.arange(len(world.histories) + 1))
    items, logits = retriever.recommend_batch(world.histories, 8, unwanted)
    assert np.array_equal(items, np.delete(everything, [0, 2, 5], axis=1)[:, :8])
    assert np.array_equal(logits, np.delete(everything_logits, [0, 2, 5], axis=1)[:, :8])
    assert np.array_equal(items, without_items(everything, unwanted, 300, 8))
    alone = retriever.recommend(world.histories.row(4), 8, exclude=everything[4, [0, 2, 5]])
    assert np.array_equal(alone[0], items[4])


def test_places_without_an_item_are_marked() -> None:
    world = small_world(num_items=5, num_users=2)
    items, logits = Retriever(world.network, world.tree, 8, 1).recommend([0, 3], 7, exclude=[1])
    assert sorted(items[:4].tolist()) == [0, 2, 3, 4]
    assert items[4:].tolist() == [-1] * 3
    assert np.isneginf(logits[4:]).all()
    assert np.isfinite(logits[:4]).all()


def test_a_call_allocates_little_more_than_it_returns() -> None:
    world = small_world(num_items=5000, num_users=4)
    retriever = Retriever(world.network, world.tree, 400, 1)
    retriever.recommend(world.histories.row(0), 50)
    extra, kept = [], []  # bytes; of most calls, as what other threads allocate meanwhile counts too
    tracemalloc.start()
    try:
        for _ in range(20):
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            retriever.recommend(world.histories.row(1), 50)
            after, peak = tracemalloc.get_traced_memory()
            extra.append(peak - before)
            kept.append(after - before)
    finally:
        tracemalloc.stop()
    assert np.quantile(extra, 0.8) < 16_000, "the candidates of one level alone would take 25 kB"
    assert np.quantile(kept, 0.8) < 2_000


@pytest.mark.parametrize("inputs", [{}, NEAR], ids=str)
@pytest.mark.parametrize("beam_width", [4, 16])
def test_exclusions_shorten_no_list_as_long_as_there_are_items(beam_width: int, inputs: dict[str, Any]) -> None:
    """Most of what the beam finds is excluded: lists are those of the first beam wide enough."""
    world = small_world(num_items=300, num_users=60, seed=3, config=dataclasses.replace(SMALL_MODEL, **inputs))
    retriever, rng = Retriever(world.network, world.tree, beam_width, 1), np.random.default_rng(5)
    rows = [np.sort(rng.permutation(300)[: int(size)]) for size in rng.integers(150, 299, len(world.histories))]
    excluded = Ragged(np.concatenate(rows), np.concatenate([[0], np.cumsum([len(row) for row in rows])]))
    items, logits = retriever.recommend_batch(world.histories, beam_width, excluded)
    scorer, windows = make_scorer(world.network, world.tree), windows_of(world.histories, world.network.reading)
    for user, banned in enumerate(rows):
        expected, width, left = [], beam_width, min(beam_width, 300 - len(banned))
        while len(expected) < left:
            found = BeamSearch(scorer, width, 1).rank(windows.part(user, user + 1)).items[0]
            expected, width = [item for item in found if item >= 0 and item not in banned][:beam_width], 2 * width
        assert items[user][items[user] >= 0].tolist() == expected
        assert np.isfinite(logits[user][: len(expected)]).all()
        assert np.isneginf(logits[user][len(expected) :]).all()
        assert (np.diff(logits[user][: len(expected)]) <= 0).all()


def test_what_is_excluded_twice_counts_once(world: SmallWorld) -> None:
    retriever, rng = Retriever(world.network, world.tree, 4, 1), np.random.default_rng(5)
    rows = np.stack([rng.permutation(300)[:200] for _ in range(len(world.histories))])
    once, twice = (Ragged(np.tile(rows, n).ravel(), 200 * n * np.arange(len(rows) + 1)) for n in (1, 2))
    expected, found = (retriever.recommend_batch(world.histories, 4, excluded) for excluded in (once, twice))
    assert (expected[0] >= 0).all()
    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])


def test_widening_ends_where_a_search_may_return_few_items(world: SmallWorld) -> None:
    """Five items are allowed and two of them excluded, which no beam can make up for."""
    allowed = np.isin(np.arange(300), [3, 50, 120, 200, 299])
    windows = windows_of(world.histories, world.network.reading).part(0, 2)
    excluded = Ragged(np.array([3, 50, 7, 3]), np.array([0, 3, 4]))
    widening = widening_of(BeamSearch(make_scorer(world.network, world.tree), 4, 1, allowed))
    found = widening.rank(windows, 5, excluded).items
    assert [sorted(row[row >= 0].tolist()) for row in found] == [[120, 200, 299], [50, 120, 200, 299]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.parametrize("num_allowed", [3, 40, 299])
def test_a_restricted_retriever_lists_the_best_of_what_is_allowed(world: SmallWorld, num_allowed: int) -> None:
    """By a beam that prunes nothing the list is that of all items without the others; a narrow one is as long."""
    rng = np.random.default_rng(num_allowed)
    allowed = np.zeros(300, dtype=np.bool_)
    allowed[rng.choice(300, num_allowed, replace=False)] = True
    windows = windows_of(world.histories, world.network.reading)
    all_items = BeamSearch(make_scorer(world.network, world.tree), 512, 1).rank(windows, 300).items
    expected = np.stack([row[allowed[row]] for row in all_items])
    whole, narrow = (Retriever(world.network, world.tree, width, 1) for width in (512, 16))
    for retriever in (whole.restricted_to(allowed), pickle.loads(pickle.dumps(whole.restricted_to(allowed)))):
        items, logits = retriever.recommend_batch(world.histories, num_allowed + 2)
        assert np.array_equal(items[:, :num_allowed], expected)
        assert (items[:, num_allowed:] == -1).all()
        assert np.isneginf(logits[:, num_allowed:]).all()
    excluded = Ragged(np.tile(np.append(np.flatnonzero(allowed)[:2], np.flatnonzero(~allowed)[:1]), 60), np.arange(61) * 3)
    count = min(16, num_allowed - 2)
    items, _ = narrow.restricted_to(allowed).recommend_batch(world.histories, count, excluded)
    assert allowed[items].all()
    assert not np.isin(items, np.flatnonzero(allowed)[:2]).any()
    others = np.arange(300) != np.flatnonzero(allowed)[0]
    once, twice = whole.restricted_to(allowed & others), whole.restricted_to(others).restricted_to(allowed)
    assert np.array_equal(*(retriever.recommend_batch(world.histories, 20)[0] for retriever in (once, twice)))
    assert np.array_equal(whole.recommend_batch(world.histories, 300)[0], all_items)


def test_what_is_allowed_is_a_bool_for_each_item(world: SmallWorld) -> None:
    retriever = Retriever(world.network, world.tree, 16, 1)
    for allowed in (np.ones(299, dtype=np.bool_), np.arange(300)):
        with pytest.raises(ValueError, match="it must be a bool for each of the 300 items"):
            retriever.restricted_to(allowed)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="allowed holds no item"):
        retriever.restricted_to(np.zeros(300, dtype=np.bool_))


def test_a_process_that_was_forked_off_serves_too(world: SmallWorld) -> None:
    """As a web server's workers do that load the model before they fork; the pool's threads are not there in the child."""
    retriever = Retriever(world.network, world.tree, 16, 1)
    expected = retriever.recommend_batch(world.histories, 10)[0]
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(retriever.recommend_batch(world.histories, 10)[0]))
    child.start()
    try:
        assert receiver.poll(60), "the child hangs"
        assert np.array_equal(receiver.recv(), expected)
    finally:
        child.kill()
        child.join()


def test_arrays_of_other_kinds_give_the_same_lists(world: SmallWorld) -> None:
    retriever = Retriever(world.network, world.tree, 16, 1)
    items, offsets = world.histories.values, world.histories.offsets
    expected = retriever.recommend_batch(world.histories, 10)[0]
    read_only, strided = items.copy(), np.repeat(items, 2)[::2]
    read_only.flags.writeable = False
    for values in (read_only, strided, items.astype(np.int32)):
        assert np.array_equal(retriever.recommend_batch(Ragged(values, offsets), 10)[0], expected)
    with pytest.raises(ValueError, match="histories are of type float64; they must be Ragged rows of integer"):
        retriever.recommend_batch(Ragged(items.astype(float), offsets), 10)
    with pytest.raises(ValueError, match="exclude are a list"):
        retriever.recommend_batch(world.histories, 10, [[1]])  # type: ignore[arg-type]


def test_bad_questions_are_refused(world: SmallWorld) -> None:
    retriever = Retriever(world.network, world.tree, 16, 1)
    with pytest.raises(ValueError, match=r"histories \[0\] are empty"):
        retriever.recommend([], 3)
    with pytest.raises(ValueError, match=r"histories \[1\] are empty"):
        retriever.recommend_batch(Ragged(np.array([1]), np.array([0, 1, 1])), 3)
    with pytest.raises(ValueError, match=r"histories hold the items \[300, -1\].*ids are 0 .. 299"):
        retriever.recommend([1, 300, -1], 3)
    with pytest.raises(ValueError, match=r"exclude holds the items \[999\]"):
        retriever.recommend([1], 3, exclude=[999])
    with pytest.raises(ValueError, match=r"count is 17; allowed are 1 .. 16"):
        retriever.recommend([1], 17)
    with pytest.raises(ValueError, match=r"exclude holds the items \[-1\]"):
        retriever.recommend([1], 3, exclude=[-1])
    with pytest.raises(ValueError, match=r"count is 0; allowed are 1 .. 16"):
        retriever.recommend([1], 0)
    with pytest.raises(ValueError, match="type float64"):
        retriever.recommend([1.5], 3)
    with pytest.raises(TypeError, match=r"count is 1\.5 of type float; it must be an integer"):
        retriever.recommend([1], 1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="beam_width is '16' of type str; it must be an integer"):
        Retriever(world.network, world.tree, "16", 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 rows of exclude for 60 histories"):
        retriever.recommend_batch(world.histories, 3, Ragged(np.array([1]), np.array([0, 1])))
    with pytest.raises(ValueError, match="they must agree"):
        Retriever(world.network, small_world().tree, 4, 1)
    with pytest.raises(ValueError, match="cache_bytes is -1"):
        Retriever(world.network, world.tree, 4, 1, cache_bytes=-1)

"""The contract that every system passes, on a world with something to learn and on one with nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from jtm_core.baselines.item_cf import ItemCF
from jtm_core.baselines.personal_popularity import PersonalPopularity
from jtm_core.baselines.popularity import Popularity
from jtm_core.behaviours import Ints, Ragged, evaluation_histories, evaluation_truths, take_slices
from jtm_core.config import EvaluationConfig, JtmConfig, ModelConfig, SplitConfig, TrainingConfig, TreeLearningConfig
from jtm_core.metrics import metrics_at
from jtm_core.presets import best_config, paper_config
from jtm_core.seeding import generator
from jtm_core.splitting import split_users
from jtm_core.synthetic import World, noise_world, planted_world, true_recall
from jtm_core.systems.fitted import FittedSystem, PlainSystem, TreeSystem
from jtm_core.systems.fitting import fit_system
from jtm_core.systems.lessons import Lessons, lessons_of
from jtm_core.systems.naming import SYSTEMS, SystemName, settings_of
from jtm_core.threads import single_threaded_torch

NUM_ITEMS, CUTOFF = 128, 10
COUNTING = ("popularity", "recent-popularity", "personal-popularity", "item-cf", "item-cf-bm25", "als")
LEARNED = tuple(name for name in SYSTEMS if name not in COUNTING)
ON_A_BEAM = tuple(name for name in LEARNED if name not in ("product-dnn", "dnn"))
SHARED = JtmConfig(
    model=ModelConfig(window_sizes=(8, 4, 2, 1), embedding_width=16, hidden_widths=(32, 16, 16)),
    training=TrainingConfig(
        epochs=4,
        later_epochs=2,
        batch_samples=256,
        negatives=30,
        negatives_block=16,
        negative_draw="even",
        tied_levels=False,
        learning_rate=1e-2,
    ),
    tree_learning=TreeLearningConfig(gap=3),
    evaluation=EvaluationConfig(cutoffs=(CUTOFF,), beam_width=16, small_beam_width=8),
    iterations=1,
)


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread() -> Iterator[None]:
    """torch's threads wait for each other on a busy machine, where an operator of microseconds then takes milliseconds."""
    with single_threaded_torch():
        yield


@dataclass(frozen=True)
class Given:
    """Lessons of a world, its test users, and what the truth itself would reach."""

    lessons: Lessons
    known: Ragged
    truths: Ragged
    true_recall: float

    def recall(self, system: FittedSystem) -> float:
        lists = system.recommend(self.known, CUTOFF)
        return float(metrics_at(lists, self.truths, self.known, [CUTOFF])[f"recall_at_{CUTOFF}"].mean())


def given(world: World) -> Given:
    split = split_users(world.behaviours, SplitConfig(num_validation_users=40, num_test_users=40), seed=1)
    known, truths = evaluation_histories(world.behaviours, split.test), evaluation_truths(world.behaviours, split.test)
    lessons = lessons_of(world.behaviours, split, world.categories)
    return Given(lessons, known, truths, true_recall(world, split.test, CUTOFF))


@cache
def planted() -> Given:
    return given(planted_world(generator(3, "world"), num_users=400, num_items=NUM_ITEMS, num_groups=8))


@cache
def noise() -> Given:
    return given(noise_world(generator(3, "world"), num_users=300, num_items=NUM_ITEMS))


@cache
def little() -> Given:
    return given(planted_world(generator(3, "world"), num_users=100, num_items=NUM_ITEMS, num_groups=8))


def fit(name: SystemName, lessons: Lessons, shared: JtmConfig = SHARED) -> FittedSystem:
    return fit_system(name, lessons, settings_of(name, shared), lambda done, total, note: None)


@cache
def fitted(name: SystemName) -> FittedSystem:
    """The paper's rate is a tenth of that of the others here, so ``jtm-paper`` gets more and smaller steps."""
    steps = replace(SHARED.training, batch_samples=64 if name == "jtm-paper" else SHARED.training.batch_samples)
    return fit(name, planted().lessons, replace(SHARED, training=steps))


def ragged(rows: list[list[int]]) -> Ragged:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return Ragged(np.array([value for row in rows for value in row], dtype=np.int64), offsets)


def assert_are_lists(lists: Ints, num_users: int, num_recommended: int) -> None:
    assert lists.shape == (num_users, num_recommended)
    assert lists.dtype == np.int64
    assert lists.max() < NUM_ITEMS
    for row in lists.tolist():
        listed = [item for item in row if item >= 0]
        assert row == listed + [-1] * (num_recommended - len(listed)), "places without an item come last, as -1"
        assert len(set(listed)) == len(listed)


@pytest.mark.parametrize("name", SYSTEMS)
def test_lists_are_full_and_repeat_nothing(name: SystemName) -> None:
    lists = fitted(name).recommend(planted().known, CUTOFF)
    assert_are_lists(lists, len(planted().known), CUTOFF)
    assert (lists >= 0).all()


@pytest.mark.parametrize("name", SYSTEMS)
def test_excluded_items_are_never_listed_and_make_no_list_shorter(name: SystemName) -> None:
    """Of the first user all items but five are excluded, of the second none, of the others what they did."""
    given, most = planted(), [item for item in range(NUM_ITEMS) if item % 26 != 0]
    users = given.known.rows(0, 20)
    excluded = ragged([most, [], *(users.row(user).tolist() for user in range(2, 20))])
    lists = fitted(name).recommend(users, CUTOFF, excluded)
    assert_are_lists(lists, 20, CUTOFF)
    for user in range(20):
        banned = set(excluded.row(user).tolist())
        listed = [item for item in lists[user].tolist() if item >= 0]
        assert banned.isdisjoint(listed)
        assert len(listed) == min(CUTOFF, NUM_ITEMS - len(banned))
    assert lists[1].tolist() == fitted(name).recommend(users.rows(1, 2), CUTOFF)[0].tolist()


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_users_list_does_not_depend_on_who_else_is_asked(name: SystemName) -> None:
    users = planted().known.rows(0, 20)
    together = fitted(name).recommend(users, CUTOFF, users)
    alone = [fitted(name).recommend(users.rows(user, user + 1), CUTOFF, users.rows(user, user + 1)) for user in range(20)]
    assert np.array_equal(together, np.concatenate(alone))
    assert fitted(name).recommend(users.rows(0, 0), CUTOFF).shape == (0, CUTOFF)


@pytest.mark.parametrize("name", SYSTEMS)
def test_more_items_than_there_are(name: SystemName) -> None:
    users = planted().known.rows(0, 5)
    lists = fitted(name).recommend(users, NUM_ITEMS + 3)
    assert_are_lists(lists, 5, NUM_ITEMS + 3)
    least = SHARED.evaluation.beam_width if name in ON_A_BEAM else NUM_ITEMS
    assert ((lists >= 0).sum(axis=1) >= least).all()


@pytest.mark.parametrize("name", SYSTEMS)
def test_short_and_empty_histories(name: SystemName) -> None:
    users = ragged([[], [5], [5, 5], []])
    lists = fitted(name).recommend(users, CUTOFF)
    assert_are_lists(lists, 4, CUTOFF)
    assert (lists >= 0).all()
    assert lists[0].tolist() == lists[3].tolist() == fitted(name).recommend(ragged([[]]), CUTOFF)[0].tolist()


@pytest.mark.parametrize("name", SYSTEMS)
def test_questions_that_make_no_sense_are_refused(name: SystemName) -> None:
    users = ragged([[1], [2]])
    for number in (0, -1):
        with pytest.raises(ValueError, match=f"num_recommended is {number}; allowed are 1 and more"):
            fitted(name).recommend(users, number)
    with pytest.raises(ValueError, match="1 rows of excluded items for 2 users; there must be one each"):
        fitted(name).recommend(users, 2, ragged([[1]]))
    with pytest.raises(ValueError, match=f"histories hold the item ids 1 .. {NUM_ITEMS}; allowed are 0 .. {NUM_ITEMS - 1}"):
        fitted(name).recommend(ragged([[1, NUM_ITEMS]]), 2)
    with pytest.raises(ValueError, match=r"excluded hold the item ids -1 \.\. -1"):
        fitted(name).recommend(users, 2, ragged([[-1], []]))


@pytest.mark.parametrize("name", SYSTEMS)
def test_same_seed_same_bits_another_seed_others(name: SystemName) -> None:
    short = replace(SHARED, training=replace(SHARED.training, epochs=1, later_epochs=1))
    one, again, other = (fit(name, little().lessons, replace(short, seed=seed)) for seed in (1, 1, 2))
    lists = [system.recommend(little().known, CUTOFF) for system in (one, again, other)]
    assert np.array_equal(lists[0], lists[1])
    assert repr(one.rounds) == repr(again.rounds)
    if isinstance(one, TreeSystem) and isinstance(again, TreeSystem):
        assert all(torch.equal(weights, again.network.state_dict()[part]) for part, weights in one.network.state_dict().items())
        assert np.array_equal(one.tree.leaf_of_item, again.tree.leaf_of_item)
    is_drawn = name not in ("popularity", "recent-popularity", "personal-popularity", "item-cf", "item-cf-bm25")
    assert np.array_equal(lists[0], lists[2]) != is_drawn


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name not in ("popularity", "recent-popularity", "personal-popularity")])
def test_what_was_planted_is_found(name: SystemName) -> None:
    factor = {"als": 1.2, "jtm-paper": 1.2}.get(name, 1.4)
    assert planted().recall(fitted(name)) > factor * planted().recall(fitted("popularity"))
    assert planted().recall(fitted(name)) < planted().true_recall + 0.05


def test_jtm_finds_what_was_planted_with_tied_levels_and_draws_by_popularity() -> None:
    training = replace(SHARED.training, tied_levels=True, negative_draw="popularity")
    found = planted().recall(fit("jtm", planted().lessons, replace(SHARED, training=training)))
    assert 1.5 * planted().recall(fitted("popularity")) < found < planted().true_recall + 0.05


@pytest.mark.parametrize("name", SYSTEMS)
def test_where_nothing_is_to_be_found_nothing_is(name: SystemName) -> None:
    margin = 0.03
    assert noise().recall(fit(name, noise().lessons, replace(SHARED, iterations=0))) < noise().true_recall + margin, (
        "recall above the ceiling: the answer leaks"
    )


@pytest.mark.parametrize("name", LEARNED)
def test_rounds_tell_what_was_trained(name: SystemName) -> None:
    rounds, config = fitted(name).rounds, settings_of(name, SHARED)
    assert [made.iteration for made in rounds] == [0, 1]
    assert rounds[0].is_accepted
    for made, most in zip(rounds, (config.training.epochs, config.training.later_epochs), strict=True):
        assert 1 <= made.num_epochs == len(made.recalls) <= most
        assert 0 < made.recall <= 1
        assert all(loss > 0 for loss in made.losses)
    best = max(made.recall for made in rounds if made.is_accepted)
    judged = replace(planted(), known=planted().lessons.known, truths=planted().lessons.asked)
    assert judged.recall(fitted(name)) == pytest.approx(best)
    last, method = rounds[1], config.tree_learning.method if name not in ("product-dnn", "hsm", "dnn") else "fixed"
    assert last.moved_share <= last.raw_moved_share
    assert np.isfinite(last.recall_before) == (name not in ("product-dnn", "hsm"))
    assert np.isnan(last.objective_after) == (method != "joint")
    if method == "joint":
        assert (last.objective_after > last.objective_before) == (last.raw_moved_share > 0), "a tree that gains nothing is not taken"
    if name != "jtm-paper":  # the paper's greedy order often gains nothing
        assert (last.raw_moved_share > 0) == (method != "fixed")


@pytest.mark.parametrize("name", [name for name in ON_A_BEAM if name != "hsm"])
def test_a_trees_searches_agree(name: SystemName) -> None:
    system, users = fitted(name), planted().known.rows(0, 10)
    assert isinstance(system, TreeSystem)
    whole = system.full_scan().recommend(users, NUM_ITEMS)
    assert np.array_equal(system.with_beam(NUM_ITEMS).recommend(users, NUM_ITEMS), whole)
    assert np.array_equal(system.with_beam(16).recommend(users, CUTOFF), system.recommend(users, CUTOFF))
    narrow = system.with_beam(2).recommend(users, CUTOFF)
    assert_are_lists(narrow, 10, CUTOFF)
    assert ((narrow >= 0).sum(axis=1) < CUTOFF).all(), "a narrow beam finds less, and nothing is made up"


@pytest.mark.parametrize("name", ["popularity", "recent-popularity", "personal-popularity", "item-cf", "item-cf-bm25"])
def test_names_of_items_do_not_matter(name: SystemName) -> None:
    """Where counts decide, renamed items are listed in the same places, up to ties: the scores along the lists are equal."""
    given, rename = planted(), np.random.default_rng(0).permutation(NUM_ITEMS)
    old = given.lessons
    lessons = replace(old, histories=replace(old.histories, values=rename[old.histories.values]))
    renamed = fit(name, lessons).recommend(Ragged(rename[given.known.values], given.known.offsets), CUTOFF)
    back = np.argsort(rename)[renamed]
    scores = scores_of(fitted(name), given.known)
    ours, theirs = (np.take_along_axis(scores, lists, axis=1) for lists in (fitted(name).recommend(given.known, CUTOFF), back))
    assert theirs == pytest.approx(ours, abs=1e-9)


def scores_of(system: FittedSystem, histories: Ragged) -> np.ndarray:
    """Scores of all items by the model's own tables: float64 (E, num_items)."""
    assert isinstance(system, PlainSystem)
    model = system.recommender
    if isinstance(model, (Popularity, PersonalPopularity)):
        counts = np.bincount(planted().lessons.histories.values, minlength=NUM_ITEMS)
        scores = np.tile(counts, (len(histories), 1)).astype(np.float64)
        for user in range(len(histories) if isinstance(model, PersonalPopularity) else 0):
            own, row = histories.row(user), scores[user]
            for place, item in enumerate(own.tolist()):
                row[item] = 1e6 * (own == item).sum() + 1e3 + place
        return scores
    assert isinstance(model, ItemCF)
    table = np.zeros((NUM_ITEMS, NUM_ITEMS))
    table[np.repeat(np.arange(NUM_ITEMS), np.diff(model.offsets)), model.items] = model.similarities
    return np.stack([table[np.unique(histories.row(user))].sum(axis=0) for user in range(len(histories))])


def test_settings_say_just_what_makes_a_system() -> None:
    table = {name: settings_of(name, SHARED) for name in SYSTEMS}
    cells = {name: (table[name].model.features, table[name].tree_learning.method) for name in ("tdm", "jtm-j", "jtm-h", "jtm")}
    assert cells == {
        "tdm": ("flat", "fixed"),
        "jtm-j": ("flat", "joint"),
        "jtm-h": ("hierarchical", "fixed"),
        "jtm": ("hierarchical", "joint"),
    }
    for name, config in table.items():
        shared = replace(config, model=SHARED.model, training=SHARED.training, tree_learning=SHARED.tree_learning)
        assert shared == SHARED, f"{name} changes more than model, training and tree learning"
        assert (config.training.epochs, config.training.later_epochs) == (SHARED.training.epochs, SHARED.training.later_epochs)
        if name == "jtm-otm":
            assert config.training == replace(SHARED.training, nodes="beam")
        elif name not in ("dnn", "jtm-paper"):
            assert config.training == SHARED.training, f"{name} is trained otherwise than the others"
    assert settings_of("jtm-otm", JtmConfig()) == best_config(), "the best settings stand in a comparison by this name"
    paper = paper_config()
    assert not paper.training.tied_levels
    assert paper.training.minimum_history == 5, "a target has five behaviours before it in TDM's open code"
    assert table["jtm-paper"].training.minimum_history == SHARED.training.minimum_history, "all systems learn from the same samples"
    assert (paper.training.negative_draw, paper.training.negatives_block, paper.training.learning_rate) == ("even", 1, 1e-3)
    assert table["jtm-paper"].training.target == paper.training.target == "next_item"
    assert table["jtm-paper"].tree_learning.assignment == paper.tree_learning.assignment == "greedy"


def test_what_the_paper_does_not_have_is_shared_by_all_but_its_own_configuration() -> None:
    shared = replace(SHARED, training=replace(SHARED.training, tied_levels=True, negative_draw="popularity", horizon_share=0.5))
    own = {name: settings_of(name, shared).training for name in SYSTEMS}
    assert [name for name in SYSTEMS if not own[name].tied_levels] == ["jtm-paper"]
    assert [name for name in SYSTEMS if own[name].negative_draw == "even"] == ["jtm-paper"]
    assert [name for name in SYSTEMS if own[name].reach != 0.5] == ["jtm-paper"]


def test_an_unknown_system_is_refused() -> None:
    with pytest.raises(ValueError, match="the system is 'jtm-x'; allowed are popularity, recent-popularity, personal-popularity"):
        settings_of("jtm-x", SHARED)  # type: ignore[arg-type]


def parts(lessons: Lessons) -> dict[str, Any]:
    return {name: getattr(lessons, name) for name in ("histories", "num_items", "categories", "known", "asked")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": np.zeros(3, dtype=np.int64)}, "3 categories for 128 items; there must be one each"),
        ({"histories": ragged([[0, NUM_ITEMS]])}, "histories hold the item ids 0 .. 128; allowed are 0 .. 127"),
        ({"asked": ragged([[1]])}, "40 rows known, 1 asked; there must be one each"),
        ({"known": ragged([]), "asked": ragged([])}, "0 rows known, 0 asked"),
        ({"known": ragged([[1], []]), "asked": ragged([[1], [2]])}, r"rows \[1\] of known are empty"),
        ({"known": ragged([[1], [2]]), "asked": ragged([[1], []])}, r"rows \[1\] of asked are empty"),
        ({"asked": ragged([[-1]])}, "asked hold the item ids -1 .. -1; allowed are 0 .. 127"),
    ],
)
def test_lessons_check_themselves(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Lessons(**(parts(planted().lessons) | changes))


def test_lessons_hold_nothing_of_test_users() -> None:
    world = planted_world(generator(3, "world"), num_users=100, num_items=NUM_ITEMS, num_groups=8)
    split = split_users(world.behaviours, SplitConfig(num_validation_users=10, num_test_users=10), seed=1)
    lessons = lessons_of(world.behaviours, split, world.categories)
    lengths = np.diff(lessons.histories.offsets)
    assert (lengths[split.test.users] == 0).all()
    assert (lengths[split.validation.users] == 0).all()
    first = take_slices(world.behaviours.items, world.behaviours.offsets[split.validation.users], split.validation.history_lengths)
    assert np.array_equal(lessons.known.values, first.values)
    assert np.array_equal(lessons.asked.values, evaluation_truths(world.behaviours, split.validation).values)


@pytest.mark.parametrize("filter_seen", [False, True])
def test_a_list_of_all_items_decides_nothing(filter_seen: bool) -> None:
    lessons = little().lessons
    cutoffs = (2, 4, lessons.num_items)
    evaluation = EvaluationConfig(cutoffs=cutoffs, beam_width=lessons.num_items, small_beam_width=8, filter_seen=filter_seen)
    popular = Popularity.fit(lessons.histories, lessons.num_items)
    unpopular = Popularity(popular.items_by_popularity[::-1].copy())
    assert 1 > lessons.recall_of(popular, evaluation) > lessons.recall_of(unpopular, evaluation)

"""Trials of the search for settings: equal numbers, no repetition, settings that exist."""

import dataclasses
import itertools

import pytest

from jtm_core.comparison_config import OwnSettings, SystemSettings, TuningConfig, planned_run, with_dials
from jtm_core.config import JtmConfig, SplitConfig
from jtm_core.counting_config import CountingConfig
from jtm_core.systems.fitting import newest_share_of
from jtm_core.systems.naming import SYSTEMS
from jtm_core.tuning import RANGES, Range, _combination, _effective, draws_of, planned_trials, ranges_of

FIXED_BY_THE_PAPER = (
    "training.learning_rate",
    "training.target",
    "training.horizon_share",
    "training.negative_draw",
    "training.tied_levels",
    "model.inner_product",
)


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_value_of_every_range_is_one_the_system_may_have(system):
    for one in RANGES[system]:
        assert len(set(one.values)) == len(one.values)
        for value in one.values:
            OwnSettings(system=system, dials={one.dial: value})


def test_every_range_changes_what_its_system_is_fitted_with():
    for system, ranges in RANGES.items():
        for one in ranges:
            runs = [planned_run(system, SystemSettings(), {one.dial: value}) for value in one.values]
            is_fixed_by_the_paper = system == "jtm-paper" and one.dial in FIXED_BY_THE_PAPER
            assert len(set(map(repr, runs))) == (1 if is_fixed_by_the_paper else len(one.values)), (system, one.dial)


def dials_of(system, num_trials, seed, **shared):
    config = TuningConfig(shared=JtmConfig(**shared), systems=(system,), trials=num_trials, seed=seed)
    return [trial.dials for trial in planned_trials(config)]


def test_the_first_trial_is_the_shared_settings_and_none_repeats():
    trials = dials_of("jtm", 40, seed=3)
    assert trials[0] == {}
    assert len(trials) == 40
    assert len({tuple(trial.items()) for trial in trials}) == 40


@pytest.mark.parametrize("system", ["jtm", "jtm-paper", "hsm", "dnn", "product-dnn"])
def test_no_system_is_fitted_twice_with_what_comes_to_the_same(system):
    """Compared by what each looks at: dials that its training ignores are put aside."""
    config = TuningConfig(systems=(system,), trials=60, seed=2)
    dials = {"hsm": ["tied_levels", "negative_draw"], "dnn": ["tied_levels"], "product-dnn": ["tied_levels", "inner_product"]}
    ignored = dials.get(system, [])
    seen = set()
    for trial in planned_trials(config):
        settings = trial.planned.settings
        looked_at = dataclasses.asdict(settings.training) | {"inner_product": settings.model.inner_product}
        for name in ignored + (["horizon_share"] if looked_at["target"] == "next_item" else []):
            looked_at.pop(name)
        seen.add(repr(looked_at))
    assert len(seen) == len(planned_trials(config)) == (15 if system == "jtm-paper" else 60)


def test_learned_systems_are_tried_with_the_same_settings():
    first, *others = (list(itertools.islice(draws_of(RANGES[system], seed=1), 8)) for system in ("jtm", "tdm", "hsm"))
    assert others == [first, first]
    assert dials_of("jtm", 8, seed=1) == dials_of("tdm", 8, seed=1)


def test_another_seed_tries_other_settings():
    assert dials_of("jtm", 8, seed=1) != dials_of("jtm", 8, seed=2)


def test_few_combinations_end_the_search_early():
    """One of the sixteen is the shared 500 neighbours, own items not among them."""
    trials = dials_of("item-cf", 100, seed=1)
    assert len(trials) == 16
    neighbours, own_items = (one.values for one in RANGES["item-cf"])
    tried = {(trial["counting.num_neighbours"], trial["counting.own_items"]) for trial in trials[1:]}
    assert tried == set(itertools.product(neighbours, own_items)) - {(500, False)}
    assert dials_of("popularity", 8, seed=1) == [{}]


@pytest.mark.parametrize("protocol", ["users", "time", "users_newest", "global_time"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_the_share_that_teaches_is_searched_where_the_newest_is_asked_for(system, protocol):
    """Every system by its own share, one of the shares being everything; each is what the trial is fitted with."""
    shared = JtmConfig(split=SplitConfig(protocol=protocol))
    searched = ranges_of(system, shared)
    besides = searched[len(RANGES[system]) :]
    assert searched[: len(RANGES[system])] == RANGES[system]
    if protocol in ("users", "time") or system == "recent-popularity":
        assert not besides
        return
    (share,) = besides
    assert 1.0 in share.values
    runs = [planned_run(system, SystemSettings(jtm=shared), {share.dial: value}) for value in share.values]
    assert [newest_share_of(system, run.settings, run.counting) for run in runs] == list(share.values)


def test_a_share_for_later_iterations_is_tried_where_there_are_some():
    by_moment = SplitConfig(protocol="global_time")
    for iterations, expected in ((2, {0.005, 0.01, 0.02, 0.05, 0.2, 1.0}), (0, {1.0})):
        config = TuningConfig(shared=JtmConfig(split=by_moment, iterations=iterations), systems=("jtm",), trials=200, seed=1)
        shares = {_effective(trial.planned).settings.training.later_newest_share for trial in planned_trials(config)}
        assert shares == expected
        assert len(planned_trials(config)) == 200


def test_combinations_are_numbered_as_the_product_of_the_ranges():
    ranges = (Range("a", (1, 2, 3)), Range("b", ("x", "y")))
    numbered = [tuple(_combination(ranges, number).items()) for number in range(6)]
    assert numbered == [(("a", a), ("b", b)) for a, b in itertools.product((1, 2, 3), ("x", "y"))]


def test_trials_can_be_given_back_as_own_settings():
    for trial in itertools.islice(draws_of(RANGES["als"], seed=2), 6):
        assert with_dials(SystemSettings(), OwnSettings(system="als", dials=trial).dials).jtm == SystemSettings().jtm


def test_every_system_gets_as_many_trials_under_one_seed():
    counting = CountingConfig(als_iterations=7)
    config = TuningConfig(shared=JtmConfig(seed=9), systems=("als", "tdm", "jtm"), trials=3, seed=4, counting=counting)
    trials = planned_trials(config)
    assert [(trial.planned.system, trial.number) for trial in trials] == [(name, n) for name in ("als", "tdm", "jtm") for n in range(3)]
    assert {trial.planned.seed for trial in trials} == {4}
    for trial in trials:
        shared = SystemSettings(jtm=JtmConfig(seed=4), counting=counting)
        assert trial.planned == planned_run(trial.planned.system, shared, trial.dials)

"""Trials of the search for settings: equal numbers, no repetition, settings that exist."""

import itertools

import pytest

from jtm_core.comparison_config import OwnSettings, SystemSettings, TuningConfig, planned_run, with_dials
from jtm_core.config import JtmConfig
from jtm_core.systems.naming import SYSTEMS
from jtm_core.tuning import RANGES, Range, _combination, planned_trials, trials_of

FIXED_BY_THE_PAPER = (
    "training.learning_rate",
    "training.target",
    "training.horizon_share",
    "training.negative_draw",
    "training.tied_levels",
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


def test_the_first_trial_is_the_shared_settings_and_none_repeats():
    trials = trials_of("jtm", 40, seed=3)
    assert trials[0] == {}
    assert len(trials) == 40
    assert len({tuple(trial.items()) for trial in trials}) == 40


def test_learned_systems_are_tried_with_the_same_settings():
    assert trials_of("jtm", 8, seed=1) == trials_of("tdm", 8, seed=1) == trials_of("hsm", 8, seed=1)


def test_another_seed_tries_other_settings():
    assert trials_of("jtm", 8, seed=1) != trials_of("jtm", 8, seed=2)


def test_few_combinations_end_the_search_early():
    trials = trials_of("item-cf", 100, seed=1)
    assert len(trials) == 1 + 8
    assert {trial["counting.num_neighbours"] for trial in trials[1:]} == set(RANGES["item-cf"][0].values)


def test_combinations_are_numbered_as_the_product_of_the_ranges():
    ranges = (Range("a", (1, 2, 3)), Range("b", ("x", "y")))
    numbered = [tuple(_combination(ranges, number).items()) for number in range(6)]
    assert numbered == [(("a", a), ("b", b)) for a, b in itertools.product((1, 2, 3), ("x", "y"))]


def test_no_trial_is_refused():
    with pytest.raises(ValueError, match="num_trials is 0"):
        trials_of("jtm", 0, seed=1)


def test_trials_can_be_given_back_as_own_settings():
    for trial in trials_of("als", 6, seed=2):
        assert with_dials(SystemSettings(), OwnSettings(system="als", dials=trial).dials).jtm == SystemSettings().jtm


def test_every_system_gets_as_many_trials_under_one_seed():
    config = TuningConfig(shared=JtmConfig(seed=9), systems=("als", "tdm", "jtm"), trials=3, seed=4)
    trials = planned_trials(config)
    assert [(trial.planned.system, trial.number) for trial in trials] == [(name, n) for name in ("als", "tdm", "jtm") for n in range(3)]
    assert {trial.planned.seed for trial in trials} == {4}
    for trial in trials:
        shared = SystemSettings(jtm=JtmConfig(seed=4))
        assert trial.planned == planned_run(trial.planned.system, shared, trial.dials)

"""Plans of comparisons: who is run with what, and which settings are refused."""

from dataclasses import replace

import pytest
from pydantic import TypeAdapter, ValidationError

from jtm_core.comparison_config import (
    ComparisonConfig,
    OwnSettings,
    SensitivityConfig,
    SystemSettings,
    TuningConfig,
    planned_runs,
    with_dials,
)
from jtm_core.config import JtmConfig, TreeLearningConfig
from jtm_core.counting_config import CountingConfig
from jtm_core.presets import paper_config
from jtm_core.systems.naming import settings_of


def names_of(config):
    return [(run.system, run.seed, run.variation) for run in planned_runs(config)]


def test_seed_by_seed_all_systems_and_those_without_chance_once():
    config = ComparisonConfig(systems=("popularity", "tdm", "jtm"), seeds=(7, 9))
    assert names_of(config) == [("popularity", 7, ""), ("tdm", 7, ""), ("jtm", 7, ""), ("tdm", 9, ""), ("jtm", 9, "")]


def test_a_run_has_the_shared_settings_its_seed_and_what_makes_its_system():
    shared = JtmConfig(iterations=2, seed=5)
    (run,) = planned_runs(ComparisonConfig(shared=shared, systems=("jtm-h",), seeds=(3,)))
    assert run.settings == settings_of("jtm-h", replace(shared, seed=3))
    assert run.settings.tree_learning.method == "fixed"


def test_own_settings_reach_their_system_only():
    tuned = (
        OwnSettings(system="jtm", dials={"training.learning_rate": 0.01}),
        OwnSettings(system="als", dials={"counting.als_factors": 8}),
    )
    runs = {run.system: run for run in planned_runs(ComparisonConfig(systems=("als", "tdm", "jtm"), seeds=(1,), tuned=tuned))}
    assert [runs[name].settings.training.learning_rate for name in ("als", "tdm", "jtm")] == [0.002, 0.002, 0.01]
    assert [runs[name].counting.als_factors for name in ("als", "tdm", "jtm")] == [8, 64, 64]


def test_one_dial_at_a_time_is_varied_under_the_first_seed():
    sensitivity = SensitivityConfig(gaps=(2, 7), assignments=("greedy",), beam_widths=(800,), negatives=(20,))
    runs = planned_runs(ComparisonConfig(systems=("jtm",), seeds=(4, 5), sensitivity=sensitivity))
    varied = {run.variation: run.settings for run in runs if run.variation}
    reference = runs[0].settings
    assert list(varied) == [
        "tree_learning.gap=2",  # 7 is what it is anyway
        "tree_learning.assignment=greedy",
        "evaluation.beam_width=800",
        "training.negatives=20",
    ]
    assert varied["training.negatives=20"] == replace(reference, training=replace(reference.training, negatives=20))
    assert {settings.seed for settings in varied.values()} == {4}


def test_variations_are_of_the_tuned_reference():
    config = ComparisonConfig(
        systems=("jtm",),
        seeds=(1,),
        sensitivity=SensitivityConfig(gaps=(7,)),
        tuned=(OwnSettings(system="jtm", dials={"tree_learning.gap": 3}),),
    )
    reference, varied = planned_runs(config)
    assert (reference.settings.tree_learning.gap, varied.settings.tree_learning.gap) == (3, 7)


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"training.speed": 1}, "there is no dial 'training.speed'"),
        ({"training": 1}, "there is no dial 'training'"),
        ({"training.learning_rate": "fast"}, "must be of the kind of 0.002"),
        ({"training.epochs": 2.5}, "must be of the kind of 6"),
        ({"training.epochs": True}, "must be of the kind of 6"),
        ({"training.epochs": 0}, "epochs is 0"),
        ({"counting.als_factors": 0}, "als_factors is 0"),
        ({"training.nodes": "beem"}, "training.nodes is 'beem'; allowed are uniform, beam"),
        ({"training.precision": "float16"}, "training.precision is 'float16'; allowed are float32, bfloat16"),
        ({"tree_learning.assignment": "exakt"}, "allowed are greedy, regret, exact"),
        ({"training.order_noise": float("inf")}, "must be finite"),
        ({"training.order_noise": -0.5}, "training.order_noise is -0.5"),
        ({"training.later_newest_share": 0.0}, "training.later_newest_share is 0.0"),
        ({"training.level_share": 1.5}, "training.level_share is 1.5"),
        ({"counting.als_confidence": float("nan")}, "must be finite"),
        ({"evaluation.beam_width": 800}, "allowed are dials in model, training, tree_learning, counting"),
        ({"data.minimum_user_behaviours": 5}, "the rest is shared"),
    ],
)
def test_settings_a_system_must_not_have_are_refused(dials, message):
    with pytest.raises(ValueError, match=message):
        OwnSettings(system="tdm", dials=dials)


def test_dials_of_every_kind_are_set():
    dials = {
        "model.attention": True,
        "training.learning_rate": 1,
        "tree_learning.maximum_samples_per_item": 30,
        "counting.num_neighbours": 9,
    }
    settings = with_dials(SystemSettings(), dials)
    assert settings.jtm.model.attention
    assert settings.jtm.training.learning_rate == 1
    assert settings.jtm.tree_learning == replace(TreeLearningConfig(), maximum_samples_per_item=30)
    assert settings.counting == CountingConfig(num_neighbours=9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"systems": ()}, "give at least 1 of each"),
        ({"seeds": (1, 1)}, "each may come once"),
        ({"beams": (0,)}, "allowed are 1 and more"),
        ({"systems": ("tdm",), "reference": "jtm"}, "reference is jtm, which is not among the systems"),
        ({"systems": ("tdm",), "sensitivity": SensitivityConfig(gaps=(2,))}, "not among the systems"),
        ({"sensitivity": SensitivityConfig(beam_widths=(10,))}, "at least the largest cut-off"),
        ({"tuned": (OwnSettings(system="jtm"), OwnSettings(system="jtm"))}, "each may come once"),
    ],
)
def test_impossible_comparisons_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ComparisonConfig(**changes)


@pytest.mark.parametrize("changes", [{"trials": 0}, {"systems": ()}, {"systems": ("tdm", "tdm")}])
def test_impossible_tunings_are_refused(changes):
    with pytest.raises(ValueError, match=r"allowed are|at least 1"):
        TuningConfig(**changes)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_numbers_must_be_finite(value):
    with pytest.raises(ValidationError, match="finite number"):
        TypeAdapter(JtmConfig).validate_python({"training": {"learning_rate": float(value)}})


def test_a_value_is_varied_once():
    with pytest.raises(ValueError, match="each value may come once"):
        SensitivityConfig(gaps=(1, 1))


def test_hsm_has_no_attention():
    shared = JtmConfig(model=replace(JtmConfig().model, attention=True))
    with pytest.raises(ValueError, match="attention is set, which HSM cannot have"):
        ComparisonConfig(shared=shared, systems=("hsm",), seeds=(1,))


def test_all_learned_systems_share_the_gate_and_the_precision():
    shared = JtmConfig(tree_learning=TreeLearningConfig(validation_tolerance=0.5, precision="bfloat16"))
    for system in ("tdm", "jtm", "jtm-paper"):
        settings = settings_of(system, shared).tree_learning
        assert (settings.validation_tolerance, settings.precision) == (0.5, "bfloat16")
    assert settings_of("jtm-paper", shared).tree_learning.assignment == "greedy"


@pytest.mark.parametrize("dial", ["inner_product", "window_matches"])
def test_the_paper_s_network_has_no_input_of_ours_whatever_the_others_have(dial: str):
    shared = JtmConfig(model=replace(JtmConfig().model, embedding_width=10, **{dial: True}))
    networks = {system: settings_of(system, shared).model for system in ("tdm", "hsm", "dnn", "jtm", "jtm-otm", "jtm-paper")}
    assert {system for system, model in networks.items() if getattr(model, dial)} == set(networks) - {"jtm-paper"}
    assert {model.embedding_width for model in networks.values()} == {10}
    assert not getattr(paper_config().model, dial)


def test_the_paper_s_network_looks_back_on_69_behaviours_however_far_the_others_do():
    shared = JtmConfig(model=replace(JtmConfig().model, window_sizes=(30, 5)))
    lengths = {system: settings_of(system, shared).model.history_length for system in ("jtm-paper", "jtm", "tdm", "product-dnn")}
    assert lengths == {"jtm-paper": 69, "jtm": 35, "tdm": 35, "product-dnn": 35}
    assert paper_config().model == settings_of("jtm-paper", JtmConfig()).model

"""The config as a flow parameter: a form with words and bounds, and errors that name the field."""

from typing import Any

import pytest
from prefect import Flow
from prefect.exceptions import ParameterTypeError

from flows.compare_systems import compare_systems
from flows.demo import demo
from flows.evaluate_version import evaluate_version
from flows.retrain_jtm import retrain_jtm
from flows.train_jtm import train_jtm
from flows.tune_systems import tune_systems
from jtm_core.config import JtmConfig


def schema_of(flow: "Flow[Any, Any]") -> dict[str, Any]:
    return flow.parameters.model_dump()


@pytest.mark.parametrize("flow", [compare_systems, demo, retrain_jtm, train_jtm, tune_systems])
def test_every_dial_is_in_the_form_with_words(flow: "Flow[Any, Any]") -> None:
    schema = schema_of(flow)
    assert schema["properties"]["config"]["description"]
    for name, definition in schema["definitions"].items():
        assert definition["additionalProperties"] is False
        for field, shown in definition["properties"].items():
            assert name == "JtmConfig" or "description" in shown, f"{name}.{field} has no words"
    assert set(schema["definitions"]["JtmConfig"]["properties"]) == set(JtmConfig.__dataclass_fields__)


def test_bounds_are_in_the_form() -> None:
    definitions = schema_of(train_jtm)["definitions"]
    gap = definitions["TreeLearningConfig"]["properties"]["gap"]
    assert (gap["minimum"], gap["maximum"]) == (1, 12)
    assert definitions["DataConfig"]["properties"]["format"]["enum"][0] == "auto"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"training": {"epochs": 0}}, "config.training.epochs: Input should be greater than or equal to 1"),
        ({"training": {"epochs": "many"}}, "config.training.epochs: Input should be a valid integer"),
        ({"training": {"epoch": 3}}, "config.training.epoch: Unexpected keyword argument"),
        ({"evaluation": {"cutoffs": [10, 5]}}, "config.evaluation: Value error, cutoffs is (10, 5); they must ascend"),
        ({"data": {"format": "xml"}}, "config.data.format: Input should be 'auto'"),
    ],
)
def test_wrong_values_are_refused_with_the_path_of_their_field(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterTypeError) as refused:
        train_jtm.validate_parameters({"config": config})
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"systems": ["jtm", "sasrec"]}, "config.systems.1: Input should be 'popularity'"),
        ({"shared": {"training": {"epochs": 0}}}, "config.shared.training.epochs: Input should be greater than or equal to 1"),
        ({"tuned": [{"system": "jtm", "dials": {"data.name": "x"}}]}, "config.tuned.0: Value error, jtm sets ['data.name'] for itself"),
        ({"seeds": [1, 1]}, "config: Value error, seeds is (1, 1); each may come once"),
    ],
)
def test_impossible_comparisons_are_refused_with_the_path_of_their_field(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterTypeError) as refused:
        compare_systems.validate_parameters({"config": config})
    assert message in str(refused.value)


def test_the_form_of_an_evaluation_offers_both_groups() -> None:
    assert schema_of(evaluate_version)["properties"]["users"]["enum"] == ["validation", "test"]


def test_run_names_carry_the_data_set() -> None:
    for flow in (train_jtm, retrain_jtm, demo):
        assert flow.flow_run_name == f"{flow.name}-{{config.data.name}}"
    for flow in (compare_systems, tune_systems):
        assert flow.flow_run_name == f"{flow.name}-{{config.shared.data.name}}"

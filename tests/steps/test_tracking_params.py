"""Configs as MLflow params, and tag searches."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtm_core.config import JtmConfig, TrainingConfig
from tasks.tracking.params import MAXIMUM_VALUE, flatten_params
from tasks.tracking.tags import tag_filter


@dataclass(frozen=True)
class _Inner:
    width: int
    path: Path | str


@dataclass(frozen=True)
class _Outer:
    inner: _Inner
    share: float | None


def test_nested_dataclasses_and_mappings_get_dotted_names_in_order():
    params = flatten_params({"outer": _Outer(_Inner(3, Path("a/b")), None), "flag": True, "cutoffs": (10, 200)})
    assert list(params.items()) == [
        ("outer.inner.width", "3"),
        ("outer.inner.path", "a/b"),
        ("outer.share", "none"),
        ("flag", "true"),
        ("cutoffs", "10, 200"),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [((), "none"), ({}, "none"), ("", '""'), (False, "false"), (1e-3, "0.001"), ({"b", "a"}, "a, b"), (((1, 2), (3,)), "1, 2, 3")],
)
def test_every_value_has_a_text_that_is_not_empty(value, text):
    assert flatten_params({"dial": value}) == {"dial": text}


def test_two_configs_differ_exactly_in_the_dial_that_was_turned():
    one, other = flatten_params(JtmConfig()), flatten_params(JtmConfig(training=TrainingConfig(epochs=7)))
    assert {name for name in one if one[name] != other[name]} == {"training.epochs"}
    assert list(one) == list(other)


@settings(max_examples=50)
@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 7000))
def test_long_values_are_cut_and_stay_different(first, second, length):
    cut = [flatten_params({"dial": "x" * length + end})["dial"] for end in (first, second)]
    assert all(len(value) <= MAXIMUM_VALUE for value in cut)
    assert (cut[0] == cut[1]) == (("x" * length + first or '""') == ("x" * length + second or '""'))


def test_a_name_too_long_for_mlflow_is_refused():
    with pytest.raises(ValueError, match="has 300 characters; MLflow allows 250"):
        flatten_params({"n" * 300: 1})


def test_tag_searches_are_conjunctions_without_quotes_in_values():
    assert tag_filter({"a.b": "1", "c": "x"}) == "tags.`a.b` = '1' and tags.`c` = 'x'"
    with pytest.raises(ValueError, match="holds a quote"):
        tag_filter({"a": "x' or '1' = '1"})

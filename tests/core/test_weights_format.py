"""Networks on disk."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from small_worlds import SMALL_MODEL, small_world

from jtm_core.formats.arrays import read_arrays, write_arrays
from jtm_core.formats.weights import read_weights, write_weights


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("inputs", [{}, {"inner_product": True}, {"window_matches": True}], ids=str)
def test_a_network_comes_back_and_equal_ones_give_equal_bytes(tmp_path: Path, attention: bool, inputs: dict[str, bool]) -> None:
    network = small_world(config=dataclasses.replace(SMALL_MODEL, attention=attention, **inputs)).network  # type: ignore[arg-type]
    write_weights(tmp_path / "one", network)
    back = read_weights(tmp_path / "one")
    assert back.config == network.config
    assert all(torch.equal(tensor, back.state_dict()[name]) for name, tensor in network.state_dict().items())
    write_weights(tmp_path / "two", back)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("dials", [["window_matches"], ["inner_product", "window_matches"]], ids=str)
def test_a_network_of_before_an_input_has_none(tmp_path: Path, dials: list[str]) -> None:
    network = small_world(config=dataclasses.replace(SMALL_MODEL, inner_product=False)).network
    write_weights(tmp_path / "now", network)
    arrays, metadata = read_arrays(tmp_path / "now")
    build = json.loads(metadata["jtm_network"])
    for dial in dials:
        del build["config"][dial]
    write_arrays(tmp_path / "then", arrays, {"jtm_network": json.dumps(build)})
    assert read_weights(tmp_path / "then").config == network.config


def test_other_files_are_refused(tmp_path: Path) -> None:
    write_arrays(tmp_path / "arrays", {}, {"kind": "split"})
    with pytest.raises(ValueError, match="not a network"):
        read_weights(tmp_path / "arrays")

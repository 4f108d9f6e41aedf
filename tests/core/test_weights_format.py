"""Networks on disk."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_worlds import NEAR, SMALL_MODEL, small_world

from jtm_core.formats.arrays import read_arrays, write_arrays
from jtm_core.formats.weights import read_weights, write_weights
from jtm_core.windows import windows_of


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("inputs", [{}, {"inner_product": True}, {"window_matches": True}, NEAR], ids=str)
def test_a_network_comes_back_and_equal_ones_give_equal_bytes(tmp_path: Path, attention: bool, inputs: dict[str, Any]) -> None:
    network = small_world(config=dataclasses.replace(SMALL_MODEL, attention=attention, **inputs)).network
    write_weights(tmp_path / "one", network)
    back = read_weights(tmp_path / "one")
    assert back.config == network.config
    assert all(torch.equal(tensor, back.state_dict()[name]) for name, tensor in network.state_dict().items())
    write_weights(tmp_path / "two", back)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_network_of_before_an_input_has_none(tmp_path: Path, number: int) -> None:
    network = small_world(config=dataclasses.replace(SMALL_MODEL, inner_product=False)).network
    write_weights(tmp_path / "now", network)
    arrays, metadata = read_arrays(tmp_path / "now")
    build = json.loads(metadata["jtm_network"])
    for dial in ("neighbour_windows", "window_matches", "inner_product")[:number]:
        del build["config"][dial]
    write_arrays(tmp_path / "then", arrays, {"jtm_network": json.dumps(build)})
    assert read_weights(tmp_path / "then").config == network.config


def test_neighbours_come_back_with_the_network_that_reads_them(tmp_path: Path) -> None:
    world = small_world(config=dataclasses.replace(SMALL_MODEL, **NEAR))
    write_weights(tmp_path / "network", world.network)
    own, back = (windows_of(world.histories, network.reading) for network in (world.network, read_weights(tmp_path / "network")))
    assert (own.near >= 0).any()
    assert own.near.tolist() == back.near.tolist()
    arrays, metadata = read_arrays(tmp_path / "network")
    del arrays["neighbours.common"]
    write_arrays(tmp_path / "part", arrays, metadata)
    with pytest.raises(ValueError, match=r"part does not fit its own config: .*'common'"):
        read_weights(tmp_path / "part")


def test_other_files_are_refused(tmp_path: Path) -> None:
    write_arrays(tmp_path / "arrays", {}, {"kind": "split"})
    with pytest.raises(ValueError, match="not a network"):
        read_weights(tmp_path / "arrays")

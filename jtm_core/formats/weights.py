"""Weights of a network as safetensors, with what is needed to build it again in the file's metadata."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from jtm_core.config import ModelConfig
from jtm_core.formats.arrays import read_arrays, write_arrays
from jtm_core.model import JtmNetwork
from jtm_core.neighbours import Neighbours

_NEIGHBOURS = "neighbours."
_INPUTS_OF_OLD: dict[str, Any] = {"inner_product": False, "window_matches": False, "neighbour_windows": ()}
"""Of networks written before there were any."""


def write_weights(path: Path, network: JtmNetwork) -> None:
    """Write a network's parameters and the neighbours that it reads; equal networks give equal bytes."""
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
    if network.neighbours is not None:
        arrays |= {_NEIGHBOURS + field.name: getattr(network.neighbours, field.name) for field in fields(Neighbours)}
    build = {"config": asdict(network.config), "num_items": network.num_items, "height": network.height}
    write_arrays(path, arrays, {"jtm_network": json.dumps(build, sort_keys=True)})


def read_weights(path: Path) -> JtmNetwork:
    """Read a network that :func:`write_weights` wrote, onto the CPU.

    Raises
    ------
    ValueError
        If the file is not a network's, or its arrays do not fit the config beside them.
    """
    arrays, metadata = read_arrays(path)
    if "jtm_network" not in metadata:
        raise ValueError(f"{path} holds {sorted(arrays)[:5]}, not a network; its metadata lack 'jtm_network'")
    build = json.loads(metadata["jtm_network"])
    config: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in build["config"].items()}
    config = _INPUTS_OF_OLD | config
    counted = {name.removeprefix(_NEIGHBOURS): arrays.pop(name) for name in list(arrays) if name.startswith(_NEIGHBOURS)}
    try:
        neighbours = Neighbours(**counted) if counted else None
        network = JtmNetwork(ModelConfig(**config), build["num_items"], build["height"], neighbours)
        network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()}, assign=True)  # the table is not copied
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not fit its own config: {error}") from error
    return network

"""Weights of a network as safetensors, with what is needed to build it again in the file's metadata."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from jtm_core.config import ModelConfig
from jtm_core.formats.arrays import read_arrays, write_arrays
from jtm_core.model import JtmNetwork


def write_weights(path: Path, network: JtmNetwork) -> None:
    """Write a network's parameters; equal networks give equal bytes."""
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
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
    config = {"inner_product": False, "window_matches": False} | config  # networks written before there were any
    network = JtmNetwork(ModelConfig(**config), build["num_items"], build["height"])
    try:
        network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()}, assign=True)  # the table is not copied
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit its own config: {error}") from error
    return network

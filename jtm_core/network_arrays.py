"""A network's parameters as the contiguous arrays that kernels read; matrices are (in, out).

Shape letters: W windows, D vector width, H units of the first hidden layer, F columns of factors.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from jtm_core.config import ModelConfig
from jtm_core.inner_products import PRODUCT_LANES
from jtm_core.kernels import NO_PRODUCT, HeadWeights
from jtm_core.model import JtmNetwork
from jtm_core.window_matches import NO_WEIGHTS

Floats = NDArray[np.float32]


class HalfWeights(NamedTuple):
    """What halves are made with: the first layer's parameters and, with an inner product, what makes factors behind its units."""

    users: Floats
    """(W * D, H + F)."""
    bias: Floats
    """(H + F,), 0 for factors."""
    nodes: Floats
    """(D, H + F); a node's factor is its vector."""


def half_width(config: ModelConfig) -> int:
    """H + F, the float32 numbers of a half."""
    num_groups = -(-config.embedding_width // PRODUCT_LANES) if config.inner_product else 0
    return config.hidden_widths[0] + num_groups * PRODUCT_LANES


def half_weights(network: JtmNetwork) -> HalfWeights:
    """The first layer's parameters and the factors' beside them.

    F is 0 without an inner product. With one it is D and as many columns of zeros as :func:`~jtm_core.inner_products.multiply_columns`
    needs to take whole groups.
    """
    parts = [_array(tensor) for tensor in (network.user_layer.weight, network.user_layer.bias, network.node_layer.weight)]
    if network.config.inner_product:
        factors = _array(network.factor_layer.weight)
        width = half_width(network.config) - len(parts[0])
        beside = np.zeros((width, factors.shape[1]), np.float32), np.zeros(width, np.float32), np.eye(width, len(factors), dtype=np.float32)
        beside[0][: len(factors)] = factors
        parts = [np.concatenate(pair) for pair in zip(parts, beside, strict=True)]
    return HalfWeights(*(np.ascontiguousarray(part.T) for part in parts))


def head_weights(network: JtmNetwork) -> HeadWeights:
    """The layers behind the first one."""
    return HeadWeights(
        slope_1=_array(network.slopes[0]),
        matrix_2=_array(network.second_layer.weight.T),
        bias_2=_array(network.second_layer.bias),
        slope_2=_array(network.slopes[1]),
        matrix_3=_array(network.third_layer.weight.T),
        bias_3=_array(network.third_layer.bias),
        slope_3=_array(network.slopes[2]),
        vector_4=_array(network.output_layer.weight[0]),
        bias_4=_array(network.output_layer.bias),
        product_1=_array(network.product_layer.weight[:, 0]) if network.config.inner_product else NO_PRODUCT,
        match_1=_array(network.match_layer.weight.T) if network.config.window_matches else NO_WEIGHTS,
    )


def _array(tensor: Tensor) -> Floats:
    return np.ascontiguousarray(tensor.detach().numpy())

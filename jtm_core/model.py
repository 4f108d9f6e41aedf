"""The network that scores (user, node), with its first layer split in two.

The paper's network (JTM, section 4.1; OTM, supplement C.3) concatenates the mean vector of each time window with the
node's vector: 10 x 24 + 24 -> 128 -> 64 -> 24 -> 1, PReLU between, no attention. Its first layer is linear, so
``W [pooled, node] = W_u pooled + W_n node``: a *user half* for each (user, level) and a *node half* for each node, of
which only the sum passes on for each (user, node) pair. The split is exact.

One table holds every vector: a row per inner node, by code, then a row per item. Inner vectors belong to the position
in the tree; an item's vector is that of the leaf it hangs on and moves with it.

With ``inner_product`` the first layer has one input more, the inner product of two *factors*: a linear map of the pooled windows,
and the node's vector. A layer on concatenated vectors is slow to learn such a product (Rendle et al., RecSys 2020). A half holds its
factor behind its share of the first layer.

With ``window_matches`` it has 2 W inputs more, a pair's :mod:`jtm_core.window_matches`, and with ``neighbour_windows`` two more for
each window of items near the history (:mod:`jtm_core.neighbours`), which are matched and not pooled.

With ``attention`` (TDM, section 3.2) a behaviour counts as much as a small network of (behaviour, behaviour * node,
node) says, so the windows depend on the node and only the slow path :func:`attended_scores` applies.

Shape letters: S samples, C candidate nodes, T behaviours, W windows, D vector width, H units of the first hidden layer,
F columns of factors: D with an inner product, else 0, M inputs of matches: two per window with them, windows of near
items included.
"""

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import prelu

from jtm_core.behaviours import Ints
from jtm_core.codes import ancestors_up, first_code
from jtm_core.config import ModelConfig
from jtm_core.features import last_sizes
from jtm_core.neighbours import Neighbours
from jtm_core.tree import TreeIndex
from jtm_core.windows import Reading, reading_of

ATTENTION_WIDTH = 36
"""Hidden units of TDM's attention unit (its open code)."""


class JtmNetwork(nn.Module):
    """Parameters of the scorer; see the module's docstring.

    Parameters
    ----------
    config : ModelConfig
        Windows, widths, attention.
    num_items : int
        Items with a vector of their own.
    height : int
        Height of the tree.
    neighbours : Neighbours, optional
        For ``neighbour_windows``; never trained.

    Raises
    ------
    ValueError
        If the config has such windows and there are no neighbours.
    """

    def __init__(self, config: ModelConfig, num_items: int, height: int, neighbours: Neighbours | None = None) -> None:
        super().__init__()
        self.config, self.num_items, self.height, self.neighbours = config, num_items, height, neighbours
        width, (first, second, third) = config.embedding_width, config.hidden_widths
        self.vectors = nn.Parameter(torch.empty(first_code(height) + num_items, width))
        self.user_layer = nn.Linear(len(config.window_sizes) * width, first)
        self.node_layer = nn.Linear(width, first, bias=False)
        self.second_layer, self.third_layer = nn.Linear(first, second), nn.Linear(second, third)
        self.output_layer = nn.Linear(third, 1)
        self.slopes = nn.ParameterList(nn.Parameter(torch.full((units,), 0.25)) for units in config.hidden_widths)
        if config.inner_product:
            self.factor_layer = nn.Linear(len(config.window_sizes) * width, width, bias=False)
            self.product_layer = nn.Linear(1, first, bias=False)
        if config.attention:
            self.attention_layer = nn.Linear(3 * width, ATTENTION_WIDTH)
            self.attention_slope = nn.Parameter(torch.full((ATTENTION_WIDTH,), 0.25))
            self.attention_output = nn.Linear(ATTENTION_WIDTH, 1)
        if config.window_matches:
            self.match_layer = nn.Linear(2 * self.reading.num_windows, first, bias=False)

    @property
    def reading(self) -> Reading:
        """How it reads histories."""
        return reading_of(self.config, self.neighbours)

    def user_half(self, pooled_SWD: Tensor) -> Tensor:
        """First layer's share of the user, bias included, and its factor: (..., W, D) -> (..., H + F)."""
        flat = pooled_SWD.flatten(-2)
        half = cast(Tensor, self.user_layer(flat))
        return torch.cat([half, self.factor_layer(flat)], dim=-1) if self.config.inner_product else half

    def node_half(self, node_D: Tensor) -> Tensor:
        """First layer's share of the node and its factor: (..., D) -> (..., H + F)."""
        half = cast(Tensor, self.node_layer(node_D))
        return torch.cat([half, node_D], dim=-1) if self.config.inner_product else half

    def logits(self, user_half: Tensor, node_half: Tensor, matches: Tensor | None = None) -> Tensor:
        """From both halves, and the pairs' matches (..., M) if the network reads them, to the logit: (..., H + F) -> (...).

        Leading axes are those that both halves broadcast to.
        """
        units = self.config.hidden_widths[0]
        first = user_half[..., :units] + node_half[..., :units]
        if self.config.inner_product:
            first = first + self.product_layer((user_half[..., units:] * node_half[..., units:]).sum(-1, keepdim=True))
        if self.config.window_matches:
            if matches is None:
                raise ValueError("the network reads matches of windows and nodes, and none were given")
            first = first + self.match_layer(matches.to(self.match_layer.weight.dtype))
        second = self.second_layer(prelu(first.flatten(0, -2), self.slopes[0]))
        third = self.third_layer(prelu(second, self.slopes[1]))
        return cast(Tensor, self.output_layer(prelu(third, self.slopes[2]))).view(first.shape[:-1])

    def dense_parameters(self) -> list[nn.Parameter]:
        """Every parameter but the table of vectors."""
        return [parameter for name, parameter in self.named_parameters() if name != "vectors"]


def make_network(
    config: ModelConfig, num_items: int, height: int, rng: np.random.Generator, neighbours: Neighbours | None = None
) -> JtmNetwork:
    """A fresh network, its parameters drawn from ``rng`` alone.

    Vectors are normal with standard deviation 0.1, weights Glorot uniform, biases 0, PReLU slopes 0.25. A user's factor is at first the sum
    of the pooled windows, so the inner product says from the first step on how alike a node and the behaviours are.
    """
    network = JtmNetwork(config, num_items, height, neighbours)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name == "vectors":
                parameter.copy_(torch.from_numpy(rng.standard_normal(parameter.shape, dtype=np.float32) * np.float32(0.1)))
            elif name == "factor_layer.weight":
                parameter.copy_(torch.eye(config.embedding_width).repeat(1, len(config.window_sizes)))
            elif parameter.ndim == 2:
                fan_out, fan_in = parameter.shape
                bound = (6 / (fan_in + fan_out)) ** 0.5
                parameter.copy_(torch.from_numpy(rng.uniform(-bound, bound, parameter.shape).astype(np.float32)))
            elif name.endswith("bias"):
                parameter.zero_()
    return network


def on_device(network: JtmNetwork) -> JtmNetwork:
    """Move a network to CUDA if there is a GPU; the core computes where the network lies."""
    return network.to("cuda" if torch.cuda.is_available() else "cpu")


def behaviour_rows(tree: TreeIndex, items: Ints, level: int, features: str) -> Ints:
    """Rows of the table by which items stand as behaviours on a level: int64 of the items' shape.

    ``hierarchical`` features are the ancestors on that level (JTM, section 2.3), ``flat`` ones the items themselves.
    """
    if features == "flat" or level == tree.height:
        return first_code(tree.height) + items
    return ancestors_up(tree.leaf_of_item[items], tree.height - level)


def window_matches(behaviours_ST: Tensor, present_ST: Tensor, nodes_SC: Tensor, sizes: list[int], leaves_SC: Tensor) -> Tensor:
    """Roots of the shares of each window's behaviours that are the node's row of the table, and the same of leaves: float32 (S, C, M).

    Parameters
    ----------
    behaviours_ST : int64 tensor
        Rows of the table, window by window; anything where there is none.
    present_ST : bool tensor
        Whether there is one.
    nodes_SC : int64 tensor
        Rows of the table of the candidate nodes.
    sizes : list of int
        Places of each window, T together: :meth:`~jtm_core.windows.Reading.sizes_of`.
    leaves_SC : bool tensor
        Whether the nodes are leaves, of any shape that fits; zeros stand in the second half where not.
    """
    is_same = (behaviours_ST[:, None] == nodes_SC[:, :, None]) & present_ST[:, None]
    windows = zip(torch.split(is_same, sizes, -1), torch.split(present_ST, sizes, -1), strict=True)
    shares = torch.stack([same.sum(-1) / present.sum(-1).clamp(min=1)[:, None] for same, present in windows], dim=-1)
    matches = shares.sqrt()
    return torch.cat([matches, matches * leaves_SC[..., None]], dim=-1)


def attended_scores(
    network: JtmNetwork, behaviours_STD: Tensor, present_ST: Tensor, nodes_SCD: Tensor, matches_SCM: Tensor | None = None
) -> Tensor:
    """Logits of nodes with behaviours weighted by TDM's attention unit (plain windows without it): (S, C).

    Parameters
    ----------
    behaviours_STD : float tensor
        Vectors of the last behaviours, oldest first, right-aligned; anything where there is none.
    present_ST : bool tensor
        Whether there is a behaviour.
    nodes_SCD : float tensor
        Vectors of the candidate nodes.
    matches_SCM : float tensor, optional
        :func:`window_matches`, for a network that reads them.
    """
    weights_SCT = present_ST[:, None, :].to(behaviours_STD.dtype)  # without attention one column serves all candidates of a user
    if network.config.attention:
        own, product = behaviours_STD[:, None].expand(-1, nodes_SCD.shape[1], -1, -1), behaviours_STD[:, None] * nodes_SCD[:, :, None]
        unit_input = torch.cat([own, product, nodes_SCD[:, :, None].expand_as(own)], dim=-1)
        hidden = network.attention_layer(unit_input.flatten(0, -2))
        attention = network.attention_output(prelu(hidden, network.attention_slope)).view(own.shape[:-1])
        weights_SCT = weights_SCT * attention
    pooled = []
    sizes = last_sizes(network.config.window_sizes, behaviours_STD.shape[1])
    parts = torch.split(behaviours_STD, sizes, 1), torch.split(weights_SCT, sizes, 2), torch.split(present_ST, sizes, 1)
    for behaviours, weights, present in zip(*parts, strict=True):
        counts = present.sum(1).clamp(min=1)[:, None, None]
        pooled.append(torch.einsum("sct,std->scd", weights, behaviours) / counts)
    return network.logits(network.user_half(torch.stack(pooled, dim=2)), network.node_half(nodes_SCD), matches_SCM)

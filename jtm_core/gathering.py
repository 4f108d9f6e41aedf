"""The first layer of training's rows: gathered from halves, products and matches, and its gradients scattered back to them.

Shape letters: R rows of a tile, S users' halves, V nodes' halves, H units of the first layer, F columns of factors.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.inner_products import add_products, factors_back, multiply_factors, products_back
from jtm_core.window_matches import Matches, add_lifts, lifts_back

Floats = NDArray[np.float32]
Index = NDArray[np.int32]


@numba.njit(fastmath=True, cache=True, inline="always")
def gather_first(
    halves: tuple[Floats, Floats],
    pairs: tuple[Index, Index],
    weights: tuple[Floats, Floats],
    matches: tuple[Matches, int],
    products: Floats,
    out: Floats,
) -> None:
    """Fill a tile's rows of the first layer, before their activation.

    Parameters
    ----------
    halves : float32 arrays (S, H + F) and (V, H + F)
    pairs : int32 arrays (R,)
        User and node half of each row.
    weights : float32 arrays (H,) and (2 * W, H)
        ``product_1`` and ``match_1`` of the head, both perhaps empty.
    matches : Matches and int
        Those of a chunk, and which of its rows is the tile's first.
    products : float32 array (R,) or longer
        Receives the inner products of the rows' factors if there are weights for them.
    out : float32 array (R or more, H)
    """
    (users, nodes), (product_1, match_1) = pairs, weights
    for i in range(len(users)):
        u, v = users[i], nodes[i]
        for j in range(out.shape[1]):
            out[i, j] = halves[0][u, j] + halves[1][v, j]
    if len(product_1):
        multiply_factors(halves, users, nodes, out.shape[1], products)
        add_products(products, product_1, out, len(users))
    if len(match_1):
        add_lifts(matches[0], matches[1], match_1, out[: len(users)])


@numba.njit(fastmath=True, cache=True, inline="always")
def scatter_first(
    gradient: Floats,
    pairs: tuple[Index, Index],
    halves: tuple[Floats, Floats],
    product: tuple[Floats, Floats, Floats],
    match: tuple[Matches, int, Floats],
    gradients: tuple[Floats, Floats],
) -> None:
    """Add each row's gradient to those of its halves and of the weights behind its inputs.

    ``product`` are the inner products, which are lost, their weights and gradients; ``match`` the matches of the chunk, the tile's first
    row among those of the chunk, and the gradients by the matches' weights.
    """
    (users, nodes), (products, weights, weight_gradient) = pairs, product
    matches, start, match_gradient = match
    for i in range(len(users)):
        u, v = users[i], nodes[i]
        for j in range(gradient.shape[1]):
            gradients[0][u, j] += gradient[i, j]
            gradients[1][v, j] += gradient[i, j]
    if len(match_gradient):
        lifts_back(matches, start, gradient[: len(users)], match_gradient)
    if len(weights):
        products_back(gradient, products, weights, weight_gradient, len(users))
        factors_back(products, halves, users, nodes, gradient.shape[1], gradients)

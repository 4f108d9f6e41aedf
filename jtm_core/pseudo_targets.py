"""Targets of inner nodes, re-estimated from the leaves up: what beam search has to know of a node (OTM, section 4.3).

A parent is worth keeping if its best descendant is wanted. So its target is that of its best child by the network as it
is now, eq. 15 of OTM, and not 1 wherever any descendant is wanted (eq. 1, TDM's and JTM's own). A leaf's is its label.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def targets_of_parents(targets: NDArray[Any], logits: NDArray[np.float32]) -> NDArray[Any]:
    """Targets one level further up (OTM, eq. 15).

    Parameters
    ----------
    targets : array (..., 2)
        Of both children of each parent, left then right.
    logits : float32 array (..., 2)
        Of the same children; ``-inf`` for one without any item under it.

    Returns
    -------
    array (...)
        The target of the child with the larger logit, of equals the left one's.

    Examples
    --------
    >>> targets_of_parents(np.array([[1, 0], [1, 0]]), np.array([[0.3, 0.2], [0.1, 0.2]], dtype=np.float32))
    array([1, 0])
    """
    best: NDArray[Any] = np.where(logits[..., 0] >= logits[..., 1], targets[..., 0], targets[..., 1])
    return best

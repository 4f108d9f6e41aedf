"""Arithmetic of node codes in a complete binary tree.

The root has code 0 and the children of ``c`` are ``2c + 1`` and ``2c + 2``, so level ``l`` holds the codes
``2**l - 1 .. 2**(l + 1) - 2`` and a tree needs no pointers. ``b_l(.)`` of the JTM paper (section 2.2) is a shift.
"""

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]


def first_code(level: int) -> int:
    """Smallest code on ``level``, which is also the number of nodes above it."""
    return (1 << level) - 1


def ancestors_up(codes: Codes, steps: int) -> Codes:
    """Lift every code to its ancestor ``steps`` levels above: ``b_l(.)`` of JTM, section 2.2, for codes of level ``l + steps``.

    Parameters
    ----------
    codes : int64 array of any shape
        Node codes that have that many levels above them; not checked. Not changed.
    steps : int

    Returns
    -------
    int64 array, same shape as ``codes``

    Examples
    --------
    >>> ancestors_up(np.array([7, 8, 14]), steps=2)
    array([1, 1, 2])
    """
    return ((np.asarray(codes) + 1) >> steps) - 1


def children_of(codes: Codes) -> Codes:
    """Both children of every code, left then right: shape ``(*codes.shape, 2)``."""
    children: Codes = 2 * np.asarray(codes)[..., None] + np.array([1, 2])
    return children


def height_for(num_items: int) -> int:
    """Smallest height ``L`` whose ``2**L`` leaves hold ``num_items`` items; at least 1.

    Raises
    ------
    ValueError
        If there are no items.

    Examples
    --------
    >>> [height_for(n) for n in (1, 2, 3, 1024, 1025)]
    [1, 1, 2, 10, 11]
    """
    if num_items < 1:
        raise ValueError(f"a tree needs at least 1 item, got {num_items}")
    return max(1, (num_items - 1).bit_length())

"""Tables about a tree, for rules that look at one row at a time.

Node codes: root 0, children of ``c`` are ``2c + 1`` and ``2c + 2``. Shape letters: K listed items.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def item_frame(ids: Ints, num_items: int) -> pd.DataFrame:
    """One row per item of the data (num_items): how often the tree lists it."""
    own = ids[(ids >= 0) & (ids < num_items)]
    return pd.DataFrame({"item": np.arange(num_items), "times_listed": np.bincount(own, minlength=num_items)})


def leaf_frame(ids: Ints, leaves: Ints, height: int, paths: Sequence[str] | None) -> pd.DataFrame:
    """One row per listed item (K): its leaf, how many items hang there, and whether the written path leads there."""
    frame = pd.DataFrame({"row": np.arange(len(ids)), "item": ids, "leaf": leaves})
    frame["items_on_leaf"] = _counts(leaves)
    if paths is not None:
        frame["path"] = list(paths)
        frame["is_path_true"] = _leaves_of_paths(paths, height) == leaves
    return frame


def node_frame(leaves: Ints, height: int, used_nodes: Sequence[Ints] | None) -> pd.DataFrame:
    """One row per used node of every level: its code, and whether its parent and, above the leaves, a child are used.

    Without ``used_nodes`` the used nodes are the leaves' ancestors, found by climbing from child to parent.
    """
    levels = _climb(leaves, height) if used_nodes is None else [np.asarray(codes, dtype=np.int64) for codes in used_nodes]
    frames = []
    for level, codes in enumerate(levels):
        above = levels[level - 1] if level else np.array([-1])
        below = (levels[level + 1] - 1) // 2 if level < height else codes
        columns = {"is_parent_used": np.isin((codes - 1) // 2, above), "has_used_child": np.isin(codes, below)}
        is_on_level = (codes >= (1 << level) - 1) & (codes <= (1 << (level + 1)) - 2)
        frames.append(pd.DataFrame({"code": codes, "level": level, "is_on_level": is_on_level, "times_listed": _counts(codes), **columns}))
    frame = pd.concat(frames, ignore_index=True)
    frame.insert(0, "row", np.arange(len(frame)))
    return frame


def _climb(leaves: Ints, height: int) -> list[Ints]:
    levels = [np.unique(leaves)]
    for _ in range(height):
        levels.append(np.unique((levels[-1] - 1) // 2))
    return levels[::-1]


def _counts(values: Ints) -> Ints:
    """How often each entry's value occurs: same shape as ``values``."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse], dtype=np.int64)


def _leaves_of_paths(paths: Sequence[str], height: int) -> Ints:
    """Leaf code each path leads to, -1 for one that is not ``height`` times 0 or 1."""
    texts = np.array([path.encode("ascii", "replace") for path in paths], dtype=f"S{height + 1}")
    digits = texts.view(np.uint8).reshape(len(texts), height + 1).astype(np.int64) - ord("0")
    is_path = np.isin(digits[:, :height], (0, 1)).all(axis=1) & (digits[:, height] == -ord("0"))
    codes = digits[:, :height] @ (1 << np.arange(height, dtype=np.int64)[::-1]) + (1 << height) - 1
    return np.where(is_path, codes, -1)

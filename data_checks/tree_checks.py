"""Rules for a tree: a bijection of items and leaves, every used node within reach of the beam."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_checks.blocks import LARGEST_FRAME, Rows, cut_rows
from data_checks.reports import CheckReport
from data_checks.rules import Holds, Rule, Subject, Within
from data_checks.tree_frames import item_frame, leaf_frame, node_frame
from data_checks.validation import check_subjects

Ints = NDArray[np.int64]
MAXIMUM_HEIGHT = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeArrays:
    """A tree as it was read, with nothing taken for granted. Shape letter: K listed items."""

    leaf_of_item: Ints
    """Leaf code of every listed item, int64 (K,)."""
    height: int
    """Level of the leaves; the root is level 0."""
    items: Ints | None = None
    """Ids of the listed items as the tree's file has them, int64 (K,); ``0 .. K - 1`` if not given."""
    paths: Sequence[str] | None = None
    """K strings of 0 and 1: the way from the root to each leaf as the tree's file has it."""
    used_nodes: Sequence[Ints] | None = None
    """Codes of the nodes that the search may visit on levels 0 .. height; those above the leaves if not given."""


def check_tree(
    leaf_of_item: Ints,
    height: int,
    num_items: int,
    *,
    items: Ints | None = None,
    paths: Sequence[str] | None = None,
    used_nodes: Sequence[Ints] | None = None,
) -> CheckReport:
    """Check a tree before a model is trained on it.

    Parameters
    ----------
    leaf_of_item, height, items, paths, used_nodes
        As in :class:`TreeArrays`.
    num_items : int
        Items of the data, 0 .. num_items - 1.

    Returns
    -------
    CheckReport
    """
    tree = TreeArrays(leaf_of_item=leaf_of_item, height=height, items=items, paths=paths, used_nodes=used_nodes)
    return check_subjects("tree", tree_subjects(tree, num_items))


def tree_subjects(tree: TreeArrays, num_items: int, *, largest_frame: int = LARGEST_FRAME) -> Iterator[Subject]:
    """The tables about a tree and their rules, for whichever engine counts; those above ``largest_frame`` rows come in blocks."""
    leaves, height, paths = tree.leaf_of_item, tree.height, tree.paths
    ids = np.arange(len(leaves)) if tree.items is None else tree.items
    totals = _totals(tree, num_items)
    yield Subject("table", _table_rules(totals), lambda: pd.DataFrame([{"table": "tree"} | totals]), key="table", is_gate=True)
    yield Subject("items", _item_rules(), lambda: cut_rows(item_frame(ids, num_items), largest_frame), key="item")
    shown = ("item", "leaf", "path") if paths is not None else ("item", "leaf")
    rules = _leaf_rules(height, num_items, has_paths=paths is not None)

    def listed() -> Rows:
        return cut_rows(leaf_frame(ids, leaves, height, paths), largest_frame)

    def nodes() -> Rows:
        return cut_rows(node_frame(leaves, height, tree.used_nodes), largest_frame)

    yield Subject("leaves", rules, listed, key="row", shown=shown)
    yield Subject("nodes", _node_rules(), nodes, key="row", shown=("code", "level"))


def _totals(tree: TreeArrays, num_items: int) -> dict[str, int]:
    num_listed = len(tree.leaf_of_item)
    return {
        "height": tree.height,
        "num_items": num_items,
        "num_listed": num_listed,
        "num_ids": num_listed if tree.items is None else len(tree.items),
        "num_paths": num_listed if tree.paths is None else len(tree.paths),
        "num_leaves": 1 << min(max(tree.height, 0), MAXIMUM_HEIGHT),
        "num_levels": tree.height + 1 if tree.used_nodes is None else len(tree.used_nodes),
    }


def _table_rules(totals: dict[str, int]) -> tuple[Rule, ...]:
    num_listed, num_items, num_levels = totals["num_listed"], totals["num_items"], totals["height"] + 1
    fit = "Arrays that do not fit together were mixed from two trees."
    return (
        Rule("height_possible", Within("height", 1, MAXIMUM_HEIGHT), f"height must lie within 1 .. {MAXIMUM_HEIGHT}", "Codes are 64-bit."),
        Rule("data_has_items", Within("num_items", minimum=1), "num_items must be at least 1", "A tree of nothing."),
        Rule("one_id_per_leaf_entry", Within("num_ids", num_listed, num_listed), f"num_ids must be {num_listed}", fit),
        Rule("one_path_per_leaf_entry", Within("num_paths", num_listed, num_listed), f"num_paths must be {num_listed}", fit),
        Rule("one_mask_per_level", Within("num_levels", num_levels, num_levels), f"num_levels must be {num_levels}", fit),
        Rule(
            "leaves_suffice",
            Within("num_leaves", minimum=num_items),
            f"num_leaves must be at least {num_items}",
            "Items would share leaves.",
        ),
    )


def _item_rules() -> tuple[Rule, ...]:
    demand, why = "every item of the data must be in the tree once", "An item without a leaf can never be recommended."
    return (Rule("every_item_in_tree", Within("times_listed", 1, 1), demand, why),)


def _leaf_rules(height: int, num_items: int, *, has_paths: bool) -> tuple[Rule, ...]:
    first, last = (1 << max(height, 0)) - 1, (1 << (max(height, 0) + 1)) - 2
    rules = (
        Rule("no_foreign_item", Within("item", 0, num_items - 1), f"item must lie within 0 .. {num_items - 1}", "Not in the vocabulary."),
        Rule("leaf_on_leaf_level", Within("leaf", first, last), f"leaf must lie within {first} .. {last}", "Inner nodes hold no items."),
        Rule("one_item_per_leaf", Within("items_on_leaf", 1, 1), "a leaf must hold one item", "The search returns one item per leaf."),
    )
    path = Rule("path_leads_to_leaf", Holds("is_path_true"), "path must lead from the root to the leaf", "File edited or mixed up.")
    return (*rules, path) if has_paths else rules


def _node_rules() -> tuple[Rule, ...]:
    return (
        Rule("node_on_its_level", Holds("is_on_level"), "a used node's code must belong to its level", "Scores would go to other nodes."),
        Rule("node_reachable", Holds("is_parent_used"), "a used node's parent must be used", "The beam never gets to what hangs below."),
        Rule("node_leads_to_item", Holds("has_used_child"), "a used node above the leaves must have a used child", "The beam ends in it."),
        Rule("node_listed_once", Within("times_listed", 1, 1), "a used node must be listed once", "It would be drawn and kept twice."),
    )

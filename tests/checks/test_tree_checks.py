"""Every rule of the tree: a tree that passes and one that breaks exactly it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from data_checks.tree_checks import TreeArrays, check_tree, tree_subjects
from jtm_core.codes import height_for
from jtm_core.tree import tree_from_order


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


LEAVES = ints(10, 7, 14, 11)  # height 3: leaves 7 .. 14
MASKS = [ints(0), ints(1, 2), ints(3, 4, 5, 6), ints(7, 10, 11, 14)]
PATHS = ["011", "000", "111", "100"]
SOUND: dict[str, Any] = {"leaf_of_item": LEAVES, "height": 3, "num_items": 4, "items": np.arange(4), "paths": PATHS, "used_nodes": MASKS}


@pytest.fixture
def check(plain_check: Any) -> Any:
    def checked(**change: Any) -> Any:
        arrays = SOUND | change
        num_items = arrays.pop("num_items")
        return plain_check("tree", tree_subjects(TreeArrays(**arrays), num_items))

    return checked


def broken(report: Any) -> set[str]:
    return {rule.name for rule in report.rules if not rule.is_passed}


def test_sound_tree_breaks_no_rule(check: Any) -> None:
    report = check()
    assert report.is_passed
    assert report.skipped_rules == ()
    assert report.rule("node_reachable").checked_rows == 11


@settings(max_examples=10)
@given(st.integers(1, 40), st.integers(0, 2), st.integers(0, 1000))
def test_trees_of_the_core_break_no_rule(plain_check: Any, num_items: int, spare: int, seed: int) -> None:
    height = height_for(num_items) + spare
    tree = tree_from_order(np.random.default_rng(seed).permutation(num_items), height)
    paths = [format(leaf - (1 << height) + 1, f"0{height}b") for leaf in tree.leaf_of_item.tolist()]
    masks = [tree.used_nodes(level) for level in range(height + 1)]
    full = TreeArrays(leaf_of_item=tree.leaf_of_item, height=height, paths=paths, used_nodes=masks)
    assert plain_check("tree", tree_subjects(full, num_items)).is_passed
    report = plain_check("tree", tree_subjects(TreeArrays(leaf_of_item=tree.leaf_of_item, height=height), num_items))
    assert report.is_passed
    assert report.rule("node_reachable").checked_rows == sum(map(len, masks))


CASES: list[tuple[set[str], dict[str, Any]]] = [
    ({"one_item_per_leaf"}, {"leaf_of_item": ints(10, 7, 14, 10), "paths": ["011", "000", "111", "011"]}),
    ({"leaf_on_leaf_level"}, {"leaf_of_item": ints(10, 7, 14, 5), "paths": None}),
    ({"leaf_on_leaf_level"}, {"leaf_of_item": ints(10, 7, 14, 15), "paths": None}),
    ({"leaf_on_leaf_level", "path_leads_to_leaf"}, {"leaf_of_item": ints(10, 7, 14, -2)}),
    ({"every_item_in_tree"}, {"num_items": 5}),
    ({"every_item_in_tree"}, {"items": ints(0, 1, 2, 2)}),
    ({"no_foreign_item"}, {"num_items": 3}),
    ({"every_item_in_tree", "no_foreign_item"}, {"items": ints(0, 1, 2, 9)}),
    ({"path_leads_to_leaf"}, {"paths": ["011", "000", "111", "101"]}),
    ({"path_leads_to_leaf"}, {"paths": ["011", "000", "111", "10"]}),
    ({"path_leads_to_leaf"}, {"paths": ["011", "000", "111", "1000"]}),
    ({"path_leads_to_leaf"}, {"paths": ["011", "000", "111", "1x0"]}),
    ({"path_leads_to_leaf"}, {"paths": ["011", "000", "111", ""]}),
    ({"node_reachable"}, {"used_nodes": [ints(0), ints(1), *MASKS[2:]]}),
    ({"node_leads_to_item"}, {"used_nodes": [*MASKS[:3], ints(7, 10, 11)]}),
    ({"node_on_its_level", "node_reachable"}, {"used_nodes": [*MASKS[:3], ints(7, 10, 11, 14, 15)]}),
    ({"node_listed_once"}, {"used_nodes": [*MASKS[:3], ints(7, 10, 11, 14, 14)]}),
]


@pytest.mark.parametrize(("names", "change"), CASES)
def test_a_flaw_breaks_its_rule_only(check: Any, names: set[str], change: dict[str, Any]) -> None:
    assert broken(check(**change)) == names


GATE_CASES: list[tuple[set[str], dict[str, Any]]] = [
    ({"height_possible"}, {"height": 0, "used_nodes": None, "num_items": 1}),
    ({"height_possible"}, {"height": 41, "used_nodes": None}),
    ({"data_has_items"}, {"num_items": 0}),
    ({"leaves_suffice"}, {"num_items": 9}),
    ({"one_id_per_leaf_entry"}, {"items": np.arange(3)}),
    ({"one_path_per_leaf_entry"}, {"paths": PATHS[:3]}),
    ({"one_mask_per_level"}, {"used_nodes": MASKS[:3]}),
]


@pytest.mark.parametrize(("names", "change"), GATE_CASES)
def test_an_impossible_tree_stops_all_other_rules(check: Any, names: set[str], change: dict[str, Any]) -> None:
    report = check(**change)
    assert broken(report) == names
    assert {"one_item_per_leaf", "node_reachable", "every_item_in_tree"} <= set(report.skipped_rules)


def test_nodes_above_a_wrong_leaf_are_found_without_masks(check: Any) -> None:
    report = check(leaf_of_item=ints(10, 7, 14, 5), paths=None, used_nodes=None)
    assert broken(report) == {"leaf_on_leaf_level", "node_on_its_level"}


def test_missing_items_are_named(check: Any) -> None:
    report = check(num_items=6, items=None, leaf_of_item=LEAVES)
    assert [row["item"] for row in report.rule("every_item_in_tree").examples] == [4, 5]


@pytest.mark.parametrize(
    "change",
    [
        {"leaf_of_item": ints(10, 7, 10, -2), "items": ints(0, 1, 1, 7), "used_nodes": [ints(0), ints(1), MASKS[2], ints(7, 7, 15)]},
        {"leaf_of_item": ints(10, 7, 14, 5), "paths": None, "used_nodes": None},
        {"height": -1, "num_items": 9, "items": np.arange(3)},
    ],
)
def test_great_expectations_counts_the_same(check: Any, assert_same: Any, change: dict[str, Any]) -> None:
    report = check_tree(**(SOUND | change))
    assert_same(report, check(**change))
    assert not report.is_passed

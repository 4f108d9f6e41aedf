"""``python -m benchmarks.trees --items 4160000``: planting, storing, comparing and growing trees, phase by phase.

Every phase runs in a process of its own, once small to load compiled code, then once measured: seconds, and the most
memory held from the beginning of the step (what its input takes is in it).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.walks import make_catalogue, shares_of, walk
from jtm_core.behaviours import Ints, Ragged
from jtm_core.carry import carry_inner_vectors, extend_network
from jtm_core.codes import height_for
from jtm_core.config import ModelConfig
from jtm_core.cooccurrence import cooccurrence_vectors
from jtm_core.first_tree import extend_tree, order_by_category
from jtm_core.formats.tree_files import read_tree, write_tree
from jtm_core.formats.weights import read_weights, write_weights
from jtm_core.model import make_network
from jtm_core.sampling import NegativeSampler
from jtm_core.tree import TreeIndex, match_siblings, moved_shares, tree_from_order
from jtm_core.two_means import two_means_order

ITEMS_PER_CATEGORY = 443
BEHAVIOURS_PER_ITEM = 24
BEHAVIOURS_PER_USER = 103
WIDTH = 24
SMALL = 5_000

Step = tuple[str, Callable[[], object]]


def categories_of(num_items: int) -> Ints:
    """As many categories as UserBehavior has for its items."""
    return np.random.default_rng(1).integers(0, max(1, num_items // ITEMS_PER_CATEGORY), num_items)


def planted(num_items: int) -> TreeIndex:
    """A tree by category."""
    return tree_from_order(order_by_category(categories_of(num_items), np.random.default_rng(2)), height_for(num_items))


def relearned(tree: TreeIndex) -> TreeIndex:
    """The tree after a round of learning: a fifth of the items changed places with one near by, a few with one far away."""
    rng, order = np.random.default_rng(3), tree.items_in_leaf_order().copy()
    for distance, share in ((64, 0.2), (max(1, len(order) // 3), 0.02)):
        ones = np.arange(len(order) - distance)
        ones = ones[(ones // distance % 2 == 0) & (rng.random(len(ones)) < share)]
        order[ones], order[ones + distance] = order[ones + distance], order[ones]
    leaves = np.sort(tree.leaf_of_item)
    leaf_of_item = np.empty_like(leaves)
    leaf_of_item[order] = leaves
    return TreeIndex(leaf_of_item, tree.height)


def histories_of(num_items: int) -> Ragged:
    """Histories with the skew and the length of UserBehavior's, in chunks of users."""
    rng = np.random.default_rng(4)
    num_behaviours = num_items * BEHAVIOURS_PER_ITEM
    catalogue = make_catalogue(num_items, max(1, num_items // ITEMS_PER_CATEGORY), rng)
    num_users = max(1, num_behaviours // BEHAVIOURS_PER_USER)
    lengths = shares_of(num_behaviours, rng.lognormal(0.0, 0.9, num_users), 1)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    items = np.empty(num_behaviours, dtype=np.int64)
    names = rng.permutation(num_items)
    for first in range(0, num_users, 1 << 16):
        own = lengths[first : first + (1 << 16)]
        part, _ = walk(rng, own, *catalogue, False)
        items[offsets[first] : offsets[first] + len(part)] = names[part]
    return Ragged(items, offsets)


def category_tree(num_items: int) -> Iterator[Step]:
    """The first tree by category."""
    categories = categories_of(num_items)
    orders: list[Ints] = []
    yield "order_by_category", lambda: orders.append(order_by_category(categories, np.random.default_rng(1)))
    yield "tree_from_order", lambda: tree_from_order(orders[0], height_for(num_items))


def item_vectors(num_items: int) -> Iterator[Step]:
    """Vectors from co-occurrence, and the first tree they give."""
    histories = histories_of(num_items)
    vectors: list[np.ndarray] = []
    yield "cooccurrence_vectors", lambda: vectors.append(cooccurrence_vectors(histories, num_items, WIDTH, np.random.default_rng(1)))
    yield "two_means_order_of_cooccurrence", lambda: two_means_order(vectors[0], np.random.default_rng(1))


def two_means(num_items: int) -> Iterator[Step]:
    """Re-clustering of vectors without any structure: every node needs all its rounds."""
    vectors = np.random.default_rng(5).standard_normal((num_items, WIDTH), dtype=np.float32)
    yield "two_means_order", lambda: two_means_order(vectors, np.random.default_rng(1))


def index(num_items: int) -> Iterator[Step]:
    """What a tree is asked for, on all its levels."""
    tree = planted(num_items)
    levels = range(tree.height + 1)
    yield "tree_index", lambda: TreeIndex(tree.leaf_of_item, tree.height)
    yield "ancestors_all_levels", lambda: [tree.ancestors(level)[0] for level in levels]
    yield "used_nodes_all_levels", lambda: [tree.used_nodes(level) for level in levels]
    yield "capacities_all_levels", lambda: [tree.capacities(level) for level in levels]
    yield "items_in_leaf_order", tree.items_in_leaf_order
    yield "item_of_leaf", tree.item_of_leaf
    yield "tree_fingerprint", tree.fingerprint


def comparison(num_items: int) -> Iterator[Step]:
    """What is said of a new tree beside the old one."""
    old = planted(num_items)
    new = relearned(old)
    yield "match_siblings", lambda: match_siblings(old, new)
    yield "moved_shares", lambda: moved_shares(old, new)


def carrying(num_items: int) -> Iterator[Step]:
    """What a network keeps when its tree changes."""
    old = planted(num_items)
    new = relearned(old)
    network, weights = make_network(ModelConfig(), num_items, old.height, np.random.default_rng(1)), np.ones(num_items)
    yield "carry_inner_vectors", lambda: carry_inner_vectors(network, old, new, weights)


def growing(num_items: int) -> Iterator[Step]:
    """A hundredth of the items is new."""
    old, num_new = planted(num_items), num_items + num_items // 100
    network = make_network(ModelConfig(), num_items, old.height, np.random.default_rng(1))
    categories = np.concatenate([categories_of(num_items), categories_of(num_new)[num_items:]])
    grown: list[TreeIndex] = []
    yield "extend_tree", lambda: grown.append(extend_tree(old, num_new, categories))
    yield "extend_network", lambda: extend_network(network, old, grown[0])


def tree_files(num_items: int) -> Iterator[Step]:
    """A tree on disk, with keys of seven digits."""
    tree, keys = planted(num_items), pa.array(np.random.default_rng(1).permutation(num_items) + 1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tree.parquet")
        yield "write_tree", lambda: write_tree(path, tree, keys)
        yield "read_tree", lambda: read_tree(path)


def weight_files(num_items: int) -> Iterator[Step]:
    """A network on disk."""
    network = [make_network(ModelConfig(), num_items, height_for(num_items), np.random.default_rng(1))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        yield "write_weights", lambda: write_weights(path, network.pop())
        yield "read_weights", lambda: read_weights(path)


def negatives(num_items: int) -> Iterator[Step]:
    """The sampler: made once per iteration, asked once per batch (here 100 batches of 8 blocks)."""
    tree, rng = planted(num_items), np.random.default_rng(1)
    sampler: list[NegativeSampler] = []
    yield "negative_sampler", lambda: sampler.append(NegativeSampler(tree, 1, 200))
    yield "negatives_of_100_batches", lambda: [sampler[0].draw(rng, 8) for _ in range(100)]


PHASES: dict[str, Callable[[int], Iterator[Step]]] = {
    phase.__name__: phase
    for phase in (category_tree, item_vectors, two_means, index, comparison, carrying, growing, tree_files, weight_files, negatives)
}


def most_memory(is_new: bool = False) -> float:
    """Most resident memory of this process in GB, since it began or since the last call with ``is_new``."""
    if is_new:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e9


def measure(phase: str, num_items: int) -> None:
    """Run one phase in this process and print its figures."""
    for _, work in PHASES[phase](min(SMALL, num_items)):
        work()
    for name, work in PHASES[phase](num_items):
        most_memory(is_new=True)
        begun = time.perf_counter()
        work()
        seconds = time.perf_counter() - begun
        for figure, value, unit in ((f"{name}_s", seconds, "s"), (f"{name}_peak_gb", most_memory(), "GB")):
            sys.stdout.write(json.dumps({"name": figure, "value": round(value, 4), "unit": unit, "items": num_items}) + "\n")
            sys.stdout.flush()


def main(arguments: list[str]) -> None:
    """Measure one phase here, or each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--phase", choices=[*PHASES], help="this one only, in this process")
    chosen = parser.parse_args(arguments)
    if chosen.phase:
        measure(chosen.phase, chosen.items)
        return
    for phase in PHASES:
        subprocess.run([sys.executable, "-m", "benchmarks.trees", "--items", str(chosen.items), "--phase", phase], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])

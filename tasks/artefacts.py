"""From references to the core's records and back: which format each kind of artefact has.

Imports of the core are inside the functions: a step loads the formats it reads and writes, and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tasks.references import BehavioursRef, DataReferences, ListsRef, LogRef, ModelRef, ReportRef, SplitRef, TreeRef, VocabularyRef
from tasks.store import Store

if TYPE_CHECKING:
    from jtm_core.behaviours import Behaviours, Ints, Split
    from jtm_core.formats.arrays import Arrays
    from jtm_core.formats.vocabularies import Vocabulary
    from jtm_core.model import JtmNetwork
    from jtm_core.tree import TreeIndex


def read_data(store: Store, data: DataReferences) -> tuple[Behaviours, Split]:
    """Prepared behaviours and their split."""
    from jtm_core.formats.arrays import read_behaviours, read_split

    behaviours, _ = read_behaviours(store.path(data.behaviours))
    return behaviours, read_split(store.path(data.split))


def read_categories(store: Store, data: DataReferences) -> Ints:
    """Dense category of every item, -1 where unknown: int64 (num_items,)."""
    from jtm_core.formats.arrays import read_behaviours

    return read_behaviours(store.path(data.behaviours))[1]


def save_behaviours(store: Store, behaviours: Behaviours, categories: Ints) -> BehavioursRef:
    """Store prepared behaviours."""
    from jtm_core.formats.arrays import write_behaviours

    return BehavioursRef(store.save("behaviours", "safetensors", lambda path: write_behaviours(path, behaviours, categories)))


def save_split(store: Store, split: Split) -> SplitRef:
    """Store a split."""
    from jtm_core.formats.arrays import write_split

    return SplitRef(store.save("split", "safetensors", lambda path: write_split(path, split)))


def read_vocabulary(store: Store, reference: VocabularyRef) -> Vocabulary:
    """Original ids of items or users."""
    from jtm_core.formats.vocabularies import read_vocabulary

    return read_vocabulary(store.path(reference))


def save_vocabulary(store: Store, vocabulary: Vocabulary, kind: Literal["item", "user"]) -> VocabularyRef:
    """Store original ids."""
    from jtm_core.formats.vocabularies import write_vocabulary

    return VocabularyRef(store.save(f"{kind}s", "parquet", lambda path: write_vocabulary(path, vocabulary, kind)))


def read_tree(store: Store, reference: TreeRef) -> TreeIndex:
    """A tree."""
    from jtm_core.formats.tree_files import read_tree

    return read_tree(store.path(reference))


def save_tree(store: Store, tree: TreeIndex, keys: Sequence[Any] | None = None) -> TreeRef:
    """Store a tree, with the items' original ids for people who read the file."""
    from jtm_core.formats.tree_files import write_tree

    return TreeRef(store.save("tree", "parquet", lambda path: write_tree(path, tree, keys)))


def read_network(store: Store, reference: ModelRef) -> JtmNetwork:
    """A trained network, on the GPU if there is one."""
    from jtm_core.formats.weights import read_weights
    from jtm_core.model import on_device

    return on_device(read_weights(store.path(reference)))


def save_network(store: Store, network: JtmNetwork) -> ModelRef:
    """Store a network's weights."""
    from jtm_core.formats.weights import write_weights

    return ModelRef(store.save("model", "safetensors", lambda path: write_weights(path, network)))


def save_report(store: Store, kind: str, value: Any) -> ReportRef:
    """Store a JSON report."""
    return ReportRef(store.save_json(kind, value))


def save_log(store: Store, write: Callable[[Path], object]) -> LogRef:
    """Store a canonical log that ``write(path)`` produces."""
    return LogRef(store.save("log", "parquet", write))


def save_lists(store: Store, lists: Arrays) -> ListsRef:
    """Store recommended lists by name: int32 (E, M)."""
    from jtm_core.formats.arrays import write_arrays

    return ListsRef(store.save("lists", "safetensors", lambda path: write_arrays(path, lists, {"kind": "lists"})))


def read_lists(store: Store, reference: ListsRef) -> Arrays:
    """Recommended lists by name."""
    from jtm_core.formats.arrays import read_arrays

    return read_arrays(store.path(reference))[0]

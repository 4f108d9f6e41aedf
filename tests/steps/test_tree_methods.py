"""Tree learning's controls: a fixed tree, and TDM's clusters of the model's item vectors."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from jtm_core.config import JtmConfig, TreeLearningConfig
from tasks.artefacts import read_network, read_tree, save_network
from tasks.evaluate_model import evaluate_model
from tasks.fetch_log import fetch_log
from tasks.ingest_log import ingest_log
from tasks.iteration_records import iteration_of
from tasks.learn_tree import learn_tree
from tasks.plant_tree import plant_tree
from tasks.prepare_behaviours import prepare_behaviours
from tasks.record_version import record_version
from tasks.references import Candidate, DataReferences, GrownTree, TrainedModel
from tasks.store import open_store
from tasks.train_model import train_model


@dataclasses.dataclass(frozen=True)
class Made:
    """A first training."""

    data: DataReferences
    grown: GrownTree
    trained: TrainedModel
    config: JtmConfig

    def under(self, method: str) -> JtmConfig:
        """The experiment with another method of tree learning."""
        return dataclasses.replace(self.config, tree_learning=TreeLearningConfig(method=method))  # type: ignore[arg-type]


@pytest.fixture
def made(home: Path, make_config: Callable[..., JtmConfig]) -> Made:
    config = make_config()
    data = prepare_behaviours.compute(ingest_log.compute(fetch_log.fn(config), config), config, None)
    grown = plant_tree.compute(data, config, None)
    return Made(data, grown, train_model.compute(0, data, grown, config), config)


def test_a_fixed_tree_is_trained_on_and_recorded(made: Made) -> None:
    config = made.under("fixed")
    kept = learn_tree.compute(1, made.data, made.grown.tree, made.trained.model, config)
    assert kept == GrownTree(tree=made.grown.tree, start=made.trained.model, report=None)
    trained = train_model.compute(1, made.data, kept, config)
    assert trained.model != made.trained.model
    evaluation = evaluate_model.compute(1, made.data, kept.tree, trained.model, config)
    version = record_version.fn(made.data, Candidate(1, kept, trained, evaluation), None, None, config)
    assert iteration_of(open_store(), version).learning is None


def test_clusters_of_item_vectors_become_subtrees(made: Made) -> None:
    store = open_store()
    network, old = read_network(store, made.trained.model), read_tree(store, made.grown.tree)
    side = np.random.default_rng(3).permutation(np.arange(old.num_items) % 2)
    first_item = len(network.vectors) - old.num_items
    with torch.no_grad():
        network.vectors[first_item:, 0] = torch.from_numpy(np.where(side == 1, 100.0, -100.0).astype(np.float32))
    grown = learn_tree.compute(1, made.data, made.grown.tree, save_network(store, network), made.under("two_means"))
    new = read_tree(store, grown.tree)
    halves = new.ancestors(1)
    assert len(np.unique(halves[side == 0])) == len(np.unique(halves[side == 1])) == 1
    assert sorted(np.unique(halves)) == [1, 2]
    assert grown.start is not None
    carried = read_network(store, grown.start)
    np.testing.assert_array_equal(carried.vectors.detach()[first_item:], network.vectors.detach()[first_item:])
    assert not np.array_equal(carried.vectors.detach()[1:3], network.vectors.detach()[1:3])

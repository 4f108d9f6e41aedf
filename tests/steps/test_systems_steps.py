"""The systems in memory run the flow's experiment: the same trees, networks and decisions, bit by bit."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from jtm_core.config import FirstTreeConfig, JtmConfig, TreeLearningConfig
from jtm_core.systems.fitted import TreeSystem
from jtm_core.systems.fitting import fit_system
from jtm_core.systems.lessons import lessons_of
from jtm_core.systems.naming import SystemName, settings_of
from tasks.artefacts import read_categories, read_data, read_network, read_tree
from tasks.evaluate_model import evaluate_model
from tasks.fetch_log import fetch_log
from tasks.ingest_log import ingest_log
from tasks.learn_tree import learn_tree
from tasks.plant_tree import plant_tree
from tasks.prepare_behaviours import prepare_behaviours
from tasks.record_version import record_version
from tasks.references import Candidate, DataReferences, Standing, VersionRef
from tasks.store import open_store
from tasks.train_model import train_model


def versions_of(data: DataReferences, config: JtmConfig) -> tuple[list[VersionRef], VersionRef]:
    """The loop of ``flows/train_jtm.py``: all versions, and the best one."""
    grown, standing, versions = plant_tree.compute(data, config, None), None, []
    for iteration in range(config.iterations + 1):
        if standing:
            grown = learn_tree.compute(iteration, data, standing.current.tree, standing.current.model, config)
        trained = train_model.compute(iteration, data, grown, config)
        evaluation = evaluate_model.compute(iteration, data, grown.tree, trained.model, config)
        versions.append(record_version.fn(data, Candidate(iteration, grown, trained, evaluation), standing, None, config))
        standing = Standing.after_version(standing, versions[-1])
    assert standing is not None
    return versions, standing.best


@pytest.mark.parametrize(
    ("name", "first_tree", "filter_seen", "newest_share"),
    [("jtm", "category", False, 0.6), ("jtm-two-means", "two_means", True, 1.0), ("tdm", "random", False, 1.0)],
)
def test_a_system_is_what_the_flow_makes(
    home: Path, make_config: Callable[..., JtmConfig], name: SystemName, first_tree: str, filter_seen: bool, newest_share: float
) -> None:
    shared = make_config(first_tree=FirstTreeConfig(method=first_tree), tree_learning=TreeLearningConfig(gap=2), iterations=2)  # type: ignore[arg-type]
    shared = dataclasses.replace(
        shared,
        evaluation=dataclasses.replace(shared.evaluation, filter_seen=filter_seen),
        training=dataclasses.replace(shared.training, later_newest_share=newest_share),
    )
    config, store = settings_of(name, shared), open_store()
    data = prepare_behaviours.compute(ingest_log.compute(fetch_log.fn(config), config), config, None)
    versions, best = versions_of(data, config)
    behaviours, split = read_data(store, data)
    lessons = lessons_of(behaviours, split, read_categories(store, data), newest_share)
    system = fit_system(name, lessons, config, lambda done, total, note: None)
    assert isinstance(system, TreeSystem)
    np.testing.assert_array_equal(system.tree.leaf_of_item, read_tree(store, best.tree).leaf_of_item)
    wanted = read_network(store, best.model).state_dict()
    assert wanted.keys() == system.network.state_dict().keys()
    assert all(torch.equal(weights, wanted[part]) for part, weights in system.network.state_dict().items())
    assert [made.recall for made in system.rounds] == [version.deciding_recall for version in versions]
    assert [made.is_accepted for made in system.rounds] == [version.is_accepted for version in versions]
    manifests = [store.read_json(version.manifest) for version in versions]
    if name == "jtm":
        assert [made.objective_after for made in system.rounds[1:]] == [manifest["objective_after"] for manifest in manifests[1:]]
        assert [made.moved_share for made in system.rounds[1:]] == [manifest["moved_shares"][-1] for manifest in manifests[1:]]

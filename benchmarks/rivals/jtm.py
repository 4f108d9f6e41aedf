"""``python -m benchmarks.rivals.jtm FOLDER``: JTM by beam search, and the exhaustive scan of the very same network."""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.records import Record, emit
from benchmarks.rivals.judging import built, judge
from benchmarks.rivals.settings import training_config
from benchmarks.rivals.world import CUTOFFS, RivalsWorld, read_world
from jtm_core.beam import full_scan
from jtm_core.behaviours import Ints, Ragged
from jtm_core.carry import carry_inner_vectors
from jtm_core.codes import height_for
from jtm_core.config import EvaluationConfig, ModelConfig, Precision, TreeLearningConfig
from jtm_core.evaluation import Questions, validate
from jtm_core.first_tree import order_by_category
from jtm_core.model import JtmNetwork, make_network
from jtm_core.scoring import make_scorer, windows_of
from jtm_core.serving import Retriever
from jtm_core.training import Training, TrainingPlan, Validation
from jtm_core.tree import TreeIndex, tree_from_order
from jtm_core.tree_learning import TreeLearner, target_samples

FIRST_LEVEL = 7
EVALUATION = EvaluationConfig(cutoffs=CUTOFFS, beam_width=400, small_beam_width=200)
MOST_SAMPLES_PER_ITEM = 8
"""Samples of an item that tree learning weighs."""


@dataclass(frozen=True)
class Version:
    """A network and the tree it belongs to."""

    network: JtmNetwork
    tree: TreeIndex


def train(version: Version, world: RivalsWorld, epochs: int, iteration: int) -> Version:
    """Train on the version's tree."""
    asked = Questions(
        world.validation.histories, world.validation.truths, windows_of(world.validation.histories, version.network.config.window_sizes)
    )

    def judged(network: JtmNetwork) -> Validation:
        return validate(network, version.tree, asked, EVALUATION, FIRST_LEVEL)

    training = Training(
        version.network, version.tree, world.histories, training_config(epochs), TrainingPlan(FIRST_LEVEL, epochs, 1, iteration), judged
    )
    for progress in training.steps():
        if progress.batch == progress.num_batches:
            sys.stderr.write(f"jtm: iteration {iteration}, epoch {progress.epoch}, loss {progress.loss:.3f}\n")
    result = training.result()
    sys.stderr.write(f"jtm: validation recall {[round(validation.recall, 4) for validation in result.validations]}\n")
    return Version(result.network, version.tree)


def learn_tree(version: Version, world: RivalsWorld, iteration: int) -> Version:
    """Learn a tree for the version's network, and let the inner vectors follow."""
    samples = target_samples(world.histories, "random_horizon", 1, MOST_SAMPLES_PER_ITEM, 1, iteration)
    learner = TreeLearner(version.network, version.tree, world.histories.values, samples, TreeLearningConfig(), FIRST_LEVEL)
    tree = learner.learn().tree
    return Version(carry_inner_vectors(version.network, version.tree, tree), tree)


def ask_beam(version: Version, precision: Precision, world: RivalsWorld) -> None:
    """Judge the beam search."""
    system = "jtm, beam 400" if precision == "float32" else f"jtm, beam 400, {precision}"
    try:
        retriever = Retriever(version.network, version.tree, EVALUATION.beam_width, FIRST_LEVEL, precision=precision)
    except ValueError as refusal:  # the processor has no instructions for it
        emit(Record("users_per_s", None, "users/s", {"system": system, "reason": str(refusal)}))
        return

    def recommend(histories: Ragged, length: int) -> Ints:
        if len(histories) == 1:
            return retriever.recommend(histories.values, length)[0][None]
        return retriever.recommend_batch(histories, length)[0]

    judge(system, recommend, world)


def ask_scan(version: Version, world: RivalsWorld) -> None:
    """Judge the exhaustive scan of the same network."""
    scorer = make_scorer(version.network, version.tree)

    def recommend(histories: Ragged, length: int) -> Ints:
        return full_scan(scorer, windows_of(histories, version.network.config.window_sizes), length).items

    judge("jtm's network, full scan", recommend, world)


def main(arguments: list[str]) -> None:
    """Train, learn the tree, train again; judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--later-epochs", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=1)
    chosen = parser.parse_args(arguments)
    world = read_world(chosen.folder)
    rng, height = np.random.default_rng(1), height_for(world.num_items)
    begun = time.perf_counter()
    tree = tree_from_order(order_by_category(world.categories, rng), height)
    version = train(Version(make_network(ModelConfig(), world.num_items, height, rng), tree), world, chosen.epochs, 0)
    trained, tree_seconds = time.perf_counter() - begun, 0.0
    for iteration in range(1, chosen.iterations + 1):
        before = time.perf_counter()
        version = learn_tree(version, world, iteration)
        tree_seconds += time.perf_counter() - before
        version = train(version, world, chosen.later_epochs, iteration)
    total = time.perf_counter() - begun
    built("jtm, beam 400", total, epochs=chosen.epochs + chosen.iterations * chosen.later_epochs, iterations=chosen.iterations)
    emit(Record("first_training_s", trained, "s", {"system": "jtm, beam 400"}))
    emit(Record("tree_learning_s", tree_seconds, "s", {"system": "jtm, beam 400"}))
    ask_beam(version, "float32", world)
    ask_beam(version, "bfloat16", world)
    ask_scan(version, world)


if __name__ == "__main__":
    main(sys.argv[1:])

"""``python -m benchmarks.rivals.jtm FOLDER``: JTM by beam search, and the exhaustive scan of the very same network."""

import argparse
import sys
import time
from pathlib import Path

from benchmarks.records import Record, emit
from benchmarks.rivals.judging import built, judge
from benchmarks.rivals.settings import training_config
from benchmarks.rivals.world import CUTOFFS, RivalsWorld, read_world
from jtm_core.behaviours import Ints, Ragged
from jtm_core.config import EvaluationConfig, JtmConfig, Precision, TreeLearningConfig
from jtm_core.serving import Retriever
from jtm_core.systems.fitted import TreeSystem
from jtm_core.systems.fitting import fit_system
from jtm_core.systems.lessons import Lessons
from jtm_core.systems.naming import settings_of

EVALUATION = EvaluationConfig(cutoffs=CUTOFFS, beam_width=400, small_beam_width=200)
MOST_SAMPLES_PER_ITEM = 8
"""Samples of an item that tree learning weighs."""


class Stopwatch:
    """Hears how the fitting goes on; seconds of the first training and of tree learning, what is around it included."""

    def __init__(self) -> None:
        self.first_training, self.tree_learning = 0.0, 0.0
        self._begun = self._last = time.perf_counter()
        self._phase = ""

    def __call__(self, done: float, total: float, note: str) -> None:
        """Hear of some epochs of all, and what is being done."""
        now, phase = time.perf_counter(), "tree" if "tree learning" in note else "training"
        if phase == "tree" and not self.first_training:
            self.first_training = now - self._begun
        if self._phase == "tree":
            self.tree_learning += now - self._last
        if self._phase != phase:
            sys.stderr.write(f"jtm: {done:.1f} of {total:.0f} epochs, {note}\n")
        self._last, self._phase = now, phase


def fit(world: RivalsWorld, config: JtmConfig, watch: Stopwatch) -> TreeSystem:
    """JTM as the comparison of systems has it."""
    asked = world.validation
    system = fit_system("jtm", Lessons(world.histories, world.num_items, world.categories, asked.histories, asked.truths), config, watch)
    assert isinstance(system, TreeSystem)
    for made in system.rounds:
        losses, recalls = ([round(value, 4) for value in values] for values in (made.losses, made.recalls))
        sys.stderr.write(f"jtm: iteration {made.iteration}, losses {losses}, validation recall {recalls}\n")
    return system


def ask_beam(system: TreeSystem, precision: Precision, world: RivalsWorld) -> None:
    """Judge the beam search."""
    name = "jtm, beam 400" if precision == "float32" else f"jtm, beam 400, {precision}"
    try:
        retriever = Retriever(system.network, system.tree, EVALUATION.beam_width, system.first_level, precision=precision)
    except ValueError as refusal:  # the processor has no instructions for it
        emit(Record("users_per_s", None, "users/s", {"system": name, "reason": str(refusal)}))
        return

    def recommend(histories: Ragged, length: int) -> Ints:
        if len(histories) == 1:
            return retriever.recommend(histories.values, length)[0][None]
        return retriever.recommend_batch(histories, length)[0]

    judge(name, recommend, world)


def main(arguments: list[str]) -> None:
    """Train, learn the tree, train again; judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--later-epochs", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=1)
    chosen = parser.parse_args(arguments)
    world = read_world(chosen.folder)
    shared = JtmConfig(
        training=training_config(chosen.epochs, chosen.later_epochs),
        tree_learning=TreeLearningConfig(maximum_samples_per_item=MOST_SAMPLES_PER_ITEM),
        evaluation=EVALUATION,
        iterations=chosen.iterations,
    )
    begun, watch = time.perf_counter(), Stopwatch()
    system = fit(world, settings_of("jtm", shared), watch)
    total = time.perf_counter() - begun
    built("jtm, beam 400", total, epochs=chosen.epochs + chosen.iterations * chosen.later_epochs, iterations=chosen.iterations)
    emit(Record("first_training_s", watch.first_training or total, "s", {"system": "jtm, beam 400"}))
    emit(Record("tree_learning_s", watch.tree_learning, "s", {"system": "jtm, beam 400"}))
    ask_beam(system, "float32", world)
    ask_beam(system, "bfloat16", world)
    judge("jtm's network, full scan", system.full_scan().recommend, world)


if __name__ == "__main__":
    main(sys.argv[1:])

"""The figures that every change is looked at with, each from one function: the best of several repeats, with their spread."""

from collections.abc import Iterator

import numpy as np

from benchmarks.records import Record, duration, rate, timed
from benchmarks.worlds import BenchmarkWorld, make_world
from jtm_core.bfloat16 import has_bfloat16, pack_head, score_rows_bfloat16
from jtm_core.config import ModelConfig, Precision, TrainingConfig, TreeLearningConfig
from jtm_core.kernels import score_rows
from jtm_core.model import JtmNetwork
from jtm_core.network_arrays import half_width, head_weights
from jtm_core.serving import Retriever
from jtm_core.training import Training, TrainingPlan, TrainingProgress, Validation
from jtm_core.tree_learning import TreeLearner, target_samples
from jtm_core.windows import Windows, windows_of

FLOPS_PER_SCORE = 2 * (128 * 64 + 64 * 24 + 24)
"""Behind the split first layer."""
BEAM_WIDTH = 400
FIRST_LEVEL = 8
"""Level of 256 nodes, where a beam of 400 begins to prune."""


def sgemm_peak() -> list[Record]:
    """Multiply two 2,048 x 2,048 float32 matrices on all cores."""
    size = 2048
    one, other = (np.random.default_rng(seed).random((size, size), dtype=np.float32) for seed in (0, 1))
    return [rate("sgemm_peak_gflops", 2 * size**3 / 1e9, timed(lambda: one @ other, 7), "GFLOP/s")]


def unjudged(network: JtmNetwork) -> Validation:
    """Stands for a validation where only speed is asked."""
    return Validation(0.0, 0.0, 0.0)


def training_steps(world: BenchmarkWorld, precision: Precision = "float32", tied_levels: bool = True) -> Iterator[TrainingProgress]:
    """The steps of a real training: samples, negatives, features, forward, backward, update."""
    config = TrainingConfig(negatives=100, batch_samples=1024, epochs=1000, patience=1000, precision=precision, tied_levels=tied_levels)
    plan = TrainingPlan(first_level=FIRST_LEVEL - 3, num_epochs=1000, seed=1, iteration=0)
    return Training(world.network, world.tree, world.histories, config, plan, unjudged).steps()


def precision_refusal(precision: Precision) -> str:
    """Why steps of this precision cannot be measured here, empty if they can: one small step, which must not have float32's loss."""
    if precision == "float32":
        return ""
    world = make_world(1000, np.full(100, 20))
    try:
        loss = next(training_steps(world, precision)).loss
    except ValueError as refusal:  # the processor has no instructions for it
        return str(refusal)
    same = loss == next(training_steps(world)).loss
    return f"training pays no heed to the precision: its loss with {precision} is that with float32, to the last bit" if same else ""


def training(world: BenchmarkWorld, repeats: int = 12) -> list[Record]:
    """Rows (pairs of sample and node) trained per second, whole steps of 1,024 samples."""
    records = []
    precisions: tuple[tuple[str, Precision], ...] = (("train_rows_per_s", "float32"), ("train_rows_per_s_bf16", "bfloat16"))
    for name, precision in precisions:
        if reason := precision_refusal(precision):
            records.append(Record(name, None, "rows/s", {"reason": reason}))
            continue
        steps = training_steps(world, precision)
        rows = next(steps).num_rows
        records.append(rate(name, rows, timed(lambda steps=steps: next(steps), repeats), "rows/s"))
    return records


def forward(world: BenchmarkWorld, peak_gflops: float) -> list[Record]:
    """The layers behind the first one, 254 nodes for each of 2,048 users."""
    rng, num_users, num_nodes = np.random.default_rng(1), 2048, 254
    users, nodes = (rng.standard_normal((count, half_width(world.network.config)), dtype=np.float32) for count in (num_users, num_nodes))
    rows = np.repeat(np.arange(num_users, dtype=np.int32), num_nodes), np.tile(np.arange(num_nodes, dtype=np.int32), num_users)
    weights = head_weights(world.network)
    scores_per_s = len(rows[0]) / min(timed(lambda: score_rows(users, nodes, *rows, weights), 7))
    share = scores_per_s * FLOPS_PER_SCORE / 1e9 / peak_gflops
    rounded = None
    if has_bfloat16():
        packed = pack_head(weights)
        rounded = len(rows[0]) / min(timed(lambda: score_rows_bfloat16(users, nodes, *rows, packed), 7))
    return [
        Record("forward_scores_per_s", scores_per_s, "scores/s"),
        Record("forward_scores_per_s_bf16", rounded, "scores/s" if rounded else "scores/s (this CPU has no AVX-512 BF16)"),
        Record("forward_share_of_sgemm_peak", share, "share"),
    ]


def tree_learning(gap: int, repeats: int, config: ModelConfig | None = None) -> list[Record]:
    """3,325 items, 72,805 samples of histories of at most 10 behaviours, one sweep of Algorithm 2."""
    lengths = np.full(8089, 10)
    lengths[-4:] = 11
    world = make_world(3325, lengths, config=config)
    samples = target_samples(world.histories, 0.0, 1, None, 1, 1)
    learner = TreeLearner(world.network, world.tree, world.histories, samples, TreeLearningConfig(gap=gap, sweeps=1), 1)
    return [duration(f"tree_learning_gap{gap}_s", timed(learner.learn, repeats), samples=len(samples.samples))]


def first_windows(world: BenchmarkWorld, count: int) -> Windows:
    """Windows of the first users."""
    return windows_of(world.histories.rows(0, count), world.network.reading)


def search(world: BenchmarkWorld) -> list[Record]:
    """Beam 400, lists of 200, 256 users at a time."""
    retriever, users = Retriever(world.network, world.tree, BEAM_WIDTH, FIRST_LEVEL), world.histories.rows(0, 256)
    return [rate("beam_search_users_per_s", 256, timed(lambda: retriever.recommend_batch(users, 200), 7), "users/s")]

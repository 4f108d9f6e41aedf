"""One function a figure; each returns records of name, value and unit, best of several repeats."""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.worlds import BenchmarkWorld, make_world
from jtm_core.batches import BatchMaker
from jtm_core.beam import BeamSearch
from jtm_core.behaviours import Ragged
from jtm_core.config import TrainingConfig, TreeLearningConfig
from jtm_core.features import draw_samples, sample_order
from jtm_core.gradients import FusedGradients, head_weights
from jtm_core.kernels import score_rows
from jtm_core.optimiser import Adam
from jtm_core.sampling import NegativeSampler
from jtm_core.scoring import make_scorer, windows_of
from jtm_core.tree_learning import TreeLearner, target_samples

FLOPS_PER_SCORE = 2 * (128 * 64 + 64 * 24 + 24)
"""Behind the split first layer."""


@dataclass(frozen=True)
class Record:
    """A measured figure."""

    name: str
    value: float | None
    unit: str


def best_seconds(work: Callable[[], object], repeats: int) -> float:
    """Shortest of several repeats, after one to warm up."""
    work()
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def sgemm_peak() -> list[Record]:
    """Multiply two 2,048 x 2,048 float32 matrices on all cores."""
    size = 2048
    one, other = (np.random.default_rng(seed).random((size, size), dtype=np.float32) for seed in (0, 1))
    seconds = best_seconds(lambda: one @ other, 5)
    return [Record("sgemm_peak_gflops", 2 * size**3 / seconds / 1e9, "GFLOP/s")]


def training(world: BenchmarkWorld, suffix: str = "") -> list[Record]:
    """Whole steps: negatives, features, forward, backward, update."""
    config = TrainingConfig(negatives=100)
    sampler = NegativeSampler(world.tree, 5, config.negatives)
    maker = BatchMaker(world.tree, sampler, "hierarchical", world.network.config.window_sizes, config.negatives_block)
    engine, optimiser = FusedGradients(world.network), Adam(world.network, 1e-3)
    rng = np.random.default_rng(1)
    order = sample_order(world.histories, 1, rng)
    firsts = iter(range(0, order.num_samples - config.batch_samples, config.batch_samples))

    def step() -> None:
        first = next(firsts)
        samples = draw_samples(world.histories, order, first, first + config.batch_samples, 1, rng)
        optimiser.step(engine(world.network, maker.make(world.histories.values, samples, rng)))

    seconds = best_seconds(step, 12)
    return [Record(f"train_rows_per_s{suffix}", config.batch_samples * maker.rows_per_sample / seconds, "rows/s")]


def forward(world: BenchmarkWorld, peak_gflops: float) -> list[Record]:
    """The layers behind the first one, 254 nodes for each of 2,048 users."""
    rng, num_users, num_nodes = np.random.default_rng(1), 2048, 254
    users, nodes = (rng.standard_normal((count, 128), dtype=np.float32) for count in (num_users, num_nodes))
    rows = np.repeat(np.arange(num_users, dtype=np.int32), num_nodes), np.tile(np.arange(num_nodes, dtype=np.int32), num_users)
    weights = head_weights(world.network)
    rate = len(rows[0]) / best_seconds(lambda: score_rows(users, nodes, *rows, weights), 7)
    share = rate * FLOPS_PER_SCORE / 1e9 / peak_gflops
    return [
        Record("forward_scores_per_s", rate, "scores/s"),
        Record("forward_scores_per_s_bf16", None, "scores/s (not built: there is no bf16 path yet)"),
        Record("forward_share_of_sgemm_peak", share, "share"),
    ]


def tree_learning(gap: int, repeats: int) -> list[Record]:
    """3,325 items, 72,805 samples of histories of at most 10 behaviours, the whole of Algorithm 2."""
    lengths = np.full(8089, 10)
    lengths[-4:] = 11
    world = make_world(3325, lengths)
    samples = target_samples(world.histories, "next_item", 1, None, 1, 1)
    learner = TreeLearner(world.network, world.tree, world.histories.values, samples, TreeLearningConfig(gap=gap), 1)
    return [Record(f"tree_learning_gap{gap}_s", best_seconds(learner.learn, repeats), f"s ({len(samples.samples)} samples)")]


def search(world: BenchmarkWorld, suffix: str = "") -> list[Record]:
    """Beam 400, 256 users at a time."""
    offsets = world.histories.offsets[:257]
    windows = windows_of(Ragged(world.histories.values[: offsets[-1]], offsets), world.network.config.window_sizes)
    beam = BeamSearch(make_scorer(world.network, world.tree), 400, 5)
    return [Record(f"beam_search_users_per_s{suffix}", 256 / best_seconds(lambda: beam.rank(windows), 5), "users/s")]


def peak_memory() -> list[Record]:
    """Most memory this process has held."""
    return [Record("peak_rss_gb", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, "GB")]

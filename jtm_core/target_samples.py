"""The samples that tree learning sums over, sorted by target."""

from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from jtm_core.behaviours import Ints, TrainingHistories
from jtm_core.features import Horizon, SampleOrder, Samples, draw_samples, make_horizon, sample_order
from jtm_core.seeding import generator

_SAMPLES_PER_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class TargetSamples:
    """Samples sorted by target, and how much each counts.

    Parameters
    ----------
    samples : Samples
        Targets never fall. The arrays may be memory-mapped, and int32.
    factors : float64 array (num_items,)
        By target: above 1 where a cap on samples per item left some out.
    """

    samples: Samples
    factors: NDArray[np.float64]


def target_samples(
    histories: TrainingHistories, horizon_share: float, minimum_history: int, maximum: int | None, seed: int, iteration: int
) -> TargetSamples:
    """All training samples sorted by target; of an item with more than ``maximum``, that many evenly spaced ones.

    Samples are drawn in blocks and put straight into their places, so nothing is held beside what is returned.

    Parameters
    ----------
    histories : TrainingHistories
    horizon_share : float
        0 .. 1, see :class:`~jtm_core.features.Horizon`, which is drawn from ``seed`` and ``iteration``; 0 ends histories right before
        their targets.
    minimum_history : int
    maximum : int, optional
    seed, iteration : int
    """
    order = sample_order(histories, minimum_history, None)
    num_items = int(histories.values.max(initial=-1)) + 1
    counts = np.zeros(num_items, dtype=np.int64)
    for block in _blocks(histories, order, None):
        counts += np.bincount(block.targets, minlength=num_items)
    limits = np.minimum(counts, maximum or counts.max(initial=0))
    places = np.cumsum(limits) - limits
    total = int(limits.sum())
    sorted_samples = Samples(np.empty(total, np.int64), np.empty(total, np.int64), np.repeat(np.arange(num_items), limits))
    seen = np.zeros(num_items, dtype=np.int64)
    horizon = make_horizon(horizon_share, generator(seed, "tree-horizon", iteration))
    for block in _blocks(histories, order, horizon):
        _put(block.targets, block.starts, sorted_samples.starts, (counts, limits, places, seen.copy()))
        _put(block.targets, block.cuts, sorted_samples.cuts, (counts, limits, places, seen))
    return TargetSamples(sorted_samples, counts / np.maximum(limits, 1))


def _blocks(histories: TrainingHistories, order: SampleOrder, horizon: Horizon | None) -> Iterator[Samples]:
    for low in range(0, order.num_samples, _SAMPLES_PER_BLOCK):
        yield draw_samples(histories, order, low, min(low + _SAMPLES_PER_BLOCK, order.num_samples), horizon)


@numba.njit(fastmath=False, cache=True, nogil=True)
def _put(targets: Ints, values: Ints, out: Ints, items: tuple[Ints, Ints, Ints, Ints]) -> None:
    """Put every value behind those of its target that came before, if it is one of the evenly spaced ones."""
    counts, limits, places, seen = items
    for sample in range(len(targets)):
        item = targets[sample]
        rank, count, limit = seen[item], counts[item], limits[item]
        seen[item] = rank + 1
        number = rank * limit // count
        if rank == 0 or number != (rank - 1) * limit // count:
            out[places[item] + number] = values[sample]

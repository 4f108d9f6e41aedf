"""Data-parallel training: shares are whole blocks, sums are those of one process, peers that differ are found."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_worlds import SmallWorld, small_world

from jtm_core.batches import BatchMaker
from jtm_core.config import TrainingConfig
from jtm_core.features import draw_samples, sample_order
from jtm_core.gradients import FusedGradients, Gradients
from jtm_core.model import JtmNetwork
from jtm_core.peers import Alone, merge_rows, no_gradients
from jtm_core.sampling import NegativeSampler
from jtm_core.seeding import generator
from jtm_core.training import Training, TrainingPlan, TrainingResult, Validation
from jtm_core.windows import Reading

CONFIG = TrainingConfig(batch_samples=16, negatives=12, negatives_block=4, patience=9, learning_rate=1e-2)
PLAN = TrainingPlan(first_level=1, num_epochs=3, seed=5, iteration=2)


class Room:
    """Where peers that are threads of this test meet; what they bring is seen by all, in the order of ranks."""

    def __init__(self, size: int) -> None:
        self.size, self.brought = size, list[object]([None] * size)
        self.barrier = threading.Barrier(size, timeout=60)

    def meet(self, rank: int, thing: object) -> list[object]:
        self.brought[rank] = thing
        self.barrier.wait()
        seen = list(self.brought)
        self.barrier.wait()
        return seen


class ThreadPeers:
    """The slow twin of ``TorchPeers``: dense arrays of the whole table, added up."""

    def __init__(self, room: Room, rank: int, num_rows: int) -> None:
        self.room, self.rank, self.size, self.num_rows = room, rank, room.size, num_rows

    def add(self, gradients: Gradients, share: float) -> Gradients:
        table = torch.zeros(self.num_rows, gradients.row_gradients.shape[1])
        table[torch.from_numpy(gradients.rows)] = gradients.row_gradients * share
        scaled = [gradient * share for gradient in gradients.dense]
        seen = self.room.meet(self.rank, (gradients.loss * share, set(gradients.rows.tolist()), table, scaled))
        rows = np.array(sorted(set().union(*(part[1] for part in seen))), dtype=np.int64)
        total = sum(part[2] for part in seen)[torch.from_numpy(rows)]
        dense = [sum(parts) for parts in zip(*(part[3] for part in seen), strict=True)]
        return Gradients(sum(part[0] for part in seen), rows, total, dense)

    def told_by_first(self, judge: Callable[[], list[float]]) -> list[float]:
        return self.room.meet(self.rank, judge() if self.rank == 0 else None)[0]

    def check_equal(self, digest: bytes, what: str) -> None:
        if len(set(self.room.meet(self.rank, digest))) > 1:
            raise RuntimeError(what)


def judged(network: JtmNetwork) -> Validation:
    return Validation(recall=float(network.vectors.detach().square().mean()), score_spread=1.0, list_overlap=0.1)


def trained(world: SmallWorld, size: int, config: TrainingConfig) -> list[TrainingResult]:
    """What each of ``size`` peers ends with."""
    room, results = Room(size), list[TrainingResult]()

    def work(rank: int) -> None:
        training = Training(world.network, world.tree, world.histories, config, PLAN, judged)
        training.join(ThreadPeers(room, rank, len(world.network.vectors)))
        for _ in training.steps():
            pass
        results.append(training.result())

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@given(st.integers(1, 100), st.integers(1, 7), st.integers(1, 9))
@settings(max_examples=40)
def test_shares_are_whole_blocks_and_together_the_batch(num_samples: int, size: int, block: int) -> None:
    world = small_world()
    maker = BatchMaker(world.tree, NegativeSampler(world.tree, 1, 12), "hierarchical", Reading((3, 2, 1, 1)), block)
    shares = [maker.share(num_samples, rank, size) for rank in range(size)]
    assert [number for share in shares for number in range(share.start, share.stop)] == list(range(num_samples))
    assert all(share.start % block == 0 for share in shares if share.start < share.stop)
    blocks = [-(-(share.stop - share.start) // block) for share in shares]
    assert max(blocks) - min(blocks) <= 1


@pytest.mark.parametrize("features", ["hierarchical", "flat"])
def test_the_shares_of_a_batch_sum_to_its_gradients(features: str) -> None:
    world = small_world(num_users=40)
    maker = BatchMaker(world.tree, NegativeSampler(world.tree, 1, 12), features, Reading((3, 2, 1, 1)), 4)
    samples = draw_samples(world.histories, sample_order(world.histories, 1, generator(1, "order")), 0, 30, None)
    engine = FusedGradients(world.network)

    def gradients(share: slice | None) -> Gradients:
        return engine(world.network, maker.make(world.histories.values, samples, generator(2, "negatives"), share))

    whole, parts = gradients(None), [maker.share(30, rank, 3) for rank in range(3)]
    shared = [gradients(part) for part in parts]
    weights = [(part.stop - part.start) / 30 for part in parts]
    assert sum(weight * part.loss for weight, part in zip(weights, shared, strict=True)) == pytest.approx(whole.loss, rel=1e-6)
    rows, total = merge_rows(
        [part.rows for part in shared], [weight * part.row_gradients for weight, part in zip(weights, shared, strict=True)]
    )
    assert np.array_equal(rows, whole.rows)
    torch.testing.assert_close(total, whole.row_gradients, rtol=1e-4, atol=1e-6)
    for place, dense in enumerate(whole.dense):
        sums = sum(weight * part.dense[place] for weight, part in zip(weights, shared, strict=True))
        torch.testing.assert_close(sums, dense, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "block", "nodes"), [(2, 4, "uniform"), (3, 4, "uniform"), (3, 16, "uniform"), (5, 8, "uniform"), (2, 4, "beam")]
)
def test_peers_learn_what_one_process_learns(size: int, block: int, nodes: Literal["uniform", "beam"]) -> None:
    world, config = small_world(num_users=40), replace(CONFIG, negatives_block=block, nodes=nodes, training_beam=3)
    alone = trained(world, 1, config)[0]
    together = trained(world, size, config)
    assert len(together) == size
    for result in together:
        np.testing.assert_allclose(result.losses, alone.losses, rtol=1e-4)
        np.testing.assert_allclose(result.loss_curve, alone.loss_curve, rtol=1e-4)
        torch.testing.assert_close(result.network.vectors, alone.network.vectors, rtol=0, atol=2e-3)
        assert torch.equal(result.network.vectors, together[0].network.vectors)
        assert result.validations == together[0].validations


def test_peers_that_start_differently_are_found() -> None:
    room, raised = Room(2), list[str]()

    def work(rank: int) -> None:
        world = small_world(seed=rank)
        training = Training(world.network, world.tree, world.histories, CONFIG, PLAN, judged)
        with pytest.raises(RuntimeError, match="at the start"):
            training.join(ThreadPeers(room, rank, len(world.network.vectors)))
        raised.append("yes")

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raised == ["yes", "yes"]


def test_a_share_of_nothing_adds_nothing() -> None:
    network = small_world().network
    nothing = no_gradients(network)
    one = Gradients(1.0, np.array([3]), torch.ones(1, network.vectors.shape[1]), nothing.dense)
    rows, total = merge_rows([nothing.rows, one.rows], [nothing.row_gradients, one.row_gradients])
    assert rows.tolist() == [3]
    assert torch.equal(total, one.row_gradients)
    assert nothing.loss == 0
    assert all(not gradient.any() for gradient in nothing.dense)


def test_one_process_asks_itself() -> None:
    gradients = no_gradients(small_world().network)
    assert Alone().add(gradients, 1.0) is gradients
    assert Alone().told_by_first(lambda: [0.5]) == [0.5]

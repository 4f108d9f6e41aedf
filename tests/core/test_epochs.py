"""Batches of the baselines: every sample once an epoch, disordered and slowed down as the settings say."""

import dataclasses

import numpy as np
import pytest
from small_worlds import all_samples, small_world

from jtm_core.baselines.epochs import sample_batches
from jtm_core.config import TrainingConfig
from jtm_core.features import disordered
from jtm_core.seeding import generator

CONFIG = TrainingConfig(batch_samples=7, target="next_item")


def test_an_epoch_holds_every_sample_once() -> None:
    histories = small_world().histories
    batches = list(sample_batches(histories, CONFIG, generator(1, "epoch"), 0, 2))
    cuts = np.concatenate([batch.samples.cuts for batch in batches])
    assert sorted(cuts.tolist()) == sorted(all_samples(histories, 0.0, 1, 0).cuts.tolist())
    assert all(np.array_equal(batch.items, histories.values) for batch in batches)
    assert {batch.rate_share for batch in batches} == {1.0}


def test_disorder_is_drawn_before_anything_else() -> None:
    histories, config = small_world().histories, dataclasses.replace(CONFIG, order_noise=0.8)
    (first, *_) = sample_batches(histories, config, generator(1, "epoch"), 0, 1)
    assert np.array_equal(first.items, disordered(histories, 0.8, generator(1, "epoch")).values)
    assert not np.array_equal(first.items, histories.values)
    assert np.array_equal(first.items[first.samples.cuts], first.samples.targets)


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_linear_schedule_falls_over_all_epochs(epoch: int) -> None:
    config = dataclasses.replace(CONFIG, rate_schedule="linear")
    batches = list(sample_batches(small_world().histories, config, generator(1, "epoch"), epoch, 3))
    done = np.cumsum([0] + [len(batch.samples) for batch in batches[:-1]])
    total = sum(len(batch.samples) for batch in batches)
    assert np.allclose([batch.rate_share for batch in batches], 1 - (epoch + done / total) / 3)

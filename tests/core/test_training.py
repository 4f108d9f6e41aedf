"""Training: resumable to the bit, seeded, stops early, learns what is there and nothing that is not."""

import dataclasses

import numpy as np
import pytest
import torch
from small_worlds import SmallWorld, small_world

from jtm_core.config import TrainingConfig
from jtm_core.gradients import Gradients
from jtm_core.model import JtmNetwork
from jtm_core.tied_rows import TiedRows
from jtm_core.training import Training, TrainingPlan, Validation

CONFIG = TrainingConfig(batch_samples=16, negatives=12, negatives_block=4, patience=9, tied_levels=False)
BEAM = dataclasses.replace(CONFIG, nodes="beam", training_beam=3)
DISORDERED = dataclasses.replace(CONFIG, order_noise=0.5, rate_schedule="linear")
TIED = dataclasses.replace(CONFIG, tied_levels=True)
PLAN = TrainingPlan(first_level=1, num_epochs=3, seed=5, iteration=2)


def judged(network: JtmNetwork) -> Validation:
    """A number that depends on the weights, so that a wrong best epoch shows."""
    return Validation(recall=float(network.vectors.detach().square().mean()), score_spread=1.0, list_overlap=0.1)


def training(world: SmallWorld, config: TrainingConfig = CONFIG) -> Training:
    return Training(world.network, world.tree, world.histories, config, PLAN, judged)


def finished(train: Training) -> dict[str, torch.Tensor]:
    for _ in train.steps():
        pass
    return train.result().network.state_dict()


@pytest.mark.parametrize(
    ("stop_after", "config"), [(1, CONFIG), (5, CONFIG), (7, CONFIG), (13, CONFIG), (7, BEAM), (7, DISORDERED), (7, TIED)]
)
def test_a_stopped_training_goes_on_to_the_same_bits(stop_after: int, config: TrainingConfig) -> None:
    world = small_world()
    straight = training(world, config)
    expected = finished(straight)
    stopped, resumed = training(world, config), training(world, config)
    for done, _ in enumerate(stopped.steps(), 1):
        if done == stop_after:
            break
    resumed.restore(stopped.state())
    got = finished(resumed)
    assert all(torch.equal(got[name], expected[name]) for name in expected)
    assert resumed.result().losses == straight.result().losses
    assert resumed.result().loss_curve == straight.result().loss_curve


@pytest.mark.parametrize("config", [TIED, dataclasses.replace(BEAM, tied_levels=True)])
def test_every_vector_is_up_to_date_where_it_is_read(config: TrainingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    world, update = small_world(num_items=300), TiedRows.update_on_cpu
    got = finished(training(world, config))

    def update_all(rows: TiedRows, gradients: Gradients, rate: float, num_steps: int) -> None:
        update(rows, gradients, rate, num_steps)
        rows.refresh()

    monkeypatch.setattr(TiedRows, "update_on_cpu", update_all)
    expected = finished(training(world, config))
    assert all(torch.equal(got[name], expected[name]) for name in expected)


def test_the_seed_decides() -> None:
    world = small_world()
    first, again = finished(training(world)), finished(training(world))
    assert torch.equal(first["vectors"], again["vectors"])
    other = Training(world.network, world.tree, world.histories, CONFIG, dataclasses.replace(PLAN, seed=6), judged)
    assert not torch.equal(first["vectors"], finished(other)["vectors"])


def test_nodes_of_the_beam_are_another_training_and_seeded_too() -> None:
    world = small_world()
    first, again = finished(training(world, BEAM)), finished(training(world, BEAM))
    assert torch.equal(first["vectors"], again["vectors"])
    assert not torch.equal(first["vectors"], finished(training(world))["vectors"])


def test_the_start_is_not_changed_and_the_loss_falls() -> None:
    world = small_world()
    before = world.network.vectors.detach().clone()
    config, plan = dataclasses.replace(CONFIG, learning_rate=1e-2), dataclasses.replace(PLAN, num_epochs=12)
    train = Training(world.network, world.tree, world.histories, config, plan, judged)
    finished(train)
    assert torch.equal(world.network.vectors, before)
    losses = train.result().losses
    assert losses[-1] < 0.95 * losses[0]


def test_a_training_that_diverges_stops_and_says_so() -> None:
    broken = training(small_world(), dataclasses.replace(CONFIG, learning_rate=1e30))
    with pytest.raises(FloatingPointError, match=r"after epoch 1 at training\.learning_rate 1e\+30 the loss is .* the training diverged"):
        finished(broken)


def test_patience_ends_it_and_the_best_epoch_is_kept() -> None:
    world, recalls, seen = small_world(), iter([0.1, 0.5, 0.4, 0.3, 0.9]), []

    def judge(network: JtmNetwork) -> Validation:
        seen.append(network.vectors.detach().clone())
        return Validation(next(recalls), 1.0, 0.1)

    plan, config = dataclasses.replace(PLAN, num_epochs=5), dataclasses.replace(CONFIG, patience=2)
    train = Training(world.network, world.tree, world.histories, config, plan, judge)
    kept = finished(train)
    assert len(train.result().validations) == 4
    assert train.result().best_epoch == 2
    assert torch.equal(kept["vectors"], seen[1])


def test_only_touched_rows_move() -> None:
    world = small_world(num_items=21)
    unused = sorted(set(range(31)) - {0} - set(np.concatenate([world.tree.used_nodes(level) for level in range(1, 5)]).tolist()))
    before = world.network.vectors.detach().clone()
    after = finished(training(world))["vectors"]
    assert torch.equal(after[0], before[0]), "the root is never scored"
    assert torch.equal(after[unused], before[unused])


def test_an_everybody_gets_the_same_list_network_is_called_undertrained() -> None:
    world = small_world()
    train = Training(world.network, world.tree, world.histories, CONFIG, PLAN, lambda network: Validation(0.1, 0.01, 0.97))
    finished(train)
    assert any("97%" in warning for warning in train.result().warnings)
    assert any("0.010" in warning for warning in train.result().warnings)


def test_histories_without_samples_are_refused() -> None:
    world = small_world()
    with pytest.raises(ValueError, match="no behaviour has the 99 behaviours before it"):
        training(world, dataclasses.replace(CONFIG, minimum_history=99))


def test_the_state_of_another_network_is_refused_and_changes_nothing() -> None:
    world, other = small_world(), training(small_world(num_items=70))
    train = training(world)
    before = train.digest()
    with pytest.raises(ValueError, match=r"the state lacks \['network.vectors', 'adam.row_moments'\] or has other shapes"):
        train.restore(other.state())
    with pytest.raises(ValueError, match="the state lacks"):
        train.restore({name: tensor for name, tensor in training(world).state().items() if name != "losses"})
    assert train.digest() == before


@pytest.mark.parametrize(("recalls", "has_copy"), [([0.1, 0.2, 0.3], False), ([0.1, 0.3, 0.2], True)])
def test_the_best_weights_are_copied_only_where_they_are_not_the_last(recalls: list[float], has_copy: bool) -> None:
    world, told, copies = small_world(), iter(recalls), list[bool]()
    train = Training(world.network, world.tree, world.histories, CONFIG, PLAN, lambda network: Validation(next(told), 1.0, 0.1))
    for _ in train.steps():
        copies.append(any(name.startswith("best.") for name in train.state()))
    assert not copies[0], "nothing is kept before the first validation"
    assert any(name.startswith("best.") for name in train.state()) == has_copy
    assert train.result().best_epoch == 1 + int(np.argmax(recalls))


def test_losses_are_means_over_samples_also_where_the_last_batch_is_small() -> None:
    train = training(small_world(), dataclasses.replace(CONFIG, batch_samples=70))
    told = [(progress.epoch, progress.loss) for progress in train.steps()]
    num_samples = train._num_samples
    assert 70 < num_samples < 100
    sizes = [70, num_samples - 70]
    expected = [np.dot([loss for epoch, loss in told if epoch == number], sizes) / num_samples for number in (1, 2, 3)]
    assert train.result().losses == pytest.approx(expected)
    assert train.result().loss_curve == pytest.approx([loss for _, loss in told])


def test_a_linear_schedule_takes_what_is_left_of_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    train, parts = training(small_world(), dataclasses.replace(CONFIG, rate_schedule="linear")), []
    step = train._optimiser.step
    monkeypatch.setattr(train._optimiser, "step", lambda gradients, part: (parts.append(part), step(gradients, part)))
    num_batches = max(progress.num_batches for progress in train.steps())
    expected = 1 - np.arange(3 * num_batches) / (3 * num_batches)
    assert np.allclose(parts, np.maximum(expected, 0.02))


def test_disorder_schedule_horizon_draws_and_ties_change_what_is_learnt() -> None:
    world = small_world()
    first = finished(training(world))
    for change in (
        {"order_noise": 0.5},
        {"rate_schedule": "linear"},
        {"horizon_share": 0.3},
        {"negative_draw": "even"},
        {"tied_levels": True},
    ):
        assert not torch.equal(first["vectors"], finished(training(world, dataclasses.replace(CONFIG, **change)))["vectors"])

"""A fit that is stopped anywhere and begun again ends with the bits of one that nobody stopped."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jtm_core.baselines.epochs import Oversight
from jtm_core.baselines.hsm import train_hsm
from jtm_core.baselines.product_dnn import new_product_network, train_product_dnn
from jtm_core.behaviours import evaluation_histories
from jtm_core.config import EvaluationConfig, JtmConfig, ModelConfig, SplitConfig, TrainingConfig, TreeLearningConfig
from jtm_core.experiment import new_network, planted_tree
from jtm_core.keeping import KeepNothing, training_name
from jtm_core.seeding import generator
from jtm_core.splitting import split_users
from jtm_core.synthetic import planted_world
from jtm_core.systems.fitted import FittedSystem, TreeSystem
from jtm_core.systems.fitting import fit_system
from jtm_core.systems.lessons import lessons_of
from jtm_core.systems.naming import SystemName, settings_of
from jtm_core.systems.rounds import Learner, Round, learn_in_rounds
from jtm_core.training import TrainingPlan

WORLD = planted_world(generator(3, "world"), num_users=100, num_items=64, num_groups=8)
SPLIT = split_users(WORLD.behaviours, SplitConfig(num_validation_users=10, num_test_users=10), seed=1)
LESSONS = lessons_of(WORLD.behaviours, SPLIT, WORLD.categories)
SHARED = JtmConfig(
    model=ModelConfig(window_sizes=(4, 2, 1), embedding_width=8, hidden_widths=(16, 8, 8)),
    training=TrainingConfig(epochs=2, later_epochs=1, batch_samples=256, negatives=20, learning_rate=1e-2),
    tree_learning=TreeLearningConfig(gap=3, validation_tolerance=0.0),
    evaluation=EvaluationConfig(cutoffs=(5,), beam_width=8, small_beam_width=8),
    iterations=2,
)


class Stopped(Exception):
    """What ends a fit in these tests."""


class InMemory:
    """Keeps copies, as a file would, and ends the fit as soon as something has been kept so many times."""

    def __init__(self) -> None:
        self.states: dict[str, dict[str, Tensor]] = {}
        self.heard: list[str] = []
        self.left = -1

    def kept(self, name: str) -> dict[str, Tensor] | None:
        return copied(self.states[name]) if name in self.states else None

    def keep(self, name: str, state: Callable[[], dict[str, Tensor]]) -> None:
        self.states[name] = copied(state())
        self.heard.append(name)
        self.left -= 1
        if self.left == 0:
            raise Stopped

    def keep_if_due(self, name: str, state: Callable[[], dict[str, Tensor]]) -> None:
        self.keep(name, state)

    def forget(self, name: str) -> None:
        self.states.pop(name, None)


def copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def fit(name: SystemName, keeper: InMemory) -> FittedSystem:
    settings = settings_of(name, SHARED)
    return fit_system(name, LESSONS, replace(settings, seed=2), lambda done, total, note: None, keeper=keeper)


def assert_alike(first: FittedSystem, second: FittedSystem) -> None:
    assert first.rounds == second.rounds or str(first.rounds) == str(second.rounds)  # nan is not equal to itself
    known = evaluation_histories(WORLD.behaviours, SPLIT.test)
    assert np.array_equal(first.recommend(known, 20), second.recommend(known, 20))
    if isinstance(first, TreeSystem) and isinstance(second, TreeSystem):
        assert np.array_equal(first.tree.leaf_of_item, second.tree.leaf_of_item)
        ours, theirs = first.network.state_dict(), second.network.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("name", ["jtm", "jtm-otm", "tdm-two-means", "dnn", "product-dnn", "hsm"])
def test_a_fit_stopped_again_and_again_ends_as_one_that_was_not(name: SystemName) -> None:
    """Every call may keep a few times before it is stopped, which is in the middle of trainings and right after rounds."""
    straight = fit(name, straight_keeper := InMemory())
    keeper, stops = InMemory(), 0
    steps = 1 if name in ("product-dnn", "hsm") else 7
    while True:
        keeper.left = steps
        try:
            resumed = fit(name, keeper)
            break
        except Stopped:
            stops += 1
    assert_alike(resumed, straight)
    assert stops >= 3
    assert keeper.heard == straight_keeper.heard  # no batch, no epoch and no round was done twice
    assert keeper.heard.count("training-0") >= 2


@pytest.mark.parametrize("name", ["product-dnn", "hsm"])
def test_a_training_that_patience_has_ended_is_not_gone_on_with(name: str) -> None:
    """Stopped right after the last epoch that patience allows: what is left is to give the best epoch's weights back."""
    recalls, weights = iter((0.1, 0.3, 0.3, 0.2)), list[dict[str, Tensor]]()

    def judge(network: nn.Module) -> float:
        weights.append(copied(network.state_dict()))
        return next(recalls)

    settings, keeper = settings_of("hsm", SHARED), InMemory()
    plan = TrainingPlan(first_level=0, num_epochs=9, seed=1, iteration=0)
    shared, tree = (LESSONS.histories, settings.training, plan), planted_tree(WORLD.categories, lambda: LESSONS.histories, settings)
    train = {
        "product-dnn": partial(train_product_dnn, new_product_network(settings.model, 64, 1), *shared),
        "hsm": partial(train_hsm, new_network(tree, settings, None), tree, *shared),
    }[name]
    keeper.left = 4
    with pytest.raises(Stopped):
        train(Oversight(judge, keeper=keeper))
    network, curve = train(Oversight(judge, keeper=keeper))
    assert curve.recalls == (0.1, 0.3, 0.3, 0.2)
    assert len(weights) == 4
    assert all(torch.equal(tensor, weights[1][key]) for key, tensor in network.state_dict().items())


def test_a_training_on_another_tree_is_begun_anew() -> None:
    """As where a fit goes on on a machine whose sums round otherwise, and with them its tree."""
    straight, keeper = fit("jtm", InMemory()), InMemory()
    while "training-1" not in keeper.states:
        keeper.left = 1
        with pytest.raises(Stopped):
            fit("jtm", keeper)
    state = keeper.states["training-1"]
    state["tree.leaf_of_item"] = state["tree.leaf_of_item"].flip(0)
    state["network.vectors"] *= 2
    keeper.left = -1
    assert_alike(fit("jtm", keeper), straight)


def test_the_loop_comes_back_to_the_best_round_after_a_stop() -> None:
    """Round 1 is refused, so round 2 starts from round 0, whose model is kept for that."""
    starts: list[float | None] = []

    def learn(iteration: int, start: Tensor | None) -> tuple[Tensor, Round]:
        starts.append(None if start is None else start.item())
        return torch.tensor(10.0 + iteration), Round(
            iteration=iteration, losses=(), recalls=([0.5, 0.1, 0.4][iteration],), moved_share=0.25
        )

    learner = Learner(learn, lambda model: {"value": model}, lambda state: state["value"])
    keeper, straight = InMemory(), learn_in_rounds(learner, 2, 0.05, KeepNothing())
    assert starts == [None, 10.0, 10.0]
    for _ in range(2):
        keeper.left = 1
        with pytest.raises(Stopped):
            learn_in_rounds(learner, 2, 0.05, keeper)
    starts.clear()
    model, rounds = learn_in_rounds(learner, 2, 0.05, keeper)
    assert starts == [10.0]
    assert (model.item(), [made.is_accepted for made in rounds]) == (10.0, [True, False, False])
    assert (model.item(), str(rounds)) == (straight[0].item(), str(straight[1]))


def test_the_loop_goes_on_from_the_last_accepted_round_and_ends_with_the_best() -> None:
    """A round within the tolerance is gone on from though it is not the best; a round is worth its best epoch."""
    recalls, starts, keeper = ((0.5, 0.2), (0.49,), (0.48, 0.1), (0.3,)), list[float | None](), InMemory()

    def learn(iteration: int, start: Tensor | None) -> tuple[Tensor, Round]:
        starts.append(None if start is None else start.item())
        keeper.keep_if_due(training_name(iteration), lambda: {"batch": torch.tensor(3)})
        return torch.tensor(10.0 + iteration), Round(iteration=iteration, losses=(), recalls=recalls[iteration])

    learner = Learner(learn, lambda model: {"value": model}, lambda state: state["value"])
    model, rounds = learn_in_rounds(learner, 3, 0.05, keeper)
    assert starts == [None, 10.0, 11.0, 12.0]
    assert model.item() == 10.0
    assert [made.is_accepted for made in rounds] == [True, True, True, False]
    assert [made.recall for made in rounds] == [0.5, 0.49, 0.48, 0.3]
    assert list(keeper.states) == ["rounds"]

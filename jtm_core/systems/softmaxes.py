"""Product-DNN and HSM, trained in the same rounds as the systems of Algorithm 1, though nothing but weights changes in them.

So all learned systems have the same epochs, start every round with new moments from the accepted weights, and are stopped and
judged by the same validation users.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from torch import nn

from jtm_core.baselines.epochs import Curve, Oversight
from jtm_core.baselines.hsm import HierarchicalSoftmax, train_hsm
from jtm_core.baselines.product_dnn import ProductDNN, ProductNetwork, new_product_network, train_product_dnn
from jtm_core.config import JtmConfig
from jtm_core.experiment import counted_neighbours, new_network, planted_tree
from jtm_core.keeping import Keeper, State
from jtm_core.model import JtmNetwork, on_device
from jtm_core.systems.fitted import PlainSystem
from jtm_core.systems.lessons import Lessons
from jtm_core.systems.rounds import Learner, Report, Round, learn_in_rounds
from jtm_core.systems.schedules import Schedule

Network = TypeVar("Network", bound=nn.Module)


def fit_product_dnn(lessons: Lessons, config: JtmConfig, report: Report, keeper: Keeper) -> PlainSystem:
    """Fit YouTube's product-DNN; see :func:`jtm_core.systems.fitting.fit_system`."""
    schedule = Schedule(config, report)

    def untrained() -> ProductNetwork:
        return new_product_network(config.model, lessons.num_items, config.seed)

    def recall_of(network: ProductNetwork) -> float:
        return lessons.recall_of(ProductDNN(network, ()), config.evaluation)

    def learn(iteration: int, start: ProductNetwork | None) -> tuple[ProductNetwork, Round]:
        oversight = Oversight(recall_of, partial(_show, schedule, iteration), keeper)
        histories, plan = lessons.histories_of(iteration), schedule.plan(iteration)
        network, curve = train_product_dnn(start or untrained(), histories, config.training, plan, oversight)
        return network, _round(iteration, curve)

    learner = Learner(learn, nn.Module.state_dict, partial(_with_weights, untrained))
    network, rounds = learn_in_rounds(learner, config.iterations, config.tree_learning.validation_tolerance, keeper)
    losses = tuple(loss for made in rounds for loss in made.losses)
    return PlainSystem(ProductDNN(network, losses), rounds)


def fit_hsm(lessons: Lessons, config: JtmConfig, report: Report, keeper: Keeper) -> PlainSystem:
    """Fit HSM on the first tree; see :func:`jtm_core.systems.fitting.fit_system`."""
    schedule, width = Schedule(config, report), config.evaluation.beam_width
    tree = planted_tree(lessons.categories, lambda: lessons.histories, config)
    neighbours = counted_neighbours(lambda: lessons.histories, lessons.num_items, config.model)

    def untrained() -> JtmNetwork:
        return on_device(new_network(tree, config, neighbours))

    def recall_of(network: JtmNetwork) -> float:
        return lessons.recall_of(HierarchicalSoftmax(network, tree, width), config.evaluation)

    def learn(iteration: int, start: JtmNetwork | None) -> tuple[JtmNetwork, Round]:
        oversight = Oversight(recall_of, partial(_show, schedule, iteration), keeper)
        histories, plan = lessons.histories_of(iteration), schedule.plan(iteration)
        network, curve = train_hsm(start or untrained(), tree, histories, config.training, plan, oversight)
        return network, _round(iteration, curve)

    learner = Learner(learn, nn.Module.state_dict, partial(_with_weights, untrained))
    network, rounds = learn_in_rounds(learner, config.iterations, config.tree_learning.validation_tolerance, keeper)
    return PlainSystem(HierarchicalSoftmax(network, tree, width), rounds)


def _with_weights(untrained: Callable[[], Network], state: State) -> Network:
    network = untrained()
    network.load_state_dict(state)
    return network


def _round(iteration: int, curve: Curve) -> Round:
    return Round(iteration=iteration, losses=curve.losses, recalls=curve.recalls)


def _show(schedule: Schedule, iteration: int, epochs_done: int, recall: float) -> None:
    schedule.show(iteration, epochs_done, f"validation recall {recall:.4f}")

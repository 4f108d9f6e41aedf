"""Algorithm 1 in memory: the systems on a tree, JTM with its ablations and TDM, and the DNN.

Each round is the flow's (``flows/train_jtm.py``) with the same core calls, so the same settings give the same bits.
"""

from dataclasses import dataclass
from math import nan

import torch

from jtm_core.behaviours import item_weights
from jtm_core.carry import carry_inner_vectors
from jtm_core.config import JtmConfig
from jtm_core.evaluation import Questions, validate
from jtm_core.experiment import clustered_tree, counted_neighbours, learning_samples, make_training, new_network, planted_tree
from jtm_core.keeping import Keeper, State, part, prefixed, training_name
from jtm_core.model import JtmNetwork, on_device
from jtm_core.systems.lessons import Lessons
from jtm_core.systems.rounds import Learner, Report, Round, learn_in_rounds
from jtm_core.systems.schedules import Schedule
from jtm_core.training import Training
from jtm_core.tree import TreeIndex, match_siblings, moved_shares
from jtm_core.tree_learning import TreeLearner
from jtm_core.windows import reading_of

_TREE = "tree.leaf_of_item"


@dataclass(frozen=True, slots=True, eq=False)
class Grown:
    """A network and its tree."""

    network: JtmNetwork
    tree: TreeIndex


@dataclass(frozen=True, slots=True)
class _TreeStep:
    """What learning a tree did: objective before and after (nan if not measured), share of items moved up to siblings, and raw."""

    objective_before: float = nan
    objective_after: float = nan
    moved_share: float = 0.0
    raw_moved_share: float = 0.0


def _packed(grown: Grown) -> State:
    tree = {_TREE: torch.from_numpy(grown.tree.leaf_of_item), "tree.height": torch.tensor(grown.tree.height)}
    return {**tree, **prefixed(grown.network.state_dict(), "network.")}


class JointLearning:
    """Algorithm 1 over lessons.

    Parameters
    ----------
    lessons : Lessons
    config : JtmConfig
    report : callable
        See :data:`jtm_core.systems.rounds.Report`.
    keeper : Keeper
        Keeps the rounds that are done and the training under way.
    """

    def __init__(self, lessons: Lessons, config: JtmConfig, report: Report, keeper: Keeper) -> None:
        self._lessons, self._config, self._schedule, self._keeper = lessons, config, Schedule(config, report), keeper
        self._neighbours = counted_neighbours(lambda: lessons.histories, lessons.num_items, config.model)
        self._reading = reading_of(config.model, self._neighbours)
        self._asked: Questions = lessons.questions(self._reading)

    def run(self) -> tuple[Grown, tuple[Round, ...]]:
        """All iterations; the network and the tree of the best one, and the record of all."""
        learner = Learner(self._learn, _packed, self._unpacked)
        return learn_in_rounds(learner, self._config.iterations, self._config.tree_learning.validation_tolerance, self._keeper)

    def _unpacked(self, state: State) -> Grown:
        tree = TreeIndex(state[_TREE].numpy(), int(state["tree.height"]))
        network = new_network(tree, self._config, self._neighbours)
        network.load_state_dict(part(state, "network."))
        return Grown(on_device(network), tree)

    def _learn(self, iteration: int, start: Grown | None) -> tuple[Grown, Round]:
        """One iteration: a tree and a network to start from, training, what both did."""
        if start is None:
            tree = planted_tree(self._lessons.categories, lambda: self._lessons.histories, self._config)
            return self._trained(iteration, Grown(on_device(new_network(tree, self._config, self._neighbours)), tree), nan, _TreeStep())
        grown, step = self._grown(iteration, start)
        before = validate(grown.network, grown.tree, self._asked, self._config.evaluation, self._config.first_level)
        return self._trained(iteration, grown, before.recall, step)

    def _grown(self, iteration: int, start: Grown) -> tuple[Grown, _TreeStep]:
        """The next tree with the network's inner vectors carried over to it."""
        config, network, old, histories = self._config, start.network, start.tree, self._lessons.histories_of(iteration)
        if config.tree_learning.method == "fixed":
            return start, _TreeStep()
        weights = item_weights(histories.values, old.num_items)
        if config.tree_learning.method == "two_means":
            new = clustered_tree(iteration, network, old, config.seed)
            moved = moved_shares(old, match_siblings(old, new))[-1], moved_shares(old, new)[-1]
            return Grown(carry_inner_vectors(network, old, new, weights), new), _TreeStep(nan, nan, *map(float, moved))
        self._schedule.show(iteration, 0, "tree learning")
        samples = learning_samples(iteration, histories, config)
        learned = TreeLearner(network, old, histories, samples, config.tree_learning, config.first_level).learn(
            lambda sweep, share: self._schedule.show(iteration, 0, f"tree learning, {100 * share:.0f} % of sweep {sweep} done")
        )
        moved = learned.moved_shares[-1], learned.raw_moved_shares[-1]
        step = _TreeStep(learned.objective_before, learned.objective_after, *map(float, moved))
        return Grown(carry_inner_vectors(network, old, learned.tree, weights), learned.tree), step

    def _trained(self, iteration: int, start: Grown, recall_before: float, step: _TreeStep) -> tuple[Grown, Round]:
        """Train on a tree; the network of the best epoch, and the record of the iteration."""
        config, lessons = self._config, self._lessons
        plan = self._schedule.plan(iteration)
        histories, name = lessons.histories_of(iteration), training_name(iteration)
        training = make_training(start.network, start.tree, histories, self._asked, plan, config)
        self._restore(training, start.tree, name)
        for progress in training.steps():
            done = progress.epoch - 1 + progress.batch / progress.num_batches
            self._schedule.show(iteration, done, f"epoch {progress.epoch} of {plan.num_epochs}, loss {progress.loss:.4f}")
            self._keeper.keep_if_due(name, lambda: {**training.state(), _TREE: torch.from_numpy(start.tree.leaf_of_item)})
        result = training.result()
        made = Round(
            iteration=iteration,
            losses=tuple(result.losses),
            recalls=tuple(validation.recall for validation in result.validations),
            recall_before=recall_before,
            objective_before=step.objective_before,
            objective_after=step.objective_after,
            moved_share=step.moved_share,
            raw_moved_share=step.raw_moved_share,
        )
        return Grown(result.network, start.tree), made

    def _restore(self, training: Training, tree: TreeIndex, name: str) -> None:
        """Go on from a state of this training, if one is kept; one of another tree, which other machines could learn, is let go of."""
        state = self._keeper.kept(name)
        if state is None:
            return
        if torch.equal(state.pop(_TREE, torch.empty(0)), torch.from_numpy(tree.leaf_of_item)):
            training.restore(state)
        else:
            self._keeper.forget(name)

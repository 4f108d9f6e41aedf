"""How many epochs each round of a learned system has, and how far all of them are."""

from dataclasses import dataclass

from jtm_core.config import JtmConfig
from jtm_core.systems.rounds import Report
from jtm_core.training import TrainingPlan


@dataclass(frozen=True, slots=True)
class Schedule:
    """The epochs of all rounds of one config, the same for every learned system.

    Parameters
    ----------
    config : JtmConfig
    report : callable
        See :data:`jtm_core.systems.rounds.Report`.
    """

    config: JtmConfig
    report: Report

    def plan(self, iteration: int) -> TrainingPlan:
        """The training of one iteration."""
        training = self.config.training
        return TrainingPlan(self.config.first_level, training.later_epochs if iteration else training.epochs, self.config.seed, iteration)

    def show(self, iteration: int, done: float, note: str) -> None:
        """Report epochs done of an iteration as epochs of all."""
        epochs, later = self.config.training.epochs, self.config.training.later_epochs
        before = epochs + (iteration - 1) * later if iteration else 0
        self.report(before + done, epochs + self.config.iterations * later, f"iteration {iteration}: {note}")

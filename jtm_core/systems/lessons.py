"""What every system is given to learn from."""

from dataclasses import dataclass

import numpy as np

from jtm_core.baselines.protocol import Recommender
from jtm_core.behaviours import (
    Behaviours,
    Ints,
    Ragged,
    Split,
    TrainingHistories,
    evaluation_histories,
    evaluation_truths,
    training_histories,
)
from jtm_core.config import EvaluationConfig
from jtm_core.evaluation import Questions
from jtm_core.gate import deciding_cutoff
from jtm_core.metrics import metrics_at
from jtm_core.windows import Reading, windows_of


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """Training histories, and the validation users who decide early stopping and the gate.

    Parameters
    ----------
    histories : TrainingHistories
        What may be learned from; systems that learn in rounds take every behaviour for a target in the first.
    num_items : int
        Size of the vocabulary; item ids are 0 .. num_items - 1.
    categories : int64 array (num_items,)
        Category of every item, -1 unknown; for first trees.
    known, asked : Ragged of E rows
        Of each validation user what is known and what is to be found, at least 1 of either.

    Raises
    ------
    ValueError
        If the parts do not fit together, an item id is out of range, or a validation user has nothing known or asked.
    """

    histories: TrainingHistories
    num_items: int
    categories: Ints
    known: Ragged
    asked: Ragged

    def __post_init__(self) -> None:
        if len(self.categories) != self.num_items or self.num_items < 1:
            raise ValueError(f"{len(self.categories)} categories for {self.num_items} items; there must be one each, and 1 item or more")
        for name in ("histories", "known", "asked"):
            values = getattr(self, name).values
            if len(values) and not 0 <= values.min() <= values.max() < self.num_items:
                raise ValueError(f"{name} hold the item ids {values.min()} .. {values.max()}; allowed are 0 .. {self.num_items - 1}")
        if len(self.known) != len(self.asked) or not len(self.known):
            raise ValueError(
                f"{len(self.known)} rows known, {len(self.asked)} asked; there must be one each, and 1 validation user or more"
            )
        for name in ("known", "asked"):
            empty = np.flatnonzero(np.diff(getattr(self, name).offsets) == 0)
            if len(empty):
                raise ValueError(f"rows {empty[:5].tolist()} of {name} are empty; a validation user has at least 1 behaviour in each")

    def histories_of(self, iteration: int) -> TrainingHistories:
        """What one round learns from."""
        return self.histories if iteration else TrainingHistories.without_context(self.histories)

    def questions(self, reading: Reading) -> Questions:
        """The validation users as the search sees them."""
        return Questions(self.known, self.asked, windows_of(self.known, reading))

    def recall_of(self, recommender: Recommender, evaluation: EvaluationConfig) -> float:
        """Recall at :func:`jtm_core.gate.deciding_cutoff`, for any recommender, seen items in or out as ``filter_seen`` says."""
        last = deciding_cutoff(evaluation.cutoffs, self.num_items)
        lists = recommender.recommend(self.known, last, self.known if evaluation.filter_seen else None)
        return float(metrics_at(lists, self.asked, self.known, [last], evaluation.truth)[f"recall_at_{last}"].mean())


def lessons_of(behaviours: Behaviours, split: Split, categories: Ints, newest_share: float = 1.0) -> Lessons:
    """The lessons of prepared data: training and validation behaviours, nothing of the test users.

    ``newest_share`` of the training behaviours are targets, see :func:`jtm_core.behaviours.training_histories`.
    """
    known, asked = evaluation_histories(behaviours, split.validation), evaluation_truths(behaviours, split.validation)
    return Lessons(training_histories(behaviours, split, newest_share), behaviours.num_items, categories, known, asked)

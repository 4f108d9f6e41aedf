"""The lines that any learned system has to lie above: which they are, and what they are worth."""

from collections.abc import Callable, Mapping

from jtm_core.baselines.item_cf import ItemCF
from jtm_core.baselines.personal_popularity import PersonalPopularity
from jtm_core.baselines.popularity import Popularity
from jtm_core.baselines.protocol import Recommender
from jtm_core.behaviours import (
    Behaviours,
    EvaluationUsers,
    Ints,
    Ragged,
    Split,
    evaluation_histories,
    evaluation_truths,
    training_histories,
)
from jtm_core.config import EvaluationConfig
from jtm_core.counting_config import CountingConfig
from jtm_core.metrics import Floats, mean_metrics, metrics_at


def line_makers(behaviours: Behaviours, split: Split, asked: Ints) -> dict[str, Callable[[], Recommender]]:
    """How to fit each line to the training behaviours, by name.

    Parameters
    ----------
    behaviours : Behaviours
    split : Split
    asked : int64 array
        Items of the histories that will be asked about; of others Item-CF keeps no neighbours.
    """
    histories, num_items, recent = training_histories(behaviours, split), behaviours.num_items, CountingConfig().recent_share
    return {
        "popularity": lambda: Popularity.fit(histories, num_items),
        "recent-popularity": lambda: Popularity.fit(training_histories(behaviours, split, recent).targets(), num_items),
        "personal-popularity": lambda: PersonalPopularity.fit(histories, num_items),
        "item-cf": lambda: ItemCF.fit(histories, num_items, wanted=asked),
        "item-cf-bm25": lambda: ItemCF.fit(histories, num_items, wanted=asked, weighting="bm25"),
    }


def line_lists(recommender: Recommender, known: Ragged, count: int) -> dict[str, Ints]:
    """Lists of one line for each of E histories, seen items left in and (``filtered/``) left out: int64 arrays (E, count)."""
    return {prefix: recommender.recommend(known, count, excluded) for prefix, excluded in (("", None), ("filtered/", known))}


def measure_lists(lists: Mapping[str, Ints], known: Ragged, truths: Ragged, config: EvaluationConfig) -> dict[str, Floats]:
    """Metrics of lists for each of E users, by the lists' prefix: float64 arrays (E,)."""
    measured = {prefix: metrics_at(items, truths, known, config.cutoffs, config.truth) for prefix, items in lists.items()}
    return {f"{prefix}{name}": values for prefix, metrics in measured.items() for name, values in metrics.items()}


def judge_line(recommender: Recommender, behaviours: Behaviours, users: EvaluationUsers, config: EvaluationConfig) -> dict[str, float]:
    """Mean metrics of one line over users, seen items left in and (``filtered/``) left out."""
    known, truths = evaluation_histories(behaviours, users), evaluation_truths(behaviours, users)
    return mean_metrics(measure_lists(line_lists(recommender, known, config.cutoffs[-1]), known, truths, config))

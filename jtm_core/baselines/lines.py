"""The lines that any learned system has to lie above: which they are, and what they are worth."""

from collections.abc import Callable

from jtm_core.baselines.item_cf import ItemCF
from jtm_core.baselines.personal_popularity import PersonalPopularity
from jtm_core.baselines.popularity import Popularity
from jtm_core.baselines.protocol import Recommender
from jtm_core.behaviours import Behaviours, EvaluationUsers, Ints, Split, evaluation_histories, evaluation_truths, training_histories
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


def measure_line(recommender: Recommender, behaviours: Behaviours, users: EvaluationUsers, config: EvaluationConfig) -> dict[str, Floats]:
    """Metrics of one line for each of E users, seen items left in and (``filtered/``) left out: float64 arrays (E,)."""
    known, truths = evaluation_histories(behaviours, users), evaluation_truths(behaviours, users)
    metrics: dict[str, Floats] = {}
    for prefix, excluded in (("", None), ("filtered/", known)):
        lists = recommender.recommend(known, config.cutoffs[-1], excluded)
        values = metrics_at(lists, truths, known, config.cutoffs, config.truth)
        metrics |= {f"{prefix}{name}": value for name, value in values.items()}
    return metrics


def judge_line(recommender: Recommender, behaviours: Behaviours, users: EvaluationUsers, config: EvaluationConfig) -> dict[str, float]:
    """Means of :func:`measure_line`."""
    return mean_metrics(measure_line(recommender, behaviours, users, config))

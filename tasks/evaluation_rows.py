"""Figures of an evaluation as rows of a table and as metrics, by the same names wherever they are shown."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jtm_core.config import EvaluationConfig

if TYPE_CHECKING:
    from tasks.tracking.records import Row

Metrics = Mapping[str, Mapping[str, float | None]]
"""Group of users -> flat metric name -> mean over them."""

SEARCHES = {"": "beam", "small_beam/": "small beam", "full_scan/": "full scan", "filtered/": "beam, seen items left out"}
"""What the lists of a version are called, by the prefix of their metrics."""


def evaluation_rows(metrics: Mapping[str, float], evaluation: EvaluationConfig, titles: Mapping[str, str] = SEARCHES) -> "list[Row]":
    """One row per prefix of metrics, titled: recall, precision, F-measure, NDCG at every cut-off."""
    names = [f"{measure}_at_{cutoff}" for cutoff in evaluation.cutoffs for measure in ("recall", "precision", "f_measure", "ndcg")]
    return [
        {"search": title, **{name: round(metrics[prefix + name], 5) if prefix + name in metrics else None for name in names}}
        for prefix, title in titles.items()
    ]


def baseline_recalls(systems: Mapping[str, Metrics]) -> dict[str, float]:
    """Recall of all baselines, by names that put them side by side in MLflow, behind JTM's own.

    Examples
    --------
    >>> baseline_recalls({"item-cf": {"test": {"recall_at_10": 0.25, "filtered/recall_at_10": 0.5, "ndcg_at_10": 0.1}}})
    {'test/baselines/recall_at_10_item-cf': 0.25, 'test/baselines_filtered/recall_at_10_item-cf': 0.5}
    """
    recalls = {}
    for system, of_users in systems.items():
        for users, metrics in of_users.items():
            for name, value in metrics.items():
                search, _, metric = name.rpartition("/")
                if value is not None and metric.startswith("recall_at_"):
                    recalls[f"{users}/baselines{search and '_'}{search}/{metric}_{system}"] = value
    return recalls

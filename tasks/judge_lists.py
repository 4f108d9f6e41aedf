"""Judge the lists of one run of a system, in the same way for all systems."""

from typing import TYPE_CHECKING

from jtm_core.config import EvaluationConfig, JtmConfig
from tasks.artefacts import read_data, read_lists, save_report
from tasks.caching import step, step_logger
from tasks.references import DataReferences, FittedRun, ReportRef
from tasks.store import open_store

if TYPE_CHECKING:
    from jtm_core.behaviours import Behaviours, EvaluationUsers, Ints
    from jtm_core.formats.arrays import Arrays

SEEN = {"": "", "filtered/": "_filtered"}
"""Part of a metric's name -> ending of the lists' name: with seen items, and without."""


@step(run_name="judge-lists-{data.name}-{fitted.system}-{fitted.seed}{fitted.variation}", uses=("evaluation",))
def judge_lists(fitted: FittedRun, data: DataReferences, config: JtmConfig) -> ReportRef:
    """Accuracy, novelty, coverage and popularity of a run's lists.

    Parameters
    ----------
    fitted : FittedRun
    data : DataReferences
    config : JtmConfig

    Returns
    -------
    ReportRef
        JSON ``{"validation": {"recall_at_10": 0.1, "filtered/recall_at_10": 0.1, "coverage_at_10": 0.5, ...}, "test": {...}}``.
    """
    import numpy as np

    from jtm_core.behaviours import training_histories

    store = open_store()
    behaviours, split = read_data(store, data)
    popularity = np.bincount(training_histories(behaviours, split).values, minlength=behaviours.num_items)
    lists = read_lists(store, fitted.lists)
    judges = {"validation": split.validation, "test": split.test}
    metrics = {role: judged(lists, role, behaviours, users, (popularity, config.evaluation)) for role, users in judges.items()}
    shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics["test"].items() if name.startswith("recall_at_"))
    step_logger().info("%s, seed %d, test users: %s", fitted.system, fitted.seed, shown)
    return save_report(store, "judgement", metrics)


def judged(
    lists: "Arrays", role: str, behaviours: "Behaviours", users: "EvaluationUsers", by: "tuple[Ints, EvaluationConfig]"
) -> dict[str, float]:
    """Mean metrics of one group of users by the popularity of items and the evaluation's settings."""
    from jtm_core.behaviours import evaluation_histories, evaluation_truths
    from jtm_core.list_measures import list_measures
    from jtm_core.metrics import mean_metrics, metrics_at

    popularity, evaluation = by
    known, truths = (evaluation_histories(behaviours, users), evaluation_truths(behaviours, users))
    metrics: dict[str, float] = {}
    for prefix, ending in SEEN.items():
        listed = lists[role + ending].astype(int)
        means = mean_metrics(metrics_at(listed, truths, known, evaluation.cutoffs, evaluation.truth))
        means |= list_measures(listed, popularity, evaluation.cutoffs)
        metrics |= {f"{prefix}{name}": value for name, value in means.items()}
    return metrics

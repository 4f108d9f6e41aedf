"""Popularity and Item-CF, by cosine and by BM25, on the same data, users and metrics: the lines JTM has to lie above."""

from typing import TYPE_CHECKING

from jtm_core.config import EvaluationConfig, JtmConfig
from tasks.artefacts import read_data, save_report
from tasks.caching import step
from tasks.progress import Progress, artifact_key
from tasks.references import DataReferences, ReportRef
from tasks.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from jtm_core.baselines.protocol import Recommender
    from jtm_core.behaviours import Behaviours, EvaluationUsers


@step(run_name="compare-baselines-{data.name}", uses=("evaluation",))
def compare_baselines(data: DataReferences, config: JtmConfig) -> ReportRef:
    """Evaluate the baselines, with and without the items a user has seen.

    Returns
    -------
    ReportRef
        JSON ``{"systems": [{"name": "popularity", "metrics": {"validation": {...}, "test": {...}}}, ...]}``.
    """
    import numpy as np

    from jtm_core.baselines.item_cf import ItemCF
    from jtm_core.baselines.personal_popularity import PersonalPopularity
    from jtm_core.baselines.popularity import Popularity
    from jtm_core.behaviours import evaluation_histories, training_histories

    store = open_store()
    behaviours, split = read_data(store, data)
    histories = training_histories(behaviours, split)
    asked = np.concatenate([evaluation_histories(behaviours, users).values for users in (split.validation, split.test)])
    makers: dict[str, Callable[[], Recommender]] = {
        "popularity": lambda: Popularity.fit(histories, behaviours.num_items),
        "personal-popularity": lambda: PersonalPopularity.fit(histories, behaviours.num_items),
        "item-cf": lambda: ItemCF.fit(histories, behaviours.num_items, wanted=asked),
        "item-cf-bm25": lambda: ItemCF.fit(histories, behaviours.num_items, wanted=asked, weighting="bm25"),
    }
    judges = {"validation": split.validation, "test": split.test}
    systems = []
    with Progress(artifact_key("compare-baselines", data.name), "systems") as progress:
        for number, (name, make) in enumerate(makers.items()):
            progress.show(number, len(makers), name)
            recommender = make()
            metrics = {role: judge(recommender, behaviours, users, config.evaluation) for role, users in judges.items()}
            systems.append({"name": name, "metrics": metrics})
    return save_report(store, "baselines", {"systems": systems})


def judge(recommender: "Recommender", behaviours: "Behaviours", users: "EvaluationUsers", config: EvaluationConfig) -> dict[str, float]:
    """Mean metrics of one system, seen items left in and (``filtered/``) left out."""
    from jtm_core.behaviours import evaluation_histories, evaluation_truths
    from jtm_core.metrics import mean_metrics, metrics_at

    known, truths = evaluation_histories(behaviours, users), evaluation_truths(behaviours, users)
    longest = config.cutoffs[-1]
    metrics: dict[str, float] = {}
    for prefix, excluded in (("", None), ("filtered/", known)):
        lists = recommender.recommend(known, longest, excluded)
        means = mean_metrics(metrics_at(lists, truths, known, config.cutoffs, config.truth))
        metrics |= {f"{prefix}{name}": value for name, value in means.items()}
    return metrics

"""Search a fitted system's tree as a server would: by beams of many widths, user by user, against the full scan."""

import math
import statistics
import time
from typing import TYPE_CHECKING

from jtm_core.config import JtmConfig
from tasks.artefacts import read_data, read_network, read_tree, save_report
from tasks.caching import step
from tasks.progress import Progress, artifact_key
from tasks.references import DataReferences, FittedRun, SearchedTree
from tasks.store import open_store

if TYPE_CHECKING:
    from jtm_core.behaviours import Ragged
    from jtm_core.evaluation import Questions
    from jtm_core.model import JtmNetwork
    from jtm_core.tree import TreeIndex

TIMED_USERS = 200
"""Users asked one at a time for the latency of a beam width."""
_WARM_UP = 5


@step(run_name="search-tree-{data.name}-{fitted.system}-{fitted.seed}{fitted.variation}", uses=("evaluation",))
def search_tree(fitted: FittedRun, data: DataReferences, config: JtmConfig, beams: tuple[int, ...]) -> SearchedTree:
    """Measure recall and latency by beam width, full scan, search loss and layer-wise recall on test users.

    Parameters
    ----------
    fitted : FittedRun
        One without a tree gives empty reports.
    data : DataReferences
    config : JtmConfig
        Settings of the run.
    beams : tuple of int
        Beam widths.
    """
    from jtm_core.evaluation import evaluate, questions_of

    store = open_store()
    if fitted.tree is None or fitted.model is None or fitted.first_level is None:
        return SearchedTree(metrics=save_report(store, "searches", {"test": {}}), timings=save_report(store, "timings", {}))
    behaviours, split = read_data(store, data)
    network, tree = read_network(store, fitted.model), read_tree(store, fitted.tree)
    asked = questions_of(behaviours, split.test, network.reading)
    metrics: dict[str, float] = {}
    timings: dict[str, float] = {}
    with Progress(artifact_key("search-tree", data.name, fitted.system, str(fitted.seed), fitted.variation), "beam widths") as progress:
        for number, width in enumerate(beams):
            progress.show(number, len(beams) + 1, f"beam {width}")
            prefix = f"beam_{width:04d}/"
            found = beam_recalls(network, tree, asked, config, (fitted.first_level, width))
            metrics |= {f"{prefix}{name}": value for name, value in found.items()}
            timings[f"{prefix}milliseconds"] = milliseconds_a_user(network, tree, asked.histories, (fitted.first_level, width))
        progress.show(len(beams), len(beams) + 1, "full scan")
        whole = evaluate(network, tree, asked, config.evaluation, fitted.first_level).metrics
    kept = ("full_scan/", "full_scan_filtered/", "search_loss/", "layer_recall/", "small_beam/")
    metrics |= {name: float(value) for name, value in sorted(whole.items()) if name.startswith(kept) and math.isfinite(value)}
    return SearchedTree(metrics=save_report(store, "searches", {"test": metrics}), timings=save_report(store, "timings", timings))


def beam_recalls(
    network: "JtmNetwork", tree: "TreeIndex", asked: "Questions", config: JtmConfig, search: tuple[int, int]
) -> dict[str, float]:
    """Mean recall at every cut-off of a search from ``first_level`` with a beam of ``width``; what a narrow beam lacks is missed."""
    from jtm_core.metrics import mean_metrics, metrics_at
    from jtm_core.systems.retrieval import BeamRecommender

    evaluation = config.evaluation
    lists = BeamRecommender(network, tree, *search).recommend(asked.histories, evaluation.cutoffs[-1])
    means = mean_metrics(metrics_at(lists, asked.truths, asked.histories, evaluation.cutoffs, evaluation.truth))
    return {name: value for name, value in means.items() if name.startswith("recall_at_")}


def milliseconds_a_user(network: "JtmNetwork", tree: "TreeIndex", histories: "Ragged", search: tuple[int, int]) -> float:
    """Median time of one user at a time, as in serving, over the first :data:`TIMED_USERS` users, as many items as the beam is wide."""
    from jtm_core.serving import Retriever

    first_level, width = search
    retriever, users = (Retriever(network, tree, width, first_level), range(min(TIMED_USERS, len(histories))))
    for user in users[:_WARM_UP]:
        retriever.recommend(histories.row(user), width)
    spent = []
    for user in users:
        begun = time.perf_counter()
        retriever.recommend(histories.row(user), width)
        spent.append(time.perf_counter() - begun)
    return 1000 * statistics.median(spent)

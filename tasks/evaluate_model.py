"""Judge a version by what its users did next."""

import math
from functools import partial

from jtm_core.config import JtmConfig
from tasks.artefacts import read_data, read_network, read_tree, save_report
from tasks.caching import step, step_logger
from tasks.costs import count_work
from tasks.progress import Progress, artifact_key
from tasks.references import DataReferences, ModelRef, ReportRef, TreeRef
from tasks.store import open_store


@step(run_name="evaluate-model-{data.name}-{iteration:02d}", uses=("training", "evaluation"))
def evaluate_model(iteration: int, data: DataReferences, tree: TreeRef, model: ModelRef, config: JtmConfig) -> ReportRef:
    """Measure retrieval on validation users, who decide, and on test users, who only report.

    Returns
    -------
    ReportRef
        JSON ``{"metrics": {"validation": {"recall_at_10": 0.1, ...}, "test": {...}}}``; names as in
        :class:`jtm_core.evaluation.Evaluation`.
    """
    from jtm_core.evaluation import evaluate, questions_of

    store = open_store()
    behaviours, split = read_data(store, data)
    judges = {"validation": split.validation, "test": split.test}
    index, network = read_tree(store, tree), read_network(store, model)
    metrics: dict[str, dict[str, float]] = {}
    with Progress(artifact_key("evaluate-model", data.name, f"{iteration:02d}"), "scores") as progress:
        for place, (role, users) in enumerate(judges.items()):
            asked = questions_of(behaviours, users, network.reading)
            found = evaluate(network, index, asked, config.evaluation, config.first_level, partial(_show, progress, place, role)).metrics
            count_work("users", len(users))
            metrics[role] = {name: float(value) for name, value in sorted(found.items()) if math.isfinite(value)}
            shown = [f"{name} {value:.4f}" for name, value in metrics[role].items() if name.startswith("recall_at_")]
            step_logger().info("%d %s users: %s", len(users), role, ", ".join(shown))
    return save_report(store, "evaluation", {"metrics": metrics})


def _show(progress: Progress, place: int, role: str, done: int, total: int) -> None:
    """Validation is the first half of the way, test the second."""
    progress.show(done + place * total, 2 * total, role)

"""Popularity and Item-CF in several forms, on the same data, users and metrics: the lines JTM has to lie above."""

from jtm_core.config import JtmConfig
from tasks.artefacts import read_data, save_report
from tasks.caching import step
from tasks.progress import Progress, artifact_key
from tasks.references import DataReferences, ReportRef
from tasks.store import open_store


@step(run_name="compare-baselines-{data.name}", uses=("evaluation",))
def compare_baselines(data: DataReferences, config: JtmConfig) -> ReportRef:
    """Evaluate the baselines, with and without the items a user has seen.

    Returns
    -------
    ReportRef
        JSON ``{"systems": [{"name": "popularity", "metrics": {"validation": {...}, "test": {...}}}, ...]}``.
    """
    import numpy as np

    from jtm_core.baselines.lines import judge_line, line_makers
    from jtm_core.behaviours import evaluation_histories

    store = open_store()
    behaviours, split = read_data(store, data)
    asked = np.concatenate([evaluation_histories(behaviours, users).values for users in (split.validation, split.test)])
    makers = line_makers(behaviours, split, asked)
    judges = {"validation": split.validation, "test": split.test}
    systems = []
    with Progress(artifact_key("compare-baselines", data.name), "systems") as progress:
        for number, (name, make) in enumerate(makers.items()):
            progress.show(number, len(makers), name)
            recommender = make()
            metrics = {role: judge_line(recommender, behaviours, users, config.evaluation) for role, users in judges.items()}
            systems.append({"name": name, "metrics": metrics})
    return save_report(store, "baselines", {"systems": systems})

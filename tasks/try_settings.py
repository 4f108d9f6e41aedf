"""One trial of the search for settings: fit a system, ask it about validation users, and nobody else."""

from jtm_core.config import JtmConfig
from jtm_core.counting_config import CountingConfig
from jtm_core.systems.naming import SystemName
from tasks.artefacts import read_categories, read_data, save_report
from tasks.caching import step, step_logger
from tasks.checkpoints import FitFolder, fit_folder
from tasks.progress import Progress, artifact_key
from tasks.references import DataReferences, ReportRef
from tasks.store import open_store


@step(
    run_name="try-settings-{data.name}-{system}",
    uses=("first_tree", "model", "training", "tree_learning", "evaluation", "iterations", "seed"),
)
def try_settings(data: DataReferences, system: SystemName, config: JtmConfig, counting: CountingConfig) -> ReportRef:
    """Recall of validation users under one choice of settings, seen items left in and taken out.

    Parameters
    ----------
    data : DataReferences
    system : SystemName
    config : JtmConfig
        The system's own settings, with the seed of the search.
    counting : CountingConfig
        Those of systems that count.

    Returns
    -------
    ReportRef
        JSON ``{"deciding": "recall_at_200", "metrics": {"recall_at_200": 0.3, "filtered/recall_at_200": 0.3, ...}, "diverged": ""}``; of a
        training that diverged no metrics, and what was found. Test users are not looked at.
    """
    keeper = fit_folder()
    report = _tried(data, system, config, counting, keeper)
    keeper.discard()
    return report


def _tried(data: DataReferences, system: SystemName, config: JtmConfig, counting: CountingConfig, keeper: FitFolder) -> ReportRef:
    from jtm_core.experiment import what_a_system_reads
    from jtm_core.gate import deciding_name
    from jtm_core.metrics import mean_metrics, metrics_at
    from jtm_core.systems import fitting
    from jtm_core.systems.lessons import lessons_of

    store = open_store()
    own = what_a_system_reads(config)
    lessons = lessons_of(*read_data(store, data), read_categories(store, data), fitting.newest_share_of(system, own, counting))
    deciding = deciding_name(config.evaluation, lessons.num_items)
    with Progress(artifact_key("try-settings", data.name, system), "epochs") as progress:
        try:
            fitted = fitting.fit_system(system, lessons, own, progress.show, counting, keeper)
        except FloatingPointError as error:  # what the settings are worth: nothing; another run would find the same
            step_logger().warning("%s: %s", system, error)
            return save_report(store, "trial", {"deciding": deciding, "metrics": {}, "diverged": str(error)})
    cutoffs = config.evaluation.cutoffs
    metrics: dict[str, float] = {}
    for prefix, excluded in (("", None), ("filtered/", lessons.known)):
        lists = fitted.recommend(lessons.known, cutoffs[-1], excluded)
        means = mean_metrics(metrics_at(lists, lessons.asked, lessons.known, cutoffs, config.evaluation.truth))
        metrics |= {f"{prefix}{name}": value for name, value in means.items() if name.startswith("recall_at_")}
    step_logger().info("%s: validation %s is %.4f", system, deciding, metrics[deciding])
    return save_report(store, "trial", {"deciding": deciding, "metrics": metrics, "diverged": ""})

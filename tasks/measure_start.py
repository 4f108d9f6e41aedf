"""What the version that a run starts from is worth on the data of now: the bar for what may take its place."""

from jtm_core.config import JtmConfig
from tasks.artefacts import read_data, read_network, read_tree, save_report
from tasks.caching import step, step_logger
from tasks.references import DataReferences, GrownTree, ReportRef
from tasks.store import open_store


@step(run_name="measure-start-{data.name}", uses=("training", "evaluation"))
def measure_start(data: DataReferences, grown: GrownTree, config: JtmConfig) -> ReportRef:
    """Ask an earlier version, extended by what is new, before it learns anything.

    Parameters
    ----------
    data : DataReferences
    grown : GrownTree
        From ``plant_tree`` with a parent: it comes with a model.
    config : JtmConfig

    Returns
    -------
    ReportRef
        JSON ``{"recall": 0.1}``: the recall of validation users that decides between versions, 0 .. 1.

    Raises
    ------
    ValueError
        If there is no model.
    """
    from jtm_core.evaluation import questions_of, validate

    if grown.start is None:
        raise ValueError(f"tree {grown.tree.sha256[:12]} comes without a model; only a version to start from can be measured")
    store = open_store()
    behaviours, split = read_data(store, data)
    network, tree = read_network(store, grown.start), read_tree(store, grown.tree)
    asked = questions_of(behaviours, split.validation, network.reading)
    recall = validate(network, tree, asked, config.evaluation, config.first_level).recall
    step_logger().info("the version to start from has a validation recall of %.4f on these data", recall)
    return save_report(store, "start", {"recall": recall})

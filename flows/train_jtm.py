"""Algorithm 1 of JTM from a raw log to a report: the order of the steps, and nothing else.

Every call below is a Prefect task. Those that compute are done once: run the flow again after a kill and it goes on
where it stopped (docs/decisions/0003-caching.md).
"""

from prefect import flow

from flows.checked_data import checked_data
from jtm_core.config import JtmConfig
from tasks.check_data import check_tree
from tasks.compare_baselines import compare_baselines
from tasks.evaluate_model import evaluate_model
from tasks.fetch_log import fetch_log
from tasks.learn_tree import learn_tree
from tasks.mark_released import mark_released
from tasks.measure_start import measure_start
from tasks.pass_gate import pass_gate
from tasks.plant_tree import plant_tree
from tasks.record_version import record_version
from tasks.references import Candidate, Standing
from tasks.release_best import release_best
from tasks.report_results import report_results
from tasks.track_run import log_version, tracked_run
from tasks.train_model import train_model

DEFAULT = JtmConfig()


@flow(name="train-jtm", flow_run_name="train-jtm-{config.data.name}")
def train_jtm(config: JtmConfig = DEFAULT, start_from: str = "", may_release: bool = True) -> None:
    """Learn tree and model together (Algorithm 1), compare them with baselines, record every version.

    Args:
        config: The experiment.
        start_from: Name of a recorded version to start warm from; empty plants a first tree.
        may_release: Whether its best version may take the place of its start or of what the same users judge no better; off: a try-out.
    """
    source = fetch_log(config)
    with tracked_run(config, source, start_from) as run:
        data, parent = checked_data(run, source, config, start_from)
        grown = plant_tree(data, config, parent)
        start = measure_start(data, grown, config) if parent else None

        standing, versions = None, []
        for iteration in range(config.iterations + 1):
            if standing:
                grown = learn_tree(iteration, data, standing.current.tree, standing.current.model, config)
            pass_gate(run, check_tree(data, grown))
            trained = train_model(iteration, data, grown, config)
            evaluation = evaluate_model(iteration, data, grown.tree, trained.model, config)
            version = record_version(data, Candidate(iteration, grown, trained, evaluation), standing, parent, config)
            log_version(run, version)
            standing = Standing.after_version(standing, version)
            versions.append(version)

        report_results(run, versions, compare_baselines(data, config), config, start)

    if may_release:
        release_best(versions, parent, start, config)
        mark_released(config.data.name)

"""Every system of the paper on the same data, users and budget, several seeds each, and a report: the order of the steps.

A system that fails does not stop the others: it is missing from the report, and the flow run fails at the end and names it.
Run again, the comparison does only what is not there yet.
"""

from prefect import flow

from flows.checked_data import checked_data
from jtm_core.comparison_config import ComparisonConfig, planned_runs
from tasks.contrast_systems import contrast_systems
from tasks.failures import Failure, held_back, raise_held_back
from tasks.fetch_log import fetch_log
from tasks.fit_system import fit_system
from tasks.judge_lists import judge_lists
from tasks.record_system import record_system
from tasks.references import JudgedRun
from tasks.report_comparison import log_system, report_comparison
from tasks.search_tree import search_tree
from tasks.track_run import tracked_comparison

DEFAULT = ComparisonConfig()


@flow(name="compare-systems", flow_run_name="compare-systems-{config.shared.data.name}")
def compare_systems(config: ComparisonConfig = DEFAULT) -> None:
    """Fit, search and judge every system under every seed, then hold them against each other.

    Args:
        config: Data and settings in common, systems, which of them the others are held against, seeds, beam widths, what is varied.
    """
    shared = config.shared
    source = fetch_log(shared)
    with tracked_comparison(config, source) as run:
        plan = planned_runs(config)
        data, _ = checked_data(run, source, shared, planned=tuple(planned.settings for planned in plan))
        finished: list[JudgedRun] = []
        failures: list[Failure] = []
        for planned in plan:
            with held_back(failures, planned):
                fitted = fit_system(data, planned.system, planned.settings, planned.counting, planned.variation)
                searched = search_tree(fitted, data, planned.settings, config.beams)
                judged = JudgedRun(fitted, searched, judge_lists(fitted, data, planned.settings))
                recorded = record_system(data, judged, planned, shared.seed)
                log_system(run, recorded)
                finished.append(recorded)

        contrasts = contrast_systems(tuple(one.fitted for one in finished), data, shared, config.reference)
        report_comparison(run, data, finished, contrasts, failures, config)
        raise_held_back(failures)

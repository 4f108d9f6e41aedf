"""The search for settings before a comparison: as many trials for every system, judged by validation users only.

A trial whose training diverges is worth nothing and the search goes on. One that fails in another way is held back until the end, as a
run of a comparison is.
"""

from prefect import flow

from flows.checked_data import checked_data
from jtm_core.comparison_config import TuningConfig
from jtm_core.tuning import planned_trials
from tasks.failures import Failure, held_back, raise_held_back
from tasks.fetch_log import fetch_log
from tasks.report_tuning import Trial, log_trial, report_tuning
from tasks.track_run import tracked_tuning
from tasks.try_settings import try_settings

DEFAULT = TuningConfig()


@flow(name="tune-systems", flow_run_name="tune-systems-{config.shared.data.name}")
def tune_systems(config: TuningConfig = DEFAULT) -> None:
    """Try settings of every system and choose by validation recall; a trial that is there already is not repeated.

    Args:
        config: Data and settings in common, systems, number of trials.
    """
    shared = config.shared
    source = fetch_log(shared)
    with tracked_tuning(config, source) as run:
        drawn = planned_trials(config)
        data, _ = checked_data(run, source, shared, planned=tuple(trial.planned.settings for trial in drawn))
        trials: list[Trial] = []
        failures: list[Failure] = []
        for trial in drawn:
            planned = trial.planned
            with held_back(failures, planned):
                made = Trial(trial, try_settings(data, planned.system, planned.settings, planned.counting))
                log_trial(run, made)
                trials.append(made)
        report_tuning(run, data, trials, failures)
        raise_held_back(failures)

"""What every experiment begins with: a log that passed the checks, prepared; steps in order, inside the flow run that asks."""

from jtm_core.config import JtmConfig
from tasks.check_data import check_behaviours, check_log
from tasks.check_settings import check_settings
from tasks.ingest_log import ingest_log
from tasks.look_back import find_start, look_back
from tasks.pass_gate import pass_gate
from tasks.prepare_behaviours import prepare_behaviours
from tasks.references import DataReferences, RunRef, SourceRef, VersionRef
from tasks.track_run import log_data


def checked_data(
    run: RunRef, source: SourceRef, config: JtmConfig, start_from: str = "", planned: tuple[JtmConfig, ...] = ()
) -> tuple[DataReferences, VersionRef | None]:
    """Data as the config asks for them, and the version named ``start_from``, if any, whose ids they continue.

    ``planned`` are the settings of runs that differ from the config.

    Raises
    ------
    ValueError
        If this machine cannot do what the config asks for, or there is no version ``start_from``; nothing is read then.
    """
    check_settings(config, planned)
    parent = find_start(start_from, config)
    ingested = ingest_log(source, config)
    pass_gate(run, check_log(ingested, config, look_back(ingested, config)))
    data = prepare_behaviours(ingested, config, parent)
    log_data(run, data)
    pass_gate(run, check_behaviours(data, config))
    return data, parent

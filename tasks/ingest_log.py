"""Bring any supported log, or a synthetic world, into the one canonical form."""

from pathlib import Path
from typing import TYPE_CHECKING

from jtm_core.config import JtmConfig
from jtm_core.formats.log_files import log_files
from tasks.artefacts import save_log
from tasks.caching import step
from tasks.costs import count_work
from tasks.references import IngestedLog, SourceRef
from tasks.store import digest_of_file, digest_of_log, open_store

if TYPE_CHECKING:
    from jtm_core.formats.raw_logs import LogSummary


@step(run_name="ingest-log-{config.data.name}", uses=("data", "seed"))
def ingest_log(source: SourceRef, config: JtmConfig) -> IngestedLog:
    """Write the canonical log of a source.

    Raises
    ------
    ValueError
        If the source changed since it was found, or cannot be read; the message names file, line and what is allowed.
    """
    store, summaries = open_store(), list["LogSummary"]()
    log = save_log(store, lambda path: summaries.append(_write(source, path, config)))
    summary = summaries[0]
    count_work("rows", summary.num_rows)
    return IngestedLog(
        log=log,
        num_rows=summary.num_rows,
        log_format=summary.log_format,
        earliest_time=summary.earliest_time,
        latest_time=summary.latest_time,
    )


def _write(source: SourceRef, destination: Path, config: JtmConfig) -> "LogSummary":
    from dataclasses import replace

    from jtm_core.formats.raw_logs import write_canonical_log

    if not source.path:
        return _write_world(destination, config)
    summary = write_canonical_log(Path(source.path), destination, replace(config.data, category_path=source.category_path))
    found = {source.path: (source.sha256, digest_of_log(log_files(Path(source.path))))}
    if source.category_path:
        found[source.category_path] = (source.category_sha256, digest_of_file(Path(source.category_path)))
    for path, (before, after) in found.items():
        if before != after:
            raise ValueError(f"{path} was changed while it was read; run again when what writes it has finished")
    return summary


def _write_world(destination: Path, config: JtmConfig) -> "LogSummary":
    from jtm_core.formats.raw_logs import write_world_log
    from jtm_core.seeding import generator
    from jtm_core.synthetic import noise_world, planted_world

    make = planted_world if config.data.format == "planted_world" else noise_world
    world = make(generator(config.seed, config.data.format))
    return write_world_log(destination, world.behaviours, world.categories)

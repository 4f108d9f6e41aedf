"""``python -m benchmarks.preparation --csv PATH``: from a raw log to stored arrays in a process of its own, a JSON object a line.

The calls are those of the steps ``ingest-log`` and ``prepare-behaviours``, into a store in a temporary folder that is
removed at the end; the checks are not part of it. The file is read from wherever the system has it: read it once before
for figures that do not depend on the disk.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.records import Record, emit
from jtm_core.config import DataConfig, SplitConfig
from jtm_core.formats.arrays import read_behaviours
from jtm_core.formats.prepared_logs import prepare
from jtm_core.formats.raw_logs import LogSummary, write_canonical_log
from jtm_core.splitting import split_users
from tasks import artefacts
from tasks.references import BehavioursRef
from tasks.store import Store

Result = TypeVar("Result")


class _Phases:
    """Seconds and peak memory of each phase."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.seconds = 0.0

    def run(self, name: str, work: Callable[[], Result]) -> Result:
        begun = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - begun
        self.seconds += seconds
        self.records += [Record(f"preparation_{name}_s", round(seconds, 3), "s"), _peak(f"preparation_{name}_peak_rss_gb")]
        return result


def _peak(name: str) -> Record:
    """Most memory this process has held so far; what the kernel counts since the program began, not since the fork."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kilobytes = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
    return Record(name, round(kilobytes * 1024 / 1e9, 3), "GB")


def measure(csv: Path, home: Path, config: DataConfig) -> list[Record]:
    """Ingest, prepare, store and read back, in this process.

    Parameters
    ----------
    csv : Path
        Raw log.
    home : Path
        Folder for the store.
    config : DataConfig

    Returns
    -------
    list of Record
        Totals first, then seconds and the peak so far of every phase; reading back is not in the totals.
    """
    store, phases = Store(home), _Phases()
    num_rows, behaviours = _prepared(csv, store, config, phases)
    seconds, peak = phases.seconds, _peak("preparation_peak_rss_gb")
    back, _ = phases.run("reading", lambda: read_behaviours(store.path(behaviours)))
    totals = [
        Record("preparation_rows", num_rows, "rows"),
        Record("preparation_behaviours", len(back.items), "behaviours"),
        Record("preparation_rows_per_s", num_rows / seconds, "rows/s"),
        Record("preparation_s", round(seconds, 3), "s"),
        peak,
        Record("preparation_store_gb", sum(path.stat().st_size for path in home.rglob("*") if path.is_file()) / 1e9, "GB"),
    ]
    return totals + phases.records


def _prepared(csv: Path, store: Store, config: DataConfig, phases: _Phases) -> tuple[int, BehavioursRef]:
    """Rows of the log and the stored behaviours."""
    summaries = list[LogSummary]()
    log = phases.run("ingest", lambda: artefacts.save_log(store, lambda path: summaries.append(write_canonical_log(csv, path, config))))
    prepared = phases.run("prepare", lambda: prepare(store.path(log), config))
    split = phases.run("split", lambda: split_users(prepared.behaviours, SplitConfig(), 1))
    behaviours = phases.run("store_behaviours", lambda: artefacts.save_behaviours(store, prepared.behaviours, prepared.categories))
    phases.run("store_split", lambda: artefacts.save_split(store, split))
    phases.run("store_items", lambda: artefacts.save_vocabulary(store, prepared.items, "item"))
    phases.run("store_users", lambda: artefacts.save_vocabulary(store, prepared.users, "user"))
    return summaries[0].num_rows, behaviours


def in_new_process(csv: Path, data_format: str = "auto", category_path: str = "") -> list[Record]:
    """:func:`measure` in a fresh process, so that the peak is its own.

    Raises
    ------
    RuntimeError
        If the process fails, with what it said.
    """
    command = [sys.executable, "-m", "benchmarks.preparation", "--csv", str(csv), "--format", data_format, "--categories", category_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return [Record(**json.loads(line)) for line in done.stdout.splitlines()]


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--format", default="auto", help="of data.format; auto goes by the first line and the name")
    parser.add_argument("--categories", default="", help="category table, if the log has no category")
    parser.add_argument("--folder", type=Path, default=None, help="where the temporary store lies")
    chosen = parser.parse_args(arguments)
    config = DataConfig(name="benchmark", path=str(chosen.csv), format=chosen.format, category_path=chosen.categories)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as home:
        for record in measure(chosen.csv, Path(home), config):
            emit(record)


if __name__ == "__main__":
    main(sys.argv[1:])

"""``python -m benchmarks [THEME ...] [--items N ...] [--quick]``: one JSON object a line.

Without options a theme runs its full sizes and writes ``benchmarks/results/THEME.jsonl``; with ``--items`` (rows of the
log for ``preparation``) or ``--quick`` it only prints. A measurement that fails is recorded and reported, the others go
on, and the exit code is 1 at the end.
"""

import argparse
import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from benchmarks.jobs import DATA, THEMES, quick
from benchmarks.machine import machine
from benchmarks.runner import Job, failed, run, write_results

RESULTS = Path(__file__).parent / "results"


def measured(jobs: list[Job]) -> list[dict[str, Any]]:
    """Run jobs one after the other, printing each record as it comes."""
    records = []
    for job in jobs:
        for record in run(job):
            sys.stdout.write(json.dumps(record) + "\n")
            sys.stdout.flush()
            records.append(record)
    return records


def run_theme(theme: str, sizes: list[int] | None) -> list[str]:
    """Run one theme, keep its results if the sizes are the full ones; what failed."""
    make_jobs, full_sizes = THEMES[theme]
    about = machine()
    DATA.mkdir(exist_ok=True)
    try:
        records = measured(make_jobs(sizes or full_sizes))
    finally:
        shutil.rmtree(DATA, ignore_errors=True)
    if not sizes:
        write_results(RESULTS / f"{theme}.jsonl", [{"theme": theme} | about, *records])
    return [record["reason"] for record in records if failed(record)]


def main(arguments: list[str]) -> int:
    """Measure; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("themes", nargs="*", metavar="THEME", help=f"of {', '.join(THEMES)}; all without")
    parser.add_argument("--items", type=int, nargs="+", help="these sizes only; results are not kept")
    parser.add_argument("--quick", action="store_true", help="small sizes only, under a minute")
    chosen = parser.parse_args(arguments)
    unknown = [theme for theme in chosen.themes if theme not in THEMES]
    if unknown:
        parser.error(f"there is no theme {', '.join(unknown)}; allowed are {', '.join(THEMES)}")
    if chosen.quick:
        failures = [record["reason"] for record in measured(quick()) if failed(record)]
    else:
        failures = [failure for theme in chosen.themes or THEMES for failure in run_theme(theme, chosen.items)]
    for failure in failures:
        sys.stderr.write(f"failed: {failure}\n")
    return int(bool(failures))


def stop(number: int, frame: object) -> None:
    """End as by an exception, so that the measurement under way is ended and its data removed."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    sys.exit(main(sys.argv[1:]))

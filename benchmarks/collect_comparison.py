"""``python -m benchmarks.collect_comparison DATA_NAME COMMIT``: a finished ``compare-systems`` run as ``docs/results`` keeps it.

Run it at the commit of the run, with the run's ``JTM_HOME``. Writes the config to ``docs/results/configs/DATA_NAME-systems.json`` and
the records into ``docs/results/DATA_NAME.jsonl``, in place of those of the same config; records of other runs stay. A record a line:
data set, protocol, system, config, seed, iteration, variation, users, metric, value, command, commit; contrasts (``difference/...``,
``ablation/...``, ``sensitivity/...``) have no seed, and ``low`` and ``high`` of the 95 % interval besides.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.kept_comparisons import KeptComparison, kept_comparison
from tasks.tracking.comparison_records import Contrast, SystemRun
from tasks.tracking.comparisons import round_metrics
from tasks.versions import as_json

RESULTS = Path(__file__).parents[1] / "docs" / "results"
Line = dict[str, Any]


def records(comparison: KeptComparison, commit: str) -> Iterator[Line]:
    """Every number of a comparison.

    Raises
    ------
    ValueError
        If runs failed: what is shown to others is whole.
    """
    if comparison.failures:
        failed = ", ".join(f"{one.system} seed {one.seed}" for one in comparison.failures)
        raise ValueError(f"the comparison lacks {failed}; run it again before its numbers are kept")
    shared = comparison.config.shared
    about = {"data": shared.data.name, "protocol": shared.split.protocol, "config": config_name(shared.data.name)}
    about |= {"command": command(shared.data.name), "commit": commit}
    for run in comparison.judgement.runs:
        yield from run_records(about, run)
    for contrast in comparison.judgement.contrasts:
        yield contrast_record(about, contrast)


def config_name(data_name: str) -> str:
    """File of the config, relative to ``docs/results``."""
    return f"configs/{data_name}-systems.json"


def command(data_name: str) -> str:
    """What made the numbers, to be run in ``docs/results``."""
    return f"prefect deployment run compare-systems/compare-systems --watch --params {config_name(data_name)}"


def run_records(about: Line, run: SystemRun) -> Iterator[Line]:
    """Metrics, rounds and timings of one run."""
    own = about | {"system": run.system, "seed": run.seed, "variation": run.variation, "iteration": None}
    for name, value in sorted(run.metrics.items()):
        users, _, metric = name.partition("/")
        yield own | {"users": users, "metric": metric, "value": value}
    for one in run.rounds:
        for metric, value in round_metrics(one).items():
            users = "validation" if "recall" in metric else "train"
            yield own | {"iteration": one.iteration, "users": users, "metric": metric, "value": value}
    for timing, value in sorted(run.timings.items()):
        yield own | {"users": "test" if "milliseconds" in timing else "train", "metric": f"time/{timing}", "value": value}


def contrast_record(about: Line, one: Contrast) -> Line:
    """A contrast with its interval."""
    users, _, metric = one.measure.partition("/")
    own = {"system": one.name, "seed": None, "variation": "", "iteration": None, "users": users}
    return about | own | {"metric": f"{one.kind}/{metric}", "value": one.mean, "low": one.low, "high": one.high}


def shown_config(comparison: KeptComparison) -> Line:
    """The flow's parameters; files as they would lie on another machine."""
    config = as_json(comparison.config)
    data = config["shared"]["data"]
    for name in ("path", "category_path"):
        if data[name] and not data[name].startswith("recbole:"):
            data[name] = f"/data/{Path(data[name]).name}"
    return {"config": config}


def main(data_name: str, commit: str, results: Path = RESULTS) -> None:
    """Write both files."""
    comparison = kept_comparison(data_name)
    new, path = list(records(comparison, commit)), results / f"{data_name}.jsonl"
    old = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    kept = [line for line in old if line["config"] != config_name(data_name)]
    path.write_text("".join(json.dumps(line) + "\n" for line in [*kept, *new]), encoding="utf-8")
    config = json.dumps(shown_config(comparison), indent=2) + "\n"
    (results / config_name(data_name)).write_text(config, encoding="utf-8")
    sys.stdout.write(f"{path}: {len(new)} records of this comparison, {len(kept)} of other runs\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

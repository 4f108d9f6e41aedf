"""``python -m benchmarks.collect_comparison DATA_NAME COMMIT``: a finished ``compare-systems`` run as ``docs/results`` keeps it.

Reads the newest finished comparison of a data set from MLflow (``MLFLOW_TRACKING_URI``), writes
``docs/results/DATA_NAME.jsonl``, a record a line (data set, protocol, system, config, seed, users, metric, value, command, commit),
and makes the tables of :mod:`benchmarks.result_tables` anew.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from benchmarks import result_tables
from benchmarks.result_tables import RESULTS
from tasks.track_run import COMPARISONS

KEPT = ("recall_at_", "precision_at_", "f_measure_at_", "ndcg_at_", "novelty_at_", "coverage_at_", "gini_at_")


def newest_comparison(client: MlflowClient, data_name: str) -> tuple[Run, list[Run]]:
    """The newest finished comparison of a data set, and its runs of single systems as they are, without variations.

    Raises
    ------
    LookupError
        If there is none.
    """
    experiment = client.get_experiment_by_name(COMPARISONS)
    runs = client.search_runs([experiment.experiment_id], max_results=1000) if experiment else []
    parents = [run for run in runs if run.data.tags.get("jtm.data_name") == data_name and "mlflow.parentRunId" not in run.data.tags]
    finished = [run for run in parents if run.info.status == "FINISHED"]
    if not finished:
        raise LookupError(f"MLflow holds no finished comparison of {data_name!r}; there are comparisons of {_names(parents)}")
    parent = max(finished, key=lambda run: run.info.start_time)
    nested = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    systems = [run for run in nested if run.data.tags.get("jtm.kind") == "system" and run.data.tags["jtm.variation"] == "none"]
    return parent, sorted(systems, key=lambda run: run.info.start_time)


def _names(runs: Sequence[Run]) -> list[str]:
    return sorted({run.data.tags.get("jtm.data_name", "") for run in runs})


def records(data_name: str, commit: str, parent: Run, systems: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """Every measure of every run."""
    about = {
        "data": data_name,
        "protocol": parent.data.params.get("shared.split.protocol", ""),
        "config": f"configs/{data_name}.json",
        "command": f"prefect deployment run compare-systems/compare-systems --watch --params configs/{data_name}.json",
        "commit": commit,
    }
    for run in systems:
        for name, value in sorted(run.data.metrics.items()):
            users, _, metric = name.partition("/")
            if users in ("validation", "test") and metric.rpartition("/")[2].startswith(KEPT):
                own = {"system": run.data.tags["jtm.system"], "seed": int(run.data.tags["jtm.seed"])}
                yield about | own | {"users": users, "metric": metric, "value": value}


def main(data_name: str, commit: str) -> None:
    """Write the records, then all tables."""
    result_tables.require_marks(data_name)
    parent, systems = newest_comparison(MlflowClient(), data_name)
    found = list(records(data_name, commit, parent, systems))
    (RESULTS / f"{data_name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in found), encoding="utf-8")
    result_tables.main()


if __name__ == "__main__":
    main(*sys.argv[1:])

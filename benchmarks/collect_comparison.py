"""``python -m benchmarks.collect_comparison DATA_NAME COMMIT [RUN_ID]``: a finished ``compare-systems`` run as ``docs/results`` keeps it.

Reads a finished comparison of a data set from MLflow (``MLFLOW_TRACKING_URI``): the run named, or else the newest, which may be
one of fewer systems. Writes ``docs/results/DATA_NAME.jsonl``, a record a line (data set, protocol, system, config, seed, users,
metric, value, command, commit), and makes the tables of :mod:`benchmarks.result_tables` anew.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from benchmarks import result_tables
from benchmarks.result_tables import RESULTS
from jtm_core.formats.atomic import atomic_path
from tasks.track_run import COMPARISONS

KEPT = ("recall_at_", "precision_at_", "f_measure_at_", "ndcg_at_", "novelty_at_", "coverage_at_", "gini_at_", "popularity_percentile_at_")


def finished_comparison(client: MlflowClient, data_name: str, run_id: str = "") -> tuple[Run, list[Run]]:
    """A finished comparison of a data set, and its runs of single systems as they are, without variations.

    Parameters
    ----------
    client : MlflowClient
    data_name : str
    run_id : str
        The comparison's own run; empty takes the newest of the data set.

    Raises
    ------
    LookupError
        If there is none; says which there are.
    """
    runs = _comparison_runs(client)
    finished = [run for run in runs if "mlflow.parentRunId" not in run.data.tags and run.info.status == "FINISHED"]
    asked = [run for run in finished if run.data.tags.get("jtm.data_name") == data_name and run_id in ("", run.info.run_id)]
    if not asked:
        known = ", ".join(f"{run.data.tags.get('jtm.data_name')} {run.info.run_id}" for run in finished)
        raise LookupError(f"MLflow holds no finished comparison {run_id or '(any run)'} of {data_name!r}; there are: {known or 'none'}")
    parent = max(asked, key=lambda run: run.info.start_time)
    nested = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    systems = [run for run in nested if run.data.tags.get("jtm.kind") == "system" and run.data.tags["jtm.variation"] == "none"]
    return parent, sorted(systems, key=lambda run: run.info.start_time)


def _comparison_runs(client: MlflowClient) -> list[Run]:
    """Every run of the comparisons' experiment, however many pages they fill."""
    experiment = client.get_experiment_by_name(COMPARISONS)
    runs: list[Run] = []
    token: str | None = None
    while experiment and (token is None or token):
        page = client.search_runs([experiment.experiment_id], max_results=1000, page_token=token)
        runs += page
        token = page.token or ""
    return runs


def records(data_name: str, commit: str, parent: Run, systems: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """The measures named in ``KEPT`` of every run; recall by level stays in MLflow."""
    config = f"configs/{data_name}.json"
    about = {
        "data": data_name,
        "protocol": parent.data.params.get("shared.split.protocol", ""),
        "config": config,
        "command": f'prefect deployment run compare-systems/compare-systems --watch --params "$(cat docs/results/{config})"',
        "commit": commit,
    }
    for run in systems:
        for name, value in sorted(run.data.metrics.items()):
            users, _, metric = name.partition("/")
            if users in ("validation", "test") and metric.rpartition("/")[2].startswith(KEPT):
                own = {"system": run.data.tags["jtm.system"], "seed": int(run.data.tags["jtm.seed"])}
                yield about | own | {"users": users, "metric": metric, "value": value}


def main(data_name: str, commit: str, run_id: str = "") -> None:
    """Write the records, then all tables."""
    result_tables.require_marks(data_name)
    parent, systems = finished_comparison(MlflowClient(), data_name, run_id)
    found = records(data_name, commit, parent, systems)
    with atomic_path(RESULTS / f"{data_name}.jsonl") as path:
        path.write_text("".join(json.dumps(record) + "\n" for record in found), encoding="utf-8")
    result_tables.main()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""``python -m benchmarks.collect DATA_NAME COMMIT``: the figures of a finished ``train-jtm`` run as ``docs/results`` keeps them.

Run it at the commit of the run, with the run's ``JTM_HOME``. Reads the recorded versions, asks for the baselines (kept
from the run) and writes ``docs/results/DATA_NAME.jsonl``, a record a line: data set, protocol, system, iteration, config,
seed, users, metric, value, command, commit.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from jtm_core.config import JtmConfig
from jtm_core.formats.atomic import atomic_path
from tasks.compare_baselines import compare_baselines
from tasks.references import DataReferences
from tasks.store import Store, open_store
from tasks.versions import data_slug

RESULTS = Path(__file__).parents[1] / "docs" / "results"
SEARCHES = ("", "filtered/", "small_beam/", "full_scan/", "full_scan_filtered/", "search_loss/")


def manifests(store: Store, data_name: str) -> list[dict[str, Any]]:
    """Manifests of all versions recorded for a data set, in the order of the iterations.

    Raises
    ------
    LookupError
        If there is none.
    """
    folder = store.home / "versions" / data_slug(data_name)
    records = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    if not records:
        raise LookupError(f"{folder} holds no version of {data_name!r}; give the data.name of a run that has finished in this JTM_HOME")
    found = [json.loads((store.home / record["version"]["manifest"]["uri"]).read_text(encoding="utf-8")) for record in records]
    return sorted(found, key=lambda manifest: int(manifest["iteration"]))


def systems(store: Store, versions: list[dict[str, Any]]) -> Iterator[tuple[str, int | None, dict[str, Any]]]:
    """Name, iteration and metrics of every system of a run."""
    config = TypeAdapter(JtmConfig).validate_python(versions[0]["config"])
    data = TypeAdapter(DataReferences).validate_python(versions[0]["data"])
    for system in store.read_json(compare_baselines.compute(data, config))["systems"]:
        yield system["name"], None, system["metrics"]
    for manifest in versions:
        yield "jtm", manifest["iteration"], manifest["metrics"]


def records(data_name: str, commit: str) -> Iterator[dict[str, Any]]:
    """Every recall and objective of a run."""
    store = open_store()
    versions = manifests(store, data_name)
    about = {
        "data": data_name,
        "protocol": versions[0]["config"]["split"]["protocol"],
        "config": f"configs/{data_name}.json",
        "seed": versions[0]["config"]["seed"],
        "command": f"prefect deployment run train-jtm/train-jtm --watch --params configs/{data_name}.json",
        "commit": commit,
    }
    for name, iteration, metrics in systems(store, versions):
        for users, values in metrics.items():
            for metric, value in values.items():
                if metric.rpartition("/")[2].startswith("recall") and metric.rpartition("/")[0] + "/" * ("/" in metric) in SEARCHES:
                    yield about | {"system": name, "iteration": iteration, "users": users, "metric": metric, "value": value}
    for manifest in versions:
        for metric in ("objective_before", "objective_after"):
            if manifest[metric] is not None:
                iteration = manifest["iteration"]
                yield about | {"system": "jtm", "iteration": iteration, "users": "train", "metric": metric, "value": manifest[metric]}


def main(data_name: str, commit: str) -> None:
    """Write the file."""
    lines = [json.dumps(record) for record in records(data_name, commit)]
    with atomic_path(RESULTS / f"{data_name}.jsonl") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""``python -m benchmarks.recorded_intervals DATA_NAME [--run ID] [--reference SYSTEM]``: a finished comparison's differences again.

Reads the lists of every system from MLflow (``MLFLOW_TRACKING_URI``) and the data set from the store (``JTM_HOME``), and prints the
contrasts of :mod:`tasks.contrast_systems` with both intervals as a Markdown table: for another reference than the comparison's own,
and for comparisons that ran before there were intervals over users and items. A comparison without a system that a beam searches
records no data set to go by.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from benchmarks.collect_comparison import finished_comparison
from jtm_core.formats.arrays import read_arrays
from tasks.contrast_systems import Ranks, asked_of, contrasts_between, ranks_of
from tasks.store import open_store
from tasks.tracking.comparison_records import Contrast
from tasks.tracking.comparison_series import contrast_rows
from tasks.versions import find_version


def recorded_contrasts(client: MlflowClient, parent: Run, systems: Sequence[Run], reference: str = "") -> tuple[str, list[Contrast]]:
    """The system that others are held against, and the contrasts of recorded lists.

    Parameters
    ----------
    client : MlflowClient
    parent : Run
        The comparison.
    systems : sequence of Run
        Its runs of single systems.
    reference : str
        The system that others are held against; empty for the comparison's own.

    Raises
    ------
    LookupError
        If no system recorded a version, or ``reference`` is not among them.
    """
    settings = parent.data.params
    cutoffs = tuple(map(int, settings["shared.evaluation.cutoffs"].split(",")))
    versions = [run.data.tags["jtm.version"] for run in systems if "jtm.version" in run.data.tags]
    if not versions:
        raise LookupError(f"none of the {len(systems)} runs of comparison {parent.info.run_id} has a version, by which its data are found")
    asked = asked_of(open_store(), find_version(versions[0]).data, cutoffs, settings["shared.evaluation.truth"])
    ranks: dict[tuple[str, str], Ranks] = {}
    for run in systems:
        with tempfile.TemporaryDirectory() as folder:
            lists, _ = read_arrays(Path(client.download_artifacts(run.info.run_id, "lists.safetensors", folder)))
        ranks.setdefault((run.data.tags["jtm.system"], ""), {})[int(run.data.tags["jtm.seed"])] = ranks_of(lists, asked.targets)
    names = list(dict.fromkeys(system for system, _ in ranks))
    if reference not in ("", *names):
        raise LookupError(f"reference is {reference!r}; comparison {parent.info.run_id} has {', '.join(names)}")
    reference = reference or settings.get("reference", "")  # "none" where the comparison names none, as no system is called
    held = contrasts_between(asked, ranks, int(settings["shared.seed"]), reference)
    return held["reference"], [Contrast(**one) for one in held["contrasts"]]


def main() -> None:
    """Print the tables of differences and of the four cells."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recorded_intervals", description="A finished comparison's differences again."
    )
    parser.add_argument("data_name")
    parser.add_argument("--run", default="", help="the comparison's own run in MLflow; without, the newest of the data set")
    parser.add_argument(
        "--reference", default="", help="the system that others are held against; without, what the comparison was held against"
    )
    asked = parser.parse_args()
    client = MlflowClient()
    parent, systems = finished_comparison(client, asked.data_name, asked.run)
    reference, contrasts = recorded_contrasts(client, parent, systems, asked.reference)
    for kind, title in (("difference", f"less {reference}"), ("ablation", "gain")):
        rows = contrast_rows(contrasts, kind, title)
        for row in [{name: name for name in rows[0]}, dict.fromkeys(rows[0], "---"), *rows] if rows else []:
            print("|", " | ".join(str(cell) for cell in row.values()), "|")
        print()


if __name__ == "__main__":
    main()

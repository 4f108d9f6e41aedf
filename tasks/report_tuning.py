"""What a search for settings leaves: a nested MLflow run per trial, and the settings that ``compare-systems`` takes."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from jtm_core.comparison_config import Dial, OwnSettings
from jtm_core.systems.naming import SystemName
from jtm_core.tuning import PlannedTrial
from tasks.failures import Failure
from tasks.outside import outside_task
from tasks.progress import artifact_key
from tasks.references import DataReferences, ReportRef, RunRef
from tasks.store import open_store

if TYPE_CHECKING:
    from tasks.tracking.records import Row


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial that was made.

    Parameters
    ----------
    planned : PlannedTrial
    report : ReportRef
        From ``try_settings``.
    """

    planned: PlannedTrial
    report: ReportRef

    @property
    def system(self) -> SystemName:
        """The system tried."""
        return self.planned.planned.system

    @property
    def number(self) -> int:
        """Its number among those of its system."""
        return self.planned.number

    @property
    def dials(self) -> dict[str, Dial]:
        """What was set otherwise."""
        return self.planned.dials


@outside_task("log-trial-{trial.system}-{trial.number}")
def log_trial(run: RunRef, trial: Trial) -> None:
    """Log a trial as a nested run of the search."""
    from tasks.tracking.tunings import log_trial_run

    metrics = {f"validation/{name}": value for name, value in open_store().read_json(trial.report)["metrics"].items()}
    log_trial_run(run.run_id, (trial.system, trial.number), trial.dials, metrics)


@outside_task("report-tuning-{data.name}")
def report_tuning(run: RunRef, data: DataReferences, trials: Sequence[Trial], failures: Sequence[Failure]) -> None:
    """Choose the best trial of each system by validation recall, and leave ``tuned.json`` in MLflow and a table and a text in Prefect.

    A trial that diverged counts as one of its system's and is not chosen; so does one that failed, as long as it does.
    """
    from tasks.tracking.tunings import log_tuning

    recalls = [deciding_recall(trial) for trial in trials]
    chosen = choose(trials, recalls)
    rows = trial_rows(trials, recalls, chosen, failures)
    tuned = [asdict(OwnSettings(system=trial.system, dials=trial.dials)) for trial in chosen]
    text = json.dumps({"tuned": tuned}, indent=2)
    log_tuning(run.run_id, rows, text)
    create_table_artifact(
        table=[dict(row) for row in rows], key="trials", description=f"Trials on {data.name}, recall of validation users."
    )
    where = f"Put this into the config of `compare-systems`; it is also [tuned.json]({run.artefacts_url('tuned.json')}) in MLflow."
    create_markdown_artifact(
        f"### Settings chosen on {data.name}\n\n{where}\n\n```json\n{text}\n```\n", key=artifact_key("tuned", data.name)
    )


def deciding_recall(trial: Trial) -> float | None:
    """Validation recall by which trials of a system are held against each other; None where the training diverged."""
    report = open_store().read_json(trial.report)
    return None if report["diverged"] else float(report["metrics"][report["deciding"]])


def choose(trials: Sequence[Trial], recalls: Sequence[float | None]) -> list[Trial]:
    """The trial of highest recall of each system, the earlier of equals, in the order of the systems; none where all diverged."""
    best: dict[str, tuple[float, Trial]] = {}
    for trial, recall in zip(trials, recalls, strict=True):
        if recall is not None and (trial.system not in best or recall > best[trial.system][0]):
            best[trial.system] = (recall, trial)
    return [trial for _, trial in best.values()]


def trial_rows(
    trials: Sequence[Trial], recalls: Sequence[float | None], chosen: Sequence[Trial], failures: Sequence[Failure]
) -> "list[Row]":
    """A row a trial, those that failed last."""
    made: list[Row] = [
        {
            "system": trial.system,
            "trial": trial.number,
            "settings": _words(trial.dials),
            "validation recall": None if recall is None else round(recall, 5),
            "chosen": "diverged" if recall is None else "chosen" if any(trial is one for one in chosen) else "",
        }
        for trial, recall in zip(trials, recalls, strict=True)
    ]
    failed: list[Row] = [
        {"system": one.planned.system, "trial": None, "settings": one.reason, "validation recall": None, "chosen": "failed"}
        for one in failures
    ]
    return made + failed


def _words(dials: dict[str, Any]) -> str:
    return ", ".join(f"{path}={value}" for path, value in dials.items()) or "as shared"

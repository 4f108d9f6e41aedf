"""A recorded version as MLflow is told about it: its metrics, curves, tree learning and files."""

from typing import Any

from tasks.references import Candidate, VersionRef
from tasks.store import Store
from tasks.tracking.records import TRAINING_LOSS, VALIDATION_RECALL, Curve, Iteration, Segment, TreeLearning
from tasks.tracking.tags import VERSION
from tasks.versions import from_json


def iteration_of(store: Store, version: VersionRef) -> Iteration:
    """Read everything that a version's manifest refers to.

    Raises
    ------
    BrokenArtefactError
        If one of its artefacts is missing or broken.
    """
    manifest = store.read_json(version.manifest)
    candidate = from_json(Candidate, manifest["candidate"])
    report = candidate.grown.report
    files = {
        "tree.parquet": version.tree,
        "model.safetensors": version.model,
        "manifest.json": version.manifest,
        "evaluation.json": candidate.evaluation,
        "curves.json": candidate.trained.curves,
        **({"tree_learning.json": report} if report else {}),
    }
    return Iteration(
        number=version.iteration,
        is_accepted=version.is_accepted,
        metrics=_metrics(manifest, store.read_json(candidate.trained.curves)),
        curves=_curves(store.read_json(candidate.trained.curves)),
        learning=_learning(store.read_json(report)) if report else None,
        artefacts={name: store.path(reference) for name, reference in files.items()},
        tags={
            VERSION: version.version,
            "jtm.parent_version": manifest["parent"] or "none",
            "jtm.tree_digest": version.tree.sha256,
            "jtm.model_digest": version.model.sha256,
        },
    )


def _metrics(manifest: dict[str, Any], curves: dict[str, Any]) -> dict[str, float]:
    """Flat names, the users they were measured on first; what is unknown is left out."""
    measured = {f"{users}/{name}": value for users, metrics in manifest["metrics"].items() for name, value in metrics.items()}
    diagnosis = {f"training/{name}": float(value) for name, value in curves["diagnosis"].items() if value is not None}
    return {name: value for name, value in measured.items() if value is not None} | diagnosis


def _curves(curves: dict[str, Any]) -> dict[str, Curve]:
    points = {TRAINING_LOSS: curves["loss"], VALIDATION_RECALL: curves["validation_recall"]}
    return {name: [(int(place), float(value)) for place, value in curve] for name, curve in points.items()}


def _learning(report: dict[str, Any]) -> TreeLearning:
    names = ("level_from", "level_to", "objective_before", "objective_after", "kept_parents", "num_parents")
    return TreeLearning(
        objective_before=report["objective_before"],
        objective_after=report["objective_after"],
        segments=tuple(Segment(**{name: segment[name] for name in names}) for segment in report["segments"]),
        moved_shares=tuple(report["moved_shares"]),
    )

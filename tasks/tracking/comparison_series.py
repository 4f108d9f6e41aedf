"""What the figures and tables of a comparison show, picked out of its records."""

import re
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from jtm_core.comparison import Spread, spread_over_seeds
from tasks.tracking.comparison_records import Comparison, Contrast, ContrastKind, Judgement, Round, SystemRun
from tasks.tracking.records import Row

MEASURES = {"precision": "P", "recall": "R", "f_measure": "F"}
"""Columns of the paper's table 1: part of a metric's name -> short title."""
LIST_MEASURES = {"novelty": "novelty", "coverage": "coverage", "gini": "Gini", "popularity_percentile": "popularity percentile"}
Drawn = Literal["users", "users and items"]
DRAWN: tuple[Drawn, ...] = get_args(Drawn)
"""What the intervals of contrasts take for a sample."""
_BEAM = re.compile(r"test/beam_(\d+)/recall_at_(\d+)")


def systems_of(judgement: Judgement) -> list[str]:
    """Systems with a run as it is, each once, in the order they were asked for."""
    return list(dict.fromkeys(run.system for run in judgement.runs if not run.variation))


def runs_of(judgement: Judgement, system: str, variation: str = "") -> list[SystemRun]:
    """Runs of a system, one a seed."""
    return [run for run in judgement.runs if (run.system, run.variation) == (system, variation)]


def spread_of(runs: Sequence[SystemRun], metric: str) -> Spread | None:
    """Mean and deviation of a metric over the runs that have it; None if none has."""
    return spread([run.metrics[metric] for run in runs if metric in run.metrics])


def timing_of(runs: Sequence[SystemRun], timing: str) -> Spread | None:
    """Mean and deviation of a timing over the runs that have it; None if none has."""
    return spread([run.timings[timing] for run in runs if timing in run.timings])


def spread(values: Sequence[float]) -> Spread | None:
    """Mean and deviation of one value a seed; None without any."""
    return spread_over_seeds(np.array(values)[:, None]) if values else None


def spread_text(found: Spread | None, factor: float = 100.0, places: int = 2) -> str:
    """Write a spread for people, by default in percent.

    Examples
    --------
    >>> spread_text(Spread(0.12345, 0.0012, 3)), spread_text(Spread(0.5, None, 1)), spread_text(None)
    ('12.35 ± 0.12', '50.00', '')
    """
    if found is None:
        return ""
    mean = f"{factor * found.mean:,.{places}f}"
    return mean if found.deviation is None else f"{mean} ± {factor * found.deviation:,.{places}f}"


def contrasts_of(judgement: Judgement, kind: ContrastKind, measure: str) -> list[Contrast]:
    """Contrasts of one kind and measure, in order."""
    return [one for one in judgement.contrasts if (one.kind, one.measure) == (kind, measure)]


def table_rows(judgement: Judgement, seen: str) -> list[Row]:
    """The paper's table 1: precision, recall and F-measure at every cut-off, in percent, mean ± deviation over seeds.

    Parameters
    ----------
    judgement : Judgement
    seen : str
        Empty for lists with seen items, ``filtered/`` for those without.
    """
    last = f"validation/{seen}recall_at_{judgement.cutoffs[-1]}"
    rows: list[Row] = []
    for system in systems_of(judgement):
        runs = runs_of(judgement, system)
        cells = {
            f"{short}@{cutoff}": spread_text(spread_of(runs, f"test/{seen}{measure}_at_{cutoff}"))
            for cutoff in judgement.cutoffs
            for measure, short in MEASURES.items()
        }
        decides = {f"validation R@{judgement.cutoffs[-1]}": spread_text(spread_of(runs, last))}
        rows.append({"system": system, "seeds": len(runs), **cells, **decides})
    return rows


def contrast_rows(contrasts: Sequence[Contrast], kind: ContrastKind, title: str) -> list[Row]:
    """Contrasts of recall in percentage points: two rows a name, with the 95 % intervals over users and over users and items.

    Seeds are told where any contrast has some.
    """
    chosen = [one for one in contrasts if one.kind == kind]
    names, measures = (list(dict.fromkeys(getattr(one, field) for one in chosen)) for field in ("name", "measure"))
    found = {(one.name, one.measure): one for one in chosen}
    has_seeds = any(one.seeds for one in chosen)
    seeds = {one.name: {"seeds": ", ".join(map(str, one.seeds))} if has_seeds else {} for one in chosen}
    rows: list[Row] = []
    for name in names:
        for drawn in DRAWN:
            cells = {measure_title(measure): contrast_text(found.get((name, measure)), drawn) for measure in measures}
            rows.append({title: name, **seeds[name], "interval over": drawn, **cells})
    return rows


def contrast_text(contrast: Contrast | None, drawn: Drawn) -> str:
    """Write a contrast in percentage points, with one of its intervals; empty for None."""
    if contrast is None:
        return ""
    low, high = ends_of(contrast, drawn)
    return f"{100 * contrast.mean:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"


def ends_of(contrast: Contrast, drawn: Drawn) -> tuple[float, float]:
    """Ends of the interval over what is taken for a sample."""
    return (contrast.low, contrast.high) if drawn == "users" else (contrast.two_way_low, contrast.two_way_high)


def measure_title(measure: str) -> str:
    """Short title of a recall.

    Examples
    --------
    >>> measure_title("test/filtered/recall_at_50")
    'R@50 unseen'
    """
    return f"R@{measure.rpartition('_')[2]}" + (" unseen" if "/filtered/" in measure else "")


def list_rows(judgement: Judgement) -> list[Row]:
    """Novelty, coverage, Gini and popularity percentile of the test users' lists, at every cut-off."""
    rows: list[Row] = []
    for system in systems_of(judgement):
        runs = runs_of(judgement, system)
        cells = {
            f"{title} @{cutoff}": spread_text(spread_of(runs, f"test/{measure}_at_{cutoff}"), factor=1.0, places=3)
            for measure, title in LIST_MEASURES.items()
            for cutoff in judgement.cutoffs
        }
        rows.append({"system": system, **cells})
    return rows


def beam_widths(judgement: Judgement, system: str) -> list[int]:
    """Beam widths at which a system was searched, ascending; empty without a tree."""
    names = {name for run in runs_of(judgement, system) for name in run.metrics}
    return sorted({int(match[1]) for match in map(_BEAM.fullmatch, names) if match})


def beam_rows(judgement: Judgement) -> list[Row]:
    """Recall in percent and milliseconds a user, of every tree system at every beam width."""
    rows: list[Row] = []
    for system in systems_of(judgement):
        runs = runs_of(judgement, system)
        for width in beam_widths(judgement, system):
            recalls = {
                f"R@{cutoff}": spread_text(spread_of(runs, f"test/beam_{width:04d}/recall_at_{cutoff}")) for cutoff in judgement.cutoffs
            }
            spent = spread_text(timing_of(runs, f"beam_{width:04d}/milliseconds"), factor=1.0, places=2)
            rows.append({"system": system, "beam": width, **recalls, "ms a user": spent})
    return rows


def search_loss_rows(judgement: Judgement) -> list[Row]:
    """Full leaf scan of a system's own network, and what its beam search loses against it, in percent."""
    rows: list[Row] = []
    for system in systems_of(judgement):
        runs = runs_of(judgement, system)
        cells = {
            f"{title} R@{cutoff}": spread_text(spread_of(runs, f"test/{search}recall_at_{cutoff}"))
            for cutoff in judgement.cutoffs
            for search, title in {"full_scan/": "full scan", "search_loss/": "search loss"}.items()
        }
        if any(cells.values()):
            scanned = spread_text(spread_of(runs, "test/full_scan/num_users"), factor=1.0, places=0)
            rows.append({"system": system, "users scanned": scanned, **cells})
    return rows


def layer_points(judgement: Judgement, system: str) -> list[tuple[int, float]]:
    """Mean layer-wise recall of a system over its seeds, upper levels first."""
    prefix, runs = "test/layer_recall/level_", runs_of(judgement, system)
    levels = sorted({int(name.removeprefix(prefix)) for run in runs for name in run.metrics if name.startswith(prefix)})
    spreads = [(level, spread_of(runs, f"{prefix}{level:02d}")) for level in levels]
    return [(level, found.mean) for level, found in spreads if found is not None]


def rounds_by_iteration(judgement: Judgement, system: str) -> dict[int, list[Round]]:
    """Rounds of all seeds of a system, by iteration."""
    found: dict[int, list[Round]] = {}
    for run in runs_of(judgement, system):
        for one in run.rounds:
            found.setdefault(one.iteration, []).append(one)
    return dict(sorted(found.items()))


def round_rows(judgement: Judgement) -> list[Row]:
    """Every joint iteration of every system over its seeds: recall in percent, what the tree step added, items moved in percent."""
    rows: list[Row] = []
    for system in systems_of(judgement):
        for iteration, rounds in rounds_by_iteration(judgement, system).items():
            values: dict[str, list[float | None]] = {
                "R after tree step": [one.recall_after_tree for one in rounds],
                "R after training": [one.validation_recall for one in rounds],
                "items moved, %": [one.moved_share for one in rounds],
            }
            shares = {title: spread_text(spread([value for value in found if value is not None])) for title, found in values.items()}
            gains = [one.objective_gain for one in rounds if one.objective_gain is not None]
            gain = spread_text(spread(gains), factor=1.0, places=0)
            rows.append({"system": system, "iteration": iteration, **shares, "objective gain": gain})
    return rows


def cost_rows(judgement: Judgement) -> list[Row]:
    """What every system cost: seconds of fitting and listing, most memory; mean ± deviation over seeds."""
    rows: list[Row] = []
    for system in systems_of(judgement):
        runs = runs_of(judgement, system)
        texts = {
            title: spread_text(timing_of(runs, timing), factor=1.0, places=places)
            for timing, title, places in (
                ("fit_seconds", "fitting, s", 1),
                ("list_seconds", "listing all users, s", 1),
                ("peak_memory_gb", "peak memory, GB", 2),
            )
        }
        rows.append({"system": system, **texts})
    return rows


def version_rows(judgement: Judgement) -> list[Row]:
    """Runs that are recorded as versions, those of highest recall of validation users first; test users have no say.

    Variations, which may be judged by another beam, come after the runs as they are.
    """
    recorded = sorted(
        (run for run in judgement.runs if run.version), key=lambda run: (run.variation != "", -run.metrics[judgement.deciding])
    )
    return [
        {
            "version": run.version,
            "system": run.system,
            "seed": run.seed,
            "variation": run.variation or "none",
            f"validation {measure_title(judgement.deciding)}": spread_text(spread_of([run], judgement.deciding)),
        }
        for run in recorded
    ]


def failure_rows(comparison: Comparison) -> list[Row]:
    """Runs that failed, and why."""
    return [
        {"system": one.system, "seed": one.seed, "variation": one.variation or "none", "reason": one.reason} for one in comparison.failures
    ]

"""What a measurement says, and how often it was made. Imports nothing heavy: the parent of all measurements uses it too."""

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Record:
    """A measured figure.

    Parameters
    ----------
    name : str
    value : float or None
        None if it could not be measured; ``about`` then has a ``reason``.
    unit : str
    about : mapping
        Further keys of the line: sizes, spread of the repeats, reason.
    """

    name: str
    value: float | None
    unit: str
    about: Mapping[str, Any] = field(default_factory=dict)


def flat(record: Record) -> dict[str, Any]:
    """The keys of the line that is printed."""
    value = None if record.value is None else float(f"{record.value:.6g}")
    return {"name": record.name, "value": value, "unit": record.unit, **record.about}


def emit(record: Record) -> None:
    """Print a record as one JSON object."""
    sys.stdout.write(json.dumps(flat(record)) + "\n")
    sys.stdout.flush()


def timed(work: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of several repeats, after one to warm up."""
    work()
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return seconds


def spread(values: Sequence[float]) -> dict[str, float]:
    """Smallest, median and largest of the repeats, and how many there were."""
    rounded = [float(f"{value:.6g}") for value in (min(values), statistics.median(values), max(values))]
    return dict(zip(("minimum", "median", "maximum"), rounded, strict=True)) | {"repeats": len(values)}


def rate(name: str, amount: float, seconds: Sequence[float], unit: str, **about: Any) -> Record:
    """So much per second: the best repeat's, with the spread of all."""
    return Record(name, amount / min(seconds), unit, about | spread([amount / one for one in seconds]))


def duration(name: str, seconds: Sequence[float], **about: Any) -> Record:
    """The shortest repeat's seconds, with the spread of all."""
    return Record(name, min(seconds), "s", about | spread(seconds))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the values lie (the nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

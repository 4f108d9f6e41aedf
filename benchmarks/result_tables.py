"""``python -m benchmarks.result_tables``: every table of comparisons in the documents, made from the records in ``docs/results``.

A page holds marks, and what lies between them is made anew: ``<!-- comparison DATA -->`` .. ``<!-- end of comparison DATA -->``
holds a table of ``DATA.jsonl``, ``<!-- overview -->`` .. ``<!-- end of overview -->`` one of all logs in :data:`OVERVIEW`,
``<!-- overview in short -->`` one of some logs and systems. A test holds pages and records together.
"""

import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jtm_core.systems.naming import SYSTEMS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
PAGES = (
    ROOT / "README.md",
    *(RESULTS / name for name in ("README.md", "ageing.md", "near_items.md", "paper_training.md", "before_matches.md", "earlier.md")),
)
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A log of the overview.

    Parameters
    ----------
    title : str
    sources : tuple of str
        Names of comparisons; a system is looked for in the first, then in the others; those not collected yet are passed over.
    cutoffs : tuple of int
        Of the recall shown.
    prefix : str
        ``filtered/``: with seen items left out of the lists; empty: with them.
    """

    title: str
    sources: tuple[str, ...]
    cutoffs: tuple[int, ...]
    prefix: str = ""


OVERVIEW = (
    Column("Globo", ("globo-matches", "globo-systems"), (10, 50, 200)),
    Column("Globo, all items", ("globo-all-items-matches",), (10, 50, 200)),
    Column("Amazon Beauty", ("amazon-beauty-sweeps", "amazon-beauty-best"), (10, 50, 200)),
    Column("Amazon Beauty, users >= 5", ("beauty-5-sweeps",), (10, 50, 200)),
    Column("MovieLens-1M", ("ml-1m-matches",), (10, 50, 200)),
    Column("MovieLens-100K by users", ("ml-100k-matches",), (10, 50, 200)),
    Column("MovieLens-100K by users, tuned, unseen", ("ml-100k-users-matches",), (10, 50), "filtered/"),
    Column("MovieLens-100K in time, unseen", ("ml-100k-time-matches",), (10, 50), "filtered/"),
    Column("Groceries with repeats", ("journey-repeats",), (10, 50, 200)),
    Column("Groceries without repeats", ("journey-sweeps",), (10, 50, 200)),
)
"""A column's first source has all systems that the form of the first layer concerns; a test holds the others to those it does not."""
SHORT_LOGS = ("Globo", "Amazon Beauty", "MovieLens-1M", "MovieLens-100K in time, unseen")
SHORT_SYSTEMS = ("popularity", "item-cf", "als", "product-dnn", "tdm", "dnn", "jtm", "jtm-otm")
"""What the README shows; a test sees that the best of every log is among them."""


def read_records(data_name: str) -> list[Record]:
    """The records of a comparison.

    Raises
    ------
    FileNotFoundError
        If there are none of that name.
    """
    return [json.loads(line) for line in (RESULTS / f"{data_name}.jsonl").read_text(encoding="utf-8").splitlines()]


def has_records(data_name: str) -> bool:
    """Whether a comparison was collected."""
    return (RESULTS / f"{data_name}.jsonl").exists()


def values_of(found: Sequence[Record], system: str, users: str, metric: str) -> list[float]:
    """A measure of a system in percent, one value a seed."""
    return [100 * record["value"] for record in found if (record["system"], record["users"], record["metric"]) == (system, users, metric)]


def systems_in(found: Sequence[Record]) -> list[str]:
    """The systems measured, in the order of the records."""
    return list(dict.fromkeys(record["system"] for record in found))


def comparison_table(found: Sequence[Record]) -> list[str]:
    """Markdown: recall of test users in percent, mean and standard deviation over seeds, and of validation users at the last cut-off."""
    named = {record["metric"] for record in found if record["metric"].startswith("recall_at_")}
    cutoffs = sorted(int(metric.rpartition("_")[2]) for metric in named)
    columns = [("test", f"{part}recall_at_{cutoff}") for part in ("", "filtered/") for cutoff in cutoffs]
    columns.append(("validation", f"filtered/recall_at_{cutoffs[-1]}"))
    titles = [f"R@{cutoff}{end}" for end in ("", " unseen") for cutoff in cutoffs] + [f"validation R@{cutoffs[-1]} unseen"]
    lines = [f"| system | seeds | {' | '.join(titles)} |", "|---" * (len(titles) + 2) + "|"]
    for system in systems_in(found):
        shown = [_mean(values_of(found, system, *column)) for column in columns]
        seeds = {record["seed"] for record in found if record["system"] == system}
        lines.append(f"| {system} | {len(seeds)} | {' | '.join(shown)} |")
    return lines


def caption(data_name: str, found: Sequence[Record]) -> str:
    """Markdown: which comparison this is, where its config lies, at which commit it ran."""
    commits = dict.fromkeys(record["commit"] for record in found)
    return f"[`{data_name}`](configs/{data_name}.json), commit {', '.join(commits)}:"


def _mean(values: Sequence[float]) -> str:
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def overview_table(columns: Sequence[Column] = OVERVIEW, systems: Sequence[str] = SYSTEMS) -> list[str]:
    """Markdown: a row a system, a column a log, the best of every cut-off in bold; recall of test users in percent, mean over seeds."""
    logs = [_means(column) for column in columns]
    lines = [
        f"| system | {' | '.join(f'{column.title}, {_joined(column.cutoffs)}' for column in columns)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for system in systems:
        if any(system in log for log in logs):
            lines.append(f"| {system} | {' | '.join(_cell(log, system) for log in logs)} |")
    return lines


def short_table() -> list[str]:
    """The overview of some logs and systems; what is best is best of all systems."""
    return overview_table([column for column in OVERVIEW if column.title in SHORT_LOGS], SHORT_SYSTEMS)


def _means(column: Column) -> dict[str, list[float]]:
    """Of every system of a log the means over seeds, a value a cut-off."""
    means: dict[str, list[float]] = {}
    for source in filter(has_records, column.sources):
        found = read_records(source)
        for system in systems_in(found):
            if system not in means:
                measured = (values_of(found, system, "test", f"{column.prefix}recall_at_{cutoff}") for cutoff in column.cutoffs)
                means[system] = [statistics.mean(values) for values in measured]
    return means


def _cell(log: Mapping[str, Sequence[float]], system: str) -> str:
    if system not in log:
        return "-"
    best = [max(values) for values in zip(*log.values(), strict=True)]
    return _joined(f"**{value:.1f}**" if value == top else f"{value:.1f}" for value, top in zip(log[system], best, strict=True))


def _joined(parts: Iterable[object]) -> str:
    return " / ".join(str(part) for part in parts)


def between(page: str, mark: str, lines: Sequence[str]) -> str:
    """The page with other lines between ``<!-- mark -->`` and ``<!-- end of mark -->``.

    Raises
    ------
    ValueError
        If the page lacks the marks.
    """
    begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
    head, found, rest = page.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the page must hold the marks {begin} and {end}")
    return "\n".join([head + begin, *lines, end]) + tail


def require_marks(data_name: str) -> None:
    """Refuse a comparison that no page has a place for, before its records are written.

    Raises
    ------
    ValueError
        If all pages lack its marks.
    """
    if not any(data_name in marked(path.read_text(encoding="utf-8")) for path in PAGES):
        places = ", ".join(str(path.relative_to(ROOT)) for path in PAGES)
        raise ValueError(f"none of {places} holds the mark <!-- comparison {data_name} --> where its table is to stand")


def marked(page: str) -> list[str]:
    """The comparisons that a page has marks for."""
    return re.findall(r"<!-- comparison (\S+) -->", page)


def made_anew(page: str) -> str:
    """The page with every table it has marks for made from the records there are; a comparison not collected yet stays as it stands."""
    for name in filter(has_records, marked(page)):
        found = read_records(name)
        page = between(page, f"comparison {name}", [caption(name, found), "", *comparison_table(found)])
    for mark, make in {"overview": overview_table, "overview in short": short_table}.items():
        page = between(page, mark, make()) if f"<!-- {mark} -->" in page else page
    return page


def main() -> None:
    """Write the tables of all pages."""
    for path in PAGES:
        path.write_text(made_anew(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

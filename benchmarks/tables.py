"""``python -m benchmarks.tables``: writes the newest results into ``benchmarks/README.md``, between its two marks."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
README, RESULTS = FOLDER / "README.md", FOLDER / "results"
BEGIN, END = "<!-- results: made by python -m benchmarks.tables -->", "<!-- end of results -->"
Line = dict[str, Any]

GROWTH = {
    "core": ("train_rows_per_s", "train_time_per_row_ratio", "peak_rss_gb"),
    "search": (
        "search_users_per_s",
        "search_latency_p50_ms",
        "search_latency_p99_ms",
        "full_scan_users_per_s",
        "search_speedup",
        "peak_rss_gb",
    ),
    "trees": ("tree_learning_s", "tree_learning_rows_per_s", "peak_rss_gb"),
    "preparation": ("preparation_rows_per_s", "preparation_s", "peak_rss_gb"),
}
COMPARED = ("recall_at_50", "recall_at_200", "filtered_recall_at_200", "users_per_s", "latency_p50_ms", "latency_p99_ms", "build_s")


def number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown."""
    heads = list(heads)
    lines = ["| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads), *map(list, rows))]
    return "\n".join(lines)


def growth(theme: str, lines: list[Line]) -> str:
    """One row a figure and size."""
    rows = []
    for line in lines:
        if line["name"].startswith(GROWTH[theme]):
            about = [f"{key} {line[key]:,}" if isinstance(line[key], int) else f"{line[key]}" for key in ABOUT if key in line]
            spread = f"{number(line['minimum'])} .. {number(line['maximum'])}" if "minimum" in line else ""
            rows.append([line["name"], ", ".join(about), number(line["value"]), line["unit"], spread])
    return table(("figure", "of", "best", "unit", "spread"), rows)


ABOUT = ("items", "rows", "batch", "samples", "precision", "job")


def comparison(lines: list[Line]) -> str:
    """One row a system."""
    systems: dict[str, Line] = {}
    for line in lines:
        if "system" in line:
            systems.setdefault(line["system"], {})[line["name"]] = line["value"]
    return table(("system", *COMPARED), ([name, *(number(values.get(figure)) for figure in COMPARED)] for name, values in systems.items()))


def profiles(lines: list[Line]) -> str:
    """One row a phase."""
    rows = [line for line in lines if line["name"] == "share_of_time"]
    body = ([line["profile"], f"{line['items']:,}", line["phase"], f"{line['value']:.1%}", number(line["milliseconds"])] for line in rows)
    return table(("work", "items", "phase", "share", "ms"), body) if rows else ""


def sections() -> Iterator[str]:
    """All tables of all results there are."""
    for theme in (*GROWTH, "side_by_side"):
        path = RESULTS / f"{theme}.jsonl"
        if not path.exists():
            continue
        about, *lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if "name" in about or "theme" not in about:
            raise ValueError(f"{path} begins with {about}; its first line must name theme, machine and commit")
        machine = f"{about['processor']}, {about['cores']} cores, {about['memory_gb']} GB; commit {about['commit']}, {about['measured_at']}"
        yield f"### {theme.replace('_', ' ').capitalize()}\n\n{machine}\n"
        yield comparison(lines) if theme == "side_by_side" else growth(theme, lines)
        yield profiles(lines)


def main() -> None:
    """Write the tables."""
    text = README.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"{README} must hold the lines {BEGIN!r} and {END!r}")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    body = "\n\n".join(part.strip("\n") for part in sections() if part) or "No full run has been kept yet."
    README.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}", encoding="utf-8")
    sys.stdout.write(f"{README} holds {body.count(chr(10))} lines of results\n")


if __name__ == "__main__":
    main()

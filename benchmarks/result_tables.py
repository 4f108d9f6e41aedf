"""``python -m benchmarks.result_tables``: writes the tables of ``docs/results/README.md`` from the records beside it.

Between ``<!-- tables: NAME -->`` and ``<!-- end of tables -->`` stand the tables of ``NAME.jsonl``; a file that the page does not name
is an error, so that no record is kept unseen.
"""

import json
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.tables import table

RESULTS = Path(__file__).parents[1] / "docs" / "results"
Line = dict[str, Any]

_BLOCK = re.compile(r"(<!-- tables: ([\w.-]+) -->\n).*?(<!-- end of tables -->)", re.DOTALL)
_PERCENT = 100.0


def whole_page(text: str, results: Path) -> str:
    """The page with all tables made anew.

    Raises
    ------
    ValueError
        If records and page do not name the same data sets.
    """
    named, there = set(re.findall(r"<!-- tables: ([\w.-]+) -->", text)), {path.stem for path in results.glob("*.jsonl")}
    if named != there:
        raise ValueError(f"the page names {sorted(named)}, records are there of {sorted(there)}; each needs the other")
    return _BLOCK.sub(lambda block: f"{block[1]}\n{tables_of(lines_of(results / f'{block[2]}.jsonl'))}\n\n{block[3]}", text)


def lines_of(path: Path) -> list[Line]:
    """Records of a data set."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def tables_of(lines: Sequence[Line]) -> str:
    """All tables of a data set, one after the other: a heading for each config and commit."""
    parts: list[str] = []
    for config, commit in dict.fromkeys((line["config"], line["commit"]) for line in lines):
        chosen = [line for line in lines if (line["config"], line["commit"]) == (config, commit)]
        parts.append(f"`{chosen[0]['command']}` at commit {commit}:")
        parts += [part for part in (accuracy(chosen), contrasts(chosen, "difference"), contrasts(chosen, "ablation")) if part]
    return "\n\n".join(parts)


def accuracy(lines: Sequence[Line]) -> str:
    """Recall in percent, a row a system (and iteration, of a single run): mean, with the deviation over seeds where there are several."""
    cutoffs = sorted({int(line["metric"].rpartition("_")[2]) for line in lines if re.fullmatch(r"recall_at_\d+", line["metric"])})
    columns = [(f"R@{cutoff}{words}", "test", f"{seen}recall_at_{cutoff}") for seen, words in _SEEN.items() for cutoff in cutoffs]
    columns.append((f"validation R@{cutoffs[-1]}", "validation", f"recall_at_{cutoffs[-1]}"))
    names = list(dict.fromkeys(map(_row_name, filter(_is_accuracy, lines))))
    rows = [[name, *(mean_text(_values(lines, name, users, metric)) for _, users, metric in columns)] for name in names]
    return table(["system", *(title for title, _, _ in columns)], rows)


_SEEN = {"": "", "filtered/": " unseen"}


def _is_accuracy(line: Line) -> bool:
    return line["users"] == "test" and re.fullmatch(r"recall_at_\d+", line["metric"]) is not None


def _row_name(line: Line) -> str:
    """System, its iteration where a single run is told iteration by iteration, and what was varied."""
    words = [line["system"], "" if line["iteration"] is None else f"iteration {line['iteration']}", line.get("variation", "")]
    return ", ".join(word for word in words if word)


def _values(lines: Sequence[Line], name: str, users: str, metric: str) -> list[float]:
    return [line["value"] for line in lines if (_row_name(line), line["users"], line["metric"]) == (name, users, metric)]


def mean_text(values: Sequence[float]) -> str:
    """Percent, with the deviation over seeds where there are several.

    Examples
    --------
    >>> mean_text([0.1, 0.2]), mean_text([0.125]), mean_text([])
    ('15.00 ± 7.07', '12.50', '')
    """
    if not values:
        return ""
    mean = f"{_PERCENT * statistics.mean(values):.2f}"
    return f"{mean} ± {_PERCENT * statistics.stdev(values):.2f}" if len(values) > 1 else mean


def contrasts(lines: Sequence[Line], kind: str) -> str:
    """Differences in percentage points with their 95 % intervals; empty where there are none."""
    chosen = [line for line in lines if line["metric"].startswith(f"{kind}/")]
    names, metrics = (list(dict.fromkeys(line[key] for line in chosen)) for key in ("system", "metric"))
    found = {(line["system"], line["metric"]): line for line in chosen}
    rows = [[name, *(_interval(found[name, metric]) for metric in metrics)] for name in names]
    titles = [_title(metric) for metric in metrics]
    return table([kind, *titles], rows) if rows else ""


def _title(metric: str) -> str:
    return f"R@{metric.rpartition('_')[2]}" + (" unseen" if "filtered/" in metric else "")


def _interval(line: Line) -> str:
    mean, low, high = (f"{_PERCENT * line[name]:+.2f}" for name in ("value", "low", "high"))
    return f"{mean} [{low}, {high}]"


def main(results: Path = RESULTS) -> None:
    """Write the page."""
    page = results / "README.md"
    page.write_text(whole_page(page.read_text(encoding="utf-8"), results), encoding="utf-8")
    sys.stdout.write(f"{page} holds the tables of {', '.join(sorted(path.stem for path in results.glob('*.jsonl')))}\n")


if __name__ == "__main__":
    main()

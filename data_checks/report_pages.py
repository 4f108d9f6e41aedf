"""A check report as one HTML page without anything from outside, in light and dark."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from data_checks.results import PLACE, RuleResult, sample_lines

_STYLE = """
:root { color-scheme: light dark; --text: #1c2024; --quiet: #60646c; --line: #d9d9e0; --back: #fcfcfd; --box: #f4f4f6;
  --failed: #b42318; --warned: #8a5a00; --passed: #18794e; }
@media (prefers-color-scheme: dark) { :root { --text: #edeef0; --quiet: #b0b4ba; --line: #3a3d42; --back: #16181a; --box: #1f2225;
  --failed: #ff9592; --warned: #f5c26b; --passed: #5fd19c; } }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
  font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); }
h1 { font-size: 1.5rem; margin-bottom: .25rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .25rem; }
p { margin: .25rem 0; } .quiet { color: var(--quiet); }
.failed { color: var(--failed); } .warned { color: var(--warned); } .passed { color: var(--passed); }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: .75rem 0; min-width: 60%; }
th, td { text-align: left; padding: .3rem .8rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--quiet); font-weight: 600; white-space: nowrap; } .number { text-align: right; font-variant-numeric: tabular-nums; }
.examples { background: var(--box); font-size: .9em; } td.verdict { font-weight: 600; white-space: nowrap; }
"""


def render_page(suite: str, rules: Sequence[RuleResult], skipped: Sequence[str]) -> str:
    """The page of a report: verdict, broken rules with their first offending rows, then every rule."""
    failed = [rule for rule in rules if rule.verdict == "failed"]
    warned = [rule for rule in rules if rule.verdict == "warned"]
    verdict = "failed" if failed else "passed"
    title = f"Check of the {suite}: {verdict}"
    skipped_line = f'<p class="quiet">Not checked, as the failures come first: {escape(", ".join(skipped))}</p>' if skipped else ""
    body = [
        f'<h1>Check of the {escape(suite)}: <span class="{verdict}">{verdict}</span></h1>',
        f'<p class="quiet">{len(rules)} rules, {len(failed)} hard and {len(warned)} soft ones broken.</p>',
        *[f'<p class="quiet">{escape(line.strip())}.</p>' for line in sample_lines(rules)],
        skipped_line,
        *[_broken_rule(rule) for rule in failed + warned],
        "<h2>All rules</h2>",
        _rule_table(rules),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def _broken_rule(rule: RuleResult) -> str:
    kind = "hard" if rule.is_hard else "soft"
    parts = [
        f'<h2><span class="{rule.verdict}">{rule.verdict}</span> {escape(rule.name)} <span class="quiet">({kind})</span></h2>',
        f"<p>{escape(rule.message)}</p>",
        f'<p class="quiet">{escape(rule.why)}</p>',
        f'<p class="quiet">Counted by: {escape(rule.counted_by)}.</p>',
        _example_table(rule.examples),
    ]
    more = rule.violating_rows - len(rule.examples)
    return "\n".join(parts) + (f'\n<p class="quiet">and {more:,} more</p>' if more > 0 and rule.examples else "")


def _example_table(examples: Sequence[Mapping[str, Any]]) -> str:
    if not examples:
        return ""
    names = sorted(examples[0], key=lambda name: PLACE.index(name) if name in PLACE else len(PLACE))
    rows = [
        [_cell("" if row[name] is None else str(row[name]), is_number=isinstance(row[name], int | float)) for name in names]
        for row in examples
    ]
    return _table(names, rows, "examples")


def _rule_table(rules: Sequence[RuleResult]) -> str:
    rows = [
        [
            _cell(rule.name),
            f'<td class="verdict {rule.verdict}">{rule.verdict}</td>',
            _cell("hard" if rule.is_hard else "soft"),
            _cell(f"{rule.checked_rows:,}", is_number=True),
            _cell(f"{rule.violating_rows:,}", is_number=True),
            _cell(f"{rule.share:.3%}", is_number=True),
            _cell(rule.unit),
            _cell(rule.counted_by),
            _cell(rule.message),
        ]
        for rule in rules
    ]
    return _table(["rule", "verdict", "kind", "checked", "violating", "share", "of", "counted by", "demand and finding"], rows, "rules")


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], kind: str) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f'<div class="wide"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>\n{lines}\n</tbody></table></div>'


def _cell(text: str, *, is_number: bool = False) -> str:
    return f'<td class="number">{escape(text)}</td>' if is_number else f"<td>{escape(text)}</td>"

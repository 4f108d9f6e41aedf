"""Parts of a self-contained HTML page: styles for light and dark, sections, tables; no script, nothing loaded."""

from collections.abc import Mapping, Sequence
from html import escape

from tasks.tracking.records import Cell, Row

_LARGE = 100
_STYLE = """
:root { color-scheme: light dark; --ink: #24272b; --soft: #5d6269; --grid: #d6d9dd; --paper: #ffffff; --stripe: #f4f5f7; --link: #0b57b0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6e9; --soft: #a3a8b0; --grid: #43474e; --paper: #17191c; --stripe: #202327; --link: #7db7ff; }
}
body { margin: 2rem auto; max-width: 68rem; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif; }
body { color: var(--ink); background: var(--paper); }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; } a { color: var(--link); } p { color: var(--soft); }
div.wide { overflow-x: auto; } svg { width: 100%; height: auto; display: block; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th { white-space: normal; } th:first-child, td:first-child { text-align: left; } tbody tr:nth-child(even) { background: var(--stripe); }
table.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
"""


def make_page(title: str, parts: Sequence[str]) -> str:
    """Put parts, each HTML already, on one page."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def make_section(title: str, content: str, note: str) -> list[str]:
    """Head a part of a page and say in a sentence what it shows; nothing where there is no content."""
    return [f"<h2>{title}</h2>", f"<p>{escape(note)}</p>" if note else "", content] if content else []


def make_table(rows: Sequence[Row]) -> str:
    """Write rows as an HTML table that scrolls sideways where it is wide; empty for no rows."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(str(column))}</th>" for column in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(cell_text(cell))}</td>" for cell in row.values()) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def cell_text(cell: Cell) -> str:
    """Write a cell for people: shares to four places, large numbers with separators, nothing for None.

    Examples
    --------
    >>> [cell_text(cell) for cell in (0.123456, -76992.4, 12, None, "JTM")]
    ['0.1235', '-76,992.4', '12', '', 'JTM']
    """
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:,.4f}" if abs(cell) < _LARGE else f"{cell:,.1f}"
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)


def make_facts(facts: Mapping[str, str]) -> str:
    """Write titles and values as a table of two columns, addresses as links; empty for none."""
    body = "".join(f"<tr><th>{escape(title)}</th><td>{_linked(value)}</td></tr>" for title, value in facts.items())
    return f'<table class="facts"><tbody>{body}</tbody></table>' if facts else ""


def _linked(value: str) -> str:
    text = escape(value)
    return f'<a href="{text}">{text}</a>' if value.startswith(("http://", "https://")) else text

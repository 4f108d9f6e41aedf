"""Figures as bytes: PNG and SVG on light paper, legible on any page, and SVG that takes the colours of its page.

The same figure gives the same bytes: no dates, ids salted with a constant.
"""

import io
import re

import matplotlib
from matplotlib.figure import Figure

from tasks.tracking.drawing import GRID, INK, PAPER

matplotlib.rcParams.update({"svg.hashsalt": "jtm", "svg.fonttype": "none"})  # read only while saving; text stays text

_PAGE_WIDTH = 100
"""Pixels of a page per inch of a figure."""


def png_bytes(figure: Figure, dots_per_inch: int = 150) -> bytes:
    """Draw a figure as PNG."""
    return _saved(figure, "png", {"Software": None}, dots_per_inch)


def svg_bytes(figure: Figure) -> bytes:
    """Draw a figure as an SVG file of its own."""
    return _saved(figure, "svg", {"Date": None, "Creator": None})


def inline_svg(figure: Figure, title: str) -> str:
    """Draw a figure as an SVG element for a page that defines the CSS colours ``--ink``, ``--grid`` and ``--paper``.

    Parameters
    ----------
    figure : Figure
        From :mod:`tasks.tracking.figures`, whose neutral colours are exchanged for the page's.
    title : str
        Read out by screen readers; must be free of markup.

    Returns
    -------
    str
        ``<svg ...>...</svg>`` that shrinks with the page.
    """
    text = svg_bytes(figure).decode()
    element = text[text.index("<svg") :]
    for colour, variable in ((INK, "var(--ink)"), (GRID, "var(--grid)"), (PAPER, "var(--paper)")):
        element = element.replace(colour, variable)
    element = re.sub(r'\s(width|height)="[\d.]+pt"', "", element, count=2)
    width = f"max-width: {_PAGE_WIDTH * figure.get_figwidth():.0f}px"
    return element.replace("<svg", f'<svg role="img" aria-label="{title}" style="{width}"', 1)


def _saved(figure: Figure, kind: str, metadata: dict[str, None], dots_per_inch: int = 100) -> bytes:
    """Draw without the time and version that would make equal figures unequal files."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata=metadata, dpi=dots_per_inch)
    return buffer.getvalue()

"""How all figures look: light paper, one ink, thin grids; what :mod:`tasks.tracking.rendering` exchanges for a page's colours."""

from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#35373a"
GRID = "#c8cacd"
PAPER = "#fbfbfa"
PANEL_TITLE: dict[str, Any] = {"color": INK, "fontsize": 10}
LEGEND: dict[str, Any] = {"frameon": False, "labelcolor": INK, "fontsize": 8}
LEGEND_COLUMNS = 4


def make_panels(count: int, height: float = 4.2) -> tuple[Figure, list[Axes]]:
    """Make a figure of ``count`` panels side by side, ``height`` inches high."""
    figure = Figure(figsize=(max(7.0, 3.6 * count), height), layout="constrained", facecolor=PAPER)
    axes: list[Axes] = list(figure.subplots(1, count, squeeze=False)[0])
    for panel in axes:
        panel.set_facecolor(PAPER)
        panel.grid(color=GRID, linewidth=0.6)
        panel.tick_params(which="both", colors=INK, labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
        panel.spines[["left", "bottom"]].set_color(INK)
        for label in (panel.xaxis.label, panel.yaxis.label):
            label.set(color=INK, fontsize=9)
    return figure, axes


def share_legend(figure: Figure, panel: Axes) -> None:
    """Put one panel's legend under all of them."""
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=LEGEND_COLUMNS, **LEGEND)


def put_title(figure: Figure, text: str) -> None:
    """Write the figure's title as it is: a data set may be called a$b$c."""
    figure.suptitle(text, color=INK, fontsize=11, parse_math=False)


def shade(place: int, count: int) -> Any:
    """Colour of the ``place``-th of ``count`` lines in an order, dark to light."""
    return colormaps["viridis"](0.3 + 0.5 * place / max(1, count - 1))

"""Charts of measured figures, as SVG files that are the same for the same figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK, GRID, OURS, OTHERS = "#1f2328", "#d5d9de", "#0b6bcb", "#8c959f"
LINES = ["#0b6bcb", "#c2410c", "#6d28d9", "#15803d"]
DASHES = ["-", "--", ":", "-."]

matplotlib.rcParams |= {
    "svg.hashsalt": "aurora",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
}


def dots(path: Path, title: str, unit: str, values: dict[str, float], shown: dict[str, str], ours: str) -> None:
    """Draws one dot for each value, on a logarithmic scale, with its label beside it. The dots whose names start
    with `ours` have another colour."""
    figure = Figure(figsize=(8.6, 1.4 + 0.32 * len(values)), layout="constrained")
    axes = figure.subplots()
    names = list(values)[::-1]
    colours = [OURS if name.startswith(ours) else OTHERS for name in names]
    axes.scatter([values[name] for name in names], names, color=colours, s=55)
    for name in names:
        axes.annotate(shown[name], (values[name], name), xytext=(9, 0), textcoords="offset points", va="center")
    axes.set_xscale("log")
    # Leaves room for the labels to the right of the rightmost dot.
    axes.set_xlim(right=max(values.values()) * 5)
    axes.set_xlabel(f"{unit} (logarithmic)")
    axes.grid()
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    save(figure, path)


def lines(
    path: Path,
    panels: Sequence[tuple[str, str, dict[str, list[tuple[float, float]]]]],
    unit: str,
    x_is_logarithmic: Sequence[bool],
) -> None:
    """Draws panels side by side, each with a title, the name of its horizontal axis and lines of points, on a
    logarithmic vertical scale. Points at zero are left out."""
    figure = Figure(figsize=(5.2 * len(panels), 4.2), layout="constrained")
    found: list[Axes] = [figure.add_subplot(1, len(panels), number + 1) for number in range(len(panels))]
    for axes, (title, across, of_panel), is_logarithmic in zip(found, panels, x_is_logarithmic, strict=True):
        for (name, points), colour, dash in zip(of_panel.items(), LINES, DASHES, strict=False):
            above = [(x, y) for x, y in points if y > 0]
            axes.plot([x for x, _ in above], [y for _, y in above], dash, color=colour, marker="o", label=name)
        axes.set_yscale("log")
        if is_logarithmic:
            axes.set_xscale("log", base=4)
            axes.xaxis.set_major_formatter("{x:g}")
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(across)
        axes.set_ylabel(unit)
        axes.grid()
        axes.legend(frameon=False)
        axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    # Without a date, so that the file changes only with its figures.
    figure.savefig(path, metadata={"Date": None})

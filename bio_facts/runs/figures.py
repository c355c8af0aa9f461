"""The style of all figures: panels side by side, one palette, functions to label and save. Imports matplotlib when called."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bio_facts.checks import needs
from bio_facts.files import unfinished_file

Item = TypeVar("Item")

BLUE, RED, GREEN, PURPLE, ORANGE, TEAL = PALETTE = ("#1f4e79", "#b03a2e", "#1e8449", "#7d3c98", "#b9770e", "#117a65")
GRAY, BLACK = "#7f8c8d", "black"
UNLABELED = "_nolegend_"  # a label that legends leave out
PHASE_COLORS = {"statistics": "#fdebd0", "plateau": "#eaecee", "knowledge": "#d5f5e3"}  # light, for the background


def new_figure(num_panels: int, title: str, num_columns: int | None = None) -> tuple[Any, Any]:
    """A matplotlib figure with panels side by side, and the axes of the panels. num_columns: panels in a row (default: all)."""
    with needs("train", "the picture"):
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

    columns = num_panels if num_columns is None else min(num_columns, num_panels)
    rows = -(-num_panels // columns)
    figure, grid = pyplot.subplots(rows, columns, figsize=(6 * columns, 4.8 * rows), layout="constrained", squeeze=False)
    axes = grid.ravel()
    for ax in axes[num_panels:]:
        ax.remove()
    for ax in axes[:num_panels]:
        ax.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    return figure, axes[:num_panels]


def with_colors(items: Iterable[Item]) -> Iterator[tuple[str, Item]]:
    """(color, item) pairs; the colors of the palette repeat."""
    return zip(itertools.cycle(PALETTE), items, strict=False)


def draw_seeds(
    axes: Any, curves: Mapping[int, tuple[Sequence[float], Sequence[float]]], color: str, label: str, style: str = "-"
) -> None:
    """The curve (x, y) of each seed; that of the first is thick and has the label."""
    for seed, (x, y) in sorted(curves.items()):
        is_first = seed == min(curves)
        axes.plot(x, y, color=color, ls=style, lw=1.8 if is_first else 0.6, label=label if is_first else None)


def label_axes(axes: Any, x: str, y: str, top: float | None = None) -> None:
    """Labels, a y axis from 0 (to `top`), and a legend."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(0, top)
    axes.legend(frameon=False, fontsize=9)


def draw_level(axes: Any, loss: float, name: str = "no-knowledge loss") -> None:
    """A dotted horizontal line at a loss in nats per value, which the legend shows."""
    axes.axhline(loss, color=BLACK, lw=1, ls=":", label=f"{name}, {loss:.2f} nats per value")


def draw_level_in_b(axes: Any) -> None:
    """A dotted horizontal line at the no-knowledge loss, where losses are in units of it."""
    axes.axhline(1, color=BLACK, lw=1, ls=":", label="no-knowledge loss")


def legend_below(figure: Any, axes: Any, num_columns: int) -> None:
    """The legend of one panel, below all of them."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=num_columns, frameon=False)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as SVG if the file's name ends so, otherwise as PNG, whole or not at all, and close it.

    The same figure gives the same bytes. Text in an SVG is text, in the first of matplotlib's fonts that the reader has.
    """
    import matplotlib
    from matplotlib import pyplot

    is_svg = path.suffix == ".svg"
    given: dict[str, Any] = {"format": "svg", "metadata": {"Date": None}} if is_svg else {"format": "png"}
    with unfinished_file(path) as unfinished, matplotlib.rc_context({"svg.hashsalt": path.name, "svg.fonttype": "none"}):
        figure.savefig(unfinished, dpi=130, **given)
    pyplot.close(figure)

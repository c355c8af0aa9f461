"""The learning curves of runs of train/pretrain.py, finished or not, in one figure: what bio-facts plot draws and prints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bio_facts.checks import did_you_mean
from bio_facts.runs.curves import Run, read_run
from bio_facts.runs.figures import BLACK, GRAY, PALETTE, legend_below, new_figure, save_figure

SUFFIXES = (".png", ".svg")
STYLES = ("-", "--", "-.", (0, (4, 1, 1, 1, 1, 1)))  # of splits; dots are the no-knowledge loss
PHASE_ENDS = {"end of phase 1": "v", "end of the plateau": "o"}  # name -> marker
_METRICS = {"attribute_loss", "attribute_accuracy", "no_knowledge_loss"}


def plot(folders: Sequence[Path], path: Path, splits: Sequence[str] | None = None) -> str:
    """Draw the attribute loss (nats per value) and accuracy of runs over steps; the last numbers of each run, as a table.

    Args:
        path: PNG or SVG file; an existing one is replaced.
        splits: which ones to draw, of each run that is evaluated on them; by default all.

    Raises:
        ValueError: if a folder is no run with evaluations of biographies or is given twice, no run is evaluated on one of the
            splits, or the file is of another kind.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"output_file is {str(path)!r}; its name must end in {' or '.join(SUFFIXES)}")
    runs = {name: _read(folder) for name, folder in zip(_names(folders), folders, strict=True)}
    evaluated = list(dict.fromkeys(split for run in runs.values() for split in run.curves))
    for split in splits or ():
        if split not in evaluated:
            hint = did_you_mean(split, evaluated)
            raise ValueError(f"split is {split!r}; these runs are evaluated on {', '.join(evaluated)}{hint}")
    chosen = [split for split in evaluated if splits is None or split in splits]
    save_figure(draw(runs, chosen), path)
    return "\n".join(_table(runs, chosen))


def draw(runs: dict[str, Run], splits: Sequence[str]) -> Any:
    """A matplotlib figure. Colors are runs and line styles are splits; marks are the ends of the phases, on validation."""
    figure, (loss, accuracy) = new_figure(2, "")
    colors = _colors(len(runs))
    levels: dict[float, str] = {}  # no-knowledge loss -> color
    for (name, run), color in zip(runs.items(), colors, strict=True):
        loss.plot([], [], color=color, label=name)  # for the legend
        for split, style in _styles(splits):
            if split not in run.curves:
                continue
            curve = run.curve(split)
            for axes, metric in ((loss, "attribute_loss"), (accuracy, "attribute_accuracy")):
                axes.plot(curve["step"], curve[metric], color=color, ls=style, lw=1.5)
            level = round(float(curve["no_knowledge_loss"][0]), 2)
            levels[level] = BLACK if levels.get(level, color) != color or len(runs) == 1 else color
        for step, marker in zip(_phase_ends(run), PHASE_ENDS.values(), strict=True):
            if step is not None and "validation" in splits:
                steps, losses, _ = run.loss_curve()
                loss.plot([step], [np.interp(step, steps, losses)], marker, color=color, ms=7)
    for split, style in _styles(splits):
        loss.plot([], [], color=GRAY, ls=style, label=split)
    for level, color in levels.items():
        loss.axhline(level, color=color, lw=1, ls=":", label="no-knowledge loss" if level == next(iter(levels)) else None)
    for end, marker in PHASE_ENDS.items():
        loss.plot([], [], marker, color=GRAY, label=end)
    for axes in (loss, accuracy):
        axes.set_xlim(0, max(curve["step"][-1] for run in runs.values() for curve in run.curves.values()) or 1)
        axes.set_xlabel("training step")
    loss.set_ylim(0, _top(runs, splits))
    loss.set_ylabel("attribute loss (nats per value)")
    accuracy.set_ylim(0, 1)
    accuracy.set_ylabel("attribute accuracy (share of values)")
    legend_below(figure, loss, num_columns=4)
    return figure


def _names(folders: Sequence[Path]) -> list[str]:
    """The last part of each path, or all parts where two of these are equal."""
    resolved = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, resolved, strict=True):
        if resolved.count(place) > 1:
            raise ValueError(f"run {folder} is given twice; give each once")
    names = [place.name for place in resolved]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _read(folder: Path) -> Run:
    run = read_run(folder, may_be_unfinished=True)
    if not run.curves:
        raise ValueError(f"run {folder} has no evaluations yet; it must have at least one")
    for curve in run.curves.values():
        for metric in sorted(_METRICS):
            if any(metric not in line for line in curve.lines):
                raise ValueError(f"run {folder} has evaluations without {metric}; it must be a run of train/pretrain.py")
    return run


def _phase_ends(run: Run) -> tuple[float | None, float | None]:
    """Run.phase_ends; None for a run that begins with the weights or patterns of another one's model."""
    return (None, None) if run.recipe.get("source") is not None or "validation" not in run.curves else run.phase_ends


def _styles(splits: Sequence[str]) -> list[tuple[str, Any]]:
    return [(split, STYLES[index % len(STYLES)]) for index, split in enumerate(splits)]


def _colors(count: int) -> list[str]:
    """Different colors, of the palette as far as they are enough."""
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    import matplotlib

    return [matplotlib.colors.to_hex(color) for color in matplotlib.colormaps["viridis"](np.linspace(0, 0.9, count))]


def _top(runs: dict[str, Run], splits: Sequence[str]) -> float:
    """End of the loss axis. Losses in the first twentieth of a run, those of random weights, may be beyond it."""
    highest = [0.0]
    for run in runs.values():
        for split in [split for split in splits if split in run.curves]:
            curve = run.curve(split)
            later = [
                value
                for step, value in zip(curve["step"], curve["attribute_loss"], strict=True)
                if 20 * step > curve["step"][-1]
            ]
            highest += [2 * curve["no_knowledge_loss"][0], *later]
    return 1.1 * max(highest)


def _table(runs: dict[str, Run], splits: Sequence[str]) -> list[str]:
    """A line for each run and split: its last evaluation, and the steps at which the phases of the run end."""
    cells = [("run", "split", "step", "nats per value", "no knowledge", "accuracy", "phase 1 ends", "plateau ends")]
    for name, run in runs.items():
        ends = ["" if step is None else f"{step:,.0f}" for step in _phase_ends(run)]
        for split in [split for split in splits if split in run.curves]:
            last = run.curve(split).lines[-1]
            numbers = [f"{last[metric]:.3f}" for metric in ("attribute_loss", "no_knowledge_loss", "attribute_accuracy")]
            cells.append((name, split, f"{last['step']:,}", *numbers, *(ends if split == "validation" else ("", ""))))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]

"""The settings that were tried to choose the miniature: where is a plateau, and where is none (claim C1).

  python eval/regime.py runs/regime             # adds runs of train/recipes/three_phases/regime.yaml, named ARM-sSEED
  python eval/regime.py                         # the committed curves again: table and picture

Writes regime.curves.jsonl, regime.md and regime.png.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from curve_files import curves_text, read_curves

from bio_facts.checks import Parser
from bio_facts.files import write_text
from bio_facts.runs.curves import Run, read_run
from bio_facts.runs.figures import BLACK, new_figure, save_figure, with_colors
from bio_facts.runs.phases import phase1_end, plateau_end, plateau_width

FOLDER = Path(__file__).parent  # not that of the recipes, which the wheel contains


def setting(run: Run) -> tuple[str, ...]:
    """What was varied: individuals, names, layers x width, batch, peak learning rate, steps."""
    data, model, recipe = run.data, run.recipe["model_config"], run.recipe
    names = data["pool_sizes"].get("first_names", 900)
    shape = f"{model['num_hidden_layers']} x {model['hidden_size']}"
    return (
        f"{data['num_individuals']:,}", str(names), shape, str(recipe["batch_size"]), f"{recipe['learning_rate']:g}",
        f"{recipe['num_steps']:,}",
    )  # fmt: skip


def table(runs: Sequence[Run]) -> str:
    """Markdown: a row for each run, with the ends of its phases."""
    header = ("individuals", "names", "layers", "batch", "rate", "steps", "seed", "phase1_end", "plateau_end", "ratio", "W",
              "accuracy", "unseen loss")  # fmt: skip
    rows = [header, ("---",) * len(header)]
    for run in sorted(runs, key=lambda run: (setting(run), run.seed)):
        losses, validation = run.loss_curve(), run.curve("validation")
        start, end, width = phase1_end(*losses), plateau_end(*losses), plateau_width(*losses)
        ratio = None if start is None or end is None else end / start
        numbers = [_text(start, 0), _text(end, 0), _text(ratio, 1), _text(width, 1)]
        final = [_text(validation["attribute_accuracy"][-1], 3), _text(run.curve("unseen")["attribute_loss"][-1], 1)]
        rows.append((*setting(run), str(run.seed), *numbers, *final))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _text(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def draw(runs: Sequence[Run], path: Path) -> None:
    """Loss and accuracy of each setting over the biographies seen; thin lines are further seeds."""
    figure, (loss, accuracy) = new_figure(2, "Where there is a plateau: the settings that were tried")
    for color, name in with_colors(sorted({setting(run) for run in runs})):
        members = [run for run in runs if setting(run) == name]
        for run in members:
            curve = run.curve("validation")
            seen = [step * run.recipe["batch_size"] for step in curve["step"]]
            label = "{} individuals, {} names, {}, batch {}, rate {}, {} steps".format(*name) if run is members[0] else None
            width = 1.8 if run is members[0] else 0.6
            loss.plot(seen, [value / curve["no_knowledge_loss"][0] for value in curve["attribute_loss"]], color=color, lw=width)
            accuracy.plot(seen, curve["attribute_accuracy"], color=color, lw=width, label=label)
    loss.set_ylabel("attribute loss / no-knowledge loss")
    loss.axhline(1, color=BLACK, lw=0.8, ls=":")
    loss.set_ylim(0, 1.5)
    accuracy.set_ylabel("attribute accuracy (share of values)")
    accuracy.set_ylim(0, 1)
    for axes in (loss, accuracy):
        axes.set_xscale("log")
        axes.set_xlim(1_000)
        axes.set_xlabel("biographies seen in training")
    accuracy.legend(frameon=False, fontsize=8)
    save_figure(figure, path)


def main() -> None:
    """Write the curves of runs, and table and picture of the curves."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", metavar="DIR", help="with the runs, finished ones")
    parser.add_argument("--output-dir", type=Path, default=FOLDER, metavar="DIR", help="default: eval/")
    arguments = parser.parse_args()
    curves: Path = arguments.output_dir / "regime.curves.jsonl"
    try:
        if arguments.folder is not None:
            added = {path.parent.name: read_run(path.parent) for path in arguments.folder.glob("*/config.json")}
            if not added:
                raise ValueError(f"DIR is {str(arguments.folder)!r}, which holds no run; expected those of regime.yaml")
            kept = {run.folder.name: run for run in read_curves(curves)} if curves.exists() else {}
            write_text(curves, curves_text([*(kept | added).values()]))
        runs = read_curves(curves)
        text = table(runs)
        write_text(arguments.output_dir / "regime.md", text)
        draw(runs, arguments.output_dir / "regime.png")
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
    print(text, end="")


if __name__ == "__main__":
    main()

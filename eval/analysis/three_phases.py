"""C1: language models learn facts in three phases (paper Fig. 2, left and middle).

python eval/analysis/three_phases.py runs/demo
python eval/analysis/three_phases.py runs/paper-mini --results eval/results/three_phases/mini.json
"""

import itertools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from arms import Arms
from claims import Claim, run_analysis
from intervals import Values
from paper import three_phases_accuracy, three_phases_curve

from bio_facts.runs.curves import Run
from bio_facts.runs.figures import BLUE, GRAY, PHASE_COLORS, RED, draw_level, legend_below, new_figure, save_figure
from bio_facts.runs.phases import first_crossing, grid_error, phase1_end, plateau_end, plateau_width

FACTORS = (1.03, 1.04, 1.05, 1.06)  # of the no-knowledge loss, at which phase 1 ends
LEARNED_ACCURACY = 0.95


def measure(arms: Arms) -> Mapping[str, Values]:
    """The width of the plateau, how it depends on the end of phase 1, and the time until the individuals are learned."""
    (runs,) = arms.values()
    curves = {seed: run.loss_curve() for seed, run in runs.items()}
    floor = max(grid_error(curve[0], plateau_end(*curve)) for curve in curves.values())
    values = {"plateau_width": Values({seed: plateau_width(*curve) for seed, curve in curves.items()}, floor)}
    for factor in FACTORS:
        ratios = {seed: ratio_of_ends(*curve, factor) for seed, curve in curves.items()}
        values[f"ratio_of_ends_{factor}"] = Values(ratios, floor)
    times = {seed: learning_time(*curves[seed], *accuracy_curve(run)) for seed, run in runs.items()}
    return values | {"learning_time": Values(times, floor)}


def accuracy_curve(run: Run) -> tuple[list[int], list[float]]:
    """Steps and attribute accuracies on validation."""
    return run.curve("validation")["step"], run.curve("validation")["attribute_accuracy"]


def ratio_of_ends(steps: list[int], losses: list[float], no_knowledge_loss: float, factor: float) -> float | None:
    """plateau_end / phase1_end, where phase 1 ends at `factor` x the no-knowledge loss; None without one of the two."""
    start = phase1_end(steps, losses, no_knowledge_loss, factor)
    end = plateau_end(steps, losses, no_knowledge_loss)
    return end / start if start and end else None


def learning_time(
    steps: list[int], losses: list[float], no_knowledge_loss: float, accuracy_steps: list[int], accuracies: list[float]
) -> float | None:
    """Step at which accuracy reaches 0.95 divided by plateau_end; None if either does not exist."""
    end = plateau_end(steps, losses, no_knowledge_loss)
    learned = first_crossing(accuracy_steps, [-accuracy for accuracy in accuracies], -LEARNED_ACCURACY)
    return learned / end if learned and end else None


def plot(arms: Arms, verdict: Mapping[str, Any], path: Path) -> None:
    """Loss and accuracy over steps, the phases of the first seed shaded; the paper's curve at equal plateau_end in gray."""
    (runs,) = arms.values()
    first = runs[min(runs)]
    phase1, plateau = first.phase_ends
    last = first.curve("validation")["step"][-1]
    bounds = [0, *(step for step in (phase1, plateau) if step is not None), last]
    others = f"; thin: seeds {', '.join(str(seed) for seed in sorted(runs)[1:])}" if len(runs) > 1 else ""
    title = (
        f"How a language model learns facts, in three phases\n{first.data['num_individuals']:,} individuals, {last:,} steps of "
        f"{first.recipe['batch_size']} biographies, seed {first.seed}{others}"
    )
    figure, (loss, accuracy) = new_figure(2, title)
    for axes in (loss, accuracy):
        for (start, end), (phase, color) in zip(itertools.pairwise(bounds), PHASE_COLORS.items(), strict=False):
            axes.axvspan(start, end, color=color, lw=0)
            place, alignment = (end, "right") if start == 0 else ((start + end) / 2, "center")  # the first is narrow
            axes.annotate(phase, (place, 1.01), xycoords=("data", "axes fraction"), ha=alignment, va="bottom", fontsize=9)
        axes.set_xlim(0, last)
        axes.set_xlabel("training step")
    for seed, run in sorted(runs.items(), reverse=True):
        width, label = (2, True) if seed == first.seed else (0.6, False)
        for axes, key in ((loss, "attribute_loss"), (accuracy, "attribute_accuracy")):
            for split, color, style, name in (
                ("validation", BLUE, "-", "individuals seen in training, new wording"),
                ("unseen", RED, "--", "individuals never seen"),
            ):
                curve = run.curve(split)
                axes.plot(curve["step"], curve[key], color=color, lw=width, ls=style, label=name if label else None)
    _, _, baseline = first.loss_curve()
    _draw_paper(loss, accuracy, plateau, baseline)
    draw_level(loss, baseline)
    loss.set_ylim(0, max(first.curve("unseen")["attribute_loss"][-1], 2 * baseline) * 1.15)
    loss.set_ylabel("attribute loss (nats per value)")
    accuracy.set_ylim(0, 1)
    accuracy.set_ylabel("attribute accuracy (share of values)")
    legend_below(figure, loss, num_columns=2)
    save_figure(figure, path)


def _draw_paper(loss: Any, accuracy: Any, plateau: float | None, baseline: float) -> None:
    """The paper's default run, its steps scaled to the same plateau_end and its losses to the same no-knowledge loss."""
    if plateau is None:
        return
    steps, losses, paper_baseline = three_phases_curve()
    end = plateau_end(steps, losses, paper_baseline)
    assert end is not None
    style = {"color": GRAY, "lw": 1, "ls": "-."}
    label = "the paper's run of 64k individuals, scaled to this plateau"
    loss.plot(
        [step * plateau / end for step in steps], [value * baseline / paper_baseline for value in losses], label=label, **style
    )
    accuracy_steps, accuracies = three_phases_accuracy()
    accuracy.plot([step * plateau / end for step in accuracy_steps], accuracies, **style)


CLAIM = Claim(
    label="C1",
    name="three_phases",
    title="Language models learn facts in three phases",
    paper=(
        "Statistics of the values are learned first, within a few hundred steps. Then the loss stays at the no-knowledge "
        "loss, with an accuracy near zero. Then the individuals are learned, and accuracy rises towards 1 (Fig. 2, 64k "
        "individuals)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

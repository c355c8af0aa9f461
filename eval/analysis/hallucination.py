"""C6: hallucination arrives with knowledge (paper Fig. 5, left; Fig. M).

python eval/analysis/hallucination.py runs/demo
python eval/analysis/hallucination.py runs/paper-mini --results eval/results/hallucination/mini.json
"""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from arms import Arms
from claims import Claim, run_analysis
from intervals import Values
from measures import losses_in_b, ratios
from paper import confidence_curve, three_phases_curve, unseen_loss_curve

from bio_facts.runs.curves import Run
from bio_facts.runs.figures import BLACK, BLUE, GRAY, RED, draw_seeds, new_figure, save_figure
from bio_facts.runs.phases import grid_error, median_over_log_steps, onset, plateau_end, plateau_halves

DEPARTURE = 0.02  # of the no-knowledge loss: a loss has left its plateau once it stays this far from the plateau's level

LossCurve = tuple[list[int], list[float], float]  # steps, losses and no-knowledge loss (nats per value)


def measure(arms: Arms) -> Mapping[str, Values]:
    """When the losses on seen and unseen individuals leave their plateaus; unseen loss, confidence and entropy at the end."""
    (runs,) = arms.values()
    times = {seed: onsets(run.loss_curve(), run.loss_curve("unseen")) for seed, run in runs.items()}
    seen, unseen = ({seed: pair[k] for seed, pair in times.items()} for k in (0, 1))
    steps = {seed: run.curve("validation")["step"] for seed, run in runs.items()}
    floor = max(math.hypot(*(grid_error(steps[seed], step) for step in pair)) for seed, pair in times.items())
    return {
        "ratio_of_onsets": Values(ratios(unseen, seen), floor),
        "unseen_excess": Values({seed: unseen_excess(run) for seed, run in runs.items()}),
        "confidence_gap": Values({seed: last(run, "top_probability")[0] - last(run, "top_probability")[1]
                                  for seed, run in runs.items()}),
        "entropy_ratio": Values({seed: last(run, "entropy")[1] / last(run, "entropy")[0] for seed, run in runs.items()}),
    }  # fmt: skip


def onsets(seen: LossCurve, unseen: LossCurve) -> tuple[float | None, float | None]:
    """Steps at which the loss on seen individuals falls, and that on unseen individuals rises, from its level on the plateau.

    Each loss has a level of its own: the lower of its medians over the two halves of the plateau, which is that of the seen
    individuals. Their loss still sinks in the first half; that on unseen individuals lies a little higher, and may rise in the
    second. (None, None) without a plateau.
    """
    halves = plateau_halves(*seen)
    if halves is None:
        return None, None
    levels = [min(median_over_log_steps(steps, losses, *half) for half in halves) for steps, losses, _ in (seen, unseen)]
    departures = -DEPARTURE * seen[2], DEPARTURE * unseen[2]
    first, second = (
        onset(steps, losses, level, departure)
        for (steps, losses, _), level, departure in zip((seen, unseen), levels, departures, strict=True)
    )
    return first, second


def unseen_excess(run: Run) -> float:
    """Last loss on unseen individuals minus the no-knowledge loss of the value pools, in units of the latter."""
    unseen = run.curve("unseen")
    return float(unseen["attribute_loss"][-1] / unseen["pool_no_knowledge_loss"][-1] - 1)


def last(run: Run, key: str) -> tuple[float, float]:
    """A metric at the last evaluation, on seen and on unseen individuals."""
    return run.curve("validation")[key][-1], run.curve("unseen")[key][-1]


def plot(arms: Arms, verdict: Mapping[str, Any], path: Path) -> None:
    """Loss, confidence and entropy on seen and unseen individuals, over steps in units of plateau_end; the paper's in gray."""
    (runs,) = arms.values()
    first = runs[min(runs)]
    units = {seed: run.phase_ends[1] or run.curve("validation")["step"][-1] for seed, run in runs.items()}
    title = (
        f"Individuals that a model has never seen: it becomes confidently wrong when it learns the others\n"
        f"{first.data['num_individuals']:,} individuals, seed {first.seed}; thin lines: other seeds; gray: the paper"
    )
    figure, axes = new_figure(4, title, num_columns=2)
    for split, color, label in (
        ("validation", BLUE, "individuals seen in training, new wording"),
        ("unseen", RED, "individuals never seen"),
    ):
        x = {seed: [step / units[seed] for step in run.curve(split)["step"]] for seed, run in runs.items()}
        curves = {seed: (x[seed], losses_in_b(run, split)[1]) for seed, run in runs.items()}
        draw_seeds(axes[0], curves, color, label)
        for ax, key in ((axes[1], "top_probability"), (axes[2], "entropy"), (axes[3], "confidence_auroc")):
            if all(key in line for run in runs.values() for line in run.curve(split).lines):
                draw_seeds(ax, {seed: (x[seed], run.curve(split)[key]) for seed, run in runs.items()}, color, label)
    _draw_onsets(axes[0], runs, units)
    _draw_paper(axes)
    labels = (
        "attribute loss / no-knowledge loss",
        "largest probability (mean over value tokens)",
        "entropy (nats, mean over value tokens)",
        "probability that a value of a seen individual\nis predicted with more confidence (AUROC)",
    )
    for ax, label in zip(axes, labels, strict=True):
        ax.set_xlim(0, max(run.curve("validation")["step"][-1] / units[seed] for seed, run in runs.items()))
        ax.set_xlabel("training step / end of the plateau")
        ax.set_ylabel(label)
    axes[0].axhline(1, color=BLACK, lw=0.8, ls=":")
    axes[0].set_ylim(0, 1.25 * max(2.4, *(losses_in_b(run, "unseen")[1][-1] for run in runs.values())))
    axes[1].set_ylim(0, 1)
    axes[2].set_ylim(0, None)
    axes[3].set_ylim(0.4, 1)
    axes[0].legend(frameon=False, fontsize=8, loc="upper left")
    save_figure(figure, path)


def _draw_onsets(ax: Any, runs: Mapping[int, Run], units: Mapping[int, float]) -> None:
    """A mark on the axis for each onset of each seed."""
    for seed, run in runs.items():
        times = onsets(run.loss_curve(), run.loss_curve("unseen"))
        for step, color, height in zip(times, (BLUE, RED), (0.06, 0.14), strict=True):
            if step is not None:
                ax.plot(step / units[seed], height, "v", color=color, ms=6, alpha=0.7)
    for color, label in ((BLUE, "the loss leaves its plateau (seen)"), (RED, "the loss leaves its plateau (unseen)")):
        ax.plot([], [], "v", color=color, ms=6, label=label)


def _draw_paper(axes: Any) -> None:
    seen, unseen = three_phases_curve(), unseen_loss_curve()
    end = plateau_end(*seen)
    assert end is not None
    for (steps, losses, baseline), style, label in ((seen, "-.", "the paper: seen"), (unseen, ":", "the paper: unseen")):
        x = [step / end for step in steps]
        axes[0].plot(x, [loss / baseline for loss in losses], color=GRAY, lw=1.2, ls=style, label=label)
    for ax, key in ((axes[1], "top_probability"), (axes[2], "entropy")):
        for split, style in (("seen", "-."), ("unseen", ":")):
            steps, values = confidence_curve(f"{key}_{split}")
            ax.plot([step / end for step in steps], values, color=GRAY, lw=1.2, ls=style, marker="x", ms=5)


CLAIM = Claim(
    label="C6",
    name="hallucination",
    title="Hallucination arrives with knowledge",
    paper=(
        "As the knowledge phase begins, the loss on individuals never seen rises above the no-knowledge loss: the model "
        "becomes overconfident about them, though less confident than about individuals it has seen (Fig. 5, left; M)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

"""C1: language models learn facts in three phases (paper Fig. 2, left and middle).

python eval/analysis/three_phases.py runs/demo
python eval/analysis/three_phases.py runs/paper-mini/three_phases-s* --results eval/results/three_phases/mini.json
"""

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bio_facts.runs.curves import Run, check_alike, check_distinct_seeds, check_pretraining

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from claims import Claim, run_analysis
from figures import BLUE, PHASE_COLORS, RED, draw_level, legend_below, new_figure, save_figure
from verdicts import Check, Finding, check, curves_of

MAX_ACCURACY_AT_PHASE1_END = 0.05  # statistics are learned, no individual is known
MIN_PLATEAU_RATIO = 2.0  # the plateau lasts at least as long as phase 1
MAX_ACCURACY_ON_PLATEAU = 0.10
MIN_FINAL_ACCURACY = 0.9  # then the individuals are learned
MIN_UNSEEN_EXCESS = 1.0  # nats per value above pool_no_knowledge_loss: confidently wrong about unseen individuals
MAX_EVALUATION_GAP = 25  # steps between evaluations until plateau_end, so that both ends are resolved; ...
MAX_EVALUATION_GAP_SHARE = 1 / 64  # ... in long runs this share of all steps: 250 of 16k


def score(runs: Sequence[Run]) -> Finding:
    """Checks of each run."""
    check_pretraining(runs, "uniform")
    check_alike(runs)
    check_distinct_seeds(runs)
    checks = [item for run in runs for item in score_run(run)]
    first = runs[0]
    content = {
        "phase_ends": {str(run.seed): run.phase_ends for run in runs},
        "no_knowledge_loss": first.curve("validation")["no_knowledge_loss"][0],
        "num_individuals": first.data["num_individuals"],
        "batch_size": first.recipe["batch_size"],
        "curves": curves_of(runs, ("validation", "unseen"), "attribute_loss", "attribute_accuracy"),
    }
    return Finding(checks, content)


def score_run(run: Run) -> list[Check]:
    """Checks of one run."""
    validation, unseen = run.curve("validation"), run.curve("unseen")
    steps, accuracies = validation["step"], validation["attribute_accuracy"]
    phase1, plateau = run.phase_ends
    at_phase1 = accuracies[steps.index(phase1)] if phase1 is not None else None
    ratio = plateau / phase1 if plateau is not None and phase1 else None
    on_plateau = [accuracy for step, accuracy in zip(steps, accuracies, strict=True) if plateau is not None and step < plateau]
    until_plateau = [step for step in steps if plateau is not None and step <= plateau]
    gaps = [later - earlier for earlier, later in itertools.pairwise(until_plateau)]
    excess = unseen["attribute_loss"][-1] - unseen["pool_no_knowledge_loss"][-1]
    gap = max(MAX_EVALUATION_GAP, MAX_EVALUATION_GAP_SHARE * run.recipe["num_steps"])
    return [
        check(f"seed {run.seed}: {measured}", comparison, threshold, value)
        for measured, comparison, threshold, value in (
            ("phase1_end (step)", "is at least", 1, phase1),
            ("validation accuracy at phase1_end", "is below", MAX_ACCURACY_AT_PHASE1_END, at_phase1),
            ("plateau_end / phase1_end", "is at least", MIN_PLATEAU_RATIO, ratio),
            (
                "highest validation accuracy before plateau_end",
                "is below",
                MAX_ACCURACY_ON_PLATEAU,
                max(on_plateau, default=None),
            ),
            ("final validation accuracy", "is above", MIN_FINAL_ACCURACY, accuracies[-1]),
            ("final unseen loss minus pool_no_knowledge_loss (nats per value)", "is at least", MIN_UNSEEN_EXCESS, excess),
            ("steps between evaluations until plateau_end", "is at most", gap, max(gaps, default=None)),
        )
    ]


def plot(verdict: dict[str, Any], path: Path) -> None:
    """Loss and accuracy over steps with the no-knowledge loss; the three phases are shaded, unseen individuals dashed."""
    seed = str(verdict["seeds"][0])
    curves, (phase1, plateau) = verdict["curves"][seed], verdict["phase_ends"][seed]
    validation, unseen = curves["validation"], curves["unseen"]
    last = validation["step"][-1]
    bounds = [0, *(step for step in (phase1, plateau) if step is not None), last]
    title = (
        f"How a language model learns facts, in three phases\n{verdict['num_individuals']:,} individuals, {last:,} steps of "
        f"{verdict['batch_size']} biographies, seed {seed}"
    )
    figure, (loss, accuracy) = new_figure(2, title)
    for axes in (loss, accuracy):
        for (start, end), (phase, color) in zip(itertools.pairwise(bounds), PHASE_COLORS.items(), strict=False):
            axes.axvspan(start, end, color=color, lw=0)
            middle = (start + end) / 2
            axes.annotate(phase, (middle, 1.01), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=9)
        axes.set_xlim(0, last)
        axes.set_xlabel("training step")
    for axes, key in ((loss, "attribute_loss"), (accuracy, "attribute_accuracy")):
        axes.plot(validation["step"], validation[key], color=BLUE, lw=2, label="individuals seen in training, new wording")
        axes.plot(unseen["step"], unseen[key], color=RED, lw=2, ls="--", label="individuals never seen")
    baseline = verdict["no_knowledge_loss"]
    draw_level(loss, baseline)
    loss.set_ylim(0, max(unseen["attribute_loss"][-1], 2 * baseline) * 1.15)
    loss.set_ylabel("attribute loss (nats per value)")
    accuracy.set_ylim(0, 1)
    accuracy.set_ylabel("attribute accuracy (share of values)")
    legend_below(figure, loss, num_columns=3)
    save_figure(figure, path)


CLAIM = Claim(
    label="C1",
    name="three_phases",
    title="Language models learn facts in three phases",
    paper=(
        "Statistics of the values are learned first, within a few hundred steps. Then the loss stays at the no-knowledge "
        "loss, with an accuracy near zero. Then the individuals are learned, and accuracy rises towards 1 (Fig. 2, 64k "
        "individuals)."
    ),
    takes="Takes runs of pre-training on uniform data, each judged by itself; the figure shows the first.",
    score=score,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

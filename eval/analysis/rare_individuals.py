"""C9c: fine-tuning on rare individuals helps them but still erodes the rest, though later than with new ones (paper App. F.3).

python eval/analysis/rare_individuals.py runs/paper-mini/rare_individuals-s* --results eval/results/rare_individuals/mini.json
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bio_facts.runs.curves import Run, check_alike, check_distinct_seeds

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from claims import Claim, run_analysis
from figures import BLUE, GREEN, RED, label_axes, new_figure, save_figure
from verdicts import Finding, check, curves_of

EARLY = 0.1  # share of fine-tuning within which new individuals bring the collapse (claim fine_tuning)
MAX_EARLY_FALL = 0.1  # of accuracy on frequent individuals within that share
FALL = 0.2  # of accuracy on frequent individuals, at any time
MIN_GAIN = 0.2  # of accuracy on rare individuals at the first evaluation with that fall, or at the end if there is none
SPLITS = {"validation_group1": "rare people", "validation_group0": "frequent people", "unseen": "people never seen"}


def score(runs: Sequence[Run]) -> Finding:
    """Checks of means over seeds.

    Raises:
        ValueError: if a run does not fine-tune on the second of two groups.
    """
    check_alike(runs, "source")
    check_distinct_seeds(runs)
    for run in runs:
        if run.recipe.get("source") is None or run.data.get("num_groups") != 2 or run.data.get("first_group") != 1:
            raise ValueError(
                f"run {run.folder} is not fine-tuning on the second of two groups; it must be one of the recipe "
                "rare_individuals"
            )
    rare, frequent = ([run.curve(f"validation_group{group}")["attribute_accuracy"] for run in runs] for group in (1, 0))
    early = EARLY * runs[0].recipe["num_steps"]
    steps = runs[0].curve("validation_group0")["step"]
    early_fall = float(
        np.mean(
            [curve[0] - min(value for step, value in zip(steps, curve, strict=True) if step <= early) for curve in frequent]
        )
    )
    fallen = [run.curve("validation_group0").index_of_fall("attribute_accuracy", FALL) for run in runs]
    gain = float(np.mean([curve[-1 if index is None else index] - curve[0] for curve, index in zip(rare, fallen, strict=True)]))
    checks = [
        check(
            f"fall of accuracy on frequent people in the first {EARLY:g} of fine-tuning",
            "is at most",
            MAX_EARLY_FALL,
            early_fall,
        ),
        check(
            f"gain of accuracy on rare people by the time that frequent ones have lost {FALL:g}", "is at least", MIN_GAIN, gain
        ),
    ]
    content = {
        "table": [
            {
                "seed": run.seed,
                "rare_start": rare_curve[0], "rare_final": rare_curve[-1],
                "frequent_start": frequent_curve[0], "frequent_final": frequent_curve[-1],
            }
            for run, rare_curve, frequent_curve in zip(runs, rare, frequent, strict=True)
        ],
        "curves": curves_of(runs, SPLITS, "attribute_loss", "attribute_accuracy"),
    }  # fmt: skip
    return Finding(checks, content)


def plot(verdict: dict[str, Any], path: Path) -> None:
    """Loss and accuracy on rare, frequent and unseen individuals over steps, a line for each seed."""
    figure, (loss, accuracy) = new_figure(2, "Fine-tuning on people who were seen, but rarely")
    for (split, label), color in zip(SPLITS.items(), (GREEN, BLUE, RED), strict=True):
        for index, curves in enumerate(verdict["curves"].values()):
            for axes, key in ((loss, "attribute_loss"), (accuracy, "attribute_accuracy")):
                axes.plot(curves[split]["step"], curves[split][key], color=color, lw=1.3, label=label if index == 0 else None)
    label_axes(loss, "step of fine-tuning", "attribute loss (nats per value)")
    label_axes(accuracy, "step of fine-tuning", "attribute accuracy", top=1)
    save_figure(figure, path)


CLAIM = Claim(
    label="C9c",
    name="rare_individuals",
    title="Fine-tuning on rare individuals helps them but still erodes the rest",
    paper=(
        "Fine-tuning on individuals that were rare in pre-training raises accuracy on them without the collapse that new "
        "individuals bring (App. F.3)."
    ),
    takes="Takes runs of fine-tuning on the second half of a population whose first half was more frequent in pre-training.",
    score=score,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

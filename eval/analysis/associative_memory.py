"""C9b: a key-value memory forgets old pairs when it learns new ones, as a language model does (paper App. F.4).

  python eval/analysis/associative_memory.py runs/paper-mini/associative_memory-* \\
      --results eval/results/associative_memory/mini.json
"""

import itertools
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bio_facts.runs.curves import Run, check_alike, check_seeds, group_runs

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from claims import Claim, run_analysis
from figures import BLACK, label_axes, new_figure, save_figure, with_colors
from verdicts import Finding, check, curves_of

MIN_START_ACCURACY = 0.9  # on the pairs of pre-training, before fine-tuning
FALL = 0.2  # of that accuracy, with the most new pairs
EARLY = 0.1  # share of fine-tuning that counts as early
MIN_EARLY_SHARE = 0.5  # share of the rise of the old pairs' loss that is early, with the most new pairs


def score(runs: Sequence[Run]) -> Finding:
    """Checks of means over seeds.

    Raises:
        ValueError: if a run is not of the memory, or all runs have the same number of new pairs.
    """
    for run in runs:
        if "num_new_pairs" not in run.recipe:
            raise ValueError(f"run {run.folder} is no associative memory; it must be one of train/train_memory.py")
    check_alike(runs, "num_new_pairs")
    by_number = group_runs(runs, lambda run: int(run.recipe["num_new_pairs"]))
    check_seeds(by_number, "{} new pairs")
    if len(by_number) < 2:
        raise ValueError(f"runs have {list(by_number)} new pairs; there must be two numbers of them or more, to compare")
    table = [_row(number, members) for number, members in by_number.items()]
    most = table[-1]
    smallest_step = min(later["fall"] - earlier["fall"] for earlier, later in itertools.pairwise(table))
    checks = [
        check("accuracy on old pairs before fine-tuning", "is at least", MIN_START_ACCURACY, most["start_accuracy"]),
        check(f"{most['num_new_pairs']} new pairs: fall of accuracy on old ones", "is at least", FALL, most["fall"]),
        check(
            f"{most['num_new_pairs']} new pairs: share of the rise of the old pairs' loss in the first {EARLY:g} "
            "of fine-tuning",
            "is at least", MIN_EARLY_SHARE, most["early_share"],
        ),
        check("fall with more new pairs minus that with the next fewer, smallest", "is above", 0, smallest_step),
    ]  # fmt: skip
    curves = {
        str(number): curves_of(members[:1], ("pretrain", "new"), "loss", "accuracy") for number, members in by_number.items()
    }
    return Finding(checks, {"table": table, "curves": curves})


def _row(number: int, members: list[Run]) -> dict[str, Any]:
    starts, falls, new_at_fall = [], [], []
    shares: list[float] = []  # NaN where the loss does not rise
    for run in members:
        old, new = run.curve("pretrain"), run.curve("new")
        steps, losses, accuracies = old["step"], old["loss"], old["accuracy"]
        early = max(index for index, step in enumerate(steps) if step <= EARLY * steps[-1])
        starts.append(accuracies[0])
        falls.append(accuracies[0] - accuracies[-1])
        rise = max(losses) - losses[0]
        shares.append((losses[early] - losses[0]) / rise if rise > 0 else math.nan)
        index = old.index_of_fall("accuracy", FALL)
        new_at_fall.append(None if index is None else new["accuracy"][index])
    return {
        "num_new_pairs": number,
        "seeds": [run.seed for run in members],
        "start_accuracy": float(np.mean(starts)),
        "fall": float(np.mean(falls)),
        "early_share": None if any(map(math.isnan, shares)) else float(np.mean(shares)),
        "new_accuracies_when_old_has_fallen": new_at_fall,
    }


def plot(verdict: dict[str, Any], path: Path) -> None:
    """Loss on old pairs and accuracy on old and new pairs over steps; a color for each number of new pairs."""
    figure, (loss, accuracy) = new_figure(2, "A key-value memory taught new pairs")
    for color, (number, seeds) in with_colors(verdict["curves"].items()):
        (curves,) = seeds.values()
        old, new = curves["pretrain"], curves["new"]
        loss.plot(old["step"], old["loss"], color=color, lw=1.5, label=f"{number} new pairs")
        accuracy.plot(old["step"], old["accuracy"], color=color, lw=1.5)
        accuracy.plot(new["step"], new["accuracy"], color=color, lw=1.5, ls="--")
    accuracy.plot([], [], color=BLACK, label="old pairs")
    accuracy.plot([], [], color=BLACK, ls="--", label="new pairs")
    for axes in (loss, accuracy):
        axes.set_xscale("symlog", linthresh=10)
    label_axes(loss, "step of fine-tuning", "loss on the pairs of pre-training (nats per pair)")
    label_axes(accuracy, "step of fine-tuning", "accuracy", top=1.02)
    save_figure(figure, path)


CLAIM = Claim(
    label="C9b",
    name="associative_memory",
    title="A key-value memory forgets old pairs when it learns new ones",
    paper=(
        "A perceptron with one hidden layer of ReLU units, used as a key-value memory, behaves like a language model that "
        "is fine-tuned on new individuals (App. F.4)."
    ),
    takes="Takes runs of train/train_memory.py with different numbers of new pairs.",
    score=score,
    plot=plot,
    misses={
        "share of the rise": (
            "The loss on old pairs does not jump early and stay: with the most new pairs it goes on rising through the "
            "whole of fine-tuning. It is the loss of the paper, 30-way classification with cross-entropy (App. F.4), in "
            "which the cost of a wrong answer has no bound."
        ),
    },
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

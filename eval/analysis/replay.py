"""C8: replay reduces forgetting, but less at the start than at the end (paper Fig. 5, right).

  python eval/analysis/replay.py runs/paper-mini/replay-* runs/paper-mini/fine_tuning-new225-* \\
      --results eval/results/replay/mini.json
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bio_facts.runs.curves import Run, check_alike, check_seeds, group_runs

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from analysis.fine_tuning import check_fine_tuning, curves_by
from claims import Claim, run_analysis
from figures import GRAY, PALETTE, label_axes, new_figure, save_figure
from verdicts import Finding, check

MIN_PEAK_RATIO = 2.0  # early peak of the loss on individuals of pre-training, relative to its start
EARLY = 0.5  # share of fine-tuning that counts as early
MAX_FINAL_RATIO = 0.5  # final value of that loss with replay, relative to that without


def score(runs: Sequence[Run]) -> Finding:
    """Checks for each replay weight, of means over seeds.

    Raises:
        ValueError: if there are no runs without replay, or no runs with replay.
    """
    check_fine_tuning(runs)
    check_alike(runs, "source", "dataset", "dataset_parameters.replay_weight")
    by_weight = group_runs(runs, lambda run: float(run.data["replay_weight"]))
    check_seeds(by_weight, "replay weight {:g}")
    if 0.0 not in by_weight or len(by_weight) < 2:
        raise ValueError(f"runs have replay weights {list(by_weight)}; there must be 0 and at least one more")
    table = [_row(weight, members) for weight, members in by_weight.items()]
    without = np.mean(table[0]["final_losses"])
    checks = []
    for row in table[1:]:
        ratio = float(np.mean(np.array(row["peaks"]) / np.array(row["starts"])))
        final = float(np.mean(row["final_losses"]) / without)
        name = f"replay weight {row['replay_weight']:g}"
        checks += [
            check(f"{name}: early peak of old people's loss / its start", "is at least", MIN_PEAK_RATIO, ratio),
            check(f"{name}: final loss on old people / that without replay", "is at most", MAX_FINAL_RATIO, final),
        ]
    return Finding(checks, {"table": table, "curves": curves_by(by_weight)})


def _row(weight: float, members: list[Run]) -> dict[str, Any]:
    losses = [run.curve("pretrain_validation") for run in members]
    early = EARLY * members[0].recipe["num_steps"]
    peaks = [
        max(loss for step, loss in zip(curve["step"], curve["attribute_loss"], strict=True) if 0 < step <= early)
        for curve in losses
    ]
    return {
        "replay_weight": weight,
        "seeds": [run.seed for run in members],
        "starts": [curve["attribute_loss"][0] for curve in losses],
        "peaks": peaks,
        "final_losses": [curve["attribute_loss"][-1] for curve in losses],
        "final_new_accuracies": [run.curve("validation")["attribute_accuracy"][-1] for run in members],
    }


def plot(verdict: dict[str, Any], path: Path) -> None:
    """Loss on individuals of pre-training, and accuracy on new ones, over steps; a color for each replay weight."""
    figure, (loss, accuracy) = new_figure(2, "Replay softens the loss of old knowledge, in the end more than at the beginning")
    for color, (weight, seeds) in zip((GRAY, *PALETTE), verdict["curves"].items(), strict=False):
        for index, curves in enumerate(seeds.values()):
            label = (f"replay weight {float(weight):g}" if float(weight) else "no replay") if index == 0 else None
            old, new = curves["pretrain_validation"], curves["validation"]
            loss.plot(old["step"], old["attribute_loss"], color=color, lw=1.2, label=label)
            accuracy.plot(new["step"], new["attribute_accuracy"], color=color, lw=1.2, label=label)
    label_axes(loss, "step of fine-tuning", "attribute loss on people of pre-training (nats per value)")
    label_axes(accuracy, "step of fine-tuning", "attribute accuracy on new people", top=1)
    save_figure(figure, path)


CLAIM = Claim(
    label="C8",
    name="replay",
    title="Replay reduces forgetting, but less at the start than at the end",
    paper=(
        "When individuals of pre-training are mixed in, each with a weight of 2 to 1/32 (a new individual has 1), less old "
        "knowledge is lost in the end, but the loss of knowledge at the start remains (Fig. 5, right)."
    ),
    takes="Takes runs of fine-tuning on the same new individuals, with and without replay.",
    score=score,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

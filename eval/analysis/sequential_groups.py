"""C9a: groups in sequence are learned ever faster and forgotten faster still (paper App. F.5).

  python eval/analysis/sequential_groups.py runs/paper-mini/sequential_groups-* \\
      --results eval/results/sequential_groups/mini.json
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bio_facts.runs.curves import Run, check_alike, check_distinct_seeds

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from claims import Claim, run_analysis
from figures import label_axes, new_figure, save_figure, with_colors
from verdicts import Finding, check, curves_of

LEVEL = 0.5  # share of the highest accuracy on a group that counts as learned, and below which it counts as forgotten
MAX_TIME_RATIO = 0.8  # steps until the last group is learned, relative to the first
MAX_FORGETTING_RATIO = 1.0  # steps until a group is forgotten, relative to steps until it was learned; mean over groups


def score(runs: Sequence[Run]) -> Finding:
    """Checks of means over seeds.

    Raises:
        ValueError: if a run is not on groups, or did not train on all of them.
    """
    check_alike(runs)
    check_distinct_seeds(runs)
    for run in runs:
        if run.data["distribution"] != "groups" or run.data["first_group"] or run.data["num_groups"] < 2:
            raise ValueError(
                f"run {run.folder} has distribution {run.data['distribution']!r}; it must be on two or more groups, "
                "from the first on"
            )
    turn, rest = divmod(int(runs[0].data["num_group_biographies"]), int(runs[0].recipe["batch_size"]))
    num_groups = int(runs[0].data["num_groups"])
    if rest or runs[0].recipe["num_steps"] != turn * num_groups:
        raise ValueError(
            f"run {runs[0].folder} has {runs[0].recipe['num_steps']} steps; each of {num_groups} groups must have its turn of "
            "num_group_biographies, whole steps of them"
        )
    steps = np.array(
        [[times(run, group, turn) for group in range(num_groups)] for run in runs], dtype=float
    )  # None becomes NaN
    learned, forgotten = steps[..., 0], steps[:, :-1, 1]  # [runs, groups], [runs, groups - 1]
    ratio = float(np.mean(learned[:, -1] / learned[:, 0]))
    forgetting = float(np.mean(forgotten / learned[:, :-1]))
    checks = [
        check("steps until the last group is learned / those for the first", "is at most", MAX_TIME_RATIO, _none_if_nan(ratio)),
        check(
            "steps until a group is forgotten / until it was learned",
            "is below",
            MAX_FORGETTING_RATIO,
            _none_if_nan(forgetting),
        ),
    ]
    names = [f"validation_group{group}" for group in range(num_groups)]
    content = {
        "num_groups": num_groups,
        "turn": turn,
        "table": [
            {
                "group": group,
                "learned_after": [_none_if_nan(value) for value in learned[:, group]],
                "forgotten_after": [_none_if_nan(value) for value in forgotten[:, group]] if group < num_groups - 1 else None,
            }
            for group in range(num_groups)
        ],
        "curves": curves_of(runs, names, "attribute_loss", "attribute_accuracy"),
    }
    return Finding(checks, content)


def times(run: Run, group: int, turn: int) -> tuple[int | None, int | None]:
    """Steps from the start of a group's turn until it is learned, and from the end until it is forgotten; None if never."""
    curve = run.curve(f"validation_group{group}")
    points = list(zip(curve["step"], curve["attribute_accuracy"], strict=True))
    start, end = group * turn, (group + 1) * turn
    level = LEVEL * max(accuracy for step, accuracy in points if start <= step <= end)
    learned = next((step - start for step, accuracy in points if start < step <= end and accuracy >= level), None)
    forgotten = next((step - end for step, accuracy in points if step > end and accuracy < level), None)
    return learned, forgotten


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def plot(verdict: dict[str, Any], path: Path) -> None:
    """Accuracy and loss on each group over steps, with the group's turn shaded."""
    figure, (loss, accuracy) = new_figure(2, "Groups one after another: learned ever faster, forgotten faster still")
    seed = str(verdict["seeds"][0])
    for color, (name, curve) in with_colors(verdict["curves"][seed].items()):
        group = int(name.removeprefix("validation_group"))
        for axes, key in ((loss, "attribute_loss"), (accuracy, "attribute_accuracy")):
            axes.plot(curve["step"], curve[key], color=color, lw=1.5, label=f"group {group}")
            axes.axvspan(group * verdict["turn"], (group + 1) * verdict["turn"], color=color, alpha=0.08, lw=0)
    label_axes(loss, "training step", "attribute loss (nats per value)")
    label_axes(accuracy, "training step", "attribute accuracy", top=1)
    save_figure(figure, path)


CLAIM = Claim(
    label="C9a",
    name="sequential_groups",
    title="Groups in sequence are learned ever faster and forgotten faster still",
    paper=(
        "Groups of individuals that are presented one after another are learned ever faster: only the first group has a "
        "plateau. The group before is forgotten faster than it was learned (App. F.5)."
    ),
    takes="Takes runs of pre-training on a groups config.",
    score=score,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

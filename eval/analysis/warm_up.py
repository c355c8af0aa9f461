"""C5: a warm-up on a few people beats every fixed distribution that was tried, when the budget is short (paper Fig. 4, right).

  python eval/analysis/warm_up.py runs/paper-mini/warm_up-* runs/paper-mini/power_law-{uniform,alpha0.6,alpha1.0}-s1* \\
      --results eval/results/warm_up/mini.json

Takes runs of pre-training of equal length: warm-ups, fixed distributions of the same people, and, as a control, uniform
runs on fewer people.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from runs import Run, check_alike, check_pretraining, grouped
from verdicts import Finding, analyse, check, new_figure, save_figure

CLAIM = "warm_up"
PAPER = (
    "Uniform on a subset of people for a few epochs, then uniform on all, beats every fixed distribution when the budget is "
    "short: with 64k people and 8k steps accuracy goes from about a third to about 98 % (8k people for 1.5k steps). A uniform "
    "run on fewer people does not explain it (Fig. 4, right)."
)

MIN_GAIN = 0.1  # of final accuracy, over the best fixed distribution, at equal steps
MIN_GAIN_OVER_CONTROL = 0.0  # over the fewer-people control, whose accuracy is counted over all people


def score(runs: Sequence[Run]) -> Finding:
    """Checks of all runs together; accuracies are means over seeds. Arms that lack a seed are for the picture.

    Raises:
        ValueError: if there is no warm-up, no fixed distribution or no control of all seeds.
    """
    check_pretraining(runs, "uniform", "power_law", "celebrities", "warm_up")
    check_alike(runs, "dataset", "dataset_parameters", "keep_models_at", "eval_every", "save_every")
    people = max(int(run.data["num_individuals"]) for run in runs)
    table = [_row(arm, members, people) for arm, members in grouped(runs, lambda run: _arm(run, people)).items()]
    best, seeds = {}, sorted({run.seed for run in runs})
    for kind, what in (
        ("warm-up", "a warm-up"),
        ("fixed", "a fixed distribution"),
        ("control", "a uniform run on fewer people"),
    ):
        rows = [row for row in table if row["kind"] == kind and row["seeds"] == seeds]
        if not rows:
            raise ValueError(f"runs lack {what}, one of each seed of {seeds}; those of {people} people are compared with it")
        best[kind] = max(rows, key=lambda row: row["accuracy"])
    checks = [
        check(
            f"accuracy of the best warm-up minus that of the best {other}", comparison, threshold,
            best["warm-up"]["accuracy"] - best[kind]["accuracy"],
        )
        for kind, other, comparison, threshold in (
            ("fixed", "fixed distribution", "is at least", MIN_GAIN),
            ("control", "control, counted over all people", "is above", MIN_GAIN_OVER_CONTROL),
        )
    ]  # fmt: skip
    content = {"num_individuals": people, "num_steps": runs[0].recipe["num_steps"], "best": best, "table": table}
    return Finding(checks, content)


def _arm(run: Run, people: int) -> tuple[str, str]:
    data, kind = run.data, run.data["distribution"]
    if kind == "warm_up":
        epochs = data["num_warmup_biographies"] / people
        return "warm-up", f"{data['num_warmup_individuals']:,} people for {epochs:.3g} epochs"
    if data["num_individuals"] < people:
        if kind != "uniform":
            raise ValueError(f"run {run.folder} has {data['num_individuals']} people and is not uniform; a control must be")
        return "control", f"{data['num_individuals']:,} people alone"
    if kind == "uniform":
        return "fixed", "uniform"
    if kind == "power_law":
        return "fixed", f"alpha {data['alpha']:g}"
    return "fixed", f"{data['num_celebrities']:,} celebrities x {data['celebrity_weight']}"


def _row(arm: tuple[str, str], members: list[Run], people: int) -> dict[str, Any]:
    share = int(members[0].data["num_individuals"]) / people  # those whom a control does not know count as wrong
    accuracies = [share * run.curve("validation")["attribute_accuracy"][-1] for run in members]
    return {
        "kind": arm[0],
        "arm": arm[1],
        "seeds": [run.seed for run in members],
        "accuracies": [round(accuracy, 4) for accuracy in accuracies],
        "accuracy": float(np.mean(accuracies)),
        "final_loss": float(np.mean([run.curve("validation")["attribute_loss"][-1] for run in members])),
    }


def plot(found: dict[str, Any], path: Path) -> None:
    """Final accuracy of every arm, a dot for each seed (those of one seed are not judged)."""
    figure, (axes,) = new_figure(
        1, f"A warm-up on a few of {found['num_individuals']:,} people, {found['num_steps']:,} steps in all"
    )
    colors = {"fixed": "#1f4e79", "control": "#7f8c8d", "warm-up": "#b03a2e"}
    rows = sorted(found["table"], key=lambda row: (list(colors).index(row["kind"]), row["accuracy"]), reverse=True)
    for place, row in enumerate(rows):
        axes.barh(place, row["accuracy"], color=colors[row["kind"]], alpha=0.35)
        axes.plot(row["accuracies"], [place] * len(row["accuracies"]), "o", color=colors[row["kind"]], ms=4)
    axes.set_yticks(range(len(rows)), [f"{row['kind']}: {row['arm']}" for row in rows])
    axes.set_xlim(0, 1)
    axes.set_xlabel("final accuracy over all people\n(of a control, unknown ones count as wrong)")
    save_figure(figure, path)


if __name__ == "__main__":
    analyse(__doc__ or "", CLAIM, score, plot, misses={})

"""C5: a warm-up on few individuals beats fixed distributions on a short budget (paper Fig. 4, right).

  python eval/analysis/warm_up.py runs/paper-mini/warm_up-* runs/paper-mini/power_law-{uniform,alpha0.6,alpha1.0}-s1* \\
      --results eval/results/warm_up/mini.json
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bio_facts.runs.curves import Run, all_seeds, check_alike, check_pretraining, complete_groups, group_runs

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from claims import Claim, run_analysis
from figures import BLUE, GRAY, RED, new_figure, save_figure
from verdicts import Finding, check

MIN_GAIN = 0.1  # of final accuracy, over the best fixed distribution, at equal steps
MIN_GAIN_OVER_CONTROL = 0.0  # over the control with fewer individuals, whose accuracy is counted over all individuals


def score(runs: Sequence[Run]) -> Finding:
    """Checks of all runs together; accuracies are means over seeds. Arms that lack a seed are only plotted.

    Raises:
        ValueError: if no warm-up, no fixed distribution or no control has all seeds.
    """
    check_pretraining(runs, "uniform", "power_law", "celebrities", "warm_up")
    check_alike(runs, "dataset", "dataset_parameters", "keep_models_at", "eval_every", "save_every")
    num_individuals = max(int(run.data["num_individuals"]) for run in runs)
    arms = group_runs(runs, lambda run: _arm(run, num_individuals))
    table = {arm: _row(arm, members, num_individuals) for arm, members in arms.items()}
    best, complete = {}, complete_groups(arms)
    for kind, what in (
        ("warm-up", "a warm-up"),
        ("fixed", "a fixed distribution"),
        ("control", "a uniform run on fewer people"),
    ):
        rows = [table[arm] for arm in complete if arm[0] == kind]
        if not rows:
            raise ValueError(
                f"runs lack {what}, one of each seed of {all_seeds(arms)}; those of {num_individuals} people are compared "
                "with it"
            )
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
    content = {"num_individuals": num_individuals, "num_steps": runs[0].recipe["num_steps"]}
    return Finding(checks, content | {"best": best, "table": list(table.values())})


def _arm(run: Run, num_individuals: int) -> tuple[str, str]:
    """Kind of arm (warm-up, fixed or control) and name; ValueError for a run on fewer individuals that is not uniform."""
    data, kind = run.data, run.data["distribution"]
    if kind == "warm_up":
        epochs = data["num_warmup_biographies"] / num_individuals
        return "warm-up", f"{data['num_warmup_individuals']:,} people for {epochs:.3g} epochs"
    if data["num_individuals"] < num_individuals:
        if kind != "uniform":
            raise ValueError(f"run {run.folder} has {data['num_individuals']} people and is not uniform; a control must be")
        return "control", f"{data['num_individuals']:,} people alone"
    if kind == "uniform":
        return "fixed", "uniform"
    if kind == "power_law":
        return "fixed", f"alpha {data['alpha']:g}"
    return "fixed", f"{data['num_celebrities']:,} celebrities x {data['celebrity_weight']}"


def _row(arm: tuple[str, str], members: list[Run], num_individuals: int) -> dict[str, Any]:
    share = (
        int(members[0].data["num_individuals"]) / num_individuals
    )  # individuals that a control was not trained on count as wrong
    accuracies = [share * run.curve("validation")["attribute_accuracy"][-1] for run in members]
    return {
        "kind": arm[0],
        "arm": arm[1],
        "seeds": [run.seed for run in members],
        "accuracies": [round(accuracy, 4) for accuracy in accuracies],
        "accuracy": float(np.mean(accuracies)),
        "final_loss": float(np.mean([run.curve("validation")["attribute_loss"][-1] for run in members])),
    }


def plot(verdict: dict[str, Any], path: Path) -> None:
    """Final accuracy of every arm, with a dot for each seed."""
    figure, (axes,) = new_figure(
        1, f"A warm-up on a few of {verdict['num_individuals']:,} people, {verdict['num_steps']:,} steps in all"
    )
    colors = {"fixed": BLUE, "control": GRAY, "warm-up": RED}
    rows = sorted(verdict["table"], key=lambda row: (list(colors).index(row["kind"]), row["accuracy"]), reverse=True)
    for index, row in enumerate(rows):
        axes.barh(index, row["accuracy"], color=colors[row["kind"]], alpha=0.35)
        axes.plot(row["accuracies"], [index] * len(row["accuracies"]), "o", color=colors[row["kind"]], ms=4)
    axes.set_yticks(range(len(rows)), [f"{row['kind']}: {row['arm']}" for row in rows])
    axes.set_xlim(0, 1)
    axes.set_xlabel("final accuracy over all people\n(of a control, unknown ones count as wrong)")
    save_figure(figure, path)


CLAIM = Claim(
    label="C5",
    name="warm_up",
    title="A warm-up on few individuals beats fixed distributions on a short budget",
    paper=(
        "Uniform sampling of a subset of individuals for a few epochs, then of all, beats every fixed distribution when the "
        "budget is short: with 64k individuals and 8k steps, accuracy rises from about a third to about 98 % (with 8k "
        "individuals for the first 1.5k steps). A uniform run on fewer individuals does not explain it (Fig. 4, right)."
    ),
    takes=(
        "Takes runs of pre-training of equal length: warm-ups, fixed distributions of the same individuals, and, as a "
        "control, uniform runs on fewer individuals."
    ),
    score=score,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

"""C4: imbalanced data shortens the plateau; too much imbalance hurts (paper Fig. 4, left and middle).

python eval/analysis/power_law.py runs/paper-mini/power_law-* --results eval/results/power_law/mini.json
"""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bio_facts.runs.curves import Run, all_seeds, check_alike, check_pretraining, complete_groups, group_runs

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from claims import Claim, run_analysis
from figures import BLACK, new_figure, save_figure, with_colors
from verdicts import Check, Finding, check

Arm = tuple[float, ...]

MIN_SHORTENING = 0.15  # of the plateau, against uniform, mean over seeds


def _arm(run: Run) -> Arm:
    """What runs of several seeds have in common: individuals, steps, alpha, celebrities, weight.

    alpha: 0 for uniform; infinite for celebrities, so that they are sorted last.
    """
    data, steps = run.data, run.recipe["num_steps"]
    alpha = math.inf if data["distribution"] == "celebrities" else data.get("alpha", 0)
    return data["num_individuals"], steps, alpha, data.get("num_celebrities", 0), data.get("celebrity_weight", 0)


def score(runs: Sequence[Run]) -> Finding:
    """Checks of all runs together.

    Raises:
        ValueError: if a number of individuals and of steps lacks a grid of alphas with a uniform arm.
    """
    check_pretraining(runs, "uniform", "power_law", "celebrities")
    check_alike(runs, "dataset", "dataset_parameters", "eval_every", "num_steps", "save_every", "keep_models_at")
    arms = group_runs(runs, _arm)
    table = {arm: _row(arm, members) for arm, members in arms.items()}
    checks: list[Check] = []
    sizes = sorted({row["num_individuals"] for row in table.values()})
    for size in sizes:
        alphas = [row for row in table.values() if row["num_individuals"] == size and row["alpha"] is not None]
        budgets = sorted({row["num_steps"] for row in alphas})
        if len(budgets) < 2:
            raise ValueError(f"runs of {size} people have {budgets} steps; there must be a shorter and a longer budget")
        grids = {steps: [table[arm] for arm in _grid(arms, size, steps)] for steps in budgets}
        long = grids[budgets[-1]]
        inner = [row for row in long if 0 < row["alpha"] < 1]
        shortest = min(inner, key=_plateau)
        end, uniform_end = _plateau(shortest), _plateau(long[0], not_ended=budgets[-1])
        shortening = None if math.isinf(end) else 1 - end / uniform_end
        shortened = f"{size} people: plateau shortened by the best alpha between 0 and 1"
        checks.append(check(shortened, "is at least", MIN_SHORTENING, shortening))
        best = {steps: min(grid, key=lambda row: row["final_loss"]) for steps, grid in grids.items()}
        for steps, grid in grids.items():
            excess = grid[-1]["final_loss"] - best[steps]["final_loss"]
            checks.append(
                check(f"{size} people, {steps} steps: final loss of alpha 1 minus the best (nats)", "is above", 0, excess)
            )
        shift = best[budgets[0]]["alpha"] - best[budgets[-1]]["alpha"]
        checks.append(
            check(f"{size} people: alpha of the best final loss, shorter minus longer budget", "is at least", 0, shift)
        )
    return Finding(checks, {"table": list(table.values())})


def _row(arm: Arm, members: list[Run]) -> dict[str, Any]:
    num_individuals, steps, alpha, celebrities, weight = arm
    ends = [run.phase_ends[1] for run in members]
    finals = [run.curve("validation")["attribute_loss"][-1] for run in members]
    accuracies = [run.curve("validation")["attribute_accuracy"][-1] for run in members]
    return {
        "num_individuals": int(num_individuals),
        "num_steps": int(steps),
        "alpha": None if math.isinf(alpha) else float(alpha),
        "num_celebrities": int(celebrities),
        "celebrity_weight": int(weight),
        "seeds": [run.seed for run in members],
        "plateau_ends": ends,
        "final_losses": [round(loss, 4) for loss in finals],
        "final_loss": float(np.mean(finals)),
        "final_accuracy": float(np.mean(accuracies)),
    }


def _plateau(row: dict[str, Any], not_ended: float = math.inf) -> float:
    """Mean plateau_end over seeds; a plateau that has not ended counts as `not_ended`."""
    return float(np.mean([not_ended if end is None else end for end in row["plateau_ends"]]))


def _grid(arms: Mapping[Arm, Sequence[Run]], size: int, steps: int) -> list[Arm]:
    """The arms of a population and a budget that have all seeds, by alpha; arms that lack seeds are only plotted."""
    grid = {arm: members for arm, members in arms.items() if arm[:2] == (size, steps) and not math.isinf(arm[2])}
    complete = sorted(complete_groups(grid), key=lambda arm: arm[2])
    alphas = [float(arm[2]) for arm in complete]
    if len(alphas) < 3 or alphas[0] != 0 or alphas[-1] != 1:
        raise ValueError(
            f"runs of {size} people and {steps} steps have alphas {alphas} with seeds {all_seeds(grid)} each; there must "
            "be 0 (uniform), 1, and at least one between"
        )
    return complete


def plot(verdict: dict[str, Any], path: Path) -> None:
    """Plateau end and final loss against alpha, means and seeds, for each population and budget; dotted lines: celebrities."""
    figure, (plateau, loss) = new_figure(2, "Plateau and final loss, by how unequally people are seen")
    rows = [row for row in verdict["table"] if row["alpha"] is not None]
    colors = {size: color for color, size in with_colors(sorted({row["num_individuals"] for row in rows}))}
    for size, steps in sorted({(row["num_individuals"], row["num_steps"]) for row in rows}):
        arms = [row for row in rows if (row["num_individuals"], row["num_steps"]) == (size, steps)]
        longest = steps == max(row["num_steps"] for row in rows if row["num_individuals"] == size)
        style = {"color": colors[size], "ls": "-" if longest else "--", "marker": "o"}
        label = f"{size:,} people, {steps:,} steps"
        if longest:
            plateau.plot([row["alpha"] for row in arms], [_plateau(row, math.nan) for row in arms], label=label, **style)
        loss.plot([row["alpha"] for row in arms], [row["final_loss"] for row in arms], label=label, **style)
        for row in arms:  # a dot for each seed
            dots = {"s": 12, "color": style["color"], "alpha": 0.4}
            loss.scatter([row["alpha"]] * len(row["seeds"]), row["final_losses"], **dots)
            if longest:
                ends = [end for end in row["plateau_ends"] if end is not None]
                plateau.scatter([row["alpha"]] * len(ends), ends, **dots)
    for row in verdict["table"]:
        if row["alpha"] is None and None not in row["plateau_ends"]:
            label = f"{row['num_celebrities']} celebrities of {row['num_individuals']:,}, x {row['celebrity_weight']}"
            plateau.axhline(_plateau(row), color=colors.get(row["num_individuals"], BLACK), lw=1, ls=":")
            plateau.annotate(label, (0.5, _plateau(row)), ha="center", va="bottom", fontsize=8)
    plateau.set_ylim(0)
    plateau.set_ylabel("plateau end (training step)")
    loss.set_ylabel("final attribute loss (nats per value)")
    loss.set_ylim(0)
    for axes in (plateau, loss):
        axes.set_xlabel("alpha (0: uniform)")
        axes.legend(frameon=False, fontsize=9)
    save_figure(figure, path)


CLAIM = Claim(
    label="C4",
    name="power_law",
    title="Imbalanced data shortens the plateau; too much imbalance hurts",
    paper=(
        "With alpha from 0 to 1 in steps of 0.2, the plateau is shortest at 0.6 to 0.8 for every population. The alpha of "
        "the best final loss differs from that: it is higher for larger populations and for shorter budgets. Too high an "
        "alpha hurts. A few celebrities give a comparable benefit (Fig. 4)."
    ),
    takes=(
        "Takes runs of pre-training on uniform, power-law and celebrities data that differ in the distribution, the number "
        "of individuals, the number of steps and the seed."
    ),
    score=score,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

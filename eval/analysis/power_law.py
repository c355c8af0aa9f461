"""C4: imbalance shortens the plateau, and too much of it hurts (paper Fig. 4, left and middle).

  python eval/analysis/power_law.py runs/paper-mini/power_law-* --results eval/results/power_law/mini.json

Takes runs of pre-training on uniform, power-law and celebrities data that differ in the distribution, the number of people,
the number of steps and the seed.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from runs import Run, check_alike, check_pretraining, grouped
from verdicts import Check, Finding, analyse, check, new_figure, save_figure

CLAIM = "power_law"
PAPER = (
    "Of alpha in 0, 0.2, ..., 1, the plateau is shortest at 0.6 to 0.8 for every population; the alpha "
    "of the best final loss is "
    "another one, and grows with the population and with shorter budgets; too high an alpha hurts. A few celebrities "
    "give a comparable benefit (Fig. 4)."
)

MIN_SHORTENING = 0.15  # of the plateau, against uniform, mean over seeds


class Arm(NamedTuple):
    """What runs of several seeds have in common."""

    num_individuals: int
    num_steps: int
    alpha: float | None  # None: celebrities
    num_celebrities: int
    celebrity_weight: int


def arm_of(run: Run) -> Arm:
    """The arm of a run; a uniform distribution is alpha 0."""
    data, people = run.data, int(run.data["num_individuals"])
    if data["distribution"] == "celebrities":
        return Arm(people, run.recipe["num_steps"], None, data["num_celebrities"], data["celebrity_weight"])
    return Arm(people, run.recipe["num_steps"], float(data.get("alpha", 0)), 0, 0)


def score(runs: Sequence[Run]) -> Finding:
    """Checks of all runs together.

    Raises:
        ValueError: if there is no grid of alphas, with a uniform arm, for every number of people and of steps.
    """
    check_pretraining(runs, "uniform", "power_law", "celebrities")
    check_alike(runs, "dataset", "dataset_parameters", "eval_every", "num_steps", "save_every", "keep_models_at")
    table = [_row(arm, members) for arm, members in grouped(runs, _sortable).items()]
    checks: list[Check] = []
    sizes = sorted({row["num_individuals"] for row in table})
    for size in sizes:
        budgets = sorted({row["num_steps"] for row in table if row["num_individuals"] == size and row["alpha"] is not None})
        if len(budgets) < 2:
            raise ValueError(f"runs of {size} people have {budgets} steps; there must be a shorter and a longer budget")
        grids = {steps: _grid(table, size, steps) for steps in budgets}
        long = grids[budgets[-1]]
        inner = [row for row in long if 0 < row["alpha"] < 1]
        shortest = min(inner, key=_plateau)
        shortening = 1 - _plateau(shortest) / _plateau(long[0])
        checks.append(
            check(
                f"{size} people: plateau shortened by the best alpha between 0 and 1", "is at least", MIN_SHORTENING, shortening
            )
        )
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
    return Finding(checks, {"table": table})


def _sortable(run: Run) -> tuple[float, ...]:
    arm = arm_of(run)
    return tuple(-1.0 if value is None else float(value) for value in arm)


def _row(arm: tuple[float, ...], members: list[Run]) -> dict[str, Any]:
    people, steps, alpha, celebrities, weight = arm
    ends = [run.phase_ends[1] for run in members]
    finals = [run.curve("validation")["attribute_loss"][-1] for run in members]
    accuracies = [run.curve("validation")["attribute_accuracy"][-1] for run in members]
    return {
        "num_individuals": int(people),
        "num_steps": int(steps),
        "alpha": None if alpha < 0 else alpha,
        "num_celebrities": int(celebrities),
        "celebrity_weight": int(weight),
        "seeds": [run.seed for run in members],
        "plateau_ends": ends,
        "final_losses": [round(loss, 4) for loss in finals],
        "final_loss": float(np.mean(finals)),
        "final_accuracy": float(np.mean(accuracies)),
    }


def _plateau(row: dict[str, Any]) -> float:
    """Mean end of the plateau over seeds; infinite if one has not ended."""
    return math.inf if None in row["plateau_ends"] else float(np.mean(row["plateau_ends"]))


def _grid(table: list[dict[str, Any]], size: int, steps: int) -> list[dict[str, Any]]:
    """The rows of all seeds, by alpha; those of fewer seeds are for the picture."""
    rows = [row for row in table if row["alpha"] is not None and (row["num_individuals"], row["num_steps"]) == (size, steps)]
    seeds = {seed for row in rows for seed in row["seeds"]}
    grid = sorted((row for row in rows if set(row["seeds"]) == seeds), key=lambda row: row["alpha"])
    alphas = [row["alpha"] for row in grid]
    if len(alphas) < 3 or alphas[0] != 0 or alphas[-1] != 1:
        raise ValueError(
            f"runs of {size} people and {steps} steps have alphas {alphas} with seeds {sorted(seeds)} each; there "
            "must be 0 (uniform), "
            "1, and at least one between"
        )
    return grid


def plot(found: dict[str, Any], path: Path) -> None:
    """Plateau end and final loss against alpha, for each number of people and budget; celebrities as dotted lines."""
    figure, (plateau, loss) = new_figure(2, "Imbalance shortens the plateau; the best final loss is at another alpha")
    rows = [row for row in found["table"] if row["alpha"] is not None]
    colors = dict(zip(sorted({row["num_individuals"] for row in rows}), ("#1f4e79", "#b03a2e", "#1e8449"), strict=False))
    for size, steps in sorted({(row["num_individuals"], row["num_steps"]) for row in rows}):
        own = [row for row in rows if (row["num_individuals"], row["num_steps"]) == (size, steps)]
        longest = steps == max(row["num_steps"] for row in rows if row["num_individuals"] == size)
        style = {"color": colors.get(size, "black"), "ls": "-" if longest else "--", "marker": "o"}
        label = f"{size:,} people, {steps:,} steps"
        if longest:
            ends = [None if None in row["plateau_ends"] else np.mean(row["plateau_ends"]) for row in own]
            plateau.plot(
                [row["alpha"] for row in own], [math.nan if end is None else end for end in ends], label=label, **style
            )
        loss.plot([row["alpha"] for row in own], [row["final_loss"] for row in own], label=label, **style)
    for row in found["table"]:
        if row["alpha"] is None and None not in row["plateau_ends"]:
            label = f"{row['num_celebrities']} celebrities of {row['num_individuals']:,}, x {row['celebrity_weight']}"
            plateau.axhline(np.mean(row["plateau_ends"]), color=colors.get(row["num_individuals"], "black"), lw=1, ls=":")
            plateau.annotate(label, (0.5, np.mean(row["plateau_ends"])), ha="center", va="bottom", fontsize=8)
    plateau.set_ylim(0)
    plateau.set_ylabel("plateau end (training step)")
    loss.set_ylabel("final attribute loss (nats per value)")
    loss.set_ylim(0)
    for axes in (plateau, loss):
        axes.set_xlabel("alpha (0: uniform)")
        axes.legend(frameon=False, fontsize=9)
    save_figure(figure, path)


if __name__ == "__main__":
    analyse(__doc__ or "", CLAIM, score, plot, misses={})

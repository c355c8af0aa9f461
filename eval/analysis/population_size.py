"""C2: the plateau lasts longer with more individuals (paper Fig. 2, right).

python eval/analysis/population_size.py runs/paper-mini --results eval/results/population_size/mini.json
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from arms import Arms
from claims import Claim, run_analysis
from intervals import Values
from measures import common_seeds, largest_grid_error, losses_in_b, plateau_ends
from paper import paper_numbers

from bio_facts.runs.curves import Run
from bio_facts.runs.figures import BLUE, GRAY, ORANGE, draw_level_in_b, new_figure, save_figure, with_colors

PAPER_BATCH = 128


def measure(arms: Arms) -> Mapping[str, Values]:
    """Slope and quadratic term of log plateau_end on log N, and the slope of log plateau_end / N."""
    by_size = runs_by_size(arms)
    ends = {size: plateau_ends(runs) for size, runs in by_size.items()}
    errors = [
        largest_grid_error({seed: run.loss_curve()[0] for seed, run in runs.items()}, ends[size])
        for size, runs in by_size.items()
    ]
    seeds = common_seeds(*by_size.values())
    biographies = {seed: _biographies(by_size, ends, seed) for seed in seeds}
    shares = {
        seed: None if seen is None else [count / size for count, size in zip(seen, by_size, strict=True)]
        for seed, seen in biographies.items()
    }
    return {
        name: Values(
            {seed: leading_coefficient([*by_size], values[seed], degree) for seed in seeds},
            error_of_coefficient([*by_size], errors, degree),
        )
        for name, values, degree in (
            ("exponent", biographies, 1),
            ("quadratic_term", biographies, 2),
            ("exposures_slope", shares, 1),
        )
    }


def runs_by_size(arms: Arms) -> dict[int, Mapping[int, Run]]:
    """Number of individuals -> seed -> run, small populations first."""
    sizes = {int(next(iter(runs.values())).data["num_individuals"]): runs for runs in arms.values()}
    return dict(sorted(sizes.items()))


def _biographies(
    by_size: Mapping[int, Mapping[int, Run]], ends: Mapping[int, Mapping[int, float | None]], seed: int
) -> list[float] | None:
    """The biographies seen at plateau_end, by size; None if a plateau does not end."""
    steps = [ends[size][seed] for size in by_size]
    seen = [
        step * runs[seed].recipe["batch_size"] for step, runs in zip(steps, by_size.values(), strict=True) if step is not None
    ]
    return seen if len(seen) == len(steps) else None


def coefficient_weights(sizes: Sequence[float], degree: int) -> NDArray[np.float64]:
    """The numbers whose product with values is the leading coefficient of their least-squares polynomial in log size."""
    powers = np.vander(np.log(sizes), degree + 1)
    weights: NDArray[np.float64] = np.linalg.pinv(powers)[0]
    return weights


def leading_coefficient(sizes: Sequence[float], values: Sequence[float] | None, degree: int) -> float | None:
    """Leading coefficient of the polynomial that fits log value best as a function of log size; None without values."""
    return None if values is None else float(coefficient_weights(sizes, degree) @ np.log(values))


def error_of_coefficient(sizes: Sequence[float], errors: Sequence[float], degree: int) -> float:
    """Standard error of the leading coefficient where log value has independent `errors`."""
    return float(np.linalg.norm(coefficient_weights(sizes, degree) * np.asarray(errors)))


def plot(arms: Arms, verdict: Mapping[str, Any], path: Path) -> None:
    """Biographies at plateau_end over individuals, the same per individual, and the losses; the paper's points in gray."""
    by_size = runs_by_size(arms)
    title = f"The plateau lasts longer with more individuals\n{_fit_text(verdict)}"
    figure, (total, per_individual, loss) = new_figure(3, title)
    paper = paper_numbers()["fig2_plateau_end"]
    paper_sizes, paper_ends = paper["individuals"], [step * PAPER_BATCH for step in paper["step"]]
    for axes, is_share in ((total, False), (per_individual, True)):
        _scatter(axes, by_size, is_share)
        paper_values = [end / size if is_share else end for size, end in zip(paper_sizes, paper_ends, strict=True)]
        axes.plot(paper_sizes, paper_values, "x", color=GRAY, label="the paper's plateau_end")
        axes.plot(paper_sizes, _fitted(paper_sizes, paper_values), color=GRAY, lw=0.8)
        axes.set_xscale("log")
        axes.set_xlabel("individuals")
    total.set_yscale("log")
    total.set_ylabel("biographies seen")
    total.legend(frameon=False, fontsize=9)
    per_individual.set_ylabel("biographies seen of each individual")
    per_individual.set_ylim(0)
    for color, (size, runs) in with_colors(by_size.items()):
        for seed, run in runs.items():
            steps, losses = losses_in_b(run)
            seen = [step * run.recipe["batch_size"] for step in steps]
            label = f"{size:,} individuals" if seed == min(runs) else None
            loss.plot(seen[1:], losses[1:], color=color, lw=0.9, label=label)
    draw_level_in_b(loss)
    loss.set_xscale("log")
    loss.set_ylim(0.9, 1.4)
    loss.set_xlabel("biographies seen")
    loss.set_ylabel("attribute loss / no-knowledge loss")
    loss.legend(frameon=False, fontsize=9)
    save_figure(figure, path)


def _scatter(axes: Any, by_size: Mapping[int, Mapping[int, Run]], is_share: bool) -> None:
    """The ends of both phases of every run, and the fit to the means over seeds of the logarithms."""
    for index, style, color, name in ((0, "+", ORANGE, "end of phase 1"), (1, "o", BLUE, "plateau_end")):
        points = [
            (size, end * run.recipe["batch_size"] / (size if is_share else 1))
            for size, runs in by_size.items()
            for run in runs.values()
            if (end := run.phase_ends[index]) is not None
        ]
        if is_share and index == 0:
            continue
        axes.plot(*zip(*points, strict=True) if points else ([], []), style, color=color, ms=4, label=name, mfc="none")
        sizes = sorted({size for size, _ in points})
        if index == 1 and len(sizes) > 1:
            means = [float(np.exp(np.mean([np.log(end) for other, end in points if other == size]))) for size in sizes]
            axes.plot(sizes, _fitted(sizes, means), color=color, lw=1)


def _fitted(sizes: Sequence[float], values: Sequence[float]) -> list[float]:
    """The power law that fits values best, at the sizes."""
    slope, intercept = np.polyfit(np.log(sizes), np.log(values), 1)
    return [float(np.exp(intercept) * size**slope) for size in sizes]


def _fit_text(verdict: Mapping[str, Any]) -> str:
    """The exponent with its interval, as text; without a verdict, an empty one."""
    measured = next((item for item in verdict.get("measures", ()) if item["name"] == "exponent"), None)
    if measured is None or measured["mean"] is None:
        return "no exponent: a plateau does not end"
    interval = "" if measured["low"] is None else f" (95 %: {measured['low']:.2f} to {measured['high']:.2f})"
    return f"plateau_end grows as N^{measured['mean']:.2f}{interval}; the paper's as N^0.81"


CLAIM = Claim(
    label="C2",
    name="population_size",
    title="The plateau lasts longer with more individuals",
    paper=(
        "The plateau's end grows as 0.43 N^0.81 steps of 128 biographies, over populations from 4k to 256k (R2 0.998); the "
        "number of biographies of each individual until then falls slowly with N (Fig. 2, right)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

"""C2: the plateau lasts longer with more individuals (paper Fig. 2, right).

python eval/analysis/population_size.py runs/paper-mini/population_size-* --results eval/results/population_size/mini.json
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bio_facts.runs.curves import Run, check_alike, check_pretraining, check_seeds, group_runs

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from claims import Claim, run_analysis
from figures import BLUE, ORANGE, new_figure, save_figure
from verdicts import Finding, check

MIN_SIZES, MIN_RANGE = 5, 16  # number of populations, and the largest relative to the smallest
MIN_R2 = 0.95
MIN_EXPONENT, MAX_EXPONENT = 0.5, 1.1
MAX_SLOPE_OF_EXPOSURES = 0.0  # of log biographies per individual at plateau_end against log N
_BOOTSTRAPS = 2_000


def fit(sizes: Sequence[float], ends: Sequence[float]) -> tuple[float, float, float]:
    """Exponent, factor and R2 of ends = factor x sizes^exponent, by least squares of the logarithms."""
    x, y = np.log(sizes), np.log(ends)
    exponent, intercept = np.polyfit(x, y, 1)
    residual = y - (exponent * x + intercept)
    return float(exponent), float(np.exp(intercept)), float(1 - residual.var() / y.var())


def exponent_interval(sizes: Sequence[int], ends_by_seed: Sequence[Sequence[float]]) -> tuple[float, float]:
    """95 % interval of the exponent, from fits to resampled seeds (bootstrap within each size); ends_by_seed[size][seed]."""
    generator = np.random.default_rng(0)
    exponents = [
        fit(sizes, [float(np.mean(generator.choice(np.array(ends), len(ends)))) for ends in ends_by_seed])[0]
        for _ in range(_BOOTSTRAPS)
    ]
    low, high = np.quantile(exponents, [0.025, 0.975])
    return float(low), float(high)


def score(runs: Sequence[Run]) -> Finding:
    """Checks of all runs together.

    Raises:
        ValueError: if there are too few populations, their sizes are too similar, or seeds are missing.
    """
    check_pretraining(runs, "uniform")
    check_alike(runs, "dataset", "dataset_parameters.num_individuals", "eval_every", "num_steps", "save_every")
    by_size = group_runs(runs, lambda run: int(run.data["num_individuals"]))
    sizes = list(by_size)
    if len(sizes) < MIN_SIZES or sizes[-1] < MIN_RANGE * sizes[0]:
        raise ValueError(
            f"runs have {len(sizes)} numbers of people, {', '.join(map(str, sizes))}; there must be at least {MIN_SIZES}, "
            f"the largest at least {MIN_RANGE} times the smallest"
        )
    check_seeds(by_size, "{} people")
    batch_size = runs[0].recipe["batch_size"]
    ends = {size: [run.phase_ends[1] for run in members] for size, members in by_size.items()}
    known = [[float(end) for end in of_size if end is not None] for of_size in ends.values()]
    exponent = factor = r2 = slope = None
    interval: tuple[float, float] | None = None
    if not any(None in of_size for of_size in ends.values()):
        means = [float(np.mean(of_size)) for of_size in known]
        exponent, factor, r2 = fit(sizes, means)
        interval = exponent_interval(sizes, known)
        slope = fit(sizes, [mean * batch_size / size for mean, size in zip(means, sizes, strict=True)])[0]
    checks = [
        check("R2 of log plateau_end against log N", "is at least", MIN_R2, r2),
        check("exponent", "is at least", MIN_EXPONENT, exponent),
        check("exponent", "is at most", MAX_EXPONENT, exponent),
        check("slope of log biographies per person at plateau end against log N", "is below", MAX_SLOPE_OF_EXPOSURES, slope),
    ]
    table = [
        {
            "num_individuals": size,
            "phase1_ends": [run.phase_ends[0] for run in by_size[size]],
            "plateau_ends": ends[size],
            "biographies_per_person": [None if end is None else round(end * batch_size / size, 2) for end in ends[size]],
        }
        for size in sizes
    ]  # fmt: skip
    content = {
        "exponent": exponent,
        "exponent_interval_95": interval,
        "factor": factor,
        "r2": r2,
        "batch_size": batch_size,
        "table": table,
    }
    return Finding(checks, content)


def plot(verdict: dict[str, Any], path: Path) -> None:
    """Plateau end against population size on logarithmic axes, with the fit, and biographies per individual at that step."""
    figure, (length, exposures) = new_figure(2, "The plateau lasts longer the more individuals there are")
    sizes = [row["num_individuals"] for row in verdict["table"]]
    for row in verdict["table"]:
        for axes, key, style, color in (
            (length, "plateau_ends", "o", BLUE),
            (length, "phase1_ends", "x", ORANGE),
            (exposures, "biographies_per_person", "o", BLUE),
        ):  # fmt: skip
            values = [value for value in row[key] if value is not None]
            axes.plot([row["num_individuals"]] * len(values), values, style, color=color, ms=5)
    if verdict["exponent"] is not None:
        low, high = verdict["exponent_interval_95"]
        line = [verdict["factor"] * size ** verdict["exponent"] for size in sizes]
        label = f"{verdict['factor']:.2f} N^{verdict['exponent']:.2f} (95 %: {low:.2f} to {high:.2f}), R2 {verdict['r2']:.3f}"
        length.plot(sizes, line, color=BLUE, lw=1, label=label)
        exposures.plot(
            sizes, [end * verdict["batch_size"] / size for end, size in zip(line, sizes, strict=True)], color=BLUE, lw=1
        )
    length.plot([], [], "o", color=BLUE, label="end of the plateau, one seed")
    length.plot([], [], "x", color=ORANGE, label="end of phase 1, one seed")
    length.set_ylabel("training step")
    length.legend(frameon=False, fontsize=9)
    exposures.set_ylabel("biographies per person at the plateau's end")
    exposures.set_ylim(0)
    for axes in (length, exposures):
        axes.set_xscale("log", base=2)
        axes.set_xlim(min(sizes) / 1.2, max(sizes) * 1.2)  # includes sizes at which no phase ended
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.set_xlabel("individuals")
    ends = [end for row in verdict["table"] for key in ("plateau_ends", "phase1_ends") for end in row[key] if end]
    if ends:  # a logarithmic axis needs a number above 0
        length.set_yscale("log")
    save_figure(figure, path)


CLAIM = Claim(
    label="C2",
    name="population_size",
    title="The plateau lasts longer with more individuals",
    paper=(
        "The plateau's end grows as 0.43 N^0.81 steps of 128 biographies, over populations from 4k to 256k (R2 0.998); the "
        "number of biographies of each individual until then falls slowly with N (Fig. 2, right)."
    ),
    takes="Takes runs of pre-training that differ in the number of individuals and the seed.",
    score=score,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

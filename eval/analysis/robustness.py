"""C10: the phases are robust to the optimizer's settings, the size of the model and its architecture (paper Fig. C).

python eval/analysis/robustness.py runs/paper-mini --results eval/results/robustness/mini.json
"""

import itertools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from arms import Arms
from claims import Claim, run_analysis
from intervals import Values
from measures import largest_grid_error, losses_in_b, plateau_ends, ratios, runs_of
from paper import paper_numbers, three_phases_curve

from bio_facts.runs.curves import Run
from bio_facts.runs.figures import BLACK, GRAY, PALETTE, draw_level_in_b, new_figure, save_figure
from bio_facts.runs.phases import plateau_end, plateau_width

DEFAULT = "default"
CHANGED = ("weight-decay-0.01", "weight-decay-1", "batch-quarter", "batch-x4", "rate-half", "wider", "recurrent")
MOST, LEAST_WIDTH = 2.0, 3.0  # factor of the default's plateau_end, and W, up to which an arm counts as the same
# Arm -> table and row of figC_robustness in paper_numbers.json
PAPER_FINAL_LOSSES = {
    DEFAULT: ("by_weight_decay", "0.1"),
    "weight-decay-0.01": ("by_weight_decay", "0.01"),
    "weight-decay-0.03": ("by_weight_decay", "0.03"),
    "weight-decay-0.3": ("by_weight_decay", "0.3"),
    "weight-decay-1": ("by_weight_decay", "1.0"),
    "batch-quarter": ("by_batch_at_equal_data", "32"),
    "batch-half": ("by_batch_at_equal_data", "64"),
    "batch-x2": ("by_batch_at_equal_data", "256"),
    "batch-x4": ("by_batch_at_equal_data", "512"),
    "rate-quarter": ("by_learning_rate", "1e-4"),
    "rate-half": ("by_learning_rate", "2e-4"),
    "rate-x2": ("by_learning_rate", "8e-4"),
    "rate-x4": ("by_learning_rate", "1.6e-3"),
    "wider": ("by_model", "150m"),
    "much-wider": ("by_model", "400m"),
    "recurrent": ("by_sequence_mixer", "recurrent (RG-LRU)"),
}
PAPER_PLATEAU_ENDS = {"batch-quarter": 1.0, "wider": 0.9, "recurrent": 1.0}  # relative to its default, by its text


def measure(arms: Arms) -> Mapping[str, Values]:
    """The plateaus of the arms in biographies relative to the default's, and the arm that differs most."""
    ends = {arm: plateaus_in_biographies(runs_of(arms, arm)) for arm in (DEFAULT, *CHANGED)}
    relative = {arm: ratios(ends[arm], ends[DEFAULT]) for arm in CHANGED}
    widths = {arm: _plateau_widths(runs_of(arms, arm)) for arm in (DEFAULT, *CHANGED)}
    errors = {}
    for arm in (DEFAULT, *CHANGED):
        runs = runs_of(arms, arm)
        errors[arm] = largest_grid_error({seed: run.loss_curve()[0] for seed, run in runs.items()}, plateau_ends(runs))
    floors = {arm: (errors[arm] ** 2 + errors[DEFAULT] ** 2) ** 0.5 for arm in CHANGED}
    seeds = ends[DEFAULT]
    largest = {
        seed: largest_deviation([relative[arm][seed] for arm in CHANGED], [of_seed[seed] for of_seed in widths.values()])
        for seed in seeds
    }
    smallest = {seed: _least([of_seed[seed] for of_seed in widths.values()]) for seed in seeds}
    values = {
        "largest_deviation": Values(largest, max(floors.values())),
        "smallest_plateau_width": Values(smallest, max(errors.values())),
    }
    return values | {f"plateau_end_{arm}": Values(relative[arm], floors[arm]) for arm in CHANGED}


def plateaus_in_biographies(runs: Mapping[int, Run]) -> dict[int, float | None]:
    """Seed -> biographies seen at plateau_end; None without one."""
    ends = plateau_ends(runs)
    return {seed: None if (end := ends[seed]) is None else end * run.recipe["batch_size"] for seed, run in runs.items()}


def _plateau_widths(runs: Mapping[int, Run]) -> dict[int, float | None]:
    return {seed: plateau_width(*run.loss_curve()) for seed, run in runs.items()}


def largest_deviation(relative: list[float | None], widths: list[float | None]) -> float | None:
    """The largest of all ratios or their inverses, and of 6 / W; None if one is missing. Below 2, no W is below 3."""
    factors = [None if ratio is None else max(ratio, 1 / ratio) for ratio in relative]
    missing = [None if width is None else MOST * LEAST_WIDTH / width for width in widths]
    least = _least([None if factor is None else -factor for factor in factors + missing])
    return None if least is None else -least


def _least(numbers: list[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return min(known) if len(known) == len(numbers) else None


def plot(arms: Arms, verdict: Mapping[str, Any], path: Path) -> None:
    """Losses over data, the plateau of each arm, and the final losses of runs to the end; the paper's numbers in gray."""
    to_the_end = {
        arm: {seed: losses_in_b(run)[1][-1] for seed, run in runs.items() if is_to_the_end(run)} for arm, runs in arms.items()
    }
    has_final = any(losses for arm, losses in to_the_end.items() if arm != DEFAULT)
    seeds = sorted(arms[DEFAULT])
    names = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    title = f"The same phases in other settings, one changed at a time ({names})"
    figure, axes = new_figure(4 if has_final else 3, title, num_columns=2 if has_final else 3)
    styles = dict(zip(arms, itertools.product(("-", "--", ":"), (BLACK, *PALETTE)), strict=False))
    _draw_losses(axes[0], arms, styles)
    relative = {
        arm: ratios(plateaus_in_biographies(runs), plateaus_in_biographies(arms[DEFAULT])) for arm, runs in arms.items()
    }
    _draw_arms(axes[1], relative, styles, PAPER_PLATEAU_ENDS, "biographies until plateau_end / the default's")
    for level in (1 / MOST, MOST):
        axes[1].axvline(level, color=BLACK, lw=0.8, ls=":")
    paper_width = plateau_width(*three_phases_curve())
    assert paper_width is not None
    widths = {arm: _plateau_widths(runs) for arm, runs in arms.items()}
    _draw_arms(axes[2], widths, styles, {DEFAULT: paper_width}, "W, the width of the plateau as a ratio of steps")
    axes[2].axvline(LEAST_WIDTH, color=BLACK, lw=0.8, ls=":")
    if has_final:
        figc, baseline = paper_numbers()["figC_robustness"], paper_numbers()["baseline_nats"]
        paper = {arm: figc[table][row] / baseline for arm, (table, row) in PAPER_FINAL_LOSSES.items() if arm in arms}
        _draw_arms(axes[3], to_the_end, styles, paper, "final loss / no-knowledge loss, of runs to the end")
    save_figure(figure, path)


def is_to_the_end(run: Run) -> bool:
    """Whether a run took all of its steps, so that its last loss is the final one."""
    return bool(run.curve("validation")["step"][-1] == run.recipe["num_steps"])


def _draw_losses(axes: Any, arms: Arms, styles: Mapping[str, tuple[str, str]]) -> None:
    for arm, runs in arms.items():
        for seed, run in runs.items():
            steps, losses = losses_in_b(run)
            seen = [step * run.recipe["batch_size"] for step in steps]
            label = arm if seed == min(runs) else None
            axes.plot(seen[1:], losses[1:], styles[arm][0], color=styles[arm][1], lw=2 if arm == DEFAULT else 1, label=label)
    end = next((end for end in plateaus_in_biographies(arms[DEFAULT]).values() if end is not None), None)
    steps, losses, baseline = three_phases_curve()
    paper_end = plateau_end(steps, losses, baseline)
    if end is not None and paper_end is not None:
        seen = [step * end / paper_end for step in steps]
        label = "the paper's default, scaled"
        axes.plot(seen[1:], [loss / baseline for loss in losses[1:]], color=GRAY, lw=1, ls="-.", label=label)
    draw_level_in_b(axes)
    axes.set_xscale("log")
    axes.set_ylim(0, 1.6)
    axes.set_xlabel("biographies seen")
    axes.set_ylabel("attribute loss / no-knowledge loss")
    axes.legend(frameon=False, fontsize=8, loc="lower left")


def _draw_arms(
    axes: Any,
    values: Mapping[str, Mapping[int, float | None]],
    styles: Mapping[str, tuple[str, str]],
    paper: Mapping[str, float],
    label: str,
) -> None:
    """A row for each arm: a dot for each seed, a cross for the paper."""
    rows = list(values)[::-1]
    for row, arm in enumerate(rows):
        known = [value for value in values[arm].values() if value is not None]
        axes.plot(known, [row] * len(known), "o", color=styles[arm][1], ms=5, mfc="none")
        if arm in paper:
            axes.plot([paper[arm]], [row], "x", color=GRAY)
    axes.plot([], [], "x", color=GRAY, label="the paper")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(-0.7, len(rows) + 0.5)  # room for the legend
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}" if high < 10 * low else "")
    axes.tick_params(axis="x", which="both", labelsize=8)
    axes.set_xlabel(label)
    axes.legend(frameon=False, fontsize=9, loc="upper right")


CLAIM = Claim(
    label="C10",
    name="robustness",
    title="The phases are robust to the optimizer's settings, the model's size and its architecture",
    paper=(
        "The three phases appear for weight decays from 0.01 to 1, batches from 32 to 512, other learning rates, models of "
        "50M, 150M and 400M parameters, and with recurrence (RG-LRU) in place of attention. In biographies, the plateau ends "
        "at about the same time for batches from 32 to 128, and slightly earlier in larger models (Fig. C)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

"""C4: imbalanced data shortens the plateau; too much imbalance hurts (paper Fig. 4, left and middle; Fig. G).

  python eval/analysis/power_law.py runs/paper-mini --results eval/results/power_law/mini.json

Arms: `alphaX` have a budget of 2.6 times the plateau of the uniform run, `alphaX-long` twice that. Alpha 0 is uniform sampling.
"""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from arms import Arms
from claims import Claim, run_analysis
from intervals import Values
from measures import differences, final_losses, largest_grid_error, losses_in_b, ratios, runs_of
from paper import benefits_of_imbalance, final_losses_by_alpha, plateau_ratios_by_alpha, three_phases_curve

from bio_facts.generate.config import Config
from bio_facts.generate.power_law import power_law_weights
from bio_facts.measure.baseline import weighted_no_knowledge_loss
from bio_facts.runs.curves import Run
from bio_facts.runs.figures import BLACK, BLUE, GRAY, GREEN, PURPLE, RED, draw_seeds, new_figure, save_figure
from bio_facts.runs.phases import plateau_end

ALPHAS = {0.0: "alpha0", 0.4: "alpha0.4", 0.6: "alpha0.6", 1.0: "alpha1"}  # alpha -> arm
COLORS = {0.0: BLUE, 0.4: GREEN, 0.6: RED, 1.0: PURPLE}
# End of the name of an arm -> color, marker and label of these arms, and a shift along alpha, so that points do not overlap.
BUDGETS = {"": (BLUE, "o", "shorter budget", 0.0), "-long": (RED, "s", "longer budget", 0.02)}


def measure(arms: Arms) -> Mapping[str, Values]:
    """How much alpha 0.6 shortens the plateau, and final losses by alpha and budget."""
    names = [*ALPHAS.values(), "alpha0-long", "alpha0.6-long"]
    final = {name: final_losses(runs_of(arms, name)) for name in names}
    benefits = {budget: differences(final[f"alpha0.6{budget}"], final[f"alpha0{budget}"]) for budget in ("", "-long")}
    return {
        "plateau_ratio": plateau_ratios(arms, "alpha0.6", "alpha0"),
        "plateau_ratio_uniform_level": plateau_ratios(arms, "alpha0.6", "alpha0", own_level=False),
        "shift_with_budget": Values(differences(benefits[""], benefits["-long"])),
        "too_much_imbalance": Values(differences(final["alpha1"], final["alpha0.6"])),
    }


def own_no_knowledge_loss(run: Run) -> float:
    """The loss, on all individuals alike, of a model that knows the statistics of the run's training data, but no individual.

    Under a power law, the training data are mostly about few individuals, whose values are not distributed as those of all.
    A model that knows how often each value occurs in them is worse, on all individuals alike, than one that was trained on
    all alike: by 0.5 % with alpha 0.6 and 6 % with alpha 1 among 1,600 individuals. Knowledge begins below its own level.
    """
    config = Config.from_parameters({"alpha": 0.0, **run.data, "distribution": "power_law"})
    weights = power_law_weights(run.data.get("alpha", 0.0), config.num_individuals)
    return weighted_no_knowledge_loss(config.population, weights.astype("float64"))


def plateau_end_by_knowledge(run: Run, own_level: bool = True) -> float | None:
    """Step from which the loss stays below 0.99 x own_no_knowledge_loss, or, without own_level, x the no-knowledge loss."""
    steps, losses, baseline = run.loss_curve()
    return plateau_end(steps, losses, own_no_knowledge_loss(run) if own_level else baseline)


def plateau_ratios(arms: Arms, arm: str, uniform: str, own_level: bool = True) -> Values:
    """Seed -> end of the plateau in an arm / in the uniform arm."""
    ends, errors = [], []
    for runs in (runs_of(arms, arm), runs_of(arms, uniform)):
        ends.append({seed: plateau_end_by_knowledge(run, own_level) for seed, run in runs.items()})
        errors.append(largest_grid_error({seed: run.curve("validation")["step"] for seed, run in runs.items()}, ends[-1]))
    return Values(ratios(*ends), math.hypot(*errors))


def plot(arms: Arms, verdict: Mapping[str, Any], path: Path) -> None:
    """Losses over training; ends of the plateau and final losses by alpha; the benefit by budget. The paper's in gray."""
    uniform = runs_of(arms, "alpha0")
    first = uniform[min(uniform)]
    title = (
        "Individuals seen unequally often: probability proportional to rank^-alpha\n"
        f"{first.data['num_individuals']:,} individuals, seed {first.seed}; "
        "thin lines and further points: other seeds; gray: the paper"
    )
    figure, axes = new_figure(4, title, num_columns=2)
    _draw_losses(axes[0], arms)
    _draw_plateaus(axes[1], arms)
    _draw_final_losses(axes[2], arms)
    _draw_benefits(axes[3], arms)
    save_figure(figure, path)


def _units(arms: Arms, arm: str) -> dict[int, float]:
    """Seed -> plateau_end of a uniform arm, or its last step if there is none."""
    return {seed: run.phase_ends[1] or run.curve("validation")["step"][-1] for seed, run in runs_of(arms, arm).items()}


def _draw_losses(ax: Any, arms: Arms) -> None:
    units = _units(arms, "alpha0")
    for alpha, arm in ALPHAS.items():
        curves = {}
        for seed, run in arms[arm].items():
            steps, losses = losses_in_b(run)
            curves[seed] = [step / units[seed] for step in steps], losses
            if seed == min(arms[arm]) and alpha > 0:
                ax.axhline(own_no_knowledge_loss(run) / run.loss_curve()[2], color=COLORS[alpha], lw=0.8, ls=":")
        draw_seeds(ax, curves, COLORS[alpha], f"alpha {alpha:g}")
    ax.axhline(1, color=BLACK, lw=0.8, ls=":", label="no-knowledge loss; in color: of the skewed data")
    ax.set_xlim(0, None)
    ax.set_ylim(0, 1.6)
    ax.set_xlabel("training step / end of the plateau with uniform sampling")
    ax.set_ylabel("attribute loss / no-knowledge loss")
    ax.legend(frameon=False, fontsize=8, loc="lower left")


def _draw_plateaus(ax: Any, arms: Arms) -> None:
    for suffix, (color, marker, label, offset) in BUDGETS.items():
        for alpha, name in ALPHAS.items():
            arm = name + suffix
            if alpha > 0 and arm in arms:
                ratios_by_seed = plateau_ratios(arms, arm, f"alpha0{suffix}").by_seed
                points = [value for value in ratios_by_seed.values() if value is not None]
                ax.plot([alpha + offset] * len(points), points, marker, color=color, alpha=0.6, ms=5)
        ax.plot([], [], marker, color=color, label=label)
    for num_individuals, style in ((64_000, "-."), (128_000, ":")):
        alphas, values = plateau_ratios_by_alpha(num_individuals)
        ax.plot(alphas, values, color=GRAY, lw=1.2, ls=style, marker="x", label=f"the paper, {num_individuals // 1000}k")
    ax.axhline(1, color=BLACK, lw=0.8, ls=":")
    ax.set_xlim(-0.05, 1.1)
    ax.set_ylim(0, 1.6)
    ax.set_xlabel("alpha (0: uniform)")
    ax.set_ylabel("end of the plateau / that with alpha 0")
    ax.legend(frameon=False, fontsize=8, loc="lower left", ncols=2)


def _draw_final_losses(ax: Any, arms: Arms) -> None:
    for suffix, (color, marker, label, offset) in BUDGETS.items():
        groups = {alpha: arms[name + suffix] for alpha, name in ALPHAS.items() if name + suffix in arms}
        losses = {alpha: [loss for loss in final_losses(runs).values() if loss is not None] for alpha, runs in groups.items()}
        for alpha, values in losses.items():
            ax.plot([alpha + offset] * len(values), values, marker, color=color, alpha=0.6, ms=5)
        means = [sum(values) / len(values) for values in losses.values()]
        ax.plot(list(losses), means, color=color, lw=1.2, marker=marker, ms=0, label=label)
    alphas, values = final_losses_by_alpha()
    ax.plot(alphas, values, color=GRAY, lw=1.2, ls="-.", marker="x", label="the paper, 64k, 8k steps (shorter budget)")
    ax.set_xlim(-0.05, 1.1)
    ax.set_ylim(0, 1)
    ax.set_xlabel("alpha (0: uniform)")
    ax.set_ylabel("final attribute loss / no-knowledge loss")
    ax.legend(frameon=False, fontsize=8, loc="upper center", ncols=2)


def _draw_benefits(ax: Any, arms: Arms) -> None:
    """Final loss of alpha 0.6 minus that of alpha 0, over the budget in units of plateau_end."""
    for suffix, (color, marker, label, _) in BUDGETS.items():
        skewed, uniform = (runs_of(arms, f"alpha{alpha}{suffix}") for alpha in ("0.6", "0"))
        units = _units(arms, f"alpha0{suffix}")
        benefit = {seed: x for seed, x in differences(final_losses(skewed), final_losses(uniform)).items() if x is not None}
        budgets = [uniform[seed].curve("validation")["step"][-1] / units[seed] for seed in benefit]
        ax.plot(budgets, list(benefit.values()), marker, color=color, alpha=0.7, label=label)
    paper_steps, values = benefits_of_imbalance()
    end = plateau_end(*three_phases_curve())
    assert end is not None
    ax.plot([step / end for step in paper_steps], values, "x", color=GRAY, ms=9, mew=2, label="the paper, 8k and 16k steps")
    ax.axhline(0, color=BLACK, lw=0.8, ls=":")
    ax.set_xlim(0, None)
    ax.set_ylim(min(-0.5, *ax.get_ylim()), 0.2)
    ax.set_xlabel("steps of training / end of the plateau with uniform sampling")
    ax.set_ylabel("final loss of alpha 0.6 minus alpha 0,\nin no-knowledge losses")
    ax.legend(frameon=False, fontsize=8, loc="lower right")


CLAIM = Claim(
    label="C4",
    name="power_law",
    title="Imbalanced data shortens the plateau; too much imbalance hurts",
    paper=(
        "With alpha from 0 to 1 in steps of 0.2, the plateau is shortest at 0.6 to 0.8 for every population. The alpha of "
        "the best final loss differs from that: it is higher for larger populations and for shorter budgets. Too high an "
        "alpha hurts (Fig. 4, left and middle; G)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

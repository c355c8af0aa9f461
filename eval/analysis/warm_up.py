"""C5: a warm-up on few individuals beats fixed distributions on a short budget (paper Fig. 4, right; Figs. H to L).

  python eval/analysis/warm_up.py runs/paper-mini --results eval/results/warm_up/mini.json

Arms: `uniform`, `alpha0.6` and `celebrities` are fixed distributions; `warmup` and `longest` are warm-ups on the same few
individuals; `fewer` is uniform on fewer individuals. All have the same number of steps.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from arms import Arms
from claims import Claim, run_analysis
from intervals import Values
from measures import differences, final_losses, largest_grid_error, losses_at, losses_in_b, runs_of
from paper import paper_numbers, schedules, three_phases_curve, warm_up_accuracies, warm_up_losses

from bio_facts.runs.curves import Run
from bio_facts.runs.figures import BLACK, BLUE, GRAY, GREEN, ORANGE, PURPLE, RED, TEAL, draw_seeds, new_figure, save_figure
from bio_facts.runs.phases import plateau_end

BEST_FIXED = "alpha0.6"  # named before any run
ARMS = {  # name -> color and label
    "uniform": (BLUE, "uniform"),
    "alpha0.6": (ORANGE, "alpha 0.6"),
    "celebrities": (PURPLE, "celebrities"),
    "warmup": (RED, "warm-up"),
    "longest": (GREEN, "longest warm-up"),
    "fewer": (TEAL, "uniform, fewer individuals"),
}


def measure(arms: Arms) -> Mapping[str, Values]:
    """Final accuracies and losses of the arms, and how the loss on all individuals rises and falls back in a warm-up."""
    accuracies = {arm: final_accuracies(runs_of(arms, arm)) for arm in ARMS if arm != "fewer"}
    losses = {arm: final_losses(runs_of(arms, arm)) for arm in ("uniform", BEST_FIXED, "celebrities", "warmup")}
    logits = {arm: logits_of(arms, arm, accuracies[arm]) for arm in ("warmup", BEST_FIXED)}
    of_fewer = logits_of(arms, "fewer", accuracies_counted_on_all(arms))
    warm_up, uniform = runs_of(arms, "warmup"), runs_of(arms, "uniform")
    switches = {seed: switch_step(run) for seed, run in warm_up.items()}
    return {
        "gain": Values(differences(logits["warmup"], logits[BEST_FIXED])),
        "gain_over_fewer_individuals": Values(differences(logits["warmup"], of_fewer)),
        "celebrities": Values(differences(losses["uniform"], losses["celebrities"])),
        "rise_in_warm_up": Values(differences(losses_at(warm_up, switches), losses_at(uniform, switches))),
        "recovery": recoveries(warm_up, uniform),
        "order": Values(least_differences(losses)),
        "longest": Values(differences(accuracies["warmup"], accuracies["longest"])),
    }


def final_accuracies(runs: Mapping[int, Run]) -> dict[int, float | None]:
    """Seed -> attribute accuracy at the end, on the individuals of the run alike."""
    return {seed: run.curve("validation")["attribute_accuracy"][-1] for seed, run in runs.items()}


def accuracies_counted_on_all(arms: Arms) -> dict[int, float | None]:
    """Seed -> accuracy of the run on fewer individuals on all: on the others, it is that on individuals never seen."""
    fewer, uniform = runs_of(arms, "fewer"), runs_of(arms, "uniform")
    return {
        seed: counted_on_all(
            run.curve("validation")["attribute_accuracy"][-1],
            run.curve("unseen")["attribute_accuracy"][-1],
            run.data["num_individuals"] / uniform[seed].data["num_individuals"],
        )
        for seed, run in fewer.items() if seed in uniform
    }  # fmt: skip


def counted_on_all(accuracy: float, chance: float, share: float) -> float:
    """Accuracy on all individuals, of whom a share is known with `accuracy`, and the others by chance."""
    return share * accuracy + (1 - share) * chance


def logits_of(arms: Arms, arm: str, accuracies: Mapping[int, float | None]) -> dict[int, float | None]:
    """Seed -> logit of an accuracy of an arm."""
    num_values = {seed: 6 * run.recipe["num_eval_biographies"] for seed, run in runs_of(arms, arm).items()}
    return {seed: None if share is None else logit(share, num_values[seed]) for seed, share in accuracies.items()}


def logit(share: float, num_values: int) -> float:
    """Logarithm of the odds of a share of values, half a value added on both sides, so that it is finite for 0 and 1."""
    return math.log((share * num_values + 0.5) / ((1 - share) * num_values + 0.5))


def switch_step(run: Run) -> float:
    """Step at which the warm-up ends."""
    return float(run.data["num_warmup_biographies"] / run.recipe["batch_size"])


def recovery(steps: Sequence[int], losses: Sequence[float], no_knowledge_loss: float, switch: float) -> float | None:
    """Steps from the switch until the loss on all individuals stays below 0.99 x the no-knowledge loss; None if it does not."""
    end = plateau_end(steps, losses, no_knowledge_loss)
    return None if end is None or end <= switch else end - switch


def recoveries(warm_up: Mapping[int, Run], uniform: Mapping[int, Run]) -> Values:
    """Seed -> recovery, in units of the plateau_end of the uniform run."""
    times = {seed: recovery(*run.loss_curve(), switch_step(run)) for seed, run in warm_up.items()}
    since = {
        seed: [round(step - switch_step(run)) for step in run.curve("validation")["step"] if step >= switch_step(run)]
        for seed, run in warm_up.items()
    }
    ends = {seed: run.phase_ends[1] for seed, run in uniform.items()}
    floor = math.hypot(
        largest_grid_error(since, times),
        largest_grid_error({seed: run.curve("validation")["step"] for seed, run in uniform.items()}, ends),
    )
    return Values({seed: time / end if time and (end := ends.get(seed)) else None for seed, time in times.items()}, floor)


def least_differences(losses: Mapping[str, Mapping[int, float | None]]) -> dict[int, float | None]:
    """Seed -> least of the differences of losses that the paper's order of the four schedules makes positive."""
    pairs = [
        differences(losses[worse], losses[better])
        for worse, better in (
            ("uniform", BEST_FIXED), ("uniform", "celebrities"), (BEST_FIXED, "warmup"), ("celebrities", "warmup"),
        )
    ]  # fmt: skip
    seeds = set.intersection(*(set(pair) for pair in pairs))
    by_seed = {seed: [pair[seed] for pair in pairs] for seed in sorted(seeds)}
    return {
        seed: None if None in values else min(value for value in values if value is not None)
        for seed, values in by_seed.items()
    }


def plot(arms: Arms, verdict: Mapping[str, Any], path: Path) -> None:
    """Final accuracy and loss of every arm; loss and accuracy over training; accuracy by warm-up. The paper's in gray."""
    uniform, warm_up = runs_of(arms, "uniform"), runs_of(arms, "warmup")
    first, warm = uniform[min(uniform)], warm_up[min(warm_up)]
    title = (
        f"Training on a few individuals first: a warm-up on {warm.data['num_warmup_individuals']:,} of "
        f"{first.data['num_individuals']:,} for {switch_step(warm):,.0f} of {first.recipe['num_steps']:,} steps\n"
        f"seed {first.seed}; thin lines and further points: other seeds; gray: the paper"
    )
    figure, axes = new_figure(6, title, num_columns=3)
    _draw_arms(axes[0], arms, _accuracies(arms), {**_paper("accuracy_64k_8k_steps", 1.0), **_paper_of_other_arms()})
    axes[0].set_xlim(0, 1)
    axes[0].set_xlabel("final attribute accuracy on all individuals\n(fewer individuals: by chance on those never seen)")
    losses = {arm: final_losses(runs_of(arms, arm)) for arm in ARMS if arm != "fewer"}
    _draw_arms(axes[1], arms, losses, _paper("loss_64k_8k_steps", paper_numbers()["baseline_nats"]))
    axes[1].set_xlim(0, None)
    axes[1].set_xlabel("final attribute loss / no-knowledge loss")
    _draw_lengths(axes[2], arms)
    _draw_curves(axes[3], axes[4], arms)
    axes[5].axis("off")  # the legend of the two panels before it
    axes[5].legend(*axes[3].get_legend_handles_labels(), frameon=False, loc="center left")
    save_figure(figure, path)


def _accuracies(arms: Arms) -> dict[str, dict[int, float | None]]:
    known = {arm: final_accuracies(runs_of(arms, arm)) for arm in ARMS if arm != "fewer"}
    return known | {"fewer": accuracies_counted_on_all(arms)}


def _paper(name: str, unit: float) -> dict[str, float]:
    """The paper's numbers by arm."""
    names = {"uniform": "uniform", "power law": "alpha0.6", "warm-up": "warmup", "celebrities": "celebrities"}
    return {names[column]: value / unit for column, value in schedules(name).items()}


def _paper_of_other_arms() -> dict[str, float]:
    """The paper's accuracies after the longest warm-up on 8k of 64k individuals, and on fewer of 128k individuals."""
    numbers = paper_numbers()
    return {"longest": warm_up_accuracies(8_000)[1][-1], "fewer": numbers["control_uniform_on_83k"]["counted_on_128k"]}


def _draw_arms(ax: Any, arms: Arms, values: Mapping[str, Mapping[int, float | None]], paper: Mapping[str, float]) -> None:
    """A row for each arm: a point for each seed, and a cross for the paper."""
    rows = [arm for arm in ARMS if arm in values]
    for place, arm in enumerate(rows):
        color, _ = ARMS[arm]
        points = [value for value in values[arm].values() if value is not None]
        ax.plot(points, [place] * len(points), "o", color=color, alpha=0.6)
        if arm in paper:
            ax.plot(paper[arm], place + 0.25, "x", color=GRAY, ms=8, mew=2)
    ax.set_yticks(range(len(rows)), [ARMS[arm][1] for arm in rows])
    ax.set_ylim(-0.5, len(rows) - 0.2)
    ax.invert_yaxis()


def _draw_lengths(ax: Any, arms: Arms) -> None:
    """Final accuracy by the length of the warm-up on the same individuals; 0: uniform."""
    for arm in ("uniform", "warmup", "longest"):
        color, label = ARMS[arm]
        runs = runs_of(arms, arm)
        shares = [0.0 if arm == "uniform" else switch_step(run) / run.recipe["num_steps"] for run in runs.values()]
        ax.plot(shares, list(final_accuracies(runs).values()), "o", color=color, alpha=0.6, label=label)
    steps, accuracies = warm_up_accuracies(8_000)
    uniform = schedules("accuracy_64k_8k_steps")["uniform"]
    x = [0.0, *(step / 8_000 for step in steps)]
    ax.plot(x, [uniform, *accuracies], color=GRAY, lw=1.2, ls="-.", marker="x", label="the paper, 8k of 64k individuals")
    ax.set_xlim(-0.02, 0.55)
    ax.set_ylim(0, 1)
    ax.set_xlabel("length of the warm-up / length of the run")
    ax.set_ylabel("final attribute accuracy")
    ax.legend(frameon=False, fontsize=8, loc="lower center")


def _draw_curves(loss: Any, accuracy: Any, arms: Arms) -> None:
    """Loss and accuracy on all individuals over the step in units of plateau_end; the end of the warm-up as a line."""
    uniform = runs_of(arms, "uniform")
    units = {seed: run.phase_ends[1] or run.curve("validation")["step"][-1] for seed, run in uniform.items()}
    for arm in ("uniform", "alpha0.6", "celebrities", "warmup", "longest"):
        color, label = ARMS[arm]
        runs = {seed: run for seed, run in runs_of(arms, arm).items() if seed in units}
        x = {seed: [step / units[seed] for step in run.curve("validation")["step"]] for seed, run in runs.items()}
        draw_seeds(loss, {seed: (x[seed], losses_in_b(run)[1]) for seed, run in runs.items()}, color, label)
        curves = {seed: (x[seed], run.curve("validation")["attribute_accuracy"]) for seed, run in runs.items()}
        draw_seeds(accuracy, curves, color, label)
        if arm in ("warmup", "longest") and runs:
            first = min(runs)
            for ax in (loss, accuracy):
                ax.axvline(switch_step(runs[first]) / units[first], color=color, lw=0.8, ls="--")
    end = plateau_end(*three_phases_curve())
    assert end is not None
    x_paper, y_paper = zip(*((step / end, value) for step, value in warm_up_losses()), strict=True)
    loss.plot(x_paper, y_paper, "x", color=GRAY, ms=8, mew=2, label="the paper, warm-up on 8k of 64k individuals")
    loss.axhline(1, color=BLACK, lw=0.8, ls=":")
    loss.set_ylim(0, 2)
    loss.set_ylabel("attribute loss on all individuals / no-knowledge loss")
    accuracy.set_ylim(0, 1)
    accuracy.set_ylabel("attribute accuracy on all individuals")
    for ax in (loss, accuracy):
        ax.set_xlim(0, None)
        ax.set_xlabel("training step / end of the plateau with uniform sampling")


CLAIM = Claim(
    label="C5",
    name="warm_up",
    title="A warm-up on few individuals beats fixed distributions on a short budget",
    paper=(
        "Uniform sampling of a subset of individuals for a few epochs, then of all, beats every fixed distribution when the "
        "budget is short: with 64k individuals and 8k steps, accuracy rises from about a third to about 98 % (with 8k "
        "individuals for the first 1.5k steps). A uniform run on fewer individuals does not explain it (Fig. 4, right; L)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

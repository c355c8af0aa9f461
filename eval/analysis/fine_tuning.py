"""C7: fine-tuning on new individuals destroys old knowledge before it teaches new (paper Fig. 5, middle; N, O).

python eval/analysis/fine_tuning.py runs/paper-mini --results eval/results/fine_tuning/mini.json
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from arms import Arms
from claims import Claim, run_analysis
from forgetting import HALF_KNOWN, Tuning, loss_measures, lost_by_arm, tuning_of
from intervals import Values
from measures import runs_of
from paper import fine_tuning_curve

from bio_facts.runs.curves import Run
from bio_facts.runs.figures import BLACK, GRAY, new_figure, save_figure, with_colors

MOST, FEWEST = "quarter", "64th"  # arms, by the number of new individuals as a share of the old ones
LAST_LAYER = -1  # where the paper looks at attention from values to names (App. D.2)
PAPER_INDIVIDUALS, PAPER_BATCH_SIZE = 64_000, 128
PAPER_NUMBERS = (1_000, 2_000, 4_000, 8_000, 16_000)  # of new individuals


def measure(arms: Arms) -> Mapping[str, Values]:
    """Old accuracy lost when the new individuals are half known, and the change of attention on the old ones."""
    most = runs_of(arms, MOST)
    lost = loss_measures(tunings_of(most), tunings_of(runs_of(arms, FEWEST)))
    changes = {seed: attention_change(old_attention(run)) for seed, run in most.items()}
    return {name: Values(by_seed) for name, by_seed in lost.items()} | {"attention_change": Values(changes)}


def tunings_of(runs: Mapping[int, Run]) -> dict[int, Tuning]:
    """Seed -> curves."""
    return {seed: tuning_of(run) for seed, run in runs.items()}


def old_attention(run: Run) -> list[float]:
    """Attention from values to names on the old individuals at each evaluation, in the last layer (share of the weights)."""
    key, curve = "attention_value_to_name", run.curve("pretrain_validation")
    if key not in curve.lines[0]:
        raise ValueError(
            f"run {run.folder} has no {key} on pretrain_validation; expected a run with num_attention_biographies above 0"
        )
    return [layers[LAST_LAYER] for layers in curve[key]]


def attention_change(values: list[float]) -> float:
    """The last value minus the first."""
    return values[-1] - values[0]


def plot(arms: Arms, verdict: Mapping[str, Any], path: Path) -> None:
    """Old loss, accuracies and attention over fine-tuning, and the old accuracy lost by the number of new individuals."""
    first = next(iter(runs_of(arms, MOST).values()))
    individuals, batch_size = int(first.data["num_individuals"]), int(first.recipe["batch_size"])
    title = (
        f"Fine-tuning on new individuals: what is lost of the old, and when the new is learned\n{individuals:,} individuals in "
        f"pre-training, {first.recipe['num_steps']:,} steps of {batch_size}; a line for each seed; crosses: the paper's (64k)"
    )
    figure, (loss, accuracy, lost, attention) = new_figure(4, title, num_columns=2)
    tunings = {arm: tunings_of(runs) for arm, runs in arms.items()}
    for color, (arm, runs) in with_colors(arms.items()):
        share = _share(next(iter(runs.values())))
        for index, (seed, tuning) in enumerate(sorted(tunings[arm].items())):
            x = [step * batch_size / individuals for step in tuning.steps]
            label = f"{share * individuals:,.0f} new individuals ({_fraction(share)})" if index == 0 else None
            style = {"color": color, "lw": 1.6 if index == 0 else 0.6}
            loss.plot(x, tuning.old_losses, label=label, **style)
            accuracy.plot(x, tuning.old_accuracies, **style)
            accuracy.plot(x, tuning.new_accuracies, ls="--", **style)
            attention.plot(x, old_attention(runs[seed]), **style)
        _draw_paper_curves(loss, accuracy, round(share * PAPER_INDIVIDUALS), color)
    _draw_lost(lost, tunings, {arm: _share(next(iter(runs.values()))) for arm, runs in arms.items()})
    loss.plot([], [], "x", color=GRAY, label="the paper, at the same share")
    accuracy.plot([], [], color=BLACK, label="old individuals")
    accuracy.plot([], [], color=BLACK, ls="--", label="new individuals")
    accuracy.plot([], [], "x", color=GRAY, label="the paper: old individuals")
    accuracy.plot([], [], "+", color=GRAY, label="the paper: new individuals")
    accuracy.axhline(HALF_KNOWN, color=GRAY, lw=0.8, ls=":")
    for ax, label in (
        (loss, "loss on the old individuals / no-knowledge loss"),
        (accuracy, "attribute accuracy"),
        (attention, "attention from values to names, last layer, old individuals"),
    ):
        ax.set_xscale("symlog", linthresh=0.1)
        ax.set_xlim(0, None)
        ax.set_ylim(0, None if ax is loss else 1.02)
        ax.set_xlabel("biographies seen in fine-tuning / number of old individuals")
        ax.set_ylabel(label)
    loss.legend(frameon=False, fontsize=8, loc="upper left")
    accuracy.legend(frameon=False, fontsize=8, loc="center left")
    save_figure(figure, path)


def _share(run: Run) -> float:
    """New individuals as a share of the old ones."""
    return float(run.data["num_fine_tuning_individuals"] / run.data["num_individuals"])


def _fraction(share: float) -> str:
    return f"1/{round(1 / share)}"


def _draw_paper_curves(loss: Any, accuracy: Any, num_new: int, color: str) -> None:
    """The paper's numbers for the nearest share of new individuals, if it has one within a fifth."""
    number = min(PAPER_NUMBERS, key=lambda given: abs(given - num_new))
    if abs(number - num_new) > number / 5:
        return
    for ax, name, marker in ((loss, "old loss", "x"), (accuracy, "old accuracy", "x"), (accuracy, "new accuracy", "+")):
        steps, values = fine_tuning_curve(number)[name]
        x = [step * PAPER_BATCH_SIZE / PAPER_INDIVIDUALS for step in steps]
        ax.plot(x, values, marker, color=color, alpha=0.5, ms=7)


def _draw_lost(ax: Any, tunings: Mapping[str, Mapping[int, Tuning]], shares: Mapping[str, float]) -> None:
    """Old accuracy lost when the new individuals are half known, by their number."""
    for color, (arm, by_seed) in with_colors(lost_by_arm(tunings).items()):
        values = [value for value in by_seed.values() if value is not None]
        ax.plot([shares[arm]] * len(values), values, "o", color=color, alpha=0.7, ms=6)
    x, y = [], []
    for number in PAPER_NUMBERS:
        value = paper_accuracy_lost(number)
        if value is not None:
            x.append(number / PAPER_INDIVIDUALS)
            y.append(value)
    ax.plot(x, y, "x-", color=GRAY, lw=0.8, label="the paper, 64k individuals")
    ax.set_xscale("log", base=2)
    ax.set_xticks(x, [_fraction(share) for share in x])
    ax.set_ylim(-0.05, 1.02)
    ax.set_xlabel("new individuals / old individuals")
    ax.set_ylabel(f"old accuracy lost when new accuracy is {HALF_KNOWN:g}")
    ax.legend(frameon=False, fontsize=8, loc="upper left")


def paper_accuracy_lost(num_new: int) -> float | None:
    """The paper's old accuracy lost, from the evaluations at which both accuracies were read."""
    return lost_by_arm({"": {0: paper_tuning(num_new)}})[""][0]


def paper_tuning(num_new: int) -> Tuning:
    """The paper's curves with this number of new individuals, at the evaluations at which both accuracies were read."""
    curves = fine_tuning_curve(num_new)
    values = {name: dict(zip(*curve, strict=True)) for name, curve in curves.items()}
    steps = [step for step in values["old accuracy"] if step in values["new accuracy"]]
    old_losses, new_losses = ([values[name].get(step, 0.0) for step in steps] for name in ("old loss", "new loss"))
    old, new = ([values[name][step] for step in steps] for name in ("old accuracy", "new accuracy"))
    return Tuning(steps, old_losses, old, new_losses, new)


CLAIM = Claim(
    label="C7",
    name="fine_tuning",
    title="Fine-tuning on new individuals destroys old knowledge before it teaches new",
    paper=(
        "Fine-tuning on 1k to 16k new individuals, 4k steps at a constant learning rate: the loss on the individuals of "
        "pre-training jumps within the first few hundred steps, while the new ones are learned slowly, and the more there are "
        "of them the more is lost (Fig. 5, middle; N). Attention patterns on the old individuals barely change (Fig. O)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

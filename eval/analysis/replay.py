"""C8: replay reduces forgetting, but less at the start than at the end (paper Fig. 5, right).

python eval/analysis/replay.py runs/paper-mini --results eval/results/replay/mini.json
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from analysis.fine_tuning import tunings_of
from arms import Arms
from claims import Claim, run_analysis
from forgetting import final_rise_removed, recovery, replay_measures
from intervals import Values
from measures import runs_of
from paper import early_peak_without_replay, fine_tuning_curve, replay_losses

from bio_facts.runs.figures import BLACK, BLUE, GRAY, RED, new_figure, save_figure, with_colors

WITH, WITHOUT = "w0.125", "none"  # arms; the weight of an old individual, where a new one has 1


def measure(arms: Arms) -> Mapping[str, Values]:
    """How much of the rise of the old loss replay with weight 1/8 removes: at the end, after its peak, and at the start."""
    measured = replay_measures(tunings_of(runs_of(arms, WITH)), tunings_of(runs_of(arms, WITHOUT)))
    return {name: Values(by_seed) for name, by_seed in measured.items()}


def plot(arms: Arms, verdict: Mapping[str, Any], path: Path) -> None:
    """Old loss and new accuracy over fine-tuning, and by replay weight how much of the loss is kept off; the paper in gray."""
    without = runs_of(arms, WITHOUT)
    first = without[min(without)]
    individuals, batch_size = int(first.data["num_individuals"]), int(first.recipe["batch_size"])
    new = int(first.data["num_fine_tuning_individuals"])
    title = (
        "Replay of old individuals in fine-tuning: how much of the old is lost, at the start and in the end\n"
        f"{individuals:,} individuals in pre-training, {new:,} new ones, {first.recipe['num_steps']:,} steps of {batch_size}; "
        "a line or dot for each seed"
    )
    figure, (loss, accuracy, end, start) = new_figure(4, title, num_columns=2)
    tunings = {arm: tunings_of(runs) for arm, runs in arms.items()}
    weights = {arm: float(next(iter(runs.values())).data["replay_weight"]) for arm, runs in arms.items()}
    for color, arm in with_colors(sorted(weights, key=weights.__getitem__)):
        for index, (_, tuning) in enumerate(sorted(tunings[arm].items())):
            x = [step * batch_size / individuals for step in tuning.steps]
            label = (f"weight {fraction(weights[arm])}" if weights[arm] else "no replay") if index == 0 else None
            style = {"color": color, "lw": 1.6 if index == 0 else 0.6, "label": label}
            loss.plot(x, tuning.old_losses, **style)
            accuracy.plot(x, tuning.new_accuracies, **style)
    for ax, label in ((loss, "loss on the old individuals / no-knowledge loss"), (accuracy, "accuracy on the new individuals")):
        ax.set_xscale("symlog", linthresh=0.1)
        ax.set_xlim(0, None)
        ax.set_xlabel("biographies seen in fine-tuning / number of old individuals")
        ax.set_ylabel(label)
        ax.legend(frameon=False, fontsize=8, loc="upper left")
    loss.set_yscale("log")
    accuracy.set_ylim(0, 1.02)
    for arm, weight in weights.items():
        if weight:
            values = replay_measures(tunings[arm], tunings[WITHOUT])
            _dots(end, weight, values["final_rise_removed"], BLUE)
            _dots(end, weight, values["recovery"], RED)
            _dots(start, weight, values["early_rise_kept"], BLACK)
    _draw_paper(end, start)
    end.plot([], [], "o", color=BLUE, label="share of the final rise of the old loss that is removed")
    end.plot([], [], "o", color=RED, label="(peak - end) / peak of the old loss")
    start.plot([], [], "o", color=BLACK, label="early rise / that without replay")
    for ax in (end, start):
        ax.set_xscale("log", base=2)
        ticks = sorted(replay_losses())
        ax.set_xticks(ticks, [fraction(weight) for weight in ticks])
        ax.set_xlabel("weight of an old individual (a new one has 1)")
        ax.set_ylabel("share")
        ax.set_ylim(0, 1.05)
        ax.legend(frameon=False, fontsize=8, loc="lower left" if ax is end else "upper right")
    save_figure(figure, path)


def fraction(weight: float) -> str:
    """A weight as text: 2, or 1/8."""
    return f"{weight:g}" if weight >= 1 else f"1/{1 / weight:g}"


def _dots(ax: Any, weight: float, by_seed: Mapping[int, float | None], color: str) -> None:
    values = [value for value in by_seed.values() if value is not None]
    ax.plot([weight] * len(values), values, "o", color=color, alpha=0.6, ms=6)


def _draw_paper(end: Any, start: Any) -> None:
    """The same of the paper's 4k new individuals, from the worst and the last old loss."""
    without = fine_tuning_curve(4_000)["old loss"][1]
    _, early_peak = early_peak_without_replay()
    losses = {weight: [without[0], worst, last] for weight, (worst, last, _) in sorted(replay_losses().items())}
    style: dict[str, Any] = {"color": GRAY, "lw": 0.8}
    removed = [final_rise_removed(values, without) for values in losses.values()]
    end.plot(list(losses), removed, "x-", label="the paper", **style)
    end.plot(list(losses), [recovery(values) for values in losses.values()], "x--", **style)
    kept = [(worst - first) / (early_peak - first) for first, worst, _ in losses.values()]
    start.plot(list(losses), kept, "x-", label="the paper", **style)


CLAIM = Claim(
    label="C8",
    name="replay",
    title="Replay reduces forgetting, but less at the start than at the end",
    paper=(
        "When individuals of pre-training are mixed in, each with a weight of 2 to 1/32 (a new individual has 1), less old "
        "knowledge is lost in the end, but the loss of knowledge at the start remains (Fig. 5, right)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

"""C9: fine-tuning on individuals that were rare in pre-training helps them and costs little (paper Fig. P, App. F.3).

python eval/analysis/rare_individuals.py runs/paper-mini --results eval/results/rare_individuals/mini.json
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from arms import Arms
from claims import Claim, run_analysis
from intervals import Values
from measures import runs_of
from paper import rare_individuals_accuracies

from bio_facts.runs.curves import Run
from bio_facts.runs.figures import BLACK, BLUE, GRAY, ORANGE, new_figure, save_figure

REST, CELEBRITIES = "rest", "celebrities"  # arms: who the fine-tuning is about
SPLITS = {REST: "validation_group1", CELEBRITIES: "validation_group0"}
COLORS = {REST: BLUE, CELEBRITIES: ORANGE}


def measure(arms: Arms) -> Mapping[str, Values]:
    """Changes of accuracy from the beginning to the end of fine-tuning, on the rest and on the celebrities."""
    rest, celebrities = runs_of(arms, REST), runs_of(arms, CELEBRITIES)
    return {
        "mean_change": Values({seed: mean_change(run) for seed, run in rest.items()}),
        "celebrity_fall": Values({seed: fall(accuracies(run, CELEBRITIES)) for seed, run in rest.items()}),
        "rare_fall": Values({seed: fall(accuracies(run, REST)) for seed, run in celebrities.items()}),
    }


def accuracies(run: Run, group: str) -> list[float]:
    """Attribute accuracies on the rest or the celebrities at each evaluation."""
    values: list[float] = run.curve(SPLITS[group])["attribute_accuracy"]
    return values


def change(values: list[float]) -> float:
    """The last value minus the first."""
    return values[-1] - values[0]


def fall(values: list[float]) -> float:
    """The first value minus the last."""
    return values[0] - values[-1]


def mean_change(run: Run) -> float:
    """The change of accuracy over everyone: that of both groups, by their sizes."""
    return weighted(change(accuracies(run, REST)), change(accuracies(run, CELEBRITIES)), celebrity_share(run))


def weighted(rest: float, celebrities: float, share: float) -> float:
    """The mean over everyone of a number for the rest and one for the celebrities, who are this share of all."""
    return (1 - share) * rest + share * celebrities


def celebrity_share(run: Run) -> float:
    """Celebrities as a share of all individuals."""
    return float(run.data["num_group0_individuals"] / run.data["num_individuals"])


def plot(arms: Arms, verdict: Mapping[str, Any], path: Path) -> None:
    """Accuracy on both groups over both fine-tunings, and the changes; the paper's numbers in gray."""
    rest = runs_of(arms, REST)
    first = rest[min(rest)]
    individuals, celebrities = int(first.data["num_individuals"]), int(first.data["num_group0_individuals"])
    title = (
        f"Fine-tuning on individuals of pre-training: {celebrities:,} celebrities, eight times as frequent there as the other "
        f"{individuals - celebrities:,}\n{first.recipe['num_steps']:,} steps of {first.recipe['batch_size']}; a line or dot "
        "for each seed; crosses: the paper's (128k individuals)"
    )
    figure, (on_rest, on_celebrities, changes) = new_figure(3, title)
    paper = rare_individuals_accuracies()
    for ax, arm, label in ((on_rest, REST, "on the rest"), (on_celebrities, CELEBRITIES, "on the celebrities")):
        for group in SPLITS:
            for index, (_, run) in enumerate(sorted(runs_of(arms, arm).items())):
                name = {REST: "accuracy on the rest", CELEBRITIES: "accuracy on the celebrities"}[group] if index == 0 else None
                x = [step * run.recipe["batch_size"] / individuals for step in run.curve(SPLITS[group])["step"]]
                ax.plot(x, accuracies(run, group), color=COLORS[group], lw=1.6 if index == 0 else 0.6, label=name)
                end = x[-1]
            if group in paper[arm]:
                ax.plot([0, end], paper[arm][group], "x", color=COLORS[group], ms=9, alpha=0.6, clip_on=False)
        ax.set_title(f"fine-tuned {label}", fontsize=10)
        ax.set_xlabel("biographies seen in fine-tuning / number of individuals")
        ax.set_ylabel("attribute accuracy")
        ax.set_xlim(0, None)
        ax.set_ylim(0, 1.02)
        ax.legend(frameon=False, fontsize=8, loc="lower right")
    _draw_changes(changes, arms)
    save_figure(figure, path)


def _draw_changes(ax: Any, arms: Arms) -> None:
    """The measures: changes of accuracy on everyone, on the rest and on the celebrities."""
    places = [
        (REST, "everyone", BLACK), (REST, REST, BLUE), (REST, CELEBRITIES, ORANGE), (CELEBRITIES, REST, BLUE),
    ]  # fmt: skip
    for x, (arm, group, color) in enumerate(places):
        runs = runs_of(arms, arm).values()
        values = [mean_change(run) if group == "everyone" else change(accuracies(run, group)) for run in runs]
        ax.plot([x] * len(values), values, "o", color=color, alpha=0.6, ms=6)
        ax.plot(x + 0.2, paper_change(arm, group), "x", color=GRAY, ms=9, label="the paper" if x == 0 else None)
    ax.axhline(0, color=BLACK, lw=0.8, ls=":")
    ax.set_xticks(
        range(len(places)),
        [f"tuned on the {arm}:\non {'everyone' if group == 'everyone' else f'the {group}'}" for arm, group, _ in places],
        fontsize=8,
    )
    ax.set_xlim(-0.5, len(places) - 0.5)
    ax.set_ylabel("change of attribute accuracy")
    ax.legend(frameon=False, fontsize=8)


def paper_change(arm: str, group: str) -> float:
    """The paper's change of accuracy on the rest, the celebrities (a sixteenth of all) or everyone."""
    by_group = {name: after - before for name, (before, after) in rare_individuals_accuracies()[arm].items()}
    return weighted(by_group[REST], by_group[CELEBRITIES], 1 / 16) if group == "everyone" else by_group[group]


CLAIM = Claim(
    label="C9",
    name="rare_individuals",
    title="Fine-tuning on individuals that were rare in pre-training helps them and costs little",
    paper=(
        "Pre-training with 8k celebrities of weight 8 among 128k individuals, then fine-tuning on the 120k others: accuracy on "
        "them rises from 0.52 to 0.75, and on the celebrities it falls by 0.01 only. Fine-tuning on the celebrities lowers "
        "accuracy on the others to 0.35 (App. F.3, Fig. P)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

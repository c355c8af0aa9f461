"""C7: fine-tuning on new individuals destroys old knowledge before it teaches new (paper Fig. 5, middle).

python eval/analysis/fine_tuning.py runs/paper-mini/fine_tuning-* --results eval/results/fine_tuning/mini.json
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bio_facts.runs.curves import Run, check_alike, check_seeds, group_runs

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from claims import Claim, run_analysis
from figures import BLACK, label_axes, new_figure, save_figure, with_colors
from verdicts import Finding, check, curves_of

FALL = 0.2  # of accuracy on individuals of pre-training
MAX_SHARE = 0.1  # of fine-tuning, until that fall
MAX_NEW_ACCURACY = 0.3  # on the new individuals, at that evaluation
SPLITS = {"pretrain_validation": "people of pre-training", "validation": "new people", "unseen": "people never seen"}


def fall(run: Run) -> tuple[int | None, float | None]:
    """First evaluated step at which accuracy on old individuals has fallen by FALL, and accuracy on new ones at that step."""
    before, new = run.curve("pretrain_validation"), run.curve("validation")
    index = before.index_of_fall("attribute_accuracy", FALL)
    return (None, None) if index is None else (before["step"][index], new["attribute_accuracy"][index])


def check_fine_tuning(runs: Sequence[Run]) -> None:
    """ValueError unless all runs fine-tune a model on new individuals."""
    for run in runs:
        if run.data["distribution"] != "fine_tuning" or run.recipe["source"] is None:
            raise ValueError(
                f"run {run.folder} is no fine-tuning on new people (source {run.recipe['source']!r}, distribution "
                f"{run.data['distribution']!r}); it must be a run with a source on a finetune config"
            )


def score(runs: Sequence[Run]) -> Finding:
    """Checks for each number of new individuals: the latest fall and the highest new accuracy of all seeds."""
    check_fine_tuning(runs)
    check_alike(runs, "source", "dataset", "dataset_parameters.num_fine_tuning_individuals")
    by_number = group_runs(runs, lambda run: int(run.data["num_fine_tuning_individuals"]))
    check_seeds(by_number, "{} new people")
    checks, table = [], []
    for number, members in by_number.items():
        falls = [fall(run) for run in members]
        steps = [step for step, _ in falls if step is not None]
        share = max(steps) / members[0].recipe["num_steps"] if len(steps) == len(members) else None
        highest = max((accuracy for _, accuracy in falls if accuracy is not None), default=None)
        checks += [
            check(
                f"{number} new people: share of fine-tuning until old accuracy has fallen by {FALL:g}",
                "is at most",
                MAX_SHARE,
                share,
            ),
            check(f"{number} new people: accuracy on them at that evaluation", "is below", MAX_NEW_ACCURACY, highest),
        ]
        table.append(
            {
                "num_fine_tuning_individuals": number,
                "seeds": [run.seed for run in members],
                "fall_steps": [step for step, _ in falls],
                "new_accuracies": [accuracy for _, accuracy in falls],
                "final_old_accuracies": [run.curve("pretrain_validation")["attribute_accuracy"][-1] for run in members],
                "final_new_accuracies": [run.curve("validation")["attribute_accuracy"][-1] for run in members],
            }
        )
    return Finding(checks, {"table": table, "curves": curves_by(by_number)})


def curves_by(groups: dict[Any, list[Run]]) -> dict[str, Any]:
    """Label -> seed -> split -> columns."""
    return {str(label): curves_of(members, SPLITS, "attribute_loss", "attribute_accuracy") for label, members in groups.items()}


def plot(verdict: dict[str, Any], path: Path) -> None:
    """Loss on individuals of pre-training, accuracy on them and on new ones; a color for each number of new ones."""
    figure, (loss, accuracy) = new_figure(2, "Fine-tuning on new people: what was known is lost before the new is learned")
    for color, (number, seeds) in with_colors(verdict["curves"].items()):
        for index, curves in enumerate(seeds.values()):
            old, new = curves["pretrain_validation"], curves["validation"]
            label = f"{number} new people" if index == 0 else None
            loss.plot(old["step"], old["attribute_loss"], color=color, lw=1.2, label=label)
            accuracy.plot(old["step"], old["attribute_accuracy"], color=color, lw=1.2)
            accuracy.plot(new["step"], new["attribute_accuracy"], color=color, lw=1.2, ls="--")
    accuracy.plot([], [], color=BLACK, label="people of pre-training")
    accuracy.plot([], [], color=BLACK, ls="--", label="new people")
    label_axes(loss, "step of fine-tuning", "attribute loss on people of pre-training (nats per value)")
    label_axes(accuracy, "step of fine-tuning", "attribute accuracy", top=1)
    save_figure(figure, path)


CLAIM = Claim(
    label="C7",
    name="fine_tuning",
    title="Fine-tuning on new individuals destroys old knowledge before it teaches new",
    paper=(
        "Fine-tuning on 1k to 16k new individuals, 4k steps at a constant learning rate: the loss on the individuals of "
        "pre-training jumps within the first few hundred steps, while the new ones are learned slowly (Fig. 5, middle)."
    ),
    takes="Takes runs of fine-tuning without replay, on one or several numbers of new individuals.",
    score=score,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

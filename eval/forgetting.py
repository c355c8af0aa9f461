"""What fine-tuning does to old and new knowledge: the measures of C7 and C8, for language models and for the key-value memory.

Old: the individuals (or pairs) of pre-training. New: those of fine-tuning.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from measures import differences

from bio_facts.runs.curves import Run

HALF_KNOWN = 0.5  # accuracy on the new individuals
EARLY = 1 / 8  # the share of fine-tuning that counts as early; in the paper the loss jumps within a twentieth


@dataclass(frozen=True)
class Tuning:
    """The curves of a run of fine-tuning. Losses are in units of the no-knowledge loss."""

    steps: Sequence[int]
    old_losses: Sequence[float]
    old_accuracies: Sequence[float]
    new_losses: Sequence[float]
    new_accuracies: Sequence[float]


def tuning_of(run: Run) -> Tuning:
    """The curves of a language model; ValueError if the run is no fine-tuning. All losses are in units of the old ones' b."""
    old, new = run.curve("pretrain_validation"), run.curve("validation")
    b = float(old["no_knowledge_loss"][0])
    old_losses, new_losses = ([loss / b for loss in curve["attribute_loss"]] for curve in (old, new))
    return Tuning(old["step"], old_losses, old["attribute_accuracy"], new_losses, new["attribute_accuracy"])


def memory_tuning_of(run: Run) -> Tuning:
    """The curves of the key-value memory; ValueError if the run is another one."""
    old, new = run.curve("pretrain"), run.curve("new")
    b = math.log(run.recipe["num_values"])
    old_losses, new_losses = ([loss / b for loss in curve["loss"]] for curve in (old, new))
    return Tuning(old["step"], old_losses, old["accuracy"], new_losses, new["accuracy"])


def old_accuracy_lost(old_accuracies: Sequence[float], new_accuracies: Sequence[float]) -> float | None:
    """How much accuracy on the old is lost when accuracy on the new first passes 0.5; None if it does not.

    Both are taken as linear between the two evaluations around that moment.
    """
    index = next((index for index, accuracy in enumerate(new_accuracies) if accuracy >= HALF_KNOWN), None)
    if index is None:
        return None
    if index == 0:
        return 0.0
    before, after = new_accuracies[index - 1], new_accuracies[index]
    share = (HALF_KNOWN - before) / (after - before)
    return old_accuracies[0] - (old_accuracies[index - 1] + share * (old_accuracies[index] - old_accuracies[index - 1]))


def final_rise_removed(with_replay: Sequence[float], without: Sequence[float]) -> float | None:
    """The share of the final rise of the old loss that replay removes; None if the loss does not rise without replay."""
    rise = without[-1] - without[0]
    return 1 - (with_replay[-1] - with_replay[0]) / rise if rise > 0 else None


def recovery(losses: Sequence[float]) -> float:
    """(peak - end) / peak of the old loss: how much of what is lost comes back during fine-tuning."""
    return (max(losses) - losses[-1]) / max(losses)


def early_rise(steps: Sequence[int], losses: Sequence[float]) -> float:
    """The highest old loss in the first eighth of fine-tuning, minus that before it."""
    return max(loss for step, loss in zip(steps, losses, strict=True) if step <= EARLY * steps[-1]) - losses[0]


def early_rise_kept(with_replay: float, without: float) -> float | None:
    """The early rise with replay as a share of that without; None if the loss does not rise without replay."""
    return with_replay / without if without > 0 else None


def lost_by_arm(tunings: Mapping[str, Mapping[int, Tuning]]) -> dict[str, dict[int, float | None]]:
    """Arm -> seed -> old_accuracy_lost."""
    return {
        arm: {seed: old_accuracy_lost(tuning.old_accuracies, tuning.new_accuracies) for seed, tuning in members.items()}
        for arm, members in tunings.items()
    }


def loss_measures(most: Mapping[int, Tuning], fewest: Mapping[int, Tuning]) -> dict[str, dict[int, float | None]]:
    """Measure of C7 -> seed -> value: old accuracy lost with the most new individuals, and minus that with the fewest."""
    lost = lost_by_arm({"most": most, "fewest": fewest})
    return {"old_accuracy_lost": lost["most"], "more_lost_with_more_new": differences(lost["most"], lost["fewest"])}


def replay_measures(with_replay: Mapping[int, Tuning], without: Mapping[int, Tuning]) -> dict[str, dict[int, float | None]]:
    """Measure of C8 -> seed -> value, for the seeds that have both."""
    pairs = {seed: (with_replay[seed], without[seed]) for seed in sorted(with_replay.keys() & without.keys())}
    return {
        "final_rise_removed": {seed: final_rise_removed(a.old_losses, b.old_losses) for seed, (a, b) in pairs.items()},
        "recovery": {seed: recovery(a.old_losses) for seed, (a, _) in pairs.items()},
        "early_rise_kept": {
            seed: early_rise_kept(early_rise(a.steps, a.old_losses), early_rise(b.steps, b.old_losses))
            for seed, (a, b) in pairs.items()
        },
    }

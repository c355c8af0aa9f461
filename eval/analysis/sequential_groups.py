"""F3: groups in sequence are learned ever faster and forgotten faster still (paper App. F.5, Fig. S-V, X).

python eval/analysis/sequential_groups.py runs/paper-mini --results eval/results/sequential_groups/mini.json
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from arms import Arms
from claims import Claim, run_analysis
from intervals import Values
from measures import losses_in_b, runs_of

from bio_facts.runs.curves import Run
from bio_facts.runs.figures import BLACK, BLUE, GRAY, GREEN, ORANGE, PURPLE, new_figure, save_figure
from bio_facts.runs.phases import first_crossing, grid_error

LEVEL = 0.5  # of the no-knowledge loss of a group: below it the group counts as learned, above it as lost
SECOND = 1  # index of the group that others are compared with: the first one has a plateau


@dataclass(frozen=True)
class Turn:
    """The first turn of a group in a run, and its loss (units of b) at the evaluated steps. start, end: steps of the turn.

    stop: the step at which the group is shown again, or the last one.
    """

    start: float
    end: float
    stop: float
    steps: Sequence[int]
    losses: Sequence[float]

    @property
    def learning(self) -> tuple[list[int], list[float]]:
        """The loss during the turn, by the number of steps since it began."""
        return self._since(self.start, self.end)

    @property
    def steps_learned(self) -> float | None:
        """How many steps of the turn it takes until the loss is 0.5 b, interpolated; None if it is not in this turn."""
        return first_crossing(*self.learning, LEVEL)

    @property
    def steps_lost(self) -> float | None:
        """How many steps after the turn the loss is 0.5 b again: those to the first such evaluation, or all that are left.

        None if the loss is not below 0.5 b at the end of the turn.
        """
        steps, losses = self._since(self.end, self.stop)
        if not losses or losses[0] >= LEVEL:
            return None
        return next((float(step) for step, loss in zip(steps, losses, strict=True) if loss >= LEVEL), self.stop - self.end)

    def _since(self, start: float, end: float) -> tuple[list[int], list[float]]:
        chosen = [(step, loss) for step, loss in zip(self.steps, self.losses, strict=True) if start <= step <= end]
        return [round(step - start) for step, _ in chosen], [loss for _, loss in chosen]


def turns(run: Run) -> list[Turn]:
    """The first turn of each group of a run."""
    data = run.data
    num_groups, length = int(data["num_groups"]), data["num_group_biographies"] / run.recipe["batch_size"]
    last = run.curve("validation")["step"][-1]
    again = num_groups * length if data.get("num_rounds", 1) > 1 else None
    return [
        Turn(
            group * length, (group + 1) * length, last if again is None else again + group * length,
            *losses_in_b(run, f"validation_group{group}"),
        )
        for group in range(num_groups)
    ]  # fmt: skip


def measure(arms: Arms) -> Mapping[str, Values]:
    """The two ratios of eight groups at a constant learning rate."""
    by_seed = {seed: turns(run) for seed, run in runs_of(arms, "groups8").items()}
    floor = max(grid_error(groups[SECOND].learning[0], groups[SECOND].steps_learned) for groups in by_seed.values())
    return {
        "later_groups": Values({seed: later_groups(groups) for seed, groups in by_seed.items()}, floor),
        "forgetting": Values({seed: forgetting(groups) for seed, groups in by_seed.items()}, floor),
    }


def later_groups(groups: Sequence[Turn]) -> float:
    """Steps until a group is learned, from the third group on, divided by those of the second; geometric mean over groups.

    A group that is not learned in its turn counts with the length of the turn. So it counts against the claim as a later group,
    and not for it as the second one.
    """
    learned = [(group.steps_learned, group.end - group.start) for group in groups]
    times = [length if time is None else time for time, length in learned]
    return float(np.exp(np.mean(np.log(np.divide(times[SECOND + 1 :], times[SECOND])))))


def forgetting(groups: Sequence[Turn]) -> float | None:
    """Steps until a group is lost, divided by those until it was learned; geometric mean over the groups that were learned.

    The first group, which has a plateau, and the last, after which nothing comes, are left out. None if no other was learned.
    """
    pairs = [(group.steps_lost, group.steps_learned) for group in groups[SECOND:-1]]
    ratios = [lost / learned for lost, learned in pairs if lost is not None and learned]
    return float(np.exp(np.mean(np.log(ratios)))) if ratios else None


def plot(arms: Arms, verdict: Mapping[str, Any], path: Path) -> None:
    """The loss on each group over steps, by number of groups, learning rate and rounds; steps learned and lost by group."""
    eight = runs_of(arms, "groups8")
    first = eight[min(eight)]
    title = (
        "Groups of individuals one after another\n"
        f"{first.data['num_individuals']:,} individuals, seed {first.seed}; the bars show which group is trained on"
    )
    panels = (
        ("groups8", "8 groups, constant learning rate"),
        ("groups8-cosine", "8 groups, cosine"),
        ("groups4", "4 groups"),
        ("groups16", "16 groups"),
        ("alternating2", "2 groups, 2 turns each"),
        ("alternating8", "2 groups, 8 turns each"),
    )
    figure, axes = new_figure(8, title, num_columns=4)
    for ax, (arm, label) in zip(axes, panels, strict=False):
        runs = runs_of(arms, arm)
        _draw_run(ax, runs[min(runs)], label)
    _draw_steps(axes[6], arms, "steps_learned", f"steps of its turn until the loss is {LEVEL:g} b")
    _draw_steps(axes[7], arms, "steps_lost", f"steps after its turn until the loss is {LEVEL:g} b again")
    save_figure(figure, path)


def _draw_run(ax: Any, run: Run, label: str) -> None:
    from matplotlib import colormaps

    groups = turns(run)
    num_groups, last = len(groups), run.curve("validation")["step"][-1]
    colors = [colormaps["viridis"](0.92 * group / max(1, num_groups - 1)) for group in range(num_groups)]
    for turn, color in zip(groups, colors, strict=True):
        ax.plot(turn.steps, turn.losses, color=color, lw=1.2)
    length = groups[0].end
    for index in range(round(last / length)):
        group = index % num_groups
        span = index * length / last, min(1, (index + 1) * length / last)
        ax.plot(span, (1.02, 1.02), color=colors[group], lw=6, solid_capstyle="butt", transform=ax.transAxes, clip_on=False)
        if num_groups <= 8 and length / last > 0.08:
            ax.annotate(str(group + 1), (sum(span) / 2, 1.03), xycoords="axes fraction", ha="center", va="bottom", fontsize=7)
    steps, losses = losses_in_b(run, "unseen")
    ax.plot(steps, losses, color=GRAY, lw=1, ls="--", label="never seen")
    ax.axhline(1, color=BLACK, lw=1, ls=":", label="no-knowledge loss (b)")
    ax.axhline(LEVEL, color=BLACK, lw=0.5)
    ax.set_xlim(0, last)
    ax.set_ylim(0, 3.5)
    ax.set_title(label, fontsize=10, pad=22)
    ax.set_xlabel("training step")
    ax.set_ylabel("attribute loss on a group / b")
    ax.legend(frameon=False, fontsize=8, loc="upper left")


def _draw_steps(ax: Any, arms: Arms, what: str, label: str) -> None:
    """Steps learned or lost by group, for every seed of the arms that show each group once."""
    for arm, color, name in (
        ("groups8", BLUE, "8 groups"),
        ("groups8-cosine", PURPLE, "8 groups, cosine"),
        ("groups4", GREEN, "4 groups"),
        ("groups16", ORANGE, "16 groups"),
    ):
        for index, run in enumerate(arms[arm].values()):
            times = [getattr(turn, what) for turn in turns(run)]
            numbers = [np.nan if time is None else time for time in (times[:-1] if what == "steps_lost" else times)]
            text = name if index == 0 else None
            ax.plot(range(1, len(numbers) + 1), numbers, "o-", color=color, lw=1, ms=4, alpha=0.8, label=text)
    ax.set_ylim(0, None)
    ax.set_xlabel("group")
    ax.set_ylabel(label)
    ax.legend(frameon=False, fontsize=8)


CLAIM = Claim(
    label="F3",
    name="sequential_groups",
    title="Groups in sequence are learned ever faster and forgotten faster still",
    paper=(
        "Groups of individuals that are presented one after another are learned ever faster: only the first group has a "
        "plateau. The group before is forgotten faster than it was learned (App. F.5)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

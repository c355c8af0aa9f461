"""F2: a key-value memory forgets old pairs when it learns new ones (paper App. F.4, Fig. Q, R).

python eval/analysis/associative_memory.py runs/paper-mini --results eval/results/associative_memory/mini.json
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from analysis.replay import fraction
from arms import Arms
from claims import Claim, curves_file, run_analysis
from curve_files import read_curves
from forgetting import HALF_KNOWN, Tuning, loss_measures, lost_by_arm, memory_tuning_of, replay_measures, tuning_of
from intervals import Values
from measures import runs_of

from bio_facts.runs.curves import Run
from bio_facts.runs.figures import BLACK, GRAY, new_figure, save_figure

MOST, FEWEST = "new1024", "new32"  # arms, by the number of new pairs
WITH, WITHOUT = "w0.125", "new128"  # arms with and without replay
LANGUAGE_CLAIMS = ("fine_tuning", "replay")  # whose runs are drawn beside those of the memory, if their curves are there


def measure(arms: Arms) -> Mapping[str, Values]:
    """The measures of C7 and C8, on the memory."""
    most, fewest, with_replay, without = (tunings_of(runs_of(arms, arm)) for arm in (MOST, FEWEST, WITH, WITHOUT))
    measured = loss_measures(most, fewest) | replay_measures(with_replay, without)
    return {name: Values(by_seed) for name, by_seed in measured.items()}


def tunings_of(runs: Mapping[int, Run]) -> dict[int, Tuning]:
    """Seed -> curves."""
    return {seed: memory_tuning_of(run) for seed, run in runs.items()}


def plot(arms: Arms, verdict: Mapping[str, Any], path: Path) -> None:
    """Losses and accuracies over fine-tuning, and the plane of both losses, where the language model is drawn beside it.

    The language model's curves are those beside `path`: ../fine_tuning/mini.curves.jsonl and ../replay/mini.curves.jsonl.
    """
    first = next(iter(runs_of(arms, MOST).values()))
    title = (
        "A key-value memory taught new pairs, and the language model taught new individuals\n"
        f"memory: {first.recipe['num_pairs']:,} pairs of {first.recipe['num_values']} values, {first.recipe['num_units']} "
        f"hidden units, {first.recipe['num_steps']:,} steps of {first.recipe['batch_size']}; a line or dot for each seed, in "
        "the planes the first seed only"
    )
    figure, axes = new_figure(6, title, num_columns=3)
    tunings = {arm: tunings_of(runs) for arm, runs in arms.items()}
    recipes = {arm: next(iter(runs.values())).recipe for arm, runs in arms.items()}
    sizes = sorted((arm for arm in arms if not recipes[arm]["replay_weight"]), key=lambda arm: recipes[arm]["num_new_pairs"])
    weights = sorted((arm for arm in arms if arm not in sizes), key=lambda arm: recipes[arm]["replay_weight"])
    weights = [WITHOUT, *weights]
    names = {arm: f"{recipes[arm]['num_new_pairs']:,} new pairs" for arm in sizes}
    weight_names = {arm: f"replay weight {fraction(recipes[arm]['replay_weight'])}" for arm in weights[1:]}
    weight_names = {WITHOUT: "no replay"} | weight_names
    _draw_over_steps(axes[0], tunings, sizes, "old_losses", names)
    _draw_over_steps(axes[1], tunings, sizes, "old_accuracies", names)
    _draw_over_steps(axes[1], tunings, sizes, "new_accuracies", {}, ls="--")
    _draw_over_steps(axes[2], tunings, weights, "old_losses", weight_names)
    axes[0].set_ylabel("loss on old pairs / no-knowledge loss")
    axes[1].set_ylabel("accuracy on old pairs (solid) and new pairs (dashed)")
    axes[1].axhline(HALF_KNOWN, color=GRAY, lw=0.8, ls=":")
    axes[2].set_ylabel("loss on old pairs / no-knowledge loss")
    axes[2].set_yscale("symlog", linthresh=0.01)
    axes[2].set_ylim(0, None)
    _draw_plane(
        axes[3], tunings, sizes, "memory: a line for each number of new pairs", "number of new individuals", path, "fine_tuning"
    )
    _draw_plane(axes[4], tunings, weights, "memory: a line for each replay weight", "replay weight", path, "replay")
    _draw_lost(axes[5], tunings, {arm: recipes[arm]["num_new_pairs"] / recipes[arm]["num_pairs"] for arm in sizes})
    for ax in axes[:3]:
        ax.set_xscale("symlog", linthresh=1)
        ax.set_xlim(0, None)
        ax.set_xlabel("step of fine-tuning")
        if ax is not axes[1]:  # its colors are those of the first
            ax.legend(frameon=False, fontsize=8, loc="upper left")
    save_figure(figure, path)


def _colors(count: int) -> list[Any]:
    from matplotlib import colormaps

    return [colormaps["viridis"](0.9 * index / max(1, count - 1)) for index in range(count)]


def _draw_over_steps(
    ax: Any, tunings: Mapping[str, Mapping[int, Tuning]], arms: list[str], what: str, names: Mapping[str, str], ls: str = "-"
) -> None:
    for color, arm in zip(_colors(len(arms)), arms, strict=True):
        for index, (_, tuning) in enumerate(sorted(tunings[arm].items())):
            label = names.get(arm) if index == 0 else None
            ax.plot(tuning.steps, getattr(tuning, what), color=color, lw=1.5 if index == 0 else 0.5, ls=ls, label=label)


def _draw_plane(
    ax: Any,
    tunings: Mapping[str, Mapping[int, Tuning]],
    arms: list[str],
    name: str,
    arms_of_language: str,
    path: Path,
    claim: str,
) -> None:
    """Old loss against new loss, from the lower right (the beginning) to the left: the memory, and the language model."""
    for color, arm in zip(_colors(len(arms)), arms, strict=True):
        tuning = tunings[arm][min(tunings[arm])]
        ax.plot(tuning.new_losses, tuning.old_losses, color=color, lw=1.5)
    ax.plot([], [], color=_colors(2)[1], lw=1.5, label=name)
    language = _language_tunings(path, claim)
    for tuning in language:
        ax.plot(tuning.new_losses, tuning.old_losses, color=GRAY, lw=1.2, ls="-.")
    if language:
        ax.plot([], [], color=GRAY, lw=1.2, ls="-.", label=f"language model: a line for each {arms_of_language}")
    ax.plot([1], [1], "k+", ms=9, label="no knowledge of either")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("loss on the new / no-knowledge loss")
    ax.set_ylabel("loss on the old / no-knowledge loss")
    ax.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1.0))


def _language_tunings(path: Path, claim: str) -> list[Tuning]:
    """The curves of the language model's runs, those of the first seed: none if the claim was not judged beside this one."""
    file = curves_file(path.parents[1] / claim / path.name)
    runs = read_curves(file) if file.is_file() else []
    return [tuning_of(run) for run in runs if run.seed == min(run.seed for run in runs)]


def _draw_lost(ax: Any, tunings: Mapping[str, Mapping[int, Tuning]], shares: Mapping[str, float]) -> None:
    """Old accuracy lost when the new pairs are half known, by their number."""
    lost = lost_by_arm(tunings)
    for color, (arm, share) in zip(_colors(len(shares)), shares.items(), strict=True):
        values = [value for value in lost[arm].values() if value is not None]
        ax.plot([share] * len(values), values, "o", color=color, alpha=0.7, ms=6)
    ax.axhline(0, color=BLACK, lw=0.8, ls=":")
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(shares.values()), [fraction(share) for share in shares.values()])
    ax.set_xlabel("new pairs / old pairs")
    ax.set_ylabel(f"old accuracy lost when new accuracy is {HALF_KNOWN:g}")


CLAIM = Claim(
    label="F2",
    name="associative_memory",
    title="A key-value memory forgets old pairs when it learns new ones",
    paper=(
        "A perceptron with one hidden layer of ReLU units, used as a key-value memory, behaves like a language model that "
        "is fine-tuned on new individuals, with and without replay (App. F.4, Fig. Q, R)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

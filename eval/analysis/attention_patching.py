"""C3: the attention patterns that recall needs form during the plateau (paper section 3.1, Fig. 3, D, F, W; App. D.2).

python eval/analysis/attention_patching.py runs/paper-mini --results eval/results/attention_patching/mini.json
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
from measures import (
    PAPER_TAU,
    differences,
    final_losses,
    largest_grid_error,
    losses_at_paper_tau,
    losses_in_b,
    ratios,
    runs_of,
    value_at,
)
from paper import attention_curves, patched_final_losses, patched_loss_curve, three_phases_curve

from bio_facts.runs.curves import Run
from bio_facts.runs.figures import BLACK, BLUE, GRAY, GREEN, ORANGE, PURPLE, RED, new_figure, save_figure
from bio_facts.runs.phases import last_crossing, phase1_end, plateau_end

KNOWLEDGE_FACTOR = 0.97  # knowledge has come once the loss stays below this share of the no-knowledge loss
FIRST_LAYER, LAST_LAYER = 0, -1  # where the paper looks at attention within names, and from values to names (App. D.2)


def measure(arms: Arms) -> Mapping[str, Values]:
    """Times to knowledge, losses and changes of attention; each over the seeds that all of its arms have."""
    patched = ("untrained", "phase1", "uniform-third", "groups-third")
    losses = {arm: losses_at_paper_tau(runs_of(arms, arm), runs_of(arms, "half")) for arm in patched}
    frozen = {arm: final_losses(runs_of(arms, arm)) for arm in ("frozen-phase1", "frozen-plateau-end")}
    attention = {
        "value_to_name": attention_changes(arms, "value_to_name", LAST_LAYER),
        "name_to_name": attention_changes(arms, "name_to_name", FIRST_LAYER),
    }
    return {
        "time_to_knowledge": time_ratios(arms, "after"),
        "time_to_knowledge_next": time_ratios(arms, "after-next"),
        "early_patterns": Values(differences(losses["phase1"], losses["untrained"])),
        **{name: Values(changes) for name, changes in attention.items()},
        "frozen": Values(differences(frozen["frozen-plateau-end"], frozen["frozen-phase1"])),
        "groups_as_reference": Values(differences(losses["uniform-third"], losses["groups-third"])),
    }


def time_to_knowledge(steps: Sequence[int], losses: Sequence[float], no_knowledge_loss: float) -> float | None:
    """Step from which the loss stays below 0.97 x the no-knowledge loss; None if the last loss is not below."""
    return last_crossing(steps, losses, KNOWLEDGE_FACTOR * no_knowledge_loss)


def time_ratios(arms: Arms, arm: str) -> Values:
    """Time to knowledge of the runs of an arm, divided by that of the normal run of the same seed."""
    times, errors = [], []
    for runs in (runs_of(arms, arm), runs_of(arms, "normal")):
        curves = {seed: run.loss_curve() for seed, run in runs.items()}
        times.append({seed: time_to_knowledge(*curve) for seed, curve in curves.items()})
        errors.append(largest_grid_error({seed: curve[0] for seed, curve in curves.items()}, times[-1]))
    return Values(ratios(*times), math.hypot(*errors))


def attention_changes(arms: Arms, name: str, layer: int) -> dict[int, float | None]:
    """Seed -> how a share of attention of a layer changes in the normal run, from the end of phase 1 to that of the plateau."""
    runs = runs_of(arms, "normal")
    return {seed: change_over_plateau(*run.loss_curve(), attention_of(run, name, layer)) for seed, run in runs.items()}


def attention_of(run: Run, name: str, layer: int) -> list[float]:
    """A share of attention of a layer at each evaluation of a run."""
    return [layers[layer] for layers in _layers(run, name)]


def change_over_plateau(
    steps: Sequence[int], losses: Sequence[float], no_knowledge_loss: float, values: Sequence[float]
) -> float | None:
    """`values` at the end of the plateau minus those at the end of phase 1, interpolated; None without one of the two."""
    before = value_at(steps, values, phase1_end(steps, losses, no_knowledge_loss))
    after = value_at(steps, values, plateau_end(steps, losses, no_knowledge_loss))
    return None if before is None or after is None else after - before


def _layers(run: Run, name: str) -> list[list[float]]:
    key, curve = f"attention_{name}", run.curve("validation")
    if key not in curve.lines[0]:
        raise ValueError(f"run {run.folder} has no {key}; expected a run with num_attention_biographies above 0 in its recipe")
    return curve[key]


def plot(arms: Arms, verdict: Mapping[str, Any], path: Path) -> None:
    """Loss with and without given patterns, late loss by reference, attention by layer; the paper's numbers in gray."""
    normal = runs_of(arms, "normal")
    first = normal[min(normal)]
    title = (
        "Training with the attention patterns of another model, and how these patterns form\n"
        f"{first.data['num_individuals']:,} individuals (losses by reference: {_half(arms)[1]:,}), seed {first.seed}; "
        "thin lines: other seeds; gray: the paper, at equal end of the plateau and no-knowledge loss"
    )
    figure, axes = new_figure(6, title, num_columns=3)
    _draw_losses(axes[0], arms)
    _draw_losses_by_reference(axes[1], arms)
    for ax, name, label, layer in (
        (axes[2], "value_to_name", "attention from values to names", LAST_LAYER),
        (axes[3], "value_to_text", "attention from values to template text", LAST_LAYER),
        (axes[4], "name_to_name", "attention from the last part of a name to the others", FIRST_LAYER),
        (axes[5], "entropy", "entropy of attention from values / its maximum", LAST_LAYER),
    ):
        _draw_attention(ax, normal, name, label, layer)
    save_figure(figure, path)


def _half(arms: Arms) -> tuple[Mapping[int, Run], int]:
    """The normal runs to which the runs with other references than the last model belong, and their number of individuals."""
    runs = arms.get("half", runs_of(arms, "normal"))
    return runs, int(runs[min(runs)].data["num_individuals"])


def _unit(run: Run) -> float:
    """The end of the plateau, by which steps are divided; without one, the last step."""
    return run.phase_ends[1] or run.curve("validation")["step"][-1]


def _draw_losses(ax: Any, arms: Arms) -> None:
    normal = runs_of(arms, "normal")
    for arm, color, label in (
        ("normal", BLUE, "normal run"),
        ("after", RED, "with the patterns of the trained model"),
        ("after-next", ORANGE, "with patterns learned on other individuals"),
    ):
        for index, (seed, run) in enumerate(sorted(arms[arm].items())):
            if seed in normal:
                steps, losses = losses_in_b(run)
                width, name = (1.8, label) if index == 0 else (0.6, None)
                ax.plot([step / _unit(normal[seed]) for step in steps], losses, color=color, lw=width, label=name)
    for (steps, losses, baseline), style, label in (
        (three_phases_curve(), "-.", "the paper's normal run"),
        (patched_loss_curve(), ":", "the paper's, with the patterns of step 16k"),
    ):
        x = [step / _paper_plateau_end() for step in steps]
        ax.plot(x, [loss / baseline for loss in losses], color=GRAY, lw=1.2, ls=style, label=label)
    ax.axhline(KNOWLEDGE_FACTOR, color=BLACK, lw=0.8, ls=":")
    ax.annotate(f"{KNOWLEDGE_FACTOR:g}", (0.01, KNOWLEDGE_FACTOR), xycoords=("axes fraction", "data"), va="top", fontsize=8)
    _time_axis(ax, 0.03)
    ax.set_ylim(0, 2)
    ax.set_xlabel("training step / end of the plateau of the normal run")
    ax.set_ylabel("attribute loss / no-knowledge loss")
    ax.legend(frameon=False, fontsize=8, loc="upper right")


def _time_axis(ax: Any, start: float) -> None:
    """A logarithmic axis of steps divided by the end of the plateau, to the end of the paper's default run."""
    ax.set_xscale("log")
    ax.set_xticks([0.03, 0.1, 0.3, 1, 3], ["0.03", "0.1", "0.3", "1", "3"])
    ax.minorticks_off()
    ax.set_xlim(start, 5.5)


def _paper_plateau_end() -> float:
    end = plateau_end(*three_phases_curve())
    assert end is not None
    return end


_UNTRAINED = 0.06  # where the untrained reference is drawn on the logarithmic axis


def _draw_losses_by_reference(ax: Any, arms: Arms) -> None:
    half, _ = _half(arms)
    shown: set[str] = set()
    for arm, runs in arms.items():
        at_tau = losses_at_paper_tau(runs, half)
        for seed, run in runs.items():
            attention = run.recipe.get("attention")
            if not attention or run.recipe.get("stop_below") is not None or seed not in half:
                continue
            marker, color, label = _kind(arm, attention)
            if label is not None:
                x = max(attention["reference_step"] / _unit(half[seed]), _UNTRAINED)
                name = None if label in shown else label
                at_end = losses_in_b(run)[1][-1]
                loss = at_end if attention["start_step"] > 0 or at_tau[seed] is None else at_tau[seed]
                ax.plot(x, loss, marker, color=color, ms=7, alpha=0.8, mew=1.5, label=name)
                shown.add(label)
    for marker, frozen, label in (
        ("o", False, "the paper, from step 0"),
        ("x", True, "the paper, frozen"),
        ("*", None, "the paper, groups"),
    ):
        steps, losses = patched_final_losses(frozen)
        x = [max(step / _paper_plateau_end(), _UNTRAINED) for step in steps]
        ax.plot(
            x, losses, marker, color=GRAY, ms=5, alpha=0.6, label=label, mfc="none", ls="-" if frozen is False else "", lw=0.6
        )
    ax.set_xscale("log")
    ax.set_xticks([_UNTRAINED, 0.1, 0.3, 1, 3], ["untrained", "0.1", "0.3", "1", "3"])
    ax.minorticks_off()
    ax.set_xlim(_UNTRAINED * 0.8, 7)
    ax.set_ylim(0, None)
    ax.set_xlabel("reference: step / end of the plateau of the normal run")
    ax.set_ylabel(f"loss at {PAPER_TAU:g} x this end (frozen: last loss)\n/ no-knowledge loss")
    ax.legend(frameon=False, fontsize=8)


def _kind(arm: str, attention: Mapping[str, int]) -> tuple[str, str, str | None]:
    """Marker, color and label of a run in the panel of losses by reference; no label: not shown there."""
    if arm.startswith("groups"):
        return "*", GREEN, "patterns from groups one after another, from step 0"
    if attention["start_step"] == 0:
        return "o", RED, "patterns of a reference, from step 0"
    is_frozen = attention["start_step"] == attention["reference_step"]
    return "x", PURPLE, "attention frozen at the reference" if is_frozen else None


def _draw_attention(ax: Any, runs: Mapping[int, Run], name: str, label: str, layer: int) -> None:
    """A share of attention by layer over steps, for the first seed; that of `layer` for the others, too."""
    from matplotlib import colormaps

    first = runs[min(runs)]
    num_layers = len(_layers(first, name)[0])
    for index in range(num_layers):
        color = colormaps["viridis"](0.9 * index / max(1, num_layers - 1))
        is_measured = index == layer % num_layers
        for seed, run in runs.items():
            x = [step / _unit(run) for step in run.curve("validation")["step"]]
            if seed == first.seed or is_measured:
                width = 0.5 if seed != first.seed else 2.2 if is_measured else 1.2
                text = f"layer {index + 1}" if seed == first.seed else None
                ax.plot(x, attention_of(run, name, index), color=color, lw=width, label=text)
    steps, values = attention_curves(name)
    if steps:
        x = [step / _paper_plateau_end() for step in steps]
        ax.plot(x, values, color=GRAY, lw=1.2, ls="-.", label="the paper, last layer")
    phase1, plateau = first.phase_ends
    if phase1 and plateau:
        ax.axvspan(phase1 / plateau, 1, color="#eaecee", lw=0, zorder=0)
        ax.annotate(
            "plateau", ((phase1 / plateau) ** 0.5, 0.99), xycoords=("data", "axes fraction"), ha="center", va="top", fontsize=8
        )
    _time_axis(ax, 0.02)
    ax.set_ylim(0, 1.12)
    ax.set_xlabel("training step / end of the plateau")
    ax.set_ylabel(label)
    ax.legend(frameon=False, fontsize=8, ncols=2)


CLAIM = Claim(
    label="C3",
    name="attention_patching",
    title="The attention patterns that recall needs form during the plateau",
    paper=(
        "A model that is trained from scratch with the attention patterns of a model after its plateau has no plateau. The "
        "patterns of very early models are worse than those of an untrained model. At the position where a value is "
        "predicted, attention to the name rises during the plateau, and attention to the other text falls (Fig. 3, App. D.2)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

"""R3: diverse texts store facts at the name (Allen-Zhu & Li 3.1).

python eval/analysis/probing.py runs/paper-mini --results eval/results/probing/mini.json
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from analysis.recall import FACTS_SPLIT, phase_ends
from arms import Arms
from claims import Claim, run_analysis
from intervals import Values
from measures import differences, runs_of

from bio_facts.runs.curves import Run
from bio_facts.runs.figures import BLUE, GRAY, RED, draw_seeds, new_figure, save_figure

LAST_LAYER = -1
LABELS = {"fresh": ("new texts", BLUE), "one": ("one text", RED)}
PROBES = {"probe_in_text": "first mention of the name in a text", "probe_at_name": "the name alone"}


def measure(arms: Arms) -> Mapping[str, Values]:
    """Accuracy of probes in the last layer at the end of the biographies: new texts minus one text; and in untrained models."""
    fresh, one = runs_of(arms, "fresh"), runs_of(arms, "one")

    def gain(probe: str) -> dict[int, float | None]:
        return differences(
            {seed: at_end_of_biographies(run, probe) for seed, run in fresh.items()},
            {seed: at_end_of_biographies(run, probe) for seed, run in one.items()},
        )

    untrained = {seed: run.curve(FACTS_SPLIT).lines[0] for seed, run in fresh.items()}
    control = {
        seed: line["probe_in_text"][LAST_LAYER] - line["probe_in_text_shuffled"][LAST_LAYER] for seed, line in untrained.items()
    }
    return {
        "stored_at_name": Values(gain("probe_in_text")),
        "stored_at_name_alone": Values(gain("probe_at_name")),
        "untrained": Values(control),
    }


def at_end_of_biographies(run: Run, probe: str) -> float:
    """Accuracy of a probe in the last layer at the end of the first phase."""
    line = next(line for line in run.curve(FACTS_SPLIT).lines if line["step"] >= phase_ends(run)[0])
    return float(line[probe][LAST_LAYER])


def plot(arms: Arms, verdict: Mapping[str, Any], path: Path) -> None:
    """Accuracy of the two probes over training, in the last layer, and with the values of other individuals."""
    run = next(iter(runs_of(arms, "fresh").values()))
    title = (
        "Values that a linear probe finds at the name, in the last layer\n"
        f"{run.data['num_individuals']:,} individuals, half of them to train the probe; gray: the end of the biographies\n"
        "thin lines: other seeds; dotted: with the values of other individuals"
    )
    figure, axes = new_figure(2, title)
    for ax, (probe, place) in zip(axes, PROBES.items(), strict=True):
        for arm, (label, color) in LABELS.items():
            runs = runs_of(arms, arm)
            draw_seeds(ax, {seed: _accuracies(trained, probe) for seed, trained in runs.items()}, color, label)
            ax.plot(*_accuracies(runs[min(runs)], f"{probe}_shuffled"), color=color, lw=1, ls=":")
        ax.axvline(phase_ends(run)[0], color=GRAY, lw=0.6)
        ax.set_ylim(0, 1.02)
        ax.set_xlabel("training step")
        ax.set_ylabel(f"accuracy: {place}")
        ax.legend(frameon=False, fontsize=8)
    save_figure(figure, path)


def _accuracies(run: Run, probe: str) -> tuple[list[int], list[float]]:
    """Steps, and accuracies of a probe in the last layer."""
    curve = run.curve(FACTS_SPLIT)
    return curve["step"], [layers[LAST_LAYER] for layers in curve[probe]]


CLAIM = Claim(
    label="R3",
    name="probing",
    title="Diverse texts store facts at the name",
    paper=(
        "A linear probe at the first mention of the name finds every value if training had several texts in several orders "
        "(about 100 %), and almost none if it had one text about each individual (about 2 %; Allen-Zhu & Li, Physics of "
        "Language Models 3.1)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

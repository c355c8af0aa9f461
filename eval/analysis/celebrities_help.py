"""R2: individuals with many texts make facts about the others recallable (Allen-Zhu & Li 3.1).

python eval/analysis/celebrities_help.py runs/paper-mini --results eval/results/celebrities_help/mini.json
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from analysis.recall import draw_curve, recall
from arms import Arms
from claims import Claim, run_analysis
from intervals import Values
from measures import differences, runs_of

from bio_facts.runs.figures import BLUE, RED, new_figure, save_figure

LABELS = {"celebrities": ("new texts for those with questions", BLUE), "one-text": ("one text for everyone", RED)}


def measure(arms: Arms) -> Mapping[str, Values]:
    """How much more is recalled of the individuals with one text, with celebrities than without."""
    scores = {arm: {seed: recall(run) for seed, run in runs_of(arms, arm).items()} for arm in LABELS}
    return {"celebrities_gain": Values(differences(scores["celebrities"], scores["one-text"]))}


def plot(arms: Arms, verdict: Mapping[str, Any], path: Path) -> None:
    """Accuracy in texts and on questions over training, for the individuals with one text."""
    run = next(iter(runs_of(arms, "celebrities").values()))
    title = (
        "Facts about individuals with one text\n"
        "solid: answered as questions; dashed: completed in the text\n"
        f"{run.data['num_individuals']:,} individuals, {run.recipe['num_steps']:,} steps of {run.recipe['batch_size']}\n"
        "thin lines: other seeds; dotted: the best constant answer"
    )
    figure, (ax,) = new_figure(1, title)
    for arm, (label, color) in LABELS.items():
        draw_curve(ax, runs_of(arms, arm), label, color)
    ax.set_xlabel("training step (questions come after a third)")
    ax.legend(frameon=False, fontsize=8)
    save_figure(figure, path)


CLAIM = Claim(
    label="R2",
    name="celebrities_help",
    title="Individuals with many texts make facts about the others recallable",
    paper=(
        "If some individuals have many texts, and questions about these alone are trained, a model also answers questions "
        "about individuals with one text (86.8 %, against 4.4 % without; Allen-Zhu & Li, Physics of Language Models 3.1)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

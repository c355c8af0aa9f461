"""C6: hallucination arrives with knowledge (paper Fig. 5, left).

python eval/analysis/hallucination.py runs/paper-mini/three_phases-s* --results eval/results/hallucination/mini.json
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bio_facts.runs.curves import Run, check_alike, check_distinct_seeds, check_pretraining
from bio_facts.runs.phases import lasting_from

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from claims import Claim, run_analysis
from figures import BLUE, GRAY, RED, draw_level, legend_below, new_figure, save_figure
from verdicts import Finding, check, curves_of

MIN_UNSEEN_EXCESS = 1.0  # nats per value above pool_no_knowledge_loss, at the end
RISE_FACTOR = 1.05  # unseen loss has risen once it stays above this multiple of pool_no_knowledge_loss
MIN_CONFIDENCE_GAP = 0.1  # mean probability of the top token at value tokens, seen minus unseen, at the end


def rise(run: Run) -> int | None:
    """First evaluated step after phase 1 from which the unseen loss stays above its baseline; None if it ends below."""
    unseen, (phase1, _) = run.curve("unseen"), run.phase_ends
    if phase1 is None:
        return None
    lines = zip(unseen["step"], unseen["attribute_loss"], unseen["pool_no_knowledge_loss"], strict=True)
    return lasting_from(unseen["step"], [step >= phase1 and loss > RISE_FACTOR * baseline for step, loss, baseline in lines])


def score(runs: Sequence[Run]) -> Finding:
    """Checks of each run."""
    check_pretraining(runs, "uniform")
    check_alike(runs)
    check_distinct_seeds(runs)
    checks, rises = [], {}
    for run in runs:
        validation, unseen, (_, plateau) = run.curve("validation"), run.curve("unseen"), run.phase_ends
        rises[str(run.seed)] = risen = rise(run)
        excess = unseen["attribute_loss"][-1] - unseen["pool_no_knowledge_loss"][-1]
        delay = risen - plateau if risen is not None and plateau is not None else None
        gap = validation["top_probability"][-1] - unseen["top_probability"][-1]
        checks += [
            check(
                f"seed {run.seed}: final unseen loss minus pool_no_knowledge_loss (nats per value)",
                "is at least",
                MIN_UNSEEN_EXCESS,
                excess,
            ),
            check(
                f"seed {run.seed}: steps from plateau_end of seen people to the rise of unseen loss", "is at least", 0, delay
            ),
            check(f"seed {run.seed}: final top-token probability, seen minus unseen", "is at least", MIN_CONFIDENCE_GAP, gap),
        ]
    content = {
        "plateau_ends": {str(run.seed): run.phase_ends[1] for run in runs},
        "rises": rises,
        "pool_no_knowledge_loss": runs[0].curve("unseen")["pool_no_knowledge_loss"][0],
        "num_individuals": runs[0].data["num_individuals"],
        "curves": curves_of(runs, ("validation", "unseen"), "attribute_loss", "top_probability"),
    }
    return Finding(checks, content)


def plot(verdict: dict[str, Any], path: Path) -> None:
    """Loss and top-token probability over steps, on seen and unseen individuals, for all seeds; marks plateau_end."""
    figure, (loss, confidence) = new_figure(
        2, f"Hallucination arrives with knowledge: {verdict['num_individuals']:,} individuals, seeds {verdict['seeds']}"
    )
    for seed, curves in verdict["curves"].items():
        for split, color, label in (
            ("validation", BLUE, "individuals seen in training, new wording"),
            ("unseen", RED, "individuals never seen"),
        ):
            first = label if seed == str(verdict["seeds"][0]) else None
            loss.plot(curves[split]["step"], curves[split]["attribute_loss"], color=color, lw=1.5, label=first)
            confidence.plot(curves[split]["step"], curves[split]["top_probability"], color=color, lw=1.5)
        if verdict["plateau_ends"][seed] is not None:
            for axes in (loss, confidence):
                axes.axvline(verdict["plateau_ends"][seed], color=GRAY, lw=1, ls="--")
    baseline = verdict["pool_no_knowledge_loss"]
    draw_level(loss, baseline, "pool no-knowledge loss")
    loss.plot([], [], color=GRAY, lw=1, ls="--", label="end of the plateau")
    loss.set_ylim(0, 3.5 * baseline)
    loss.set_ylabel("attribute loss (nats per value)")
    confidence.set_ylim(0, 1)
    confidence.set_ylabel("probability of the top token (mean over value tokens)")
    for axes in (loss, confidence):
        axes.set_xlim(0)
        axes.set_xlabel("training step")
    legend_below(figure, loss, num_columns=4)
    save_figure(figure, path)


CLAIM = Claim(
    label="C6",
    name="hallucination",
    title="Hallucination arrives with knowledge",
    paper=(
        "As the knowledge phase begins, the loss on individuals never seen rises above the no-knowledge loss: the model "
        "becomes overconfident about them, though less confident than about individuals it has seen (Fig. 5, left)."
    ),
    takes="Takes runs of pre-training on uniform data, each judged by itself.",
    score=score,
    plot=plot,
    misses={
        "rise of unseen loss": (
            "The order in time is not resolved. At mini scale the plateau is short and not flat: on it the loss of seen "
            "people lies up to 5 % above its baseline and sinks, that of unseen ones lies at 1.05 x theirs, just where the "
            "rule begins to call it risen. Both leave their levels within a few evaluations of one another."
        ),
    },
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

"""R1: stored facts are recalled, or not, by texts and by when questions come (Allen-Zhu & Li 3.1; arXiv 2505.16178).

python eval/analysis/recall.py runs/paper-mini --results eval/results/recall/mini.json
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from arms import Arms
from claims import Claim, run_analysis
from intervals import Values
from measures import differences, runs_of

from bio_facts.generate.biography import VALUE
from bio_facts.generate.config import check_biographies, config_from
from bio_facts.generate.facts import facts
from bio_facts.measure.recall import accuracies, is_for_selection
from bio_facts.runs.curves import Curve, Run
from bio_facts.runs.figures import BLUE, GRAY, GREEN, ORANGE, RED, UNLABELED, draw_seeds, new_figure, save_figure

FACTS_SPLIT = "questions_not_asked"  # whose lines have the counts of facts
LEAST_STORED = 0.9  # accuracy in texts that a run must reach; otherwise its recall says nothing about storage
SCHEDULES = ("mixed", "third", "two-stage")
TEXTS = {
    "one-fixed": ("one text, one order", RED),
    "one-drawn": ("one text, drawn order", ORANGE),
    "four-drawn": ("four texts", GRAY),
    "fresh-fixed": ("new texts, one order", GREEN),
    "fresh-drawn": ("new texts, drawn order", BLUE),
}


def measure(arms: Arms) -> Mapping[str, Values]:
    """Differences of recall between arms, over the seeds that both have."""
    _check_equal_rows(arms)
    scores = {arm: {seed: recall(run) for seed, run in runs.items()} for arm, runs in arms.items()}

    def minus(arm: str, other: str) -> dict[int, float | None]:
        for name in (arm, other):
            runs_of(arms, name)
        return differences(scores[arm], scores[other])

    forgetting = {text: minus(f"{text}-third", f"{text}-two-stage") for text in ("fresh-drawn", "one-fixed")}
    return {
        "text": Values(minus("fresh-drawn-third", "one-fixed-third")),
        "forgetting": Values(forgetting["fresh-drawn"]),
        "mixing": Values(minus("one-fixed-mixed", "one-fixed-third")),
        "interaction": Values(differences(forgetting["fresh-drawn"], forgetting["one-fixed"])),
        "wording": Values(minus("fresh-fixed-third", "one-fixed-third")),
        "order": Values(minus("one-drawn-third", "one-fixed-third")),
        "return_with_new_texts": Values({s: recall_that_returns(r) for s, r in runs_of(arms, "fresh-drawn-sandwich").items()}),
        "return_with_one_text": Values({s: recall_that_returns(r) for s, r in runs_of(arms, "one-fixed-sandwich").items()}),
    }


def _check_equal_rows(arms: Arms) -> None:
    """ValueError if runs differ in their individuals, or in how many biographies or rows of questions they were trained on."""
    expected: dict[str, Any] = {}
    for run in (run for runs in arms.values() for run in runs.values()):
        last = run.curve(FACTS_SPLIT).lines[-1]
        rows = {name: last[name] for name in ("num_biographies", "num_questions")}
        for name, value in (rows | {"num_individuals": run.data["num_individuals"]}).items():
            if expected.setdefault(name, value) != value:
                raise ValueError(
                    f"run {run.folder} has {name} {value:,}, another run {expected[name]:,}; expected the same rows of each "
                    "format and as many individuals in all arms"
                )


def recall(run: Run) -> float | None:
    """Accuracy on questions above chance / accuracy in texts above chance; None if too little is stored.

    Questions: at the step after the onset of questions that is best for the individuals of facts_selection. Texts: at the end
    of the run, in two-stage training at the end of the biographies. Chance is the best constant answer to each attribute.
    """
    stored, chance = stored_accuracy(run), chance_accuracy(run)
    if stored < LEAST_STORED:
        return None
    return (accuracies(best_line(run)["facts"])[1] - chance) / (stored - chance)


def stored_accuracy(run: Run) -> float:
    """Share of facts that the model completes in a text of their individual, once all biographies have been read."""
    curve, last = run.curve(FACTS_SPLIT), phases(run)[-1]
    end = phase_ends(run)[-2] if "biographies" not in last else None
    line = curve.lines[-1] if end is None else next(line for line in curve.lines if line["step"] >= end)
    return accuracies(line["facts"])[0]


def best_line(run: Run) -> dict[str, Any]:
    """The line of the step after the onset of questions with the best accuracy on questions of facts_selection."""
    lines = [line for line in run.curve(FACTS_SPLIT).lines if line["num_questions"] > 0]
    return max(lines, key=lambda line: accuracies(line["facts_selection"])[1])


def chance_accuracy(run: Run) -> float:
    """Accuracy of the best constant answer to each attribute, over the individuals that recall is scored on."""
    config = check_biographies(config_from("biographies", run.data))
    number = run.recipe["num_fact_individuals"]
    scored = np.flatnonzero(~is_for_selection(number))
    values = facts(config, scored).questions.piece_id[:, 0, VALUE].reshape(len(scored), -1, 3)
    return float(np.mean([_largest_share(values[:, attribute]) for attribute in range(values.shape[1])]))


def _largest_share(values: np.ndarray) -> float:
    return float(np.unique(values, axis=0, return_counts=True)[1].max() / len(values))


def phases(run: Run) -> list[Mapping[str, int]]:
    """The weights of the formats in each phase."""
    return [weights for _, weights in run.data["phases"]]


def phase_ends(run: Run) -> list[float]:
    """The steps at which phases end."""
    return [sample / run.recipe["batch_size"] for sample, _ in run.data["phases"]]


def recall_that_returns(run: Run) -> float | None:
    """Accuracy on questions at the end of the run, minus at the end of the phase of questions before its last biographies."""
    lines = run.curve(FACTS_SPLIT).lines
    before = next(line for line in lines if line["step"] >= phase_ends(run)[-2])
    return accuracies(lines[-1]["facts"])[1] - accuracies(before["facts"])[1]


def plot(arms: Arms, verdict: Mapping[str, Any], path: Path) -> None:
    """Recall by schedule and text; then accuracy in texts and on questions over training, one panel for each schedule."""
    first = next(iter(arms.values()))
    run = first[min(first)]
    shown = [name for name in (*SCHEDULES, "sandwich") if any(arm.endswith(f"-{name}") for arm in arms)]
    title = (
        "Facts about individuals that training asks no questions about: answered as questions (solid), completed in texts "
        "(dashed)\n"
        f"{run.data['num_individuals']:,} individuals, {run.recipe['num_steps']:,} steps of {run.recipe['batch_size']}, half "
        "of the rows are questions; thin lines: other seeds; dotted: the best constant answer"
    )
    figure, axes = new_figure(1 + len(shown), title, num_columns=3)
    _draw_recall(axes[0], arms)
    for ax, schedule in zip(axes[1:], shown, strict=False):
        _draw_curves(ax, arms, schedule)
    save_figure(figure, path)


def _draw_recall(ax: Any, arms: Arms) -> None:
    for text, (label, color) in TEXTS.items():
        for place, schedule in enumerate(SCHEDULES):
            scores = [recall(run) for run in arms.get(f"{text}-{schedule}", {}).values()]
            values = [score for score in scores if score is not None]
            ax.plot([place + 0.06 * (list(TEXTS).index(text) - 2)] * len(values), values, "o", color=color, alpha=0.7, ms=6)
        ax.plot([], [], "o", color=color, label=label)
    ax.axhline(0, color=GRAY, lw=0.8, ls=":")
    ax.set_xticks(range(len(SCHEDULES)), ["from the start\n(mixed)", "after a third", "after half\n(two-stage)"])
    ax.set_xlim(-0.4, len(SCHEDULES) - 0.6)
    ax.set_ylim(None, 1.05)
    ax.set_xlabel("when questions come")
    ax.set_ylabel("recall: questions / texts, above chance")
    ax.legend(frameon=False, fontsize=8)


def _draw_curves(ax: Any, arms: Arms, schedule: str) -> None:
    for text, (label, color) in TEXTS.items():
        draw_curve(ax, arms.get(f"{text}-{schedule}", {}), label, color)
    ax.set_xlabel(f"training step ({schedule})")
    ax.legend(frameon=False, fontsize=8)


def draw_curve(ax: Any, runs: Mapping[int, Run], label: str, color: str) -> None:
    """Accuracy on questions (solid) and in texts (dashed) over training, ends of phases, and chance; the first seed thick."""
    curves = {seed: run.curve(FACTS_SPLIT) for seed, run in runs.items()}
    shares = {seed: _accuracies(curve) for seed, curve in curves.items()}
    draw_seeds(ax, {seed: (curves[seed]["step"], recalled) for seed, (_, recalled) in shares.items()}, color, label)
    draw_seeds(ax, {seed: (curves[seed]["step"], stored) for seed, (stored, _) in shares.items()}, color, UNLABELED, "--")
    if runs:
        first = runs[min(runs)]
        ax.axhline(chance_accuracy(first), color=GRAY, lw=0.8, ls=":")
        for end in phase_ends(first)[:-1]:
            ax.axvline(end, color=GRAY, lw=0.6)
    ax.set_ylim(0, 1.02)
    ax.set_ylabel("accuracy")


def _accuracies(curve: Curve) -> tuple[list[float], list[float]]:
    pairs = [accuracies(counts)[:2] for counts in curve["facts"]]
    return [stored for stored, _ in pairs], [recalled for _, recalled in pairs]


CLAIM = Claim(
    label="R1",
    name="recall",
    title="Stored facts are recalled if texts are diverse or questions are mixed in",
    paper=(
        "A model that has read one text about each individual completes it, but does not answer questions about the "
        "individual; with several texts, or with questions mixed in from the start, it does (Allen-Zhu & Li, Physics of "
        "Language Models 3.1). Training on biographies and then on questions stores facts; mixed training recalls them "
        "(arXiv 2505.16178)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

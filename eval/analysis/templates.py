"""F1: facts are learned from few templates in drawn order, not from many in one order (paper Fig. A).

python eval/analysis/templates.py runs/paper-mini --results eval/results/templates/mini.json
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from arms import Arms
from claims import Claim, run_analysis
from intervals import Values
from measures import PAPER_TAU, differences, losses_at_paper_tau, losses_in_b, plateau_ends, runs_of
from paper import paper_numbers

from bio_facts.runs.curves import Run
from bio_facts.runs.figures import BLUE, GRAY, RED, draw_level_in_b, new_figure, save_figure, with_colors

REFERENCE, ONE, FIXED = "all", "one-drawn", "all-fixed"


def measure(arms: Arms) -> Mapping[str, Values]:
    """Losses with one template, and with one order, minus the default's, in units of the no-knowledge loss."""
    reference = runs_of(arms, REFERENCE)
    losses = {arm: losses_at_paper_tau(runs_of(arms, arm), reference) for arm in (REFERENCE, ONE, FIXED)}
    return {
        "one_template": Values(differences(losses[ONE], losses[REFERENCE])),
        "fixed_order": Values(differences(losses[FIXED], losses[REFERENCE])),
    }


def num_templates(run: Run) -> int:
    """The training templates of an individual and attribute; a dataset's parameters leave out the default."""
    return int(run.data.get("num_training_templates", 20))


def is_fixed(run: Run) -> bool:
    """Whether the sentences have one order for everyone."""
    return bool(run.data.get("sentence_order", "drawn") == "fixed")


def paper_final_losses() -> dict[bool, dict[int, float]]:
    """Whether the order is fixed -> number of templates -> the paper's final loss, in units of its no-knowledge loss."""
    losses, baseline = paper_numbers()["figA_templates"]["final_loss"], paper_numbers()["baseline_nats"]
    by_order: dict[bool, dict[int, float]] = {False: {}, True: {}}
    for name, loss in losses.items():
        order, count = name.split(" order, ")
        by_order[order == "fixed"][int(count.split()[0])] = loss / baseline
    return by_order


def plot(arms: Arms, verdict: Mapping[str, Any], path: Path) -> None:
    """Losses over tau, and those at the tau of the paper's runs over the number of templates; the paper's as gray crosses."""
    last = max(run.recipe["num_steps"] for run in arms[REFERENCE].values())
    first, *others = sorted(arms[REFERENCE])
    title = f"Few templates in drawn order are enough, many in one order are not\nseed {first}"
    title += f"; thin: seeds {', '.join(map(str, others))}" if others else ""
    figure, (loss, final) = new_figure(2, title)
    ends = plateau_ends(arms[REFERENCE])
    in_tau = all(end is not None for end in ends.values())
    for color, runs in with_colors(arms.values()):
        for seed, run in runs.items():
            steps, losses = losses_in_b(run)
            times = [step / (ends[seed] or 1) for step in steps]
            is_first = seed == first
            label = _name(run) if is_first else None
            loss.plot(times, losses, "--" if is_fixed(run) else "-", color=color, lw=1.8 if is_first else 0.6, label=label)
    draw_level_in_b(loss)
    loss.set_xlim(0, None if in_tau else last)
    loss.set_xlabel("training step / plateau_end with 20 templates" if in_tau else "training step")
    loss.set_ylim(0, 2)
    loss.set_ylabel("attribute loss / no-knowledge loss")
    loss.legend(frameon=False, fontsize=9)
    at_tau = {arm: losses_at_paper_tau(runs, arms[REFERENCE]) for arm, runs in arms.items()}
    for fixed, color, marker in ((False, BLUE, "o"), (True, RED, "s")):
        points = [
            (num_templates(run), losses_in_b(run)[1][-1] if at_tau[arm].get(seed) is None else at_tau[arm][seed])
            for arm, runs in arms.items()
            for seed, run in runs.items()
            if is_fixed(run) == fixed
        ]
        name = "one order" if fixed else "drawn order"
        final.plot(*zip(*points, strict=True), marker, color=color, mfc="none", label=name)
        paper = paper_final_losses()[fixed]
        final.plot(paper.keys(), paper.values(), "+" if fixed else "x", color=GRAY, label=f"the paper, {name}")
    draw_level_in_b(final)
    final.set_xscale("log", base=2)
    final.set_xticks([1, 2, 4, 8, 16, 20], ["1", "2", "4", "8", "16", "20"])
    final.minorticks_off()
    final.set_yscale("log")
    final.set_xlabel("training templates of each individual and attribute")
    final.set_ylabel(f"loss at {PAPER_TAU:g} x plateau_end (without one: last loss) / no-knowledge loss")
    final.legend(frameon=False, fontsize=9, loc="center right")
    save_figure(figure, path)


def _name(run: Run) -> str:
    count = num_templates(run)
    return f"{count} template{'s' if count > 1 else ''}, {'one order' if is_fixed(run) else 'drawn order'}"


CLAIM = Claim(
    label="F1",
    name="templates",
    title="Facts are learned from few templates in drawn order, not from many in one order",
    paper=(
        "With 1 training template for each individual and attribute, the final loss is 4.67 nats per value; with 2, 0.06; with "
        "4 or more, 0.02. With 16 templates, but one order of sentences for everyone, it is 8.1, above the no-knowledge loss "
        "(Fig. A, 64k individuals)."
    ),
    measure=measure,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

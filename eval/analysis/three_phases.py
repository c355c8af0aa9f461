"""C1: language models learn facts in three phases (paper Fig. 2, left and middle).

  python eval/analysis/three_phases.py runs/demo
  python eval/analysis/three_phases.py runs/s10 runs/s11 runs/s12 --results eval/results/three_phases/mini.json

Writes verdict.json and three_phases.png into each run's folder; --results gathers several runs of one recipe into one
file. Exit code 0 if every run passed, 1 if one did not, 2 if one cannot be judged.
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

from runs import Run, check, exit_with, print_verdict, read_run, results, verdict

from bio_facts.phases import phase1_end, plateau_end

CLAIM = "three_phases"

MAX_ACCURACY_AT_PHASE1_END = 0.05  # statistics are learned without knowing anyone
MIN_PLATEAU_RATIO = 2.0  # the plateau lasts at least as long as phase 1
MAX_ACCURACY_ON_PLATEAU = 0.10
MIN_FINAL_ACCURACY = 0.9  # then the individuals are learned
MIN_UNSEEN_EXCESS = 1.0  # nats per value above pool_no_knowledge_loss: confidently wrong about strangers
MAX_EVALUATION_GAP = 25  # steps between evaluations until plateau end, so that both ends are resolved


def phase_ends(run: Run) -> tuple[int | None, int | None]:
    """Steps at which phase 1 and the plateau end, by validation attribute_loss; None where one does not."""
    validation = run.curves["validation"]
    curve = validation["step"], validation["attribute_loss"], validation["no_knowledge_loss"][0]
    return phase1_end(*curve), plateau_end(*curve)


def score(run: Run) -> dict[str, Any]:
    """The verdict of a run: {"claim", "passed", "checks": [{"name", "value", "threshold", "passed"}]}."""
    validation, unseen = run.curves["validation"], run.curves["unseen"]
    steps, accuracies = validation["step"], validation["attribute_accuracy"]
    phase1, plateau = phase_ends(run)
    at_phase1 = accuracies[steps.index(phase1)] if phase1 is not None else None
    ratio = plateau / phase1 if plateau is not None and phase1 else None
    on_plateau = [accuracy for step, accuracy in zip(steps, accuracies, strict=True) if plateau is not None and step < plateau]
    until_plateau = [step for step in steps if plateau is not None and step <= plateau]
    gaps = [later - earlier for earlier, later in itertools.pairwise(until_plateau)]
    excess = unseen["attribute_loss"][-1] - unseen["pool_no_knowledge_loss"][-1]

    return verdict(
        CLAIM,
        [
            check("phase1_end (step)", "is at least", 1, phase1),
            check("validation accuracy at phase1_end", "is below", MAX_ACCURACY_AT_PHASE1_END, at_phase1),
            check("plateau_end / phase1_end", "is at least", MIN_PLATEAU_RATIO, ratio),
            check(
                "highest validation accuracy before plateau_end",
                "is below",
                MAX_ACCURACY_ON_PLATEAU,
                max(on_plateau, default=None),
            ),
            check("final validation accuracy", "is above", MIN_FINAL_ACCURACY, accuracies[-1]),
            check("final unseen loss minus pool_no_knowledge_loss (nats per value)", "is at least", MIN_UNSEEN_EXCESS, excess),
            check("steps between evaluations until plateau_end", "is at most", MAX_EVALUATION_GAP, max(gaps, default=None)),
        ],
    )


def plot(run: Run, path: Path) -> None:
    """Loss and accuracy over steps with the no-knowledge line, the three phases shaded, unseen individuals dashed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    recipe, validation, unseen = run.config["recipe"], run.curves["validation"], run.curves["unseen"]
    steps, last = validation["step"], validation["step"][-1]
    phase1, plateau = phase_ends(run)
    bounds = [0, *(step for step in (phase1, plateau) if step is not None), last]
    figure, (loss, accuracy) = pyplot.subplots(1, 2, figsize=(12, 5), layout="constrained")
    labels = ("statistics", "plateau", "knowledge")
    for axes in (loss, accuracy):
        for (start, end), colour, label in zip(
            itertools.pairwise(bounds), ("#fdebd0", "#eaecee", "#d5f5e3"), labels, strict=False
        ):
            axes.axvspan(start, end, color=colour, lw=0)
            middle = (start + end) / 2
            axes.annotate(label, (middle, 1.01), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=9)
        axes.set_xlim(0, last)
        axes.set_xlabel("training step")
        axes.spines[["top", "right"]].set_visible(False)
    for axes, key in ((loss, "attribute_loss"), (accuracy, "attribute_accuracy")):
        axes.plot(steps, validation[key], color="#1f4e79", lw=2, label="individuals seen in training, new wording")
        axes.plot(unseen["step"], unseen[key], color="#b03a2e", lw=2, ls="--", label="individuals never seen")
    baseline = validation["no_knowledge_loss"][0]
    loss.axhline(baseline, color="black", lw=1, ls=":", label=f"no-knowledge loss, {baseline:.2f} nats per value")
    loss.set_ylim(0, max(*unseen["attribute_loss"][-1:], 2 * baseline) * 1.15)
    loss.set_ylabel("attribute loss (nats per value)")
    accuracy.set_ylim(0, 1)
    accuracy.set_ylabel("attribute accuracy (share of values)")
    figure.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    people = recipe["num_individuals"]
    figure.suptitle(
        f"How a language model learns facts, in three phases\n{recipe['dataset']}"
        + (f" with {people:,} individuals" if people else "")
        + f", {recipe['num_steps']:,} steps of {recipe['batch_size']} biographies, seed {recipe['seed']}",
        fontsize=11,
    )
    partial = path.with_suffix(".partial.png")
    figure.savefig(partial, dpi=150)
    partial.replace(path)
    pyplot.close(figure)


def main() -> int:
    """Judge the runs on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="output_dir of train/pretrain.py")
    parser.add_argument(
        "--results", type=Path, metavar="FILE", help="JSON file to gather the verdicts and curves in, with a picture beside it"
    )
    arguments = parser.parse_args()
    runs = [read_run(folder, CLAIM) for folder in arguments.runs]
    verdicts = [score(run) for run in runs]
    gathered = None
    if arguments.results is not None:
        keys = ["step", "attribute_loss", "attribute_accuracy"]
        gathered = results(arguments.results.stem, runs, verdicts, keys)
    for run, result in zip(runs, verdicts, strict=True):
        (run.folder / "verdict.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        plot(run, run.folder / "three_phases.png")
        print_verdict(result)
        print(f"picture: {run.folder / 'three_phases.png'}")
    if gathered is not None:
        arguments.results.parent.mkdir(parents=True, exist_ok=True)
        arguments.results.write_text(json.dumps(gathered) + "\n", encoding="utf-8")
        plot(runs[0], arguments.results.with_suffix(".png"))
        print(f"results: {arguments.results}, with the picture of the first run beside it")
    return 0 if all(result["passed"] for result in verdicts) else 1


if __name__ == "__main__":
    exit_with(main)

"""C3: the attention patterns that recall needs form during the plateau (paper section 3.1, Fig. 3; App. D.2).

  python eval/analysis/attention_patching.py runs/paper-mini/attention_patching-* \\
      --results eval/results/attention_patching/mini.json
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bio_facts.generate.config import Config, config_from
from bio_facts.generate.splits import draw
from bio_facts.measure.attention import attention_signatures
from bio_facts.measure.models import load_model
from bio_facts.measure.tokens import BiographyTokenizer, load_tokenizer
from bio_facts.runs.curves import Run, all_seeds, check_alike, complete_groups, group_runs, read_run

sys.path.append(str(Path(__file__).parents[1]))  # eval/
from claims import Claim, run_analysis
from figures import BLACK, BLUE, GRAY, GREEN, ORANGE, new_figure, save_figure
from verdicts import Finding, check

Arm = tuple[int, int]  # start_step, reference_step

LOSS_FACTOR = 0.9  # of the no-knowledge loss, which runs with post-plateau patterns reach ...
MAX_SHARE_OF_PLATEAU = 1.0  # ... before this share of a normal run's plateau_end
NUM_SIGNATURE_BIOGRAPHIES = 100


def score(runs: Sequence[Run]) -> Finding:
    """Checks of all seeds together.

    Raises:
        ValueError: if a run is not patched, its reference is missing, or no runs have the patterns of an untrained, a phase-1
            or a post-plateau model.
    """
    references = {run.seed: reference_of(run) for run in runs}
    check_alike(runs, "attention", "source", "stop_below")
    arms = group_runs(runs, lambda run: (run.recipe["attention"]["start_step"], run.recipe["attention"]["reference_step"]))
    ends = {seed: run.phase_ends for seed, run in references.items()}
    finals = {arm: [_last_loss(run) for run in members] for arm, members in arms.items()}
    kinds = {arm: _kind(arm[1], [ends[run.seed] for run in members]) for arm, members in arms.items()}
    signatures = {str(seed): signatures_of(run) for seed, run in references.items()}
    share = excess = name_change = text_change = None
    if not any(None in pair for pair in ends.values()):
        compared = {kind: _compared(kind, arms, kinds) for kind in ("untrained", "phase 1", "after the plateau")}
        reached = [(_reach(run), ends[run.seed][1]) for arm in compared["after the plateau"] for run in arms[arm]]
        if not any(None in pair for pair in reached):
            share = max(step / end for step, end in reached)  # type: ignore[operator]
        untrained, early = (max(float(np.mean(finals[arm])) for arm in compared[kind]) for kind in ("untrained", "phase 1"))
        excess = early - untrained
        changes = [_change(signatures[str(seed)], *ends[seed]) for seed in references]  # type: ignore[arg-type]
        name_change, text_change = (
            float(np.mean([change[key] for change in changes])) for key in ("value_to_name", "value_to_text")
        )
    checks = [
        check(
            f"post-plateau patterns: step of a loss below {LOSS_FACTOR:g} x baseline / a normal run's plateau_end",
            "is below", MAX_SHARE_OF_PLATEAU, share,
        ),
        check("final loss with a phase-1 model's patterns minus that with untrained ones (nats)", "is above", 0, excess),
        check("attention from value to name, plateau_end minus phase1_end", "is above", 0, name_change),
        check("attention from value to text, plateau_end minus phase1_end", "is below", 0, text_change),
    ]  # fmt: skip
    first = next(iter(references))
    content = {
        "phase_ends": {str(seed): pair for seed, pair in ends.items()},
        "no_knowledge_loss": references[first].curve("validation")["no_knowledge_loss"][0],
        "table": [
            {
                "start_step": arm[0], "reference_step": arm[1], "patterns": kinds[arm],
                "seeds": [run.seed for run in members], "final_losses": finals[arm],
            }
            for arm, members in arms.items()
        ],
        "curves": {
            f"{arm[0]}/{arm[1]}": members[0].curve("validation").columns("attribute_loss") for arm, members in arms.items()
        },
        "reference_curve": references[first].curve("validation").columns("attribute_loss"),
        "signatures": signatures,
    }  # fmt: skip
    return Finding(checks, content)


def reference_of(run: Run) -> Run:
    """The run whose attention patterns a run uses.

    Raises:
        ValueError: if it uses none, or the reference has been moved or has another seed.
    """
    if not run.recipe.get("attention"):
        raise ValueError(f"run {run.folder} was given no attention patterns; it must be a run of a recipe with attention")
    reference = read_run(Path(run.recipe["source"]))
    if reference.seed != run.seed:
        raise ValueError(
            f"run {run.folder} has seed {run.seed} and its source {reference.folder} seed {reference.seed}; they must be equal"
        )
    return reference


def _compared(kind: str, arms: Mapping[Arm, Sequence[Run]], kinds: Mapping[Arm, str]) -> list[Arm]:
    """The arms from step 0 with patterns of this kind that have all seeds; arms that lack seeds are only plotted."""
    compared = [arm for arm in complete_groups(arms) if arm[0] == 0 and kinds[arm] == kind]
    if not compared:
        given = [f"step {arm[1]} ({kinds[arm]}, seeds {[run.seed for run in members]})" for arm, members in arms.items()]
        raise ValueError(
            f"no runs from step 0, one of each seed of {all_seeds(arms)}, were given patterns of a model {kind}; there are "
            f"runs with those of {', '.join(given)}"
        )
    return compared


def _kind(reference_step: int, ends: Sequence[tuple[int | None, int | None]]) -> str:
    """The phase that a reference model is from in all seeds; "plateau" if seeds differ."""
    if reference_step == 0:
        return "untrained"
    if any(None in pair for pair in ends):
        return "that never knew"
    if all(phase1 is not None and reference_step < phase1 for phase1, _ in ends):
        return "phase 1"
    if all(plateau is not None and reference_step > plateau for _, plateau in ends):
        return "after the plateau"
    return "plateau"


def _last_loss(run: Run) -> float:
    return float(run.curve("validation")["attribute_loss"][-1])


def _reach(run: Run) -> int | None:
    """First evaluated step with a loss below LOSS_FACTOR x the baseline; None if there is none."""
    curve = run.curve("validation")
    lines = zip(curve["step"], curve["attribute_loss"], curve["no_knowledge_loss"], strict=True)
    return next((step for step, loss, baseline in lines if loss < LOSS_FACTOR * baseline), None)


def signatures_of(run: Run) -> dict[str, dict[str, list[float]]]:
    """Step -> attention signatures by layer of the model that a run kept at this step, on validation biographies."""
    data = config_from(Config.table, run.data)
    assert isinstance(data, Config)
    biographies = draw(data, "validation", range(NUM_SIGNATURE_BIOGRAPHIES))
    models = {int(folder.name.removeprefix("step-")): folder for folder in (run.folder / "models").glob("step-*")}
    if not models:
        raise ValueError(f"run {run.folder} kept no models; it must have keep_models_at in its recipe")
    tokenizer = BiographyTokenizer(load_tokenizer(str(models[min(models)])), data.pool_sizes)
    batch, is_name = tokenizer(biographies), tokenizer.is_name(biographies)
    return {
        str(step): attention_signatures(load_model(models[step]), batch.input_ids, batch.attribute_ids, is_name)
        for step in sorted(models)
    }


def _change(signatures: dict[str, dict[str, list[float]]], phase1: int, plateau: int) -> dict[str, float]:
    """Signatures of the kept model nearest to plateau_end minus those of the one nearest to phase1_end, mean over layers."""
    steps = [int(step) for step in signatures]
    before, after = (signatures[str(min(steps, key=lambda step: abs(step - end)))] for end in (phase1, plateau))
    return {key: float(np.mean(after[key]) - np.mean(before[key])) for key in before}


def plot(verdict: dict[str, Any], path: Path) -> None:
    """Loss with patched attention and of the reference; attention from value to name and to text, by layer, over steps."""
    figure, (loss, attention) = new_figure(2, "With the attention patterns of a model that knows, the plateau is short")
    seed = str(verdict["seeds"][0])
    phase1, plateau = verdict["phase_ends"][seed]
    reference = verdict["reference_curve"]
    from matplotlib import colormaps

    arms = sorted(verdict["table"], key=lambda row: (row["start_step"], row["reference_step"]))
    for index, row in enumerate(arms):
        curve = verdict["curves"][f"{row['start_step']}/{row['reference_step']}"]
        style = "-" if row["start_step"] == 0 else "--"
        start = f", from step {row['start_step']}" if row["start_step"] else ""
        label = f"patterns of step {row['reference_step']} ({row['patterns']}){start}"
        loss.plot(
            curve["step"],
            curve["attribute_loss"],
            style,
            color=colormaps["viridis"](index / max(1, len(arms))),
            lw=1.3,
            label=label,
        )
    loss.plot(reference["step"], reference["attribute_loss"], color=BLACK, lw=2, label="not patched")
    loss.axhline(verdict["no_knowledge_loss"], color=BLACK, lw=1, ls=":", label="no-knowledge loss")
    loss.set_xlim(0, max(curve["step"][-1] for curve in verdict["curves"].values()))
    loss.set_ylim(0, 2 * verdict["no_knowledge_loss"])
    loss.set_ylabel("attribute loss (nats per value)")
    loss.legend(frameon=False, fontsize=7)
    signatures = verdict["signatures"][seed]
    steps = [int(step) for step in signatures]
    for layer in range(len(next(iter(signatures.values()))["value_to_name"])):
        for key, color, what in (
            ("value_to_name", BLUE, "value to name"),
            ("value_to_text", ORANGE, "value to text"),
            ("name_to_name", GREEN, "name to itself"),
        ):
            values = [signatures[str(step)][key][layer] for step in steps]
            attention.plot(steps, values, color=color, lw=1 + layer, alpha=0.8, label=f"{what}, layer {layer + 1}")
    for end in (end for end in (phase1, plateau) if end is not None):
        attention.axvline(end, color=GRAY, lw=1, ls="--")
    attention.set_ylabel("share of attention")
    attention.set_ylim(0, 1)
    attention.legend(frameon=False, fontsize=8)
    for axes in (loss, attention):
        axes.set_xlabel("training step")
    save_figure(figure, path)


CLAIM = Claim(
    label="C3",
    name="attention_patching",
    title="The attention patterns that recall needs form during the plateau",
    paper=(
        "A model that is trained from scratch with the attention patterns of a model after its plateau has no plateau. The "
        "patterns of very early models are worse than those of an untrained model. At the position where a value is "
        "predicted, attention to the name rises during the plateau, and attention to the other text falls (Fig. 3, App. D.2)."
    ),
    takes="Takes runs with the recipe key attention; the `source` of each recipe names its reference run.",
    score=score,
    plot=plot,
)


if __name__ == "__main__":
    run_analysis(CLAIM, __doc__)

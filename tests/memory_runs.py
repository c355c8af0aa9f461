"""Runs of the recipes as the analyses read them, made in memory from loss curves that a test chooses."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arms import Arms
from claims import claims
from conftest import ROOT
from intervals import outcome
from measures import value_at
from paper import three_phases_curve

from bio_facts.runs.curves import Curve, Run
from bio_facts.runs.phases import plateau_end
from bio_facts.runs.recipe import Recipe
from bio_facts.runs.recipe_files import read_recipe_file
from bio_facts.runs.registration import read_measures

RECIPES = ROOT / "train" / "recipes"
SEEDS = tuple(range(20, 25))
SCATTER = (0.93, 0.97, 1.0, 1.03, 1.07)  # of times or losses, by seed

LossCurve = tuple[Sequence[float], Sequence[float], float]  # steps, losses and no-knowledge loss, nats per value


@functools.cache
def recipe_of(claim: str, arm: str, seed: int, scale: str = "mini") -> Recipe:
    """The recipe of an arm."""
    return read_recipe_file(RECIPES / claim / f"{scale}.yaml").recipe(arm, {"seed": seed})


def run_of(claim: str, arm: str, seed: int, curve: LossCurve, scale: str = "mini") -> Run:
    """The run of an arm with the losses of a curve at the steps at which the arm is evaluated, up to where the arm stops."""
    recipe = recipe_of(claim, arm, seed, scale)
    steps, losses, baseline = curve
    lines: list[dict[str, Any]] = []
    for step in sorted(recipe.eval_steps):
        loss = value_at(steps, losses, min(step, steps[-1]))
        shared = {"no_knowledge_loss": baseline, "pool_no_knowledge_loss": baseline, "seconds": float(step)}
        lines.append({"step": step, "attribute_loss": loss, "attribute_accuracy": 0.0} | shared)
        if recipe.stop_below is not None and loss < recipe.stop_below * baseline:
            break
    identity = {
        "dataset_parameters": recipe.data.parameters,
        "dataset_fingerprint": recipe.data.fingerprint,
        "data_digest": "0",
    }
    config = {"recipe": recipe.as_dict(), "precision": "float32", "data_version": "1", "device": "abacus", "versions": {}}
    curves = {split: Curve([{"split": split} | line for line in lines]) for split in recipe.evaluated_splits}
    return Run(Path(f"runs/{claim}-{arm}-s{seed}"), config | identity, curves)


def paper_curve(plateau_end_step: float) -> LossCurve:
    """The curve of the paper's default run, its steps multiplied so that its plateau ends at a step."""
    steps, losses, baseline = three_phases_curve()
    end = plateau_end(steps, losses, baseline)
    assert end is not None
    return [step * plateau_end_step / end for step in steps], losses, baseline


def words(claim: str, arms: Arms) -> dict[str, str]:
    """The word of each measure of a claim."""
    values = next(item for item in claims() if item.name == claim).measure(arms)
    measures = read_measures(RECIPES / claim)
    assert values.keys() == measures.keys()
    return {name: outcome(measures[name], values[name]).word for name in measures}

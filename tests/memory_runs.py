"""Runs of the recipes as the analyses read them, made in memory from loss curves that a test chooses."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from arms import Arms
from claims import claims
from conftest import ROOT
from intervals import Outcome, outcome
from measures import value_at
from paper import three_phases_curve

from bio_facts.measure.baseline import no_knowledge_loss, pool_no_knowledge_loss
from bio_facts.runs.curves import Curve, Run
from bio_facts.runs.phases import plateau_end
from bio_facts.runs.recipe import Recipe
from bio_facts.runs.recipe_files import read_recipe_file
from bio_facts.runs.registration import read_measures

RECIPES = ROOT / "train" / "recipes"
SEEDS = tuple(range(20, 25))
SCATTER = (0.93, 0.97, 1.0, 1.03, 1.07)  # of times or losses, by seed

Columns = Mapping[str, Sequence[float] | float]
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


@functools.cache
def _config_of(claim: str, arm: str, seed: int, scale: str) -> tuple[dict[str, Any], float, float]:
    """config.json of a run, and the no-knowledge losses of its population and its pools."""
    recipe = recipe_of(claim, arm, seed, scale)
    made = {"data_digest": "0", "precision": "float32", "data_version": "1", "device": "abacus", "versions": {}}
    config = {"recipe": recipe.as_dict(), "dataset_parameters": recipe.data.parameters} | made
    config["dataset_fingerprint"] = recipe.data.fingerprint
    return config, no_knowledge_loss(recipe.data.population), pool_no_knowledge_loss(recipe.data.pool_sizes)


def run_with(claim: str, arm: str, seed: int, curves: Mapping[str, Columns], scale: str = "mini") -> Run:
    """The run of an arm with all its metrics. curves: split -> metric -> its values over the evaluations, or one for all.

    Losses are in units of the no-knowledge loss of the arm's own population; on unseen individuals, of the pools.
    """
    config, baseline, pools = _config_of(claim, arm, seed, scale)
    by_split = {}
    for split, columns in curves.items():
        unit = {"attribute_loss": pools if split == "unseen" else baseline}
        constants = {"no_knowledge_loss": baseline, "pool_no_knowledge_loss": pools, "seconds": 1.0, "split": split}
        shape = np.shape(columns["step"])
        values = {key: np.broadcast_to(np.asarray(x) * unit.get(key, 1), shape).tolist() for key, x in columns.items()}
        by_split[split] = Curve([constants | dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)])
    return Run(Path(f"runs/{claim}-{arm}-s{seed}"), config, by_split)


def learning_curve(steps: Sequence[int], end: float, final: float, level: float = 1.0) -> list[float]:
    """A loss that comes to its plateau at step 100, leaves 0.99 x level at `end`, and is `final` at the last step."""
    nodes = [1, 100, end * 0.8, end, steps[-1]]
    values = [4.0, 1.03 * level, 1.02 * level, 0.99 * level, final]
    return np.interp(np.log(np.maximum(steps, 1)), np.log(nodes), values).tolist()


def paper_curve(plateau_end_step: float) -> LossCurve:
    """The curve of the paper's default run, its steps multiplied so that its plateau ends at a step."""
    steps, losses, baseline = three_phases_curve()
    end = plateau_end(steps, losses, baseline)
    assert end is not None
    return [step * plateau_end_step / end for step in steps], losses, baseline


def outcomes(claim: str, arms: Arms) -> dict[str, Outcome]:
    """The outcome of each measure of a claim."""
    values = next(item for item in claims() if item.name == claim).measure(arms)
    measures = read_measures(RECIPES / claim)
    assert values.keys() == measures.keys()
    return {name: outcome(measures[name], values[name]) for name in measures}


def words(claim: str, arms: Arms) -> dict[str, str]:
    """The word of each measure of a claim."""
    return {name: result.word for name, result in outcomes(claim, arms).items()}


def means(claim: str, arms: Arms) -> dict[str, float | None]:
    """The mean of each measure of a claim over seeds."""
    return {name: result.mean for name, result in outcomes(claim, arms).items()}

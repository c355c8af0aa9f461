"""Runs as the analyses read them, made in memory from curves that a test chooses."""

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
from bio_facts.runs.plan import RECIPE_CLASSES
from bio_facts.runs.recipe import Recipe
from bio_facts.runs.recipe_files import read_recipe_file
from bio_facts.runs.registration import read_measures

RECIPES = ROOT / "train" / "recipes"
SEEDS = tuple(range(20, 25))
SCATTER = (0.93, 0.97, 1.0, 1.03, 1.07)  # of times or losses, by seed
SHIFTS = (-0.07, -0.03, 0.0, 0.03, 0.07)  # of shares, by seed
B = 3.5  # the no-knowledge loss of runs of fine-tuning

Columns = Mapping[str, Sequence[Any] | float]
LossCurve = tuple[Sequence[float], Sequence[float], float]  # steps, losses and no-knowledge loss, nats per value


@functools.cache
def recipe_of(claim: str, arm: str, seed: int, scale: str = "mini") -> Any:
    """The recipe of an arm, a Recipe or a MemoryRecipe; its source is in runs/, under the name that run_all.py gives it."""
    file = read_recipe_file(RECIPES / claim / f"{scale}.yaml")
    overrides: dict[str, Any] = {"seed": seed}
    if (required := file.source_of(arm)) is not None:
        path, source_arm = required
        stem = "" if path.stem == scale else "-pretraining"
        name = "-".join(word for word in (f"{path.parent.name}{stem}", source_arm, f"s{seed}") if word)
        overrides["source"] = f"runs/{name}"
    recipe_class = RECIPE_CLASSES[file.script]
    return recipe_class(**file.settings_of(arm, overrides, recipe_class))


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
    curves = {split: Curve([{"split": split} | line for line in lines]) for split in recipe.evaluated_splits}
    return Run(Path(f"runs/{claim}-{arm}-s{seed}"), _config_of(claim, arm, seed, scale), curves)


@functools.cache
def _config_of(claim: str, arm: str, seed: int, scale: str) -> dict[str, Any]:
    """config.json of a run."""
    recipe = recipe_of(claim, arm, seed, scale)
    config = {"recipe": recipe.as_dict(), "precision": "float32", "data_version": "1", "device": "abacus", "versions": {}}
    if isinstance(recipe, Recipe):
        config |= {"dataset_parameters": recipe.data.parameters, "dataset_fingerprint": recipe.data.fingerprint}
        config |= {"data_digest": recipe.data.fingerprint}
    return config


@functools.cache
def _baselines_of(claim: str, arm: str, seed: int, scale: str) -> tuple[float, float]:
    """The no-knowledge losses of a run's population and of its pools."""
    data = recipe_of(claim, arm, seed, scale).data
    return no_knowledge_loss(data.population), pool_no_knowledge_loss(data.pool_sizes)


def run_with(
    claim: str, arm: str, seed: int, curves: Mapping[str, Columns], scale: str = "mini", baseline: float | None = None
) -> Run:
    """The run of an arm with all its metrics. curves: split -> metric -> its values over the evaluations, or one for all.

    Losses are in units of the no-knowledge loss of the arm's own population, on unseen individuals of the pools; if a
    baseline is given, it is both, and losses are in nats per value (or pair).
    """
    own, pools = _baselines_of(claim, arm, seed, scale) if baseline is None else (baseline, baseline)
    by_split = {}
    for split, columns in curves.items():
        unit = 1.0 if baseline is not None else pools if split == "unseen" else own
        constants = {"no_knowledge_loss": own, "pool_no_knowledge_loss": pools, "seconds": 1.0, "split": split}
        steps = columns["step"]
        assert not isinstance(steps, float)
        values = {key: [x] * len(steps) if isinstance(x, float | int) else list(x) for key, x in columns.items()}
        values = {key: [unit * loss for loss in x] if key == "attribute_loss" else x for key, x in values.items()}
        by_split[split] = Curve([constants | dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)])
    return Run(Path(f"runs/{claim}-{arm}-s{seed}"), _config_of(claim, arm, seed, scale), by_split)


def tuned_run(claim: str, arm: str, seed: int, steps: Sequence[int], curves: Mapping[str, Columns]) -> Run:
    """A run of fine-tuning, losses in nats per value (or pair); both no-knowledge losses are B."""
    return run_with(claim, arm, seed, {split: {"step": steps} | dict(columns) for split, columns in curves.items()}, baseline=B)


def scattered(value: float) -> dict[int, float | None]:
    """Five seeds with this mean."""
    return {seed: value + shift for seed, shift in zip(SEEDS, SHIFTS, strict=True)}


def made_run(
    seed: int,
    losses: Mapping[str, tuple[Sequence[float], Sequence[float], float]],
    recipe: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    **columns: Sequence[Any],
) -> Run:
    """A run of a seed. losses: split -> steps, attribute losses, no-knowledge loss. columns: further metrics of validation."""
    curves = {}
    for split, (steps, values, baseline) in losses.items():
        further = columns if split == "validation" else {}
        curves[split] = Curve(
            [
                {"step": round(step), "split": split, "attribute_loss": loss, "no_knowledge_loss": baseline, "seconds": 1.0}
                | {key: column[index] for key, column in further.items()}
                for index, (step, loss) in enumerate(zip(steps, values, strict=True))
            ]
        )
    parameters = {"num_individuals": 64, "distribution": "uniform", "population_seed": seed} | dict(data or {})
    identity = {"dataset_fingerprint": str(seed), "data_digest": "0", "data_version": "1", "device": "abacus", "versions": {}}
    settings = {"seed": seed, "batch_size": 16, "source": None, "attention": {}} | dict(recipe or {})
    return Run(Path(f"runs/s{seed}"), {"recipe": settings, "dataset_parameters": parameters} | identity, curves)


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

"""Runs of the arms of a claim, made in memory from curves that a test chooses, and the words that they get."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from claims import Claim
from conftest import load_recipe
from intervals import outcome

from bio_facts.measure.baseline import no_knowledge_loss, pool_no_knowledge_loss
from bio_facts.runs.curves import Curve, Run
from bio_facts.runs.registration import read_measures

SEEDS = range(20, 25)
SCATTER = (0.94, 0.97, 1.0, 1.03, 1.06)  # by seed

Columns = Mapping[str, Sequence[float] | float]  # metric -> values over the evaluations, or one for all


@functools.cache
def _config(path: Path, arm: str, seed: int) -> tuple[Any, float, float]:
    """config.json of the run, and the no-knowledge losses of its population and its pools."""
    recipe = load_recipe(path, {"seed": seed}, arm)
    computed = {"precision": "float32", "data_version": "1", "device": "abacus", "versions": {}}
    losses = no_knowledge_loss(recipe.data.population), pool_no_knowledge_loss(recipe.data.pool_sizes)
    return recipe.as_config() | computed, *losses


def run_of(claim: Claim, arm: str, seed: int, curves: Mapping[str, Columns], scale: str = "mini") -> Run:
    """The run of an arm of a claim. curves: split -> columns; losses, but for `step`, in units of the no-knowledge loss.

    Losses on unseen individuals are in units of that of the pools.
    """
    config, baseline, pools = _config(claim.recipes / f"{scale}.yaml", arm, seed)
    by_split = {}
    for split, columns in curves.items():
        unit = {"attribute_loss": pools if split == "unseen" else baseline}
        constants = {"no_knowledge_loss": baseline, "pool_no_knowledge_loss": pools, "seconds": 1.0, "split": split}
        values = {
            key: np.broadcast_to(np.asarray(column) * unit.get(key, 1), len(columns["step"])).tolist()  # type: ignore[arg-type]
            for key, column in columns.items()
        }
        by_split[split] = Curve([constants | dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)])
    return Run(Path(f"runs/{arm}-s{seed}"), config, by_split)


def learning_curve(steps: Sequence[int], end: float, final: float, level: float = 1.0) -> list[float]:
    """A loss that comes to its plateau at step 100, leaves 0.99 x level at `end`, and is `final` at the last step."""
    nodes = [1, 100, end * 0.8, end, steps[-1]]
    values = [4.0, 1.03 * level, 1.02 * level, 0.99 * level, final]
    return np.interp(np.log(np.maximum(steps, 1)), np.log(nodes), values).tolist()


def words(claim: Claim, arms: Mapping[str, Mapping[int, Run]]) -> dict[str, str]:
    """Measure -> word."""
    measures = read_measures(claim.recipes)
    return {name: outcome(measures[name], values).word for name, values in claim.measure(arms).items()}


def means(claim: Claim, arms: Mapping[str, Mapping[int, Run]]) -> dict[str, float | None]:
    """Measure -> mean over seeds, on the scale of the measure."""
    measures = read_measures(claim.recipes)
    return {name: outcome(measures[name], values).mean for name, values in claim.measure(arms).items()}

"""Runs of fine-tuning in memory, with the settings of the arms of a claim and curves that a test chooses."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conftest import ROOT

from bio_facts.runs.curves import Curve, Run
from bio_facts.runs.memory_recipe import MemoryRecipe
from bio_facts.runs.recipe import Recipe
from bio_facts.runs.recipe_files import DEFAULT_SCRIPT, read_recipe_file

SEEDS = range(20, 25)
SCATTER = (-0.07, -0.03, 0.0, 0.03, 0.07)  # of shares, by seed
B = 3.5  # the no-knowledge loss of the runs

Curves = Mapping[str, Mapping[str, Sequence[Any]]]  # split -> metric -> values


def tuned_run(claim: str, arm: str, seed: int, steps: Sequence[int], curves: Curves, scale: str = "mini") -> Run:
    """A run of an arm with these curves, losses in nats per value (or pair)."""
    file = read_recipe_file(ROOT / "train" / "recipes" / claim / f"{scale}.yaml")
    recipe_class: type[Any] = Recipe if file.script == DEFAULT_SCRIPT else MemoryRecipe
    required = file.source_of(arm)
    assert required is not None
    stem = "" if required[0].stem == scale else "-pretraining"
    source = "-".join(word for word in (f"{required[0].parent.name}{stem}", required[1], f"s{seed}") if word)
    overrides = {"seed": seed, "source": f"runs/{source}"}
    recipe = recipe_class(**file.settings_of(arm, overrides, recipe_class))
    config: dict[str, Any] = {"recipe": recipe.as_dict(), "data_version": "1", "device": "abacus", "versions": {}}
    config |= {"precision": "float32"}
    if isinstance(recipe, Recipe):
        config |= {"dataset_parameters": recipe.data.parameters, "dataset_fingerprint": recipe.data.fingerprint}
        config |= {"data_digest": recipe.data.fingerprint}
    lines = {
        split: [
            {"step": step, "split": split, "no_knowledge_loss": B, "seconds": float(step)}
            | {name: values[index] for name, values in metrics.items()}
            for index, step in enumerate(steps)
        ]
        for split, metrics in curves.items()
    }
    return Run(Path(f"runs/{claim}-{arm}-s{seed}"), config, {split: Curve(items) for split, items in lines.items()})


def scattered(value: float) -> dict[int, float | None]:
    """Five seeds with this mean."""
    return {seed: value + shift for seed, shift in zip(SEEDS, SCATTER, strict=True)}

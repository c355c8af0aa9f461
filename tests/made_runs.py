"""Runs in memory, from numbers that a test chooses."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bio_facts.runs.curves import Curve, Run


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

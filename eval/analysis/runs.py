"""Finished runs, read from the folders that the training scripts write."""

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bio_facts.runs.phases import is_decided, phase1_end, plateau_end

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Curve:
    """One split of a run over its evaluated steps: `metrics[k]` is the metrics.jsonl line of the k-th."""

    metrics: list[dict[str, Any]]

    def __getitem__(self, key: str) -> list[Any]:
        return [line[key] for line in self.metrics]

    def place_of_fall(self, key: str, fall: float) -> int | None:
        """Place of the first evaluation at which `key` has fallen by so much since the first one; None if it never has."""
        values = self[key]
        return next((place for place, value in enumerate(values) if value <= values[0] - fall), None)


@dataclass(frozen=True)
class Run:
    """A finished run: its config.json, and a curve for each split that it was evaluated on."""

    folder: Path
    config: dict[str, Any]
    curves: dict[str, Curve]

    @property
    def seed(self) -> int:
        """The seed of samples and initial weights."""
        return int(self.config["recipe"]["seed"])

    @property
    def recipe(self) -> dict[str, Any]:
        """Its settings."""
        found: dict[str, Any] = self.config["recipe"]
        return found

    @property
    def data(self) -> dict[str, Any]:
        """The parameters of its data set."""
        if "dataset_parameters" not in self.config:
            raise ValueError(f"run {self.folder} has no data set of biographies; this claim needs a run of its own recipe")
        found: dict[str, Any] = self.config["dataset_parameters"]
        return found

    def curve(self, split: str) -> Curve:
        """A split's curve; ValueError if the run was not evaluated on it."""
        if split not in self.curves:
            raise ValueError(
                f"run {self.folder} is evaluated on {', '.join(self.curves)}; this claim needs {split}, from a run of "
                "its own recipe"
            )
        return self.curves[split]

    @property
    def seconds(self) -> float:
        """How long it took, evaluations included."""
        return float(next(iter(self.curves.values())).metrics[-1]["seconds"])

    @property
    def phase_ends(self) -> tuple[int | None, int | None]:
        """Steps at which phase 1 and the plateau end, by validation attribute_loss; None where one does not."""
        validation = self.curve("validation")
        curve = validation["step"], validation["attribute_loss"], validation["no_knowledge_loss"][0]
        return phase1_end(*curve), plateau_end(*curve)


def read_run(folder: Path) -> Run:
    """Read a run.

    Raises:
        ValueError: if there is no run, or it is not finished; says what is missing.
    """
    for name in ("config.json", "metrics.jsonl"):
        if not (folder / name).is_file():
            raise ValueError(f"run is {str(folder)!r}, which has no {name}; it must be the output_dir of a training script")
    config = _read_json(folder / "config.json", (folder / "config.json").read_text(encoding="utf-8"), "recipe")
    if "dataset_parameters" in config and "data_digest" not in config:
        raise ValueError(f"run {folder} has no data_digest: an earlier version of bio_facts made it; train it anew")
    path = folder / "metrics.jsonl"
    lines = [_read_json(path, line, "step") for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    splits = dict.fromkeys(line["split"] for line in lines)
    run = Run(folder, config, {split: Curve([line for line in lines if line["split"] == split]) for split in splits})
    _check_finished(run)
    return run


def _check_finished(run: Run) -> None:
    last_step, stop_below = run.recipe["num_steps"], run.recipe.get("stop_below")
    ends = {split: int(curve.metrics[-1]["step"]) for split, curve in run.curves.items()}
    if not ends:
        raise ValueError(f"run {run.folder} has no evaluations; it must be finished, up to step {last_step}")
    furthest, (split, step) = max(ends.values()), min(ends.items(), key=lambda item: item[1])
    decided = "validation" in run.curves and is_decided(run.curves["validation"].metrics[-1], stop_below)
    if step < furthest or (furthest != last_step and not decided):
        raise ValueError(
            f"run {run.folder} is evaluated on {split} up to step {step}; it must be finished, up to step "
            f"{max(last_step, furthest)}"
        )
    evaluated = sorted({step for curve in run.curves.values() for step in curve["step"]})
    for split, curve in run.curves.items():
        steps = curve["step"]
        if len(steps) != len(evaluated):
            step = next(step for step in evaluated if steps.count(step) != 1)
            raise ValueError(
                f"run {run.folder} is evaluated on {split} {steps.count(step)} times at step {step}; it must be evaluated once "
                "on each of its splits"
            )


def check_pretraining(runs: Sequence[Run], *distributions: str) -> None:
    """ValueError unless all runs are pre-training, on data of one of these distributions."""
    for run in runs:
        if run.recipe.get("source") is not None:
            raise ValueError(f"run {run.folder} starts from {run.recipe['source']}; it must be pre-training, for this claim")
        if run.data["distribution"] not in distributions:
            raise ValueError(
                f"run {run.folder} has distribution {run.data['distribution']!r}; it must be "
                f"{' or '.join(distributions)}, for this claim"
            )


def _read_json(path: Path, text: str, key: str) -> dict[str, Any]:
    def refuse(number: str) -> None:
        raise ValueError(f"{number} is not a number")

    try:
        found: dict[str, Any] = json.loads(text, parse_constant=refuse)
        found[key]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} holds {text[:80]!r}; it must hold JSON with {key!r}, as the training scripts write it"
        ) from error
    return found


def data_digests(runs: Sequence[Run]) -> dict[str, str]:
    """Dataset fingerprint -> data_digest of runs; runs without biographies have none.

    Raises:
        ValueError: if two runs have one fingerprint and different rows.
    """
    digests: dict[str, str] = {}
    for run in runs:
        if "data_digest" in run.config:
            fingerprint, digest = run.config["dataset_fingerprint"], run.config["data_digest"]
            if digests.setdefault(fingerprint, digest) != digest:
                raise ValueError(
                    f"run {run.folder} has data_digest {digest}, another run with dataset_fingerprint {fingerprint} "
                    f"{digests[fingerprint]}: they were trained on different rows; train them with one version"
                )
    return dict(sorted(digests.items()))


def grouped(runs: Sequence[Run], key: Callable[[Run], Key]) -> dict[Key, list[Run]]:
    """Runs by a key, in the order of keys, and within it of seeds.

    Raises:
        ValueError: if two runs have the same key and seed.
    """
    found: dict[Key, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        found.setdefault(key(run), []).append(run)
    for name, members in found.items():
        seeds = [run.seed for run in members]
        if len(set(seeds)) < len(seeds):
            raise ValueError(
                f"runs {', '.join(str(run.folder) for run in members)} are all {name!r}, with seeds {seeds}; give each once"
            )
    return dict(sorted(found.items(), key=lambda item: str(item[0]) if isinstance(item[0], str) else item[0]))  # type: ignore[arg-type, return-value]


def check_seeds(groups: Mapping[Any, Sequence[Run]], named: str) -> None:
    """ValueError if a group of runs lacks a seed that another one has; `named` is what its key is called, as in "{} people"."""
    seeds = sorted({run.seed for members in groups.values() for run in members})
    for key, members in groups.items():
        missing = set(seeds) - {run.seed for run in members}
        if missing:
            raise ValueError(f"runs of {named.format(key)} lack seed {min(missing)}; all must have {seeds}")


def check_alike(runs: Sequence[Run], *but: str) -> None:
    """ValueError naming a recipe key in which two runs differ, unless it is one of `but` (a dot reaches into a mapping)."""
    described = [_flat(run.recipe) for run in runs]
    for run, flat in zip(runs, described, strict=True):
        for key in sorted(flat.keys() | described[0].keys()):
            varies = key == "seed" or any(key == name or key.startswith(f"{name}.") for name in but)
            if not varies and flat.get(key) != described[0].get(key):
                allowed = " and ".join(["seed", *but])
                raise ValueError(
                    f"runs {runs[0].folder} and {run.folder} differ in {key} ({described[0].get(key)!r} and "
                    f"{flat.get(key)!r}); they may differ in {allowed} alone"
                )


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat

"""Runs, read from the folders that the training scripts write: settings, curves, and groups of runs to compare."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bio_facts.runs.early_stopping import ends_run
from bio_facts.runs.folder import CONFIG_FILE, METRICS_FILE, RunFolder
from bio_facts.runs.phases import phase1_end, plateau_end


@dataclass(frozen=True)
class Curve:
    """One split of a run over its evaluated steps: `lines[k]` is the metrics.jsonl line of the k-th evaluation."""

    lines: list[dict[str, Any]]

    def __getitem__(self, key: str) -> list[Any]:
        return [line[key] for line in self.lines]


@dataclass(frozen=True)
class Run:
    """A run, by default a finished one. config: its config.json; curves: split -> curve."""

    folder: Path
    config: dict[str, Any]
    curves: dict[str, Curve]

    @property
    def seed(self) -> int:
        """The seed of the samples and of the initial weights."""
        return int(self.recipe["seed"])

    @property
    def recipe(self) -> dict[str, Any]:
        """The settings of the run, by recipe key."""
        recipe: dict[str, Any] = self.config["recipe"]
        return recipe

    @property
    def data(self) -> dict[str, Any]:
        """The parameters of the dataset; ValueError if the run has no dataset of biographies."""
        if "dataset_parameters" not in self.config:
            raise ValueError(f"run {self.folder} has no dataset of biographies; this claim needs a run of its own recipe")
        parameters: dict[str, Any] = self.config["dataset_parameters"]
        return parameters

    def curve(self, split: str) -> Curve:
        """The curve of a split; ValueError if the run was not evaluated on it."""
        if split not in self.curves:
            raise ValueError(
                f"run {self.folder} is evaluated on {', '.join(self.curves)}; this claim needs {split}, from a run of "
                "its own recipe"
            )
        return self.curves[split]

    @property
    def seconds(self) -> float:
        """How long the run took, evaluations included."""
        return float(next(iter(self.curves.values())).lines[-1]["seconds"])

    def loss_curve(self, split: str = "validation") -> tuple[list[int], list[float], float]:
        """Steps, attribute losses and the no-knowledge loss of a split, nats per value: what runs/phases.py takes."""
        curve = self.curve(split)
        return curve["step"], curve["attribute_loss"], float(curve["no_knowledge_loss"][0])

    @property
    def phase_ends(self) -> tuple[float | None, float | None]:
        """Steps at which phase 1 and the plateau end, by validation attribute_loss; None where one does not end."""
        return phase1_end(*self.loss_curve()), plateau_end(*self.loss_curve())


def read_run(folder: Path, *, may_be_unfinished: bool = False) -> Run:
    """Read the config.json and metrics.jsonl of a finished run, or of one that is still running or was interrupted.

    Raises:
        ValueError: if a file is missing or damaged, or a run that must be finished is not; says what is missing.
    """
    for name in (CONFIG_FILE, METRICS_FILE):
        if not (folder / name).is_file():
            raise ValueError(f"run is {str(folder)!r}, which has no {name}; it must be the output_dir of a training script")
    run_folder = RunFolder(folder)
    config = _checked_config(run_folder)
    if "dataset_parameters" in config and "data_digest" not in config:
        raise ValueError(f"run {folder} has no data_digest: an earlier version of bio_facts made it; train it again")
    lines = run_folder.metrics
    try:
        json.dumps(lines, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"{folder / METRICS_FILE} holds NaN or an infinite number; it must hold finite ones") from error
    splits = dict.fromkeys(line["split"] for line in lines)
    run = Run(folder, config, {split: Curve([line for line in lines if line["split"] == split]) for split in splits})
    if not may_be_unfinished:
        _check_finished(run)
    return run


def _checked_config(folder: RunFolder) -> dict[str, Any]:
    try:
        folder.config["recipe"]["num_steps"], folder.config["recipe"]["seed"]
    except (ValueError, TypeError, KeyError) as error:
        path = folder.path / CONFIG_FILE
        start = path.read_text(encoding="utf-8")[:80]
        raise ValueError(
            f"{path} holds {start!r}; it must hold JSON with a 'recipe', as the training scripts write it ({error!r})"
        ) from error
    return folder.config


def _check_finished(run: Run) -> None:
    """ValueError unless the run is evaluated on all its splits at the same steps, up to its end."""
    num_steps, last_lines = run.recipe["num_steps"], {split: curve.lines[-1] for split, curve in run.curves.items()}
    if not last_lines:
        raise ValueError(f"run {run.folder} has no evaluations; it must be finished, up to step {num_steps}")
    shortest = min(last_lines, key=lambda split: int(last_lines[split]["step"]))
    step, last_step = int(last_lines[shortest]["step"]), max(int(line["step"]) for line in last_lines.values())
    deciding = last_lines.get("validation", last_lines[shortest])
    if step < last_step or not ends_run(deciding, num_steps, run.recipe.get("stop_below")):
        raise ValueError(
            f"run {run.folder} is evaluated on {shortest} up to step {step}; it must be finished, up to step "
            f"{max(num_steps, last_step)}"
        )
    for step in sorted({step for curve in run.curves.values() for step in curve["step"]}):
        for split, curve in run.curves.items():
            if (count := curve["step"].count(step)) != 1:
                raise ValueError(
                    f"run {run.folder} is evaluated on {split} {count} times at step {step}; it must be evaluated once on "
                    "each of its splits"
                )


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


def check_distinct_seeds(runs: Sequence[Run], what: str = "of one recipe") -> None:
    """ValueError if two runs, which are `what`, have the same seed."""
    seeds = [run.seed for run in runs]
    if len(set(seeds)) < len(seeds):
        folders = ", ".join(str(run.folder) for run in runs)
        raise ValueError(f"runs {folders} are {what}, with seeds {seeds}; give each once")


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings with the keys of nested mappings joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat

"""What every analysis needs: a finished run read from its folder, checks, a verdict written down."""

import hashlib
import json
import operator
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Curve:
    """One split of a run over its evaluated steps: `metrics[k]` is the metrics.jsonl line of the k-th."""

    metrics: list[dict[str, Any]]

    def __getitem__(self, key: str) -> list[Any]:
        return [line[key] for line in self.metrics]


@dataclass(frozen=True)
class Run:
    """A finished run: its config.json and one curve per split."""

    folder: Path
    config: dict[str, Any]
    curves: dict[str, Curve]


def read_run(folder: Path, claim: str) -> Run:
    """Read a run.

    Raises:
        ValueError: if there is no run, it is for another claim, or it is not finished; says what is missing.
    """
    for name in ("config.json", "metrics.jsonl"):
        if not (folder / name).is_file():
            raise ValueError(f"run is {str(folder)!r}, which has no {name}; it must be the output_dir of train/pretrain.py")
    config = _read_json(folder / "config.json", (folder / "config.json").read_text(encoding="utf-8"), "recipe")
    recipe = config["recipe"]
    if recipe["claim"] != claim:
        raise ValueError(f"run {folder} is for the claim {recipe['claim']!r}; it must be for {claim!r}")
    path = folder / "metrics.jsonl"
    lines = [_read_json(path, line, "step") for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    curves = {split: Curve([line for line in lines if line["split"] == split]) for split in ("validation", "unseen")}
    for split, curve in curves.items():
        last = max(curve["step"], default=None)
        if last != recipe["num_steps"]:
            raise ValueError(
                f"run {folder} is evaluated on {split} up to step {last}; it must be finished, up to step {recipe['num_steps']}"
            )
    return Run(folder, config, curves)


def _read_json(path: Path, text: str, key: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(text)
        found[key]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} holds {text[:80]!r}; it must hold JSON with {key!r}, as train/pretrain.py writes it"
        ) from error
    return found


@dataclass(frozen=True)
class Check:
    """One comparison of a verdict. name: what is measured and how it is compared; value: None if there was none to measure."""

    name: str
    value: float | None
    threshold: float
    passed: bool


_COMPARISONS = {"is at least": operator.ge, "is at most": operator.le, "is above": operator.gt, "is below": operator.lt}


def check(measured: str, comparison: str, threshold: float, value: float | None) -> Check:
    """A Check whose `comparison` is "is at least", "is at most", "is above" or "is below"; without a value it fails."""
    return Check(f"{measured} {comparison}", value, threshold, value is not None and _COMPARISONS[comparison](value, threshold))


def verdict(claim: str, checks: list[Check]) -> dict[str, Any]:
    """{"claim", "passed", "checks"}: passed if every check is."""
    return {"claim": claim, "passed": all(one.passed for one in checks), "checks": [asdict(one) for one in checks]}


def results(scale: str, runs: list[Run], verdicts: list[dict[str, Any]], keys: list[str]) -> dict[str, Any]:
    """Several runs of one recipe as one result: every check of every seed, and the curves of `keys`.

    Raises:
        ValueError: if the runs differ in more than the seed, or share one.
    """
    recipes = [{key: value for key, value in run.config["recipe"].items() if key != "seed"} for run in runs]
    seeds = [run.config["recipe"]["seed"] for run in runs]
    for run, recipe in zip(runs, recipes, strict=True):
        if recipe != recipes[0]:
            key = next(key for key in recipe if recipe[key] != recipes[0].get(key))
            raise ValueError(f"runs {runs[0].folder} and {run.folder} differ in {key}; they must differ in the seed alone")
    if len(set(seeds)) != len(seeds):
        raise ValueError(f"runs have seeds {seeds}; each must have its own")
    digest = hashlib.sha256(json.dumps([recipes[0], runs[0].config["data_version"]], sort_keys=True).encode())
    return {
        "claim": verdicts[0]["claim"],
        "passed": all(found["passed"] for found in verdicts),
        "scale": scale,
        "seeds": seeds,
        "device": runs[0].config["device"],
        "seconds": [run.curves["validation"]["seconds"][-1] for run in runs],
        "fingerprint": digest.hexdigest()[:16],
        "data_version": runs[0].config["data_version"],
        "versions": runs[0].config["versions"],
        "recipe": recipes[0],
        "checks": [{"seed": seed} | check for seed, found in zip(seeds, verdicts, strict=True) for check in found["checks"]],
        "curves": {
            str(seed): {split: {key: curve[key] for key in keys} for split, curve in run.curves.items()}
            for seed, run in zip(seeds, runs, strict=True)
        },
    }


def print_verdict(result: dict[str, Any]) -> None:
    """The verdict as lines to read."""
    for check in result["checks"]:
        value = "none" if check["value"] is None else f"{check['value']:g}"
        print(f"  {'pass' if check['passed'] else 'FAIL'}  {check['name']} {check['threshold']:g}: {value}")
    print(f"{result['claim']}: {'passed' if result['passed'] else 'NOT PASSED'}")


def exit_with(main: Callable[[], int]) -> None:
    """Run an analysis; a ValueError becomes one line on stderr and exit code 2."""
    try:
        code = main()
    except ValueError as error:
        print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr)
        code = 2
    sys.exit(code)

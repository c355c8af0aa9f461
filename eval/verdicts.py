"""Verdicts: named checks with thresholds, and the JSON file that has them together with the curves."""

import hashlib
import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bio_facts.runs.curves import Run, data_digests

_REQUIRED = ("claim", "passed", "scale", "seeds", "num_runs", "device", "seconds", "fingerprint", "data_version", "checks")
_COMPARISONS = {"is at least": operator.ge, "is at most": operator.le, "is above": operator.gt, "is below": operator.lt}


@dataclass(frozen=True)
class Check:
    """One comparison. name: what is measured and how it is compared; value: None if it could not be measured."""

    name: str
    value: float | None
    threshold: float
    passed: bool


def check(measured: str, comparison: str, threshold: float, value: float | None) -> Check:
    """A Check whose `comparison` is "is at least", "is at most", "is above" or "is below"; without a value it fails."""
    return Check(f"{measured} {comparison}", value, threshold, value is not None and _COMPARISONS[comparison](value, threshold))


@dataclass(frozen=True)
class Finding:
    """What the score of a claim returns: its checks, and the data of its figure in JSON types (curves or a table)."""

    checks: list[Check]
    content: dict[str, Any]


def curves_of(runs: Sequence[Run], splits: Iterable[str], *metrics: str) -> dict[str, dict[str, dict[str, list[Any]]]]:
    """Seed -> split -> steps and metrics of its curve, for runs of different seeds."""
    splits = list(splits)
    return {str(run.seed): {split: run.curve(split).columns(*metrics) for split in splits} for run in runs}


def result(claim: str, scale: str, runs: Sequence[Run], finding: Finding, misses: Mapping[str, str]) -> dict[str, Any]:
    """The verdict that is written to a file.

    fingerprint: of the recipes of all runs, the data version and the rows. data_digest: dataset fingerprint -> digest of its
    rows. precision, tokenizer: of the first run. seconds: sum over runs. explanation: why checks failed, from `misses` (see
    claims.Claim).
    """
    failed = [item.name for item in finding.checks if not item.passed]
    recipes = sorted(json.dumps({k: v for k, v in run.recipe.items() if k != "source"}, sort_keys=True) for run in runs)
    digests = data_digests(runs)
    identity = [recipes, runs[0].config["data_version"], *([digests] if digests else [])]
    fingerprint = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    verdict = {
        "claim": claim,
        "passed": not failed,
        "scale": scale,
        "seeds": sorted({run.seed for run in runs}),
        "num_runs": len(runs),
        "device": runs[0].config["device"],
        "precision": runs[0].config.get("precision", "float32"),
        **({"tokenizer": runs[0].recipe["tokenizer"]} if "tokenizer" in runs[0].recipe else {}),
        "seconds": round(sum(run.seconds for run in runs), 1),
        "fingerprint": fingerprint,
        "data_version": runs[0].config["data_version"],
        **({"data_digest": digests} if digests else {}),
        "versions": runs[0].config["versions"],
        "checks": [asdict(item) for item in finding.checks],
    }
    if failed:
        verdict["explanation"] = explanation(failed, misses)
    return verdict | finding.content


def explanation(failed: Iterable[str], misses: Mapping[str, str]) -> str:
    """Why the checks with these names failed, each reason once."""
    reasons = (next((why for text, why in misses.items() if text in name), f"Not passed: {name}.") for name in failed)
    return " ".join(dict.fromkeys(reasons))


def json_text(verdict: Mapping[str, Any]) -> str:
    """JSON with one top-level key per line, for readable diffs."""
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in verdict.items()) + "\n}\n"


def read_verdict(path: Path) -> dict[str, Any]:
    """Read a verdict that an analysis has written.

    Raises:
        ValueError: if the file does not exist or is not a verdict.
    """
    if not path.is_file():
        raise ValueError(f"verdict is {str(path)!r}, which is no file; it must be one that an analysis has written")
    try:
        verdict: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in _REQUIRED if key not in verdict]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not the verdict of an analysis ({error}); remove it, or judge the runs again") from error
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; it must be the verdict of an analysis: judge the runs again")
    return verdict


def print_verdict(verdict: Mapping[str, Any]) -> None:
    """Print the checks of a verdict, one per line, and whether it passed."""
    for item in verdict["checks"]:
        value = "none" if item["value"] is None else f"{item['value']:.4g}"
        print(f"  {'pass' if item['passed'] else 'FAIL'}  {item['name']} {item['threshold']:g}: {value}")
    print(f"{verdict['claim']}: {'passed' if verdict['passed'] else 'NOT PASSED'}")

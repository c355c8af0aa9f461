"""Verdicts: what runs say about the measures of a claim, as a JSON file."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from intervals import Outcome, Values, ours_over_paper, outcome

from bio_facts.runs.curves import Run, data_digests
from bio_facts.runs.registration import Measure

_REQUIRED = ("claim", "word", "scale", "seeds", "num_runs", "device", "seconds", "fingerprint", "data_version", "measures")


def result(
    claim: str,
    scale: str,
    runs: Sequence[Run],
    measures: Mapping[str, Measure],
    values: Mapping[str, Values],
    registration: str,
) -> dict[str, Any]:
    """The verdict that is written to a file.

    word: of the carrying measure; "" if there is none or only one seed. registration: its digest; "" for other seeds than the
    registered ones. fingerprint: of the recipes of all runs, the data version and the rows. data_digest: dataset fingerprint ->
    digest of its rows. seconds: sum over runs.
    """
    recipes = sorted(json.dumps({k: v for k, v in run.recipe.items() if k != "source"}, sort_keys=True) for run in runs)
    digests = data_digests(runs)
    identity = [recipes, runs[0].config["data_version"], *([digests] if digests else [])]
    outcomes = {name: outcome(measure, values[name]) for name, measure in measures.items()}
    word = next((outcomes[name].word for name, measure in measures.items() if measure.carrying), "")
    return {
        "claim": claim,
        "word": word,
        "scale": scale,
        "seeds": sorted({run.seed for run in runs}),
        "registration": registration,
        "num_runs": len(runs),
        "device": runs[0].config["device"],
        "precision": runs[0].config.get("precision", "float32"),
        **({"tokenizer": runs[0].recipe["tokenizer"]} if "tokenizer" in runs[0].recipe else {}),
        "seconds": round(sum(run.seconds for run in runs), 1),
        "fingerprint": hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16],
        "data_version": runs[0].config["data_version"],
        **({"data_digest": digests} if digests else {}),
        "versions": runs[0].config["versions"],
        "measures": [_measured(measure, values[name], outcomes[name]) for name, measure in measures.items()],
    }


def _measured(measure: Measure, values: Values, result: Outcome) -> dict[str, Any]:
    numbers = [value for value in values.by_seed.values() if value is not None]
    return {
        "name": measure.name,
        "description": measure.description,
        "figure": measure.figure,
        "carrying": measure.carrying,
        "word": result.word,
        "values": {str(seed): _rounded(value) for seed, value in sorted(values.by_seed.items())},
        "mean": _rounded(result.mean),
        "low": _rounded(result.low),
        "high": _rounded(result.high),
        "p": _rounded(result.p),
        "shown_if": shown_if(measure),
        "paper": measure.paper,
        "cell": measure.cell,
        "ours_over_paper": _rounded(ours_over_paper(measure, numbers)),
    }


def shown_if(measure: Measure) -> str:
    """Where the interval must lie for the measure to be shown, as text."""
    if measure.inside is not None:
        text = f"from {measure.inside[0]:g} to {measure.inside[1]:g}"
        return text if measure.paper is not None else f"{text} (direction)"
    bound = measure.none if measure.threshold is None else measure.threshold
    text = f"{'above' if measure.direction > 0 else 'below'} {bound:g}"
    return text if measure.threshold is not None else f"{text} (direction)"


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def json_text(verdict: Mapping[str, Any]) -> str:
    """JSON with one top-level key and one measure per line, for readable diffs."""
    lines = []
    for key, value in verdict.items():
        is_list = key == "measures" and value
        text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n]" if is_list else json.dumps(value)
        lines.append(f"{json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


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
    """Print the measures of a verdict, one per line, and the word for the claim."""
    for item in verdict["measures"]:
        mean = "cannot be measured" if item["mean"] is None else f"{item['mean']:.3g}"
        interval = "" if item["low"] is None else f" [{item['low']:.3g}, {item['high']:.3g}]"
        paper = "" if item["paper"] is None else f"; paper {item['paper']:g}"
        word = f"{item['word'] or 'one seed, no verdict'}: "
        print(f"  {word}{item['description']}: {mean}{interval} (shown if {item['shown_if']}{paper})")
    seeds = ", ".join(map(str, verdict["seeds"]))
    registered = "" if verdict["registration"] else "; not the registered seeds"
    print(f"{verdict['claim']}: {verdict['word'] or 'no verdict'} (seeds {seeds}{registered})")

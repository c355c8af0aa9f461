"""The curves of finished runs in one file a claim: JSON Lines, a run a line, numbers rounded to five digits.

A verdict can be recomputed and drawn from this file alone.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bio_facts.runs.curves import Curve, Run

# Beginnings of names of metrics.
_LEFT_OUT = ("num_values", "first_token", "token_loss", "expected_calibration_error", "weights_sha256")
_CONFIG = ("dataset_parameters", "dataset_fingerprint", "data_digest", "data_version", "device", "precision", "registration")


def curves_text(runs: Sequence[Run]) -> str:
    """The text of the file: runs by name."""
    return "".join(json.dumps(_as_json(run)) + "\n" for run in sorted(runs, key=lambda run: run.folder.name))


def _as_json(run: Run) -> dict[str, Any]:
    recipe = {key: value for key, value in run.recipe.items() if key != "source"}
    source = {} if run.recipe.get("source") is None else {"source": Path(run.recipe["source"]).name}
    config = {key: run.config[key] for key in _CONFIG if key in run.config} | {"versions": run.config["versions"]}
    curves = {
        split: {key: [_rounded(line.get(key)) for line in curve.lines] for key in _keys(curve)}
        for split, curve in run.curves.items()
    }
    return {"run": run.folder.name, "recipe": recipe | source} | config | {"curves": curves}


def _keys(curve: Curve) -> list[str]:
    keys = dict.fromkeys(key for line in curve.lines for key in line)
    return [key for key in keys if key != "split" and not key.startswith(_LEFT_OUT)]


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def read_curves(path: Path) -> list[Run]:
    """The runs of a file that `curves_text` made.

    Raises:
        ValueError: if the file does not exist or is another one.
    """
    if not path.is_file():
        raise ValueError(f"curves are {str(path)!r}, which is no file; it must be one that an analysis has written")
    try:
        return [_from_json(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} does not hold the curves of runs ({error!r}); judge the runs again") from error


def _from_json(content: dict[str, Any]) -> Run:
    name, columns = content.pop("run"), content.pop("curves")
    curves = {}
    for split, keys in columns.items():
        lines = [dict(zip(keys, values, strict=True)) for values in zip(*keys.values(), strict=True)]
        curves[split] = Curve([{key: value for key, value in line.items() if value is not None} for line in lines])
    return Run(Path(name), content, curves)

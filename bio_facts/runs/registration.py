"""Registration: what a claim measures and when it counts as shown, fixed as data before the reported seeds are run.

Each claim has a file train/recipes/CLAIM/registration.yaml:

measures:
  plateau_width:                      # the name of a value that the analysis of the claim computes for each seed
    description: how long the loss stays on its plateau, as a ratio of steps
    figure: 2, middle                 # of the paper
    carrying: true                    # the check that decides about the claim; one of each claim
    scale: log                        # intervals are those of the logarithm (default: linear)
    none: 1                           # the value without the effect
    threshold: 3.5                    # half of the paper's effect: beyond it the effect is shown
    paper: 6.1                        # the paper's value, in this cell of its experiments:
    cell: 64k individuals, 16k steps
    pilot_sd: 0.2                     # standard deviation over seeds among 0 to 4 (those of the pilot), on the measure's scale

In place of `none` and `threshold`, a measure of no change has `inside: [low, high]`. A measure for which the paper has no
number has no `paper`, and in place of `threshold` it has `sign`: 1 or -1, the direction of the effect.
"""

import hashlib
import json
import math
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from bio_facts.runs.recipe import plain
from bio_facts.runs.recipe_files import RecipeFile, read_recipe_file

REGISTRATION_FILE = "registration.yaml"
SCALES = ("linear", "log")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A measure of a claim and what counts as shown; see the module's documentation for its fields."""

    name: str
    description: str
    figure: str
    carrying: bool = False
    scale: str = "linear"
    none: float | None = None
    threshold: float | None = None
    inside: tuple[float, float] | None = None
    sign: int | None = None
    paper: float | None = None
    cell: str = ""
    pilot_sd: float | None = None

    def __post_init__(self) -> None:
        where = f"measure {self.name!r}"
        for name in ("none", "threshold", "paper", "pilot_sd"):
            value = getattr(self, name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)
            ):
                raise ValueError(f"{name} of {where} is {value!r}; expected a number")
        if self.scale not in SCALES:
            raise ValueError(f"scale of {where} is {self.scale!r}; expected one of {', '.join(SCALES)}")
        if self.inside is not None:
            if len(self.inside) != 2 or not self.inside[0] < self.inside[1]:
                raise ValueError(f"inside of {where} is {self.inside!r}; expected two growing numbers, such as [0.61, 1.0]")
            if self.none is not None or self.threshold is not None or self.sign is not None:
                raise ValueError(f"{where} has inside; it must have neither none, threshold nor sign")
            object.__setattr__(self, "inside", tuple(map(float, self.inside)))
        elif self.none is None:
            raise ValueError(f"{where} has no value without the effect; expected none, or inside for a measure of no change")
        elif (self.threshold is None) == (self.sign is None):
            raise ValueError(f"{where} must have a threshold or, if the paper has no number, a sign")
        elif self.sign not in (None, 1, -1):
            raise ValueError(f"sign of {where} is {self.sign!r}; expected 1 or -1")
        elif self.threshold == self.none:
            raise ValueError(f"threshold of {where} is {self.threshold!r}, the value without the effect; expected another")

    @property
    def direction(self) -> int:
        """1 if the effect raises the value, -1 if it lowers it. Not for measures of no change."""
        if self.sign is not None:
            return self.sign
        assert self.threshold is not None and self.none is not None
        return 1 if self.threshold > self.none else -1


@dataclass(frozen=True)
class Registration:
    """The measures of a claim, and the recipes of its arms and seeds at one scale.

    settings: the arms, their seeds and all their settings, as plain JSON types.
    """

    claim: str
    measures: Mapping[str, Measure]
    settings: Mapping[str, Any]

    @property
    def carrying(self) -> Measure | None:
        """The measure that decides about the claim; None if the claim has figures without a verdict only."""
        return next((measure for measure in self.measures.values() if measure.carrying), None)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over measures, arms, seeds and settings, 64 hexadecimal digits."""
        measures = {name: vars(measure) for name, measure in sorted(self.measures.items())}
        content = {"claim": self.claim, "measures": measures, "settings": self.settings}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_measures(folder: Path) -> dict[str, Measure]:
    """Name -> Measure of the claim with this recipe folder.

    Raises:
        ValueError: if the file is missing, is not YAML, or a measure lacks a field or has a wrong one; or if several measures
            are carrying.
    """
    path = folder / REGISTRATION_FILE
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        measures = {name: Measure(name=name, **fields) for name, fields in content["measures"].items()}
    except OSError as error:
        raise ValueError(f"registration {path} cannot be read ({error.strerror}); every claim must have one") from error
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"registration {path} is not well formed: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise ValueError(f"registration {path}: {error}") from error
    if sum(measure.carrying for measure in measures.values()) > 1:
        raise ValueError(f"registration {path} has several carrying measures; expected one")
    return measures


def read_registration(folder: Path, scale: str) -> Registration:
    """The registration of the claim with this recipe folder, at a scale such as "mini"; ValueError as by its readers."""
    return Registration(folder.name, read_measures(folder), _settings(read_recipe_file(folder / f"{scale}.yaml")))


def _settings(file: RecipeFile, arm: str | None = None) -> dict[str, Any]:
    """Everything in a recipe file that decides about the runs of its arms, and about the runs that they start from."""
    arms = {
        name: {"settings": plain(file.arms[name]), "seeds": list(file.seeds_of(name)), "source": _source(file, name)}
        for name in (file.arms if arm is None else [arm])
    }
    settings = {key: value for key, value in plain(file.settings).items() if key != "source"}
    return {"script": file.script, "settings": settings, "arms": arms}


def _source(file: RecipeFile, arm: str) -> dict[str, Any] | None:
    source = file.source_of(arm)
    if source is None:
        return None
    return {"arm": source[1], "recipe": _settings(read_recipe_file(source[0]), source[1])}


def check_committed(folder: Path, *paths: str) -> None:
    """ValueError naming a file below `paths` of a git checkout that differs from its last commit."""
    try:
        status = subprocess.run(
            ["git", "-C", str(folder), "status", "--porcelain", "--", *paths], capture_output=True, text=True, check=False
        )
    except OSError:
        return
    if status.returncode == 0 and status.stdout.strip():
        name = status.stdout.splitlines()[0][3:]
        raise ValueError(
            f"{name} differs from the last commit; what decides about a claim must be committed before the reported seeds are "
            "run (other seeds: --seeds 0,1,2,3,4)"
        )

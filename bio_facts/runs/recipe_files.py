"""Recipe files: YAML with the settings of a recipe and, if a claim compares several variants of it, arms and seeds.

base: ../three_phases/mini.yaml       # all its settings, unless they are given here
seeds: [10, 11, 12]                   # those that results are reported on
num_steps: 500                        # recipe keys; a dot reaches into a mapping
source: ../three_phases/mini.yaml     # the recipe, `FILE` or `FILE#ARM`, whose finished run of the same seed this one needs
script: train_memory.py               # if it is not for pretrain.py
arms:
  few: {dataset_parameters.num_fine_tuning_individuals: 10}
  many: {dataset_parameters.num_fine_tuning_individuals: 100, seeds: [10]}
  other: {attention: {reference_step: 500, start_step: 0}, source_seed: next}
  alpha{alpha}-{steps}:               # an arm for each combination: alpha0-500, alpha0-900, alpha0.6-500, alpha0.6-900
    grid: {alpha: {0: "", 0.6: -alpha0.6}, steps: [500, 900]}
    dataset: n1k{alpha}
    num_steps: "{steps}"

With `source_seed: next` (attention patching), the source is the run of the next larger of the arm's seeds; that of the largest
seed is the run of the smallest. train/run_all.py passes this seed to train/pretrain.py, as --source-seed.

An axis of a grid is a list of values, or a mapping of labels to values: names have the labels, settings the values. An arm that
is listed by itself replaces the arm of the same name in a grid.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

import yaml

from bio_facts.checks import did_you_mean
from bio_facts.runs.recipe import Recipe, frozen, plain

DEFAULT_SCRIPT = "pretrain.py"
NEXT_SEED = "next"
_NO_ARM = ""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # that of libyaml is ten times as fast
    """YAML with floats as people write them: 2e-3 is a number (YAML 1.1 wants 2.0e-3). A key that appears twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} appears twice", node.start_mark)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"),
    list("-+.0123456789"),
)


@dataclass(frozen=True)
class RecipeFile:
    """A recipe file, merged with its base.

    settings: those of all arms. arms: name -> further settings ({"": {}} if the file has no arms). base: the path of the base.
    """

    path: Path
    script: str
    seeds: tuple[int, ...]
    settings: Mapping[str, Any]
    arms: Mapping[str, Mapping[str, Any]]
    base: Path | None = None

    def __post_init__(self) -> None:
        for name in ("settings", "arms"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    def seeds_of(self, arm: str) -> tuple[int, ...]:
        """The seeds that results of an arm are reported on."""
        return tuple(self.arms[arm].get("seeds", self.seeds))

    def source_of(self, arm: str) -> tuple[Path, str] | None:
        """The recipe file and arm whose runs the runs of an arm start from; None if they start from fresh models."""
        source = self._setting(arm, "source")
        if source is None:
            return None
        file, _, source_arm = str(source).partition("#")
        return (self.path.parent / file).resolve(), source_arm

    def source_seed_of(self, arm: str, seed: int, seeds: Sequence[int]) -> int | None:
        """The recipe key source_seed of the run of an arm with `seed`, where the arm has runs of `seeds`."""
        value = self._setting(arm, "source_seed")
        if value is None:
            return None
        if value != NEXT_SEED:
            raise ValueError(f"source_seed of arm {arm!r} of recipe {self.path} is {value!r}; expected {NEXT_SEED}")
        return min((other for other in seeds if other > seed), default=min(seeds))

    def _setting(self, arm: str, key: str) -> Any:
        if arm not in self.arms:
            raise ValueError(f"arm is {arm!r}; recipe {self.path} has {', '.join(map(repr, self.arms))}")
        return self.arms[arm].get(key, self.settings.get(key))

    @property
    def requires(self) -> list[Path]:
        """The recipe files that this one refers to: its base, and the sources of its arms."""
        sources = [source[0] for arm in self.arms if (source := self.source_of(arm)) is not None]
        return ([] if self.base is None else [self.base]) + list(dict.fromkeys(sources))

    def settings_of(self, arm: str | None, overrides: Mapping[str, Any], recipe_class: type[Any]) -> dict[str, Any]:
        """The settings of an arm (None: the only one) with `overrides`, in which a dotted key reaches into a mapping.

        Raises:
            ValueError: if there is no such arm, or a key is not a field of `recipe_class` or missing.
        """
        arms = ", ".join(self.arms)
        if arm is None and len(self.arms) > 1:
            raise ValueError(f"recipe {self.path} has several arms; choose one with --arm: {arms}")
        name = next(iter(self.arms)) if arm is None else arm
        if name not in self.arms:
            raise ValueError(f"arm is {name!r}; recipe {self.path} has {arms if arms else 'none'}")
        settings: dict[str, Any] = plain(self.settings)
        arm_settings = {key: value for key, value in plain(self.arms[name]).items() if key != "seeds"}
        for layer, mark in ((arm_settings, ""), (overrides, "--")):
            _override(settings, layer, mark)
        fields = recipe_class.__dataclass_fields__
        for key in settings:
            if key not in fields:
                hint = did_you_mean(key, fields)
                raise ValueError(f"unknown recipe key {key!r} in {self.path}; the keys are {', '.join(fields)}{hint}")
        for key, field in fields.items():
            if field.default is MISSING and field.default_factory is MISSING and key not in settings:
                example = "a config, such as n64k" if key == "dataset" else "an integer"
                raise ValueError(f"recipe {self.path} lacks {key}; it must be {example}")
        return settings

    def recipe(self, arm: str | None, overrides: Mapping[str, Any]) -> Recipe:
        """The recipe of an arm; ValueError as by `settings_of`, or if a value is not right."""
        return Recipe(**self.settings_of(arm, overrides, Recipe))

    def check_script(self, script: str) -> None:
        """ValueError if the recipe is for another script."""
        if self.script != script:
            raise ValueError(f"recipe {self.path} is for {self.script}; run it with train/{self.script}")


def _override(settings: dict[str, Any], layer: Mapping[str, Any], mark: str) -> None:
    """Put the values of `layer` into `settings`; a source replaces the model_config."""
    if "source" in layer:
        settings.pop("model_config", None)
    for key, value in layer.items():
        target, (*parents, last) = settings, str(key).split(".")
        for parent in parents:
            inner = target.get(parent) or {}
            if not isinstance(inner, dict):
                raise ValueError(f"{mark}{key}: {parent} is {inner!r}, not a mapping; a dot must reach into a mapping")
            target[parent] = target = dict(inner)
        target[last] = value


def read_recipe_file(path: Path, script: str = DEFAULT_SCRIPT, above: tuple[Path, ...] = ()) -> RecipeFile:
    """A recipe file, or the config.json of a run.

    script: the script that it is for, unless it names one. above: the files that are based on it.

    Raises:
        ValueError: if the file, or its base, is missing, is no recipe file, or is its own base.
    """
    chain = (*above, path.resolve())
    if path.resolve() in above:
        names = " -> ".join(file.name for file in chain)
        raise ValueError(f"recipe {path} is its own base ({names}); base must be another file")
    if not path.is_file():
        raise ValueError(
            f"recipe is {str(path)!r}, which is not a file; it must be a YAML file, such as train/recipes/*/*.yaml"
        )
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"recipe {path} is not valid YAML: {' '.join(str(error).split())}") from error
    keys = dict(_mapping(path, "a mapping of recipe keys to values", content))
    if "recipe" in keys:  # the config.json of a run
        keys = dict(_mapping(path, "recipe: a mapping of recipe keys to values", keys["recipe"]))
    script, seeds, arms = keys.pop("script", script), keys.pop("seeds", ()), keys.pop("arms", {_NO_ARM: {}})
    _check_seeds(path, seeds)
    arms = _expanded(path, _mapping(path, "arms: a mapping of names to settings", arms))
    for name, settings in arms.items():
        if not re.fullmatch(r"[\w.-]*", str(name)):
            raise ValueError(
                f"recipe {path} has an arm {name!r}; it must be letters, digits, hyphens and periods, for it names a folder"
            )
        _check_seeds(path, _mapping(path, f"arms: {name}: a mapping of recipe keys to values", settings).get("seeds", ()))
    base = keys.pop("base", None)
    settings = {} if base is None else plain(read_recipe_file(path.parent / str(base), above=chain).settings)
    _override(settings, keys, "")
    arms = {str(name): arm or {} for name, arm in arms.items()}
    base_file = None if base is None else (path.parent / str(base)).resolve()
    return RecipeFile(path, script, tuple(seeds), settings, arms, base_file)


def _expanded(path: Path, arms: Mapping[Any, Any]) -> dict[str, Any]:
    """The arms, with an arm for each combination of values in place of every grid.

    Raises:
        ValueError: if a grid is not a mapping of axes to values, lacks an axis in its name, or has an arm of another grid.
    """
    expanded: dict[str, Any] = {}
    for name, settings in arms.items():
        if not isinstance(settings, dict) or "grid" not in settings:
            continue
        for arm, arm_settings in _arms_of_grid(path, str(name), dict(settings)):
            if arm in expanded:
                raise ValueError(f"recipe {path} has two grids with an arm {arm!r}; names must differ")
            expanded[arm] = arm_settings
    listed = {str(name): arm for name, arm in arms.items() if not isinstance(arm, dict) or "grid" not in arm}
    return expanded | listed if expanded else listed


def _arms_of_grid(path: Path, name: str, settings: dict[Any, Any]) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Name and settings of each arm of a grid."""
    axes = settings.pop("grid")
    is_grid = isinstance(axes, dict) and axes and all(isinstance(axis, list | dict) and axis for axis in axes.values())
    if not is_grid:
        raise ValueError(f"recipe {path} has arms: {name}: grid: {axes!r}; expected axes such as {{steps: [500, 900]}}")
    if (unused := next((axis for axis in axes if f"{{{axis}}}" not in name), None)) is not None:
        raise ValueError(f"recipe {path} has a grid {name!r} without {{{unused}}} in its name; every axis must be in it")
    choices = [axis.items() if isinstance(axis, dict) else zip(axis, axis, strict=True) for axis in axes.values()]
    for combination in itertools.product(*choices):
        labels = dict(zip(axes, (label for label, _ in combination), strict=True))
        values = dict(zip(axes, (value for _, value in combination), strict=True))
        yield _filled(name, labels), {key: _value_in_grid(path, name, value, values) for key, value in settings.items()}


def _value_in_grid(path: Path, name: str, value: Any, values: Mapping[str, Any]) -> Any:
    """The value of a setting in an arm of a grid: in text, values replace the names of axes, and the result is read as YAML."""
    if not isinstance(value, str):
        return value
    if unknown := set(re.findall(r"\{(\w+)\}", value)) - set(values):
        raise ValueError(
            f"recipe {path} has {value!r} in grid {name!r}, which has no axis {min(unknown)!r}; it has {[*values]}"
        )
    filled = _filled(value, values)
    return value if filled == value else parse_value(name, filled)


def _filled(text: str, values: Mapping[str, Any]) -> str:
    for axis, value in values.items():
        text = text.replace(f"{{{axis}}}", str(value))
    return text


def parse_value(key: str, text: str) -> Any:
    """A recipe key's value as it is written in YAML."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{key} is {text!r}, which is not valid YAML; it must be a number, text, list or mapping") from error


def _check_seeds(path: Path, seeds: Any) -> None:
    if not isinstance(seeds, list | tuple) or not all(type(seed) is int for seed in seeds):
        raise ValueError(f"recipe {path} has seeds: {seeds!r}; it must be a list of integers, such as [10, 11, 12]")


def _mapping(path: Path, expected: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"recipe {path} holds {value!r}; it must hold {expected}")
    return value

"""A recipe: every setting of a run, from a YAML file, with command-line overrides. Checked before anything heavy loads."""

import argparse
import dataclasses
import itertools
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

import bio_facts
from bio_facts.config import get_config
from bio_facts.seeding import check_integer
from bio_facts.splits import splits
from bio_facts.tokenization import DEFAULT_TOKENIZER, check_tokenizer

EVALUATED_SPLITS = ("validation", "unseen")
_MAX_STEPS = 10_000_000


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of one pre-training run; defaults are the paper's (section 1.4, Table 1).

    claim: which claim the run is for, and which analysis reads it. dataset: a named config (bio-facts configs).
    num_individuals, pool_sizes: in place of the named config's. tokenizer: "bio_facts", a path, or a cached Hub id.
    model_config: model_type and further fields of a transformers config; vocab_size is the tokenizer's unless given.
    batch_size: biographies per optimiser step, over all processes. learning_rate: the peak; cosine to
    final_learning_rate, after lr_warmup_steps of linear ramp. max_grad_norm: 0 = no clipping.
    eval_every: [[interval, until step], ...]: how often to evaluate. save_every: steps between checkpoints.
    seed: the sampling stream and the initial weights.
    """

    claim: str
    dataset: str
    num_individuals: int | None = None
    pool_sizes: Mapping[str, int] = field(default_factory=dict)
    tokenizer: str = DEFAULT_TOKENIZER
    model_config: Mapping[str, Any]
    batch_size: int = 128
    num_steps: int = 16_000
    learning_rate: float = 4e-4
    final_learning_rate: float = 1e-7
    lr_warmup_steps: int = 0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.95
    adam_epsilon: float = 1e-8  # unstated in the paper; PyTorch's default
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0  # unstated in the paper
    eval_every: Sequence[Sequence[int]] = ((125, 2_000), (500, 16_000))
    num_eval_biographies: int = 16_000
    eval_batch_size: int = 128
    save_every: int = 1_000
    seed: int = 0

    def __post_init__(self) -> None:
        check_integer("seed", self.seed, minimum=0, maximum=2**32 - 1)  # what PyTorch and NumPy take
        check_integer("num_steps", self.num_steps, minimum=1, maximum=_MAX_STEPS)
        for name in ("batch_size", "num_eval_biographies", "eval_batch_size", "save_every"):
            check_integer(name, getattr(self, name), minimum=1)
        check_integer("lr_warmup_steps", self.lr_warmup_steps, minimum=0, maximum=self.num_steps)
        _check_number("learning_rate", self.learning_rate, "a number above 0", lambda x: x > 0)
        _check_number(
            "final_learning_rate", self.final_learning_rate, "from 0 to learning_rate", lambda x: 0 <= x <= self.learning_rate
        )
        for name in ("adam_beta1", "adam_beta2"):
            _check_number(name, getattr(self, name), "a number from 0 to below 1", lambda x: 0 <= x < 1)
        for name in ("adam_epsilon", "weight_decay", "max_grad_norm"):
            _check_number(name, getattr(self, name), "a number of at least 0", lambda x: x >= 0)
        if not isinstance(self.claim, str) or not self.claim:
            raise ValueError(f"claim is {self.claim!r}; it must be the name of a claim, such as three_phases")
        for name in ("pool_sizes", "model_config"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be a mapping of names to values")
        if not isinstance(self.model_config.get("model_type"), str):
            raise ValueError(f"model_config is {dict(self.model_config)}; it must have a model_type, such as gpt_neox")
        try:
            json.dumps(self.as_dict())
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"recipe holds a value that JSON cannot ({error}); use numbers, text, lists and mappings"
            ) from error
        if not isinstance(self.tokenizer, str):
            raise ValueError(f"tokenizer is {self.tokenizer!r}; it must be {DEFAULT_TOKENIZER!r}, a path or a Hub id")
        check_tokenizer(self.tokenizer)
        rows = min(splits(self.data)[split].num_rows for split in EVALUATED_SPLITS)
        check_integer("num_eval_biographies", self.num_eval_biographies, minimum=1, maximum=rows)
        self._check_schedule()

    def _check_schedule(self) -> None:
        parts = self.eval_every if isinstance(self.eval_every, list | tuple) else [None]
        well_formed = all(
            isinstance(part, list | tuple) and len(part) == 2 and all(type(x) is int and x > 0 for x in part) for part in parts
        ) and all(earlier[1] < later[1] for earlier, later in itertools.pairwise(parts))
        if not well_formed:
            raise ValueError(
                f"eval_every is {self.eval_every!r}; it must be a list of [interval, until step] with growing steps, "
                "such as [[125, 2000], [500, 16000]]"
            )
        saved = range(self.save_every, self.num_steps, self.save_every)
        unevaluated = next((step for step in saved if step not in self.eval_steps), None)
        if unevaluated is not None:
            raise ValueError(
                f"save_every is {self.save_every}, but step {unevaluated} is not evaluated by eval_every "
                f"{self.eval_every!r}; a checkpoint must fall on an evaluation"
            )

    @property
    def data(self) -> bio_facts.Config:
        """The data set config with this recipe's overrides and seed."""
        overrides: dict[str, Any] = {"seed": self.seed, "pool_sizes": self.pool_sizes}
        if self.num_individuals is not None:
            overrides["num_individuals"] = self.num_individuals
        config = get_config(self.dataset)
        if not isinstance(config, bio_facts.Config):
            raise ValueError(f"dataset is {self.dataset!r}, which has no biographies; it must be a config such as 'n64k'")
        return config.replace(**overrides)

    @cached_property
    def eval_steps(self) -> frozenset[int]:
        """The steps at which the model is evaluated: 0, those of eval_every, and the last."""
        steps, start = {0, self.num_steps}, 0
        for interval, until in self.eval_every:
            steps.update(range(start + interval, min(until, self.num_steps) + 1, interval))
            start = until
        return frozenset(steps)

    def as_dict(self) -> dict[str, Any]:
        """All settings as plain JSON types."""
        return {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}


def _check_number(name: str, value: object, wanted: str, accept: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not accept(value):
        raise ValueError(f"{name} is {value!r}; it must be {wanted}")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


class _Loader(yaml.SafeLoader):
    """YAML with floats as people write them: 2e-3 is a number (YAML 1.1 wants 2.0e-3). A key stands once in a mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"),
    list("-+.0123456789"),
)


def load_recipe(path: Path, overrides: Mapping[str, Any]) -> Recipe:
    """The recipe of a YAML file, or of a run's config.json, with `overrides` (a dotted key reaches into a mapping).

    Raises:
        ValueError: if the file is missing or is no recipe, a key is unknown, or a value is not right.
    """
    if not path.is_file():
        raise ValueError(
            f"recipe is {str(path)!r}, which is not a file; it must be a YAML file, such as train/recipes/*/*.yaml"
        )
    try:
        settings = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"recipe {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"recipe {path} holds {settings!r}; it must hold a mapping of recipe keys to values")
    settings = settings.get("recipe", settings)
    if not isinstance(settings, dict):
        raise ValueError(f"recipe {path} holds recipe: {settings!r}; it must be a mapping of recipe keys to values")
    for key, value in overrides.items():
        target, (*parents, last) = settings, key.split(".")
        for parent in parents:
            inner = target.get(parent) or {}
            if not isinstance(inner, dict):
                raise ValueError(f"--{key}: {parent} is {inner!r}, not a mapping; a dot must reach into a mapping")
            target[parent] = target = dict(inner)
        target[last] = value
    fields = Recipe.__dataclass_fields__
    for key in settings:
        if key not in fields:
            raise ValueError(f"unknown recipe key {key!r} in {path}; the keys are {', '.join(fields)}")
    missing = [key for key in ("claim", "dataset", "model_config") if key not in settings]
    if missing:
        raise ValueError(f"recipe {path} lacks {', '.join(missing)}")
    return Recipe(**settings)


@dataclass(frozen=True)
class Arguments:
    """What a training script was asked to do."""

    recipe: Recipe
    output_dir: Path


def parse_arguments(description: str, argv: Sequence[str] | None = None) -> Arguments:
    """Recipe and output folder from the command line; wrong input ends the program with one line and exit code 2."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.error = lambda message: parser.exit(2, f"{parser.prog}: error: {message}\n")  # type: ignore[method-assign]
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="recipe (YAML), or a run's config.json")
    parser.add_argument(
        "--output_dir", type=Path, required=True, metavar="DIR", help="where the run is kept; resumed if it is there"
    )
    recipe_keys = parser.add_argument_group(
        "recipe keys", "Each takes the place of the recipe's value, written as YAML. A dot reaches into a mapping: "
        "--model_config.hidden_size 256\n\n" + (Recipe.__doc__ or "")
    )  # fmt: skip
    for name, key in Recipe.__dataclass_fields__.items():
        given = key.default is dataclasses.MISSING
        recipe_keys.add_argument(f"--{name}", metavar="VALUE", help="" if given else f"default: {key.default}")
    known, extra = parser.parse_known_args(_joined(sys.argv[1:] if argv is None else argv))
    try:
        overrides = {name: value for name in Recipe.__dataclass_fields__ if (value := getattr(known, name)) is not None}
        overrides |= _dotted_overrides(extra)
        values = {key: _parse_value(key, value) for key, value in overrides.items()}
        return Arguments(load_recipe(known.config, values), known.output_dir)
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
        raise AssertionError from error  # error() does not return


def _parse_value(key: str, text: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{key} is {text!r}, which is not valid YAML; it must be a number, text, list or mapping") from error


def _joined(argv: Sequence[str]) -> list[str]:
    """`--key -1e-3` as `--key=-1e-3`: argparse takes a negative number in scientific notation for an option."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1].startswith("--") and "=" not in joined[-1] and re.match(r"-[\d.]", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _dotted_overrides(arguments: list[str]) -> dict[str, str]:
    """{"model_config.hidden_size": "256"} from ["--model_config.hidden_size", "256"] or ["--model_config.hidden_size=256"]."""
    overrides, left = {}, list(arguments)
    while left:
        key, equals, value = left.pop(0).partition("=")
        parent, dot, _ = key.removeprefix("--").partition(".")
        if not key.startswith("--") or not dot or parent not in ("pool_sizes", "model_config"):
            raise ValueError(f"unknown argument {key!r}; the recipe keys are {', '.join(Recipe.__dataclass_fields__)}")
        if not equals:
            if not left:
                raise ValueError(f"argument {key} has no value")
            value = left.pop(0)
        overrides[key.removeprefix("--")] = value
    return overrides

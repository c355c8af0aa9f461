"""The command line of the training scripts."""

import argparse
import dataclasses
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bio_facts.runs.recipe import MAPPINGS, MemoryRecipe, Recipe
from bio_facts.runs.recipe_files import parse_value, read_recipe_file


@dataclass(frozen=True)
class Arguments:
    """What a training script was asked to do."""

    recipe: Any
    output_dir: Path
    report_to: list[str]
    allow_other_machine: bool


def parse_arguments(
    description: str, argv: Sequence[str] | None = None, kind: type[Recipe] | type[MemoryRecipe] = Recipe
) -> Arguments:
    """Recipe and output folder from the command line; wrong input ends the program with one line and exit code 2."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.error = lambda message: parser.exit(2, f"{parser.prog}: error: {message}\n")  # type: ignore[method-assign]
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="recipe (YAML), or a run's config.json")
    parser.add_argument("--arm", metavar="NAME", help="which of the arms of the recipe file, where it has several")
    parser.add_argument(
        "--output_dir", type=Path, required=True, metavar="DIR", help="where the run is kept; resumed if it is there"
    )
    if kind is Recipe:  # a memory's run is over in seconds: it begins anew, and reports to nobody
        parser.add_argument(
            "--report_to",
            nargs="+",
            default=[],
            metavar="NAME",
            help="also log to tensorboard, trackio, wandb, ..., as transformers can; all: to those that are installed",
        )
        parser.add_argument(
            "--allow_other_machine",
            action="store_true",
            help="resume a run that began on another device, or with another number of threads or processes or other versions: "
            "its numbers go on, but not as they would have there; config.json notes it",
        )
    else:
        parser.set_defaults(report_to=[], allow_other_machine=False)
    recipe_keys = parser.add_argument_group(
        "recipe keys", "Each takes the place of the recipe's value, written as YAML. A dot reaches into a mapping: "
        "--model_config.hidden_size 256\n\n" + (kind.__doc__ or "")
    )  # fmt: skip
    for name, key in kind.__dataclass_fields__.items():
        default = "" if key.default is dataclasses.MISSING else f"default: {key.default}"
        recipe_keys.add_argument(f"--{name}", metavar="VALUE", help=default)
    known, extra = parser.parse_known_args(_joined(sys.argv[1:] if argv is None else argv))
    try:
        overrides = {name: value for name in kind.__dataclass_fields__ if (value := getattr(known, name)) is not None}
        overrides |= _dotted_overrides(extra, kind)
        values = {key: parse_value(key, value) for key, value in overrides.items()}
        script = "train_memory.py" if kind is MemoryRecipe else "pretrain.py"
        file = read_recipe_file(known.config, script)
        if file.kind is not kind:
            raise ValueError(f"recipe {known.config} is for {file.script}; run it with train/{file.script}")
        return Arguments(file.recipe(known.arm, values), known.output_dir, known.report_to, known.allow_other_machine)
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
        raise AssertionError from error  # error() does not return


def _joined(argv: Sequence[str]) -> list[str]:
    """`--key -1e-3` as `--key=-1e-3`: argparse takes a negative number in scientific notation for an option."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1].startswith("--") and "=" not in joined[-1] and re.match(r"-[\d.]", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _dotted_overrides(arguments: list[str], kind: type[Recipe] | type[MemoryRecipe]) -> dict[str, str]:
    """{"model_config.hidden_size": "256"} from ["--model_config.hidden_size", "256"] or ["--model_config.hidden_size=256"]."""
    overrides, left = {}, list(arguments)
    while left:
        key, equals, value = left.pop(0).partition("=")
        parent, dot, _ = key.removeprefix("--").partition(".")
        if not key.startswith("--") or not dot or parent not in MAPPINGS:
            raise ValueError(f"unknown argument {key!r}; the recipe keys are {', '.join(kind.__dataclass_fields__)}")
        if not equals:
            if not left:
                raise ValueError(f"argument {key} has no value")
            value = left.pop(0)
        overrides[key.removeprefix("--")] = value
    return overrides

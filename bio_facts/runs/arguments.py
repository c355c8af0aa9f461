"""The command line of train/pretrain.py."""

import argparse
import dataclasses
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bio_facts.checks import Parser, did_you_mean
from bio_facts.runs.recipe import MAPPINGS, Recipe
from bio_facts.runs.recipe_files import DEFAULT_SCRIPT, parse_value, read_recipe_file


@dataclass(frozen=True)
class Arguments:
    """What the command line asks for."""

    recipe: Recipe
    output_dir: Path
    report_to: list[str]
    allow_other_machine: bool
    registration: str | None


def parse_arguments(description: str, argv: Sequence[str] | None = None) -> Arguments:
    """Recipe and output folder from the command line; wrong input ends the program with one line and exit code 2."""
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="recipe (YAML), or a run's config.json")
    parser.add_argument("--arm", metavar="NAME", help="which of the arms of the recipe file, where it has several")
    parser.add_argument(
        "--output-dir", type=Path, required=True, metavar="DIR", help="folder of the run; an interrupted run in it is resumed"
    )
    parser.add_argument(
        "--report-to", nargs="+", default=[], metavar="NAME",
        help="also log to tensorboard, trackio, wandb or any other tracker of transformers; all: to every installed one",
    )  # fmt: skip
    parser.add_argument(
        "--allow-other-machine", action="store_true",
        help="resume a run that began on another device, or with another number of threads or processes or other versions: "
        "the last digits of its numbers will differ from an uninterrupted run; config.json records the machine",
    )  # fmt: skip
    parser.add_argument("--registration", metavar="DIGEST", help="written to config.json; run_all.py passes that of the claim")
    recipe_keys = parser.add_argument_group(
        "recipe keys", "Each replaces the recipe's value, and is written as in YAML. A dot reaches into a mapping: "
        "--model_config.hidden_size 256\n\n" + (Recipe.__doc__ or "")
    )  # fmt: skip
    for name, field in Recipe.__dataclass_fields__.items():
        default = "" if field.default is dataclasses.MISSING else f"default: {field.default}"
        recipe_keys.add_argument(f"--{name.replace('_', '-')}", metavar="VALUE", help=default)
    arguments, others = parser.parse_known_args(_joined(sys.argv[1:] if argv is None else argv))
    try:
        texts = {name: text for name in Recipe.__dataclass_fields__ if (text := getattr(arguments, name)) is not None}
        texts |= _dotted_overrides(others)
        file = read_recipe_file(arguments.config)
        file.check_script(DEFAULT_SCRIPT)
        recipe = file.recipe(arguments.arm, {key: parse_value(key, text) for key, text in texts.items()})
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
    return Arguments(recipe, arguments.output_dir, arguments.report_to, arguments.allow_other_machine, arguments.registration)


def _joined(argv: Sequence[str]) -> list[str]:
    """`--key -1e-3` as `--key=-1e-3`: argparse takes a negative number in scientific notation for an option."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1].startswith("--") and "=" not in joined[-1] and re.match(r"-[\d.]", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _dotted_overrides(arguments: Sequence[str]) -> dict[str, str]:
    """{"model_config.hidden_size": "256"} from ["--model-config.hidden-size", "256"] or ["--model_config.hidden_size=256"]."""
    overrides: dict[str, str] = {}
    remaining: list[str] = list(arguments)
    while remaining:
        flag, equals, value = remaining.pop(0).partition("=")
        key = flag.removeprefix("--").replace("-", "_")
        parent, dot, _ = key.partition(".")
        if not flag.startswith("--") or not dot or parent not in MAPPINGS:
            known = Recipe.__dataclass_fields__
            raise ValueError(f"unknown argument {flag!r}; the recipe keys are {', '.join(known)}{did_you_mean(key, known)}")
        if not equals:
            if not remaining:
                raise ValueError(f"argument {flag} has no value")
            value = remaining.pop(0)
        overrides[key] = value
    return overrides

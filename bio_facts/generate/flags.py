"""Flags for the parameters of configs, in any command that makes biographies: one for each declared Setting."""

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Any

from bio_facts.checks import whole_number
from bio_facts.generate.config import BaseConfig, all_settings, get_config
from bio_facts.generate.mixture import Mixture
from bio_facts.generate.settings import Setting


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be a number") from None


def _pool_sizes(text: str) -> dict[str, int]:
    try:
        pairs = [(pool, int(size)) for pool, size in (pair.split("=") for pair in text.split(","))]
    except ValueError:
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be like cities=32,years=4, with integers") from None
    if len(dict(pairs)) < len(pairs):
        raise argparse.ArgumentTypeError(f"it is {text!r}, which names a pool twice; it must be like cities=32,years=4")
    return dict(pairs)


def _phases(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be JSON, such as {_EXAMPLES[Mixture]}") from None


# What follows the help of a setting of this type.
_EXAMPLES: Mapping[Any, str] = {
    Mapping: "cities=32,years=4,last_names=100",
    Mixture: '[[1000, {"biographies": 1, "questions": 1}]]',
}
# Type of a setting -> from its name, the function that reads it from the command line. Settings of other types have no flag.
_READERS: Mapping[Any, Callable[[str], Callable[[str], Any]]] = {
    int: whole_number,
    float: lambda name: _number,
    str: lambda name: str,
    Mapping: lambda name: _pool_sizes,
    Mixture: lambda name: _phases,
}


def _flag_settings() -> dict[str, Setting]:
    return {name: setting for name, setting in all_settings().items() if setting.type in _READERS}


class _Once(argparse.Action):
    """Stores a value, and refuses a second one, which would silently replace the first."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"argument {option_string} is given twice; give all its values at once")
        setattr(namespace, self.dest, values)


def add_parameters(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each parameter of a config; those of all distributions are included."""
    group = parser.add_argument_group("parameters", "replace those of the named config")
    for name, setting in _flag_settings().items():
        example = f"; example: {_EXAMPLES[setting.type]}" if setting.type in _EXAMPLES else ""
        group.add_argument(
            f"--{name.replace('_', '-')}", type=_READERS[setting.type](name), action=_Once, help=setting.help + example,
            choices=setting.choices or None, metavar=None if setting.choices else "X",
        )  # fmt: skip


def given_parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """The parameters that were given as flags."""
    return {name: getattr(arguments, name) for name in _flag_settings() if getattr(arguments, name) is not None}


def chosen_config(name: str, arguments: argparse.Namespace) -> BaseConfig:
    """The named config with the parameters that were given as flags; ValueError as raised by get_config and its replace."""
    config: BaseConfig = get_config(name).replace(**given_parameters(arguments))
    return config

"""What bio-facts does for terminals and shells: colors and completion. Imports nothing of the package."""

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

NAME_COLOR, VALUE_COLOR, _RESET = "\x1b[36m", "\x1b[1;33m", "\x1b[0m"  # cyan; bold yellow


def shows_color(stream: TextIO) -> bool:
    """Whether a stream is a terminal that takes colors, and NO_COLOR (https://no-color.org) is not set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def colored(text: str, spans: Mapping[str, Iterable[Mapping[str, Any]]]) -> str:
    """The text with its spans in color. spans: color -> spans with start and end; none overlaps another."""
    pieces, position = [], 0
    for start, end, color in sorted((span["start"], span["end"], color) for color, marked in spans.items() for span in marked):
        pieces += [text[position:start], color, text[start:end], _RESET]
        position = end
    return "".join([*pieces, text[position:]])


SHELLS = ("bash", "zsh")
_PATHS = ("DIR", "FILE", "MODEL", "RUN")  # metavars of arguments that are files or folders


def completion(parser: argparse.ArgumentParser, shell: str, configs: Sequence[str]) -> str:
    """The script with which a shell completes a command line: commands, flags, names of configs (metavar CONFIG), paths."""
    import shtab

    (commands,) = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for command in commands.values():
        for action in command._actions:
            if action.metavar == "CONFIG":
                action.choices = configs
            elif action.metavar in _PATHS:
                action.complete = shtab.FILE
    return str(shtab.complete(parser, shell))

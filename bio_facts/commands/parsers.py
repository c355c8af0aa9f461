"""What the commands of bio-facts share: how one is added to the command line, and arguments that several have."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bio_facts.checks import Parser, whole_number

FORMATTING: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
CONFIG_HELP = "n64k, n64k-alpha0.6, individuals, ...; list: bio-facts configs"


class Commands:
    """The commands of a command line."""

    def __init__(self, parser: Parser) -> None:
        self._subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(
        self,
        name: str,
        run: Callable[[argparse.Namespace], int | None],
        summary: str,
        description: str,
        examples: str,
        *,
        resumes: bool = False,
    ) -> Parser:
        """The parser of a new command, which calls `run`. resumes: run again, the command does not start anew."""
        command: Parser = self._subparsers.add_parser(
            name, help=summary, description=description, epilog=f"examples:\n{examples}", **FORMATTING
        )
        command.set_defaults(run=run, resumes=resumes)
        return command


def path_argument(text: str) -> Path:
    """How to read a path from the command line."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be a path")
    return Path(text).expanduser()


def add_num_workers(command: Parser) -> None:
    """Add the flag for the number of threads."""
    command.add_argument(
        "--num-workers",
        type=whole_number("num_workers", 1),
        default=os.cpu_count() or 1,
        metavar="K",
        help="number of threads (default: one per core)",
    )

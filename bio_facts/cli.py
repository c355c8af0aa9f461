"""bio-facts: print biographies, build, verify and publish datasets of them, and score models on them.

bio-facts configs
bio-facts sample n64k --num 3
bio-facts sample n64k-alpha0.6 --alpha 0.7 --seed 1 --json
bio-facts build n1k individuals templates --output-dir export
bio-facts verify export
bio-facts push you/bio_facts --from export
bio-facts push --canonical you/bio_facts
bio-facts order n64k --batch-size 128 --output-file order.parquet
bio-facts score EleutherAI/pythia-70m --dataset n64k --num-rows 200
bio-facts plot runs/demo runs/smoke --output-file curves.svg
bio-facts verify-run runs/demo --quick
bio-facts push-run you/bio_facts-demo --from runs/demo
bio-facts push-space you/attribute_recall
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from bio_facts import __version__
from bio_facts.checks import Parser
from bio_facts.commands.data import add_data_commands
from bio_facts.commands.hub import add_hub_commands
from bio_facts.commands.models import add_model_commands
from bio_facts.commands.parsers import FORMATTING, Commands
from bio_facts.generate.config import CONFIGS, DATA_VERSION
from bio_facts.terminal import SHELLS, completion


class _PrintCompletion(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: object, values: Any, option_string: str | None = None
    ) -> None:
        try:
            print(completion(parser, values, list(CONFIGS)), flush=True)
        except BrokenPipeError:
            _discard_output()
        parser.exit()


def _discard_output() -> None:
    """After the reader of stdout, such as head, has stopped reading: what is left to write goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def build_parser() -> argparse.ArgumentParser:
    """The command line of bio-facts."""
    parser = Parser(prog="bio-facts", description=__doc__, **FORMATTING)
    parser.add_argument("--version", action="version", version=f"bio-facts {__version__}, data {DATA_VERSION}")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=SHELLS,
        help="print what lets a shell complete commands, and exit",
    )
    commands = Commands(parser)
    add_data_commands(commands)
    add_model_commands(commands)
    add_hub_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; exit code 2 and one line on stderr for invalid input, 1 for a score that is too low."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    code = 0
    try:
        code = arguments.run(arguments) or 0
        sys.stdout.flush()
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
    except BrokenPipeError:
        _discard_output()
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        parser.error(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        hint = "; run the same command to resume" if arguments.resumes else ""
        print(f"{parser.prog}: interrupted{hint}", file=sys.stderr)
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())

"""bio-facts: list the configs and print biographies of any of them.

bio-facts configs
bio-facts sample n64k --num 3
bio-facts sample n1k --split validation --start 100 --num 2 --json
"""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from bio_facts import __version__
from bio_facts.config import CONFIGS, DATA_VERSION, get_config
from bio_facts.records import canonical_json, rows
from bio_facts.seeding import check_integer
from bio_facts.splits import SPLITS, draw, get_split

_ROWS_AT_A_TIME = 1_000


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def _whole_number(name: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            return check_integer(name, int(text), minimum=0)
        except ValueError:
            raise argparse.ArgumentTypeError(f"it is {text!r}; it must be an integer of at least 0") from None

    return parse


def _configs(arguments: argparse.Namespace) -> None:
    listed: list[dict[str, Any]] = [
        {
            "name": name,
            "splits": {split.name: split.num_rows(config) for split in SPLITS.values()},
            "num_individuals": config.num_individuals,
            "seed": config.seed,
            "population_seed": config.population_seed,
            "distribution": type(config.distribution).__name__.lower(),
            "fingerprint": config.fingerprint,
        }
        for name, config in CONFIGS.items()
    ]
    if arguments.json:
        print(json.dumps(listed, indent=2))
        return
    print(f"{'config':<8} {'individuals':>12} " + " ".join(f"{split:>12}" for split in SPLITS) + "  fingerprint")
    for entry in listed:
        counts = " ".join(f"{count:>12,}" for count in entry["splits"].values())
        print(f"{entry['name']:<8} {entry['num_individuals']:>12,} {counts}  {entry['fingerprint']}")


def _sample(arguments: argparse.Namespace) -> None:
    config, split = get_config(arguments.config), get_split(arguments.split)
    if arguments.seed is not None:
        config = dataclasses.replace(config, seed=arguments.seed)
    start, end, num_rows = arguments.start, arguments.start + arguments.num, split.num_rows(config)
    if end > num_rows:
        raise ValueError(
            f"start + num is {end:,}, beyond the {num_rows:,} rows of {arguments.config}/{split.name}; it must be at most that"
        )
    for first in range(start, end, _ROWS_AT_A_TIME):
        for row in rows(draw(config, split.name, np.arange(first, min(first + _ROWS_AT_A_TIME, end)))):
            print(canonical_json(row) if arguments.json else "\n".join(_lines(row)))


def _lines(row: dict[str, Any]) -> Iterator[str]:
    yield f"biography {row['biography_id']}, individual {row['individual_id']}"
    yield row["text"]
    yield "  ".join(f"{found['attribute']}={found['value']}" for found in row["attributes"])
    yield ""


def build_parser() -> argparse.ArgumentParser:
    """The command line of bio-facts."""
    formatting = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    parser = _Parser(prog="bio-facts", description=__doc__, **formatting)  # type: ignore[arg-type]
    parser.add_argument("--version", action="version", version=f"bio-facts {__version__}, data {DATA_VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="{configs,sample}")

    configs = commands.add_parser("configs", help="list the named configs", **formatting)  # type: ignore[arg-type]
    configs.add_argument("--json", action="store_true", help="as JSON, with seeds and distribution")
    configs.set_defaults(run=_configs)

    sample = commands.add_parser(
        "sample",
        help="print biographies",
        description="Print rows of a split, made on the spot.",
        epilog="  bio-facts sample n64k --num 3\n  bio-facts sample n1k --split unseen --start 100 --num 2 --json",
        **formatting,  # type: ignore[arg-type]
    )
    sample.add_argument("config", metavar="CONFIG", help=", ".join(CONFIGS))
    sample.add_argument("--split", default="train", help=f"{', '.join(SPLITS)} (default: train)")
    sample.add_argument("--num", type=_whole_number("num"), default=1, metavar="K", help="how many rows (default: 1)")
    sample.add_argument(
        "--start", type=_whole_number("start"), default=0, metavar="I", help="index of the first row (default: 0)"
    )
    sample.add_argument("--seed", type=_whole_number("seed"), metavar="S", help="sampling seed in place of the config's")
    sample.add_argument("--json", action="store_true", help="one JSON object a line, the rows of the data set")
    sample.set_defaults(run=_sample)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; exit code 2 and one line on stderr for input that cannot be used."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except ValueError as error:
        parser.error(str(error))
    except BrokenPipeError:  # the reader, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())

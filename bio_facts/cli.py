"""bio-facts: look at the data, build it for the Hugging Face Hub, verify and publish it.

bio-facts configs
bio-facts sample n64k --num 3
bio-facts sample n64k-alpha0.6 --alpha 0.7 --seed 1 --json
bio-facts build n1k individuals templates --out export
bio-facts verify export
bio-facts push you/bio_facts --from export
bio-facts order n64k --batch-size 128 --out order.parquet
"""

import argparse
import fnmatch
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bio_facts import __version__
from bio_facts.checks import Parser, whole_number
from bio_facts.generate.config import CONFIGS, DATA_VERSION, BaseConfig, Config, get_config
from bio_facts.publish.card import REPOSITORY
from bio_facts.publish.export import build, is_built, verify
from bio_facts.publish.hub import push
from bio_facts.publish.order import write_order
from bio_facts.publish.shards import cut
from bio_facts.publish.tables import canonical_json, num_rows, record_batch

_ROWS_AT_A_TIME = 1_000
_CONFIG_HELP = "n64k, n64k-alpha0.6, individuals, ...; bio-facts configs lists all"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be a number") from None


def _pool_sizes(text: str) -> dict[str, int]:
    try:
        pairs = [(pool, int(size)) for pool, size in (part.split("=") for part in text.split(","))]
    except ValueError:
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be like cities=32,years=4") from None
    if len(dict(pairs)) < len(pairs):
        raise argparse.ArgumentTypeError(f"it is {text!r}, which names a pool twice; it must be like cities=32,years=4")
    return dict(pairs)


def _path(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be a path")
    return Path(text).expanduser()


# Parameter of a config -> how to read it, and what it is; each is a flag of sample, build and order.
_PARAMETERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "num_individuals": (whole_number("num_individuals"), "people of pre-training"),
    "num_biographies": (whole_number("num_biographies"), "rows of the train split"),
    "seed": (whole_number("seed"), "of the samples: whom they are about, their templates and order"),
    "population_seed": (whole_number("population_seed"), "of the people: names, values and held-out templates"),
    "pool_sizes": (_pool_sizes, "draw values and name parts from the first items of a pool: cities=32,years=4,last_names=100"),
    "alpha": (_number, "exponent of the power law (alpha configs)"),
    "num_celebrities": (whole_number("num_celebrities"), "how many are likelier (celebrities configs)"),
    "celebrity_weight": (whole_number("celebrity_weight"), "how much likelier (celebrities configs)"),
    "num_warmup_individuals": (whole_number("num_warmup_individuals"), "who comes first (warmup configs)"),
    "num_warmup_biographies": (whole_number("num_warmup_biographies"), "for how many rows (warmup configs)"),
    "num_fine_tuning_individuals": (whole_number("num_fine_tuning_individuals"), "new people (finetune configs)"),
    "replay_weight": (_number, "of each pre-training person against 1 of a new one (finetune configs)"),
    "num_groups": (whole_number("num_groups"), "that come one after another (groups configs)"),
    "num_group_biographies": (whole_number("num_group_biographies"), "for how many rows each (groups configs)"),
    "first_group": (whole_number("first_group"), "which of them comes first, from 0 (groups configs)"),
}


def add_parameters(parser: argparse.ArgumentParser) -> None:
    """Give a command a flag for each parameter of a config."""
    group = parser.add_argument_group("parameters", "in place of those of the named config")
    for name, (parse, meaning) in _PARAMETERS.items():
        group.add_argument(f"--{name.replace('_', '-')}", type=parse, metavar="X", help=meaning)


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    return {key: getattr(arguments, key) for key in _PARAMETERS if getattr(arguments, key) is not None}


def chosen_config(name: str, arguments: argparse.Namespace) -> BaseConfig:
    """The named config with the parameters that were given; ValueError as get_config and its replace raise it."""
    config: BaseConfig = get_config(name).replace(**_given(arguments))
    return config


def _configs(arguments: argparse.Namespace) -> None:
    if arguments.json:
        listed = [
            {"name": name, "table": config.table, "splits": num_rows(config)}
            | config.parameters
            | {"fingerprint": config.fingerprint}
            for name, config in CONFIGS.items()
        ]
        print(json.dumps(listed, indent=2))
        return
    print(f"{'config':<29} {'individuals':>11}  {'distribution':<12} {'fingerprint':<16}  rows")
    for name, config in CONFIGS.items():
        parameters = config.parameters
        people = f"{parameters['num_individuals']:,}" if "num_individuals" in parameters else ""
        counts = ", ".join(f"{split} {count:,}" for split, count in num_rows(config).items())
        print(f"{name:<29} {people:>11}  {parameters.get('distribution', ''):<12} {config.fingerprint}  {counts}")


def _sample(arguments: argparse.Namespace) -> None:
    config = chosen_config(arguments.config, arguments)
    counts = num_rows(config)
    split = next(iter(counts)) if arguments.split is None else arguments.split
    if split not in counts:
        raise ValueError(f"split is {split!r}; {arguments.config} has {', '.join(counts)}")
    start, end = arguments.start, arguments.start + arguments.num
    if end > counts[split]:
        raise ValueError(
            f"start + num is {end:,}, beyond the {counts[split]:,} rows of {arguments.config}/{split}; it must be at most that"
        )
    for part in cut(range(start, end), _ROWS_AT_A_TIME):
        batch = record_batch(config, split, np.asarray(part))
        for line in canonical_json(batch).to_pylist() if arguments.json else _lines(batch.to_pylist()):
            print(line)


def _lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        if "text" in row:
            yield f"biography {row['biography_id']}, individual {row['individual_id']}"
            yield row["text"]
            yield "  ".join(f"{found['attribute']}={found['value']}" for found in row["attributes"])
        else:
            yield "  ".join(f"{column}={value}" for column, value in row.items() if not isinstance(value, dict))
        yield ""


def _build(arguments: argparse.Namespace) -> None:
    configs, used = {}, set()
    given = _given(arguments)
    for name in itertools.chain.from_iterable(fnmatch.filter(CONFIGS, pattern) or [pattern] for pattern in arguments.config):
        own = given.keys() & get_config(name).parameters
        config: BaseConfig = get_config(name).replace(**{key: given[key] for key in own})
        used |= own
        same = config.fingerprint == get_config(name).fingerprint
        configs[name if same else f"{name}-{config.fingerprint[:8]}"] = config
    if given.keys() - used:
        raise ValueError(
            f"unknown parameter {min(given.keys() - used)!r} of {', '.join(arguments.config)}; none of them has it"
        )
    if is_built(configs, arguments.out):
        print(f"{arguments.out}: already built")
        return
    start = time.perf_counter()
    count = build(configs, arguments.out, arguments.num_workers)
    seconds = time.perf_counter() - start
    print(f"{arguments.out}: {', '.join(configs)}; {count:,} rows in {seconds:.1f} s ({count / seconds:,.0f} rows/s)")


def _verify(arguments: argparse.Namespace) -> None:
    count = verify(arguments.folder, arguments.num_workers)
    print(f"{arguments.folder}: {count:,} rows, all as they must be")


def _push(arguments: argparse.Namespace) -> None:
    print(push(arguments.repo_id, arguments.folder, private=arguments.private, num_workers=arguments.num_workers))


def _order(arguments: argparse.Namespace) -> None:
    config = chosen_config(arguments.config, arguments)
    if not isinstance(config, Config):
        raise ValueError(f"config is {arguments.config!r}, which has no biographies; it must be one such as n64k")
    with tqdm(total=config.num_biographies, desc="order", unit=" rows", unit_scale=True, disable=None) as bar:
        for count in write_order(config, arguments.batch_size, arguments.out):
            bar.update(count)
    num_steps = -(-config.num_biographies // arguments.batch_size)
    print(f"{arguments.out}: {config.num_biographies:,} biographies in {num_steps:,} steps")


def build_parser() -> argparse.ArgumentParser:
    """The command line of bio-facts."""
    formatting: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    parser = Parser(prog="bio-facts", description=__doc__, **formatting)
    parser.add_argument("--version", action="version", version=f"bio-facts {__version__}, data {DATA_VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], None], summary: str, description: str, examples: str) -> Parser:
        command: Parser = commands.add_parser(
            name, help=summary, description=description, epilog=f"examples:\n{examples}", **formatting
        )
        command.set_defaults(run=run)
        return command

    configs = add("configs", _configs, "list the named configs", "List the named configs.", "  bio-facts configs --json")
    configs.add_argument("--json", action="store_true", help="as JSON, with all parameters")

    sample = add(
        "sample",
        _sample,
        "print rows",
        "Print rows of a split, made on the spot.",
        "  bio-facts sample n64k --num 3\n  bio-facts sample n1k --split unseen --start 100 --num 2 --json\n"
        "  bio-facts sample individuals --split finetune",
    )
    sample.add_argument("config", metavar="CONFIG", help=_CONFIG_HELP)
    sample.add_argument("--split", help="default: the config's first, which is train but for individuals")
    sample.add_argument("--num", type=whole_number("num"), default=1, metavar="K", help="how many rows (default: 1)")
    sample.add_argument(
        "--start", type=whole_number("start"), default=0, metavar="I", help="index of the first row (default: 0)"
    )
    sample.add_argument("--json", action="store_true", help="one JSON object a line, the rows of the data set")

    making = add(
        "build",
        _build,
        "write configs as Parquet, with card and manifest",
        "Write configs to a folder as the Hugging Face Hub wants it: data/<config>/<split>-*.parquet, README.md (the\n"
        "card) and manifest.json (row counts and content digests). The folder is whole or absent: until all is complete\n"
        "it is DIR.partial, and the same command again goes on from there.",
        "  bio-facts build n1k individuals templates --out export\n"
        "  bio-facts build 'n64k*' --out export\n"
        "  bio-facts build n64k-alpha0.6 --alpha 0.7 --num-biographies 100000 --out export",
    )
    making.add_argument("config", metavar="CONFIG", nargs="+", help=f"{_CONFIG_HELP}; * stands for anything")
    making.add_argument("--out", type=_path, required=True, metavar="DIR", help="folder to write; must not exist")

    checking = add(
        "verify",
        _verify,
        "compare an export with its definition",
        "Make every row of an export anew and compare; names the first file and row that differ. README.md, the card, may be\n"
        "edited and is not compared.",
        "  bio-facts verify export",
    )
    checking.add_argument("folder", type=_path, metavar="DIR", help="what bio-facts build wrote")

    pushing = add(
        "push",
        _push,
        "publish an export on the Hub",
        f"Verify an export, upload it as a data set, and set the tag v{DATA_VERSION} last. A tag that exists is never moved.\n"
        f"In the card that is uploaded, REPO_ID stands for {REPOSITORY}. Log in first (hf auth login).",
        "  bio-facts push you/bio_facts --from export",
    )
    pushing.add_argument("repo_id", metavar="REPO_ID", help="you/bio_facts; created if it is not there")
    pushing.add_argument("--from", dest="folder", type=_path, required=True, metavar="DIR", help="what bio-facts build wrote")
    pushing.add_argument("--private", action="store_true", help="a repository that is created is private")

    ordering = add(
        "order",
        _order,
        "write which biography stands in which batch",
        "Write (step, slot, biography_id, individual_id, exposure) of a training run. step is from 1 on, slot from 0 on, and\n"
        "exposure is 1 for the first biography of an individual, 2 for the second, and so on.",
        "  bio-facts order n64k --batch-size 128 --out order.parquet\n"
        "  bio-facts order n1k --num-biographies 36800 --batch-size 16 --seed 10 --out order.csv",
    )
    ordering.add_argument("config", metavar="CONFIG", help=_CONFIG_HELP)
    ordering.add_argument("--batch-size", type=whole_number("batch_size", 1), required=True, metavar="B", help="of a step")
    ordering.add_argument("--out", type=_path, required=True, metavar="FILE", help=".parquet or .csv; must not exist")

    for command in (making, checking, pushing):
        command.add_argument(
            "--num-workers",
            type=whole_number("num_workers", 1),
            default=os.cpu_count() or 1,
            metavar="K",
            help="threads that make rows (default: one for each core)",
        )
    for command in (sample, making, ordering):
        add_parameters(command)
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
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        parser.error(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted; the same command again goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The commands about data: bio-facts configs, sample, build, verify and order."""

import argparse
import fnmatch
import itertools
import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bio_facts.checks import did_you_mean, whole_number
from bio_facts.commands.parsers import CONFIG_HELP, Commands, add_num_workers, path_argument
from bio_facts.generate.config import CONFIGS, BaseConfig, check_biographies, get_config
from bio_facts.generate.flags import add_parameters, chosen_config, given_parameters
from bio_facts.publish.build import build, is_built
from bio_facts.publish.canonical_json import canonical_json
from bio_facts.publish.order import write_order
from bio_facts.publish.shards import chunks
from bio_facts.publish.tables import num_rows, record_batch
from bio_facts.publish.verify import verify
from bio_facts.terminal import NAME_COLOR, VALUE_COLOR, colored, shows_color

_ROWS_PER_BATCH = 1_000


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
        individuals = f"{parameters['num_individuals']:,}" if "num_individuals" in parameters else ""
        counts = ", ".join(f"{split} {count:,}" for split, count in num_rows(config).items())
        print(f"{name:<29} {individuals:>11}  {parameters.get('distribution', ''):<12} {config.fingerprint}  {counts}")


def _sample(arguments: argparse.Namespace) -> None:
    config = chosen_config(arguments.config, arguments)
    counts = num_rows(config)
    split = next(iter(counts)) if arguments.split is None else arguments.split
    if split not in counts:
        raise ValueError(f"split is {split!r}; {arguments.config} has {', '.join(counts)}{did_you_mean(split, counts)}")
    start, end = arguments.start, arguments.start + arguments.num
    if end > counts[split]:
        raise ValueError(
            f"start + num is {end:,}, beyond the {counts[split]:,} rows of {arguments.config}/{split}; it must be at most that"
        )
    in_color = shows_color(sys.stdout)
    for rows in chunks(range(start, end), _ROWS_PER_BATCH):
        batch = record_batch(config, split, np.asarray(rows))
        for line in canonical_json(batch).to_pylist() if arguments.json else _lines(batch.to_pylist(), in_color):
            print(line)


def _lines(rows: list[dict[str, Any]], in_color: bool) -> Iterator[str]:
    for row in rows:
        if "text" in row:
            yield f"biography {row['biography_id']}, individual {row['individual_id']}"
            colors = {NAME_COLOR: row["name_spans"], VALUE_COLOR: row["attributes"]} if in_color else {}
            yield colored(row["text"], colors)
            yield "  ".join(f"{entry['attribute']}={entry['value']}" for entry in row["attributes"])
        else:
            yield "  ".join(f"{column}={value}" for column, value in row.items() if not isinstance(value, dict))
        yield ""


def _build(arguments: argparse.Namespace) -> None:
    build_unless_built(
        _configs_to_build(arguments.config, given_parameters(arguments)), arguments.output_dir, arguments.num_workers
    )


def build_unless_built(configs: Mapping[str, BaseConfig], output_dir: Path, num_workers: int) -> None:
    """Write the export of these configs (name -> config), or resume an interrupted build, and print what was done."""
    if is_built(configs, output_dir):
        print(f"{output_dir}: already built")
        return
    start = time.perf_counter()
    count = build(configs, output_dir, num_workers)
    seconds = time.perf_counter() - start
    print(f"{output_dir}: {', '.join(configs)}; {count:,} rows in {seconds:.1f} s ({count / seconds:,.0f} rows/s)", flush=True)


def _configs_to_build(patterns: list[str], parameters: dict[str, Any]) -> dict[str, BaseConfig]:
    """Name -> config, each with those of the parameters that it has; ValueError if none of them has one.

    A config whose parameters differ from those of the named config has its fingerprint in its name.
    """
    configs: dict[str, BaseConfig] = {}
    unused = set(parameters)
    for name in itertools.chain.from_iterable(fnmatch.filter(CONFIGS, pattern) or [pattern] for pattern in patterns):
        named = get_config(name)
        config = named.replace(**{key: value for key, value in parameters.items() if key in named.parameter_names})
        unused -= named.parameter_names
        configs[name if config.fingerprint == named.fingerprint else f"{name}-{config.fingerprint[:8]}"] = config
    if unused:
        raise ValueError(f"unknown parameter {min(unused)!r} of {', '.join(patterns)}; none of them has it")
    return configs


def _verify(arguments: argparse.Namespace) -> None:
    count = verify(arguments.folder, arguments.num_workers)
    print(f"{arguments.folder}: {count:,} rows, all correct")


def _order(arguments: argparse.Namespace) -> None:
    config = check_biographies(chosen_config(arguments.config, arguments), name=arguments.config)
    with tqdm(total=config.num_biographies, desc="order", unit=" rows", unit_scale=True, disable=None) as bar:
        for count in write_order(config, arguments.batch_size, arguments.output_file):
            bar.update(count)
    num_steps = -(-config.num_biographies // arguments.batch_size)
    what = "biographies" if config.phases is None else "rows"
    print(f"{arguments.output_file}: {config.num_biographies:,} {what} in {num_steps:,} steps")


def add_data_commands(commands: Commands) -> None:
    """Add the commands about data."""
    configs = commands.add(
        "configs", _configs, "list the named configs", "List the named configs.", "  bio-facts configs --json"
    )
    configs.add_argument("--json", action="store_true", help="print JSON, with parameters")

    sample = commands.add(
        "sample",
        _sample,
        "print rows",
        "Generate and print rows of a split. On a terminal, names and values are in color, unless NO_COLOR is set.",
        "  bio-facts sample n64k --num 3\n  bio-facts sample n1k --split unseen --start 100 --num 2 --json\n"
        "  bio-facts sample individuals --split finetune",
    )
    sample.add_argument("config", metavar="CONFIG", help=CONFIG_HELP)
    sample.add_argument("--split", help="split to print (default: the first one of the config)")
    sample.add_argument("--num", type=whole_number("num"), default=1, metavar="K", help="number of rows (default: 1)")
    sample.add_argument(
        "--start", type=whole_number("start"), default=0, metavar="I", help="index of the first row (default: 0)"
    )
    sample.add_argument("--json", action="store_true", help="print one JSON object per row, as in the dataset")

    build_command = commands.add(
        "build",
        _build,
        "write configs as Parquet files, with a dataset card and a manifest",
        "Write configs to a folder in the layout of the Hugging Face Hub: data/<config>/<split>-*.parquet, README.md (the\n"
        "dataset card) and manifest.json (row counts and content digests). Until everything is written, the folder is named\n"
        "DIR.partial; the same command resumes an interrupted build.",
        "  bio-facts build n1k individuals templates --output-dir export\n"
        "  bio-facts build 'n64k*' --output-dir export\n"
        "  bio-facts build n64k-alpha0.6 --alpha 0.7 --num-biographies 100000 --output-dir export",
        resumes=True,
    )
    build_command.add_argument("config", metavar="CONFIG", nargs="+", help=f"{CONFIG_HELP}; * matches anything")
    build_command.add_argument(
        "--output-dir", type=path_argument, required=True, metavar="DIR", help="folder to write; must not exist"
    )

    verify_command = commands.add(
        "verify",
        _verify,
        "check every row of an export",
        "Generate every row of an export again and compare; reports the first file and row that differ. README.md, the\n"
        "dataset card, may be edited and is not compared.",
        "  bio-facts verify export",
    )
    verify_command.add_argument("folder", type=path_argument, metavar="DIR", help="folder written by bio-facts build")

    order_command = commands.add(
        "order",
        _order,
        "write the order of biographies in a training run",
        "Write (step, slot, biography_id, individual_id, exposure) for each biography of a training run. step starts at 1 and\n"
        "slot at 0; exposure is 1 for the first biography of an individual, 2 for the second, and so on. With phases, there\n"
        "is a column format, and exposure counts the rows of that format.",
        "  bio-facts order n64k --batch-size 128 --output-file order.parquet\n"
        "  bio-facts order n1k --num-biographies 36800 --batch-size 16 --seed 10 --output-file order.csv",
    )
    order_command.add_argument("config", metavar="CONFIG", help="n64k, n64k-alpha0.6, ...; list: bio-facts configs")
    order_command.add_argument(
        "--batch-size", type=whole_number("batch_size", 1), required=True, metavar="B", help="biographies per step"
    )
    order_command.add_argument(
        "--output-file",
        type=path_argument,
        required=True,
        metavar="FILE",
        help=".parquet or .csv file to write; must not exist",
    )

    for command in (build_command, verify_command):
        add_num_workers(command)
    for command in (sample, build_command, order_command):
        add_parameters(command)

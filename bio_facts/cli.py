"""bio-facts: print biographies, build, verify and publish datasets of them, and score models on them.

bio-facts configs
bio-facts sample n64k --num 3
bio-facts sample n64k-alpha0.6 --alpha 0.7 --seed 1 --json
bio-facts build n1k individuals templates --output-dir export
bio-facts verify export
bio-facts push you/bio_facts --from export
bio-facts order n64k --batch-size 128 --output-file order.parquet
bio-facts score EleutherAI/pythia-70m --dataset n64k --num-rows 200
bio-facts plot runs/demo runs/smoke --output-file curves.svg
bio-facts verify-run runs/demo --quick
bio-facts push-run you/bio_facts-n2k --from runs/demo
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
from bio_facts.checks import Parser, check_number, whole_number
from bio_facts.files import asset, check_new_file, write_text
from bio_facts.generate.config import CONFIGS, DATA_VERSION, BaseConfig, check_biographies, get_config
from bio_facts.generate.flags import add_parameters, chosen_config, given_parameters
from bio_facts.measure.score_model import as_text, score_model
from bio_facts.publish.build import build, is_built
from bio_facts.publish.canonical_json import canonical_json
from bio_facts.publish.card import REPOSITORY
from bio_facts.publish.hub import push
from bio_facts.publish.order import write_order
from bio_facts.publish.shards import chunks
from bio_facts.publish.tables import num_rows, record_batch
from bio_facts.publish.verify import verify
from bio_facts.runs.kept_models import verify_run
from bio_facts.runs.plot import plot
from bio_facts.runs.push_run import push_run
from bio_facts.terminal import NAME_COLOR, SHELLS, VALUE_COLOR, colored, completion, shows_color

_ROWS_PER_BATCH = 1_000
_RESUMABLE = ("build", "push", "push-run")  # commands that do not start anew when they are run again
_CONFIG_HELP = "n64k, n64k-alpha0.6, individuals, ...; list: bio-facts configs"


def _path(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be a path")
    return Path(text).expanduser()


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
        raise ValueError(f"split is {split!r}; {arguments.config} has {', '.join(counts)}")
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
    configs = _configs_to_build(arguments.config, given_parameters(arguments))
    if is_built(configs, arguments.output_dir):
        print(f"{arguments.output_dir}: already built")
        return
    start = time.perf_counter()
    count = build(configs, arguments.output_dir, arguments.num_workers)
    seconds = time.perf_counter() - start
    print(f"{arguments.output_dir}: {', '.join(configs)}; {count:,} rows in {seconds:.1f} s ({count / seconds:,.0f} rows/s)")


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


def _push(arguments: argparse.Namespace) -> None:
    print(push(arguments.repo_id, arguments.folder, private=arguments.private, num_workers=arguments.num_workers))


def _order(arguments: argparse.Namespace) -> None:
    config = check_biographies(chosen_config(arguments.config, arguments), name=arguments.config)
    with tqdm(total=config.num_biographies, desc="order", unit=" rows", unit_scale=True, disable=None) as bar:
        for count in write_order(config, arguments.batch_size, arguments.output_file):
            bar.update(count)
    num_steps = -(-config.num_biographies // arguments.batch_size)
    what = "biographies" if config.phases is None else "rows"
    print(f"{arguments.output_file}: {config.num_biographies:,} {what} in {num_steps:,} steps")


def _minimum(text: str) -> tuple[str, float]:
    """A split and the accuracy that it must have, from SPLIT=X."""
    split, _, number = text.partition("=")
    try:
        return split, check_number("accuracy", float(number), 0, 1)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"it is {text!r}; it must be SPLIT=X with a number from 0 to 1, such as validation=0.9"
        ) from None


def _score(arguments: argparse.Namespace) -> int:
    config = check_biographies(chosen_config(arguments.dataset, arguments), "dataset", arguments.dataset)
    minima: dict[str, float] = dict(arguments.min_accuracy)
    if unscored := [split for split in minima if split not in arguments.splits]:
        raise ValueError(
            f"min_accuracy has split {unscored[0]!r}; it must be one of the scored ones, {', '.join(arguments.splits)}"
        )
    file: Path | None = arguments.output_file
    if file is not None:
        check_new_file("output_file", file)
    scores = {"model": arguments.model, "dataset": arguments.dataset} | score_model(
        arguments.model,
        config,
        arguments.splits,
        arguments.num_rows,
        tokenizer=arguments.tokenizer,
        batch_size=arguments.batch_size,
        device=arguments.device,
    )
    print(json.dumps(scores, indent=1) if arguments.json else as_text(scores))
    if file is not None:
        write_text(file, json.dumps(scores, indent=1) + "\n")
        print(f"scores: {file}", file=sys.stderr if arguments.json else sys.stdout)
    accuracies = {split: scores["splits"][split]["attribute_accuracy"] for split in minima}
    below = [split for split, accuracy in accuracies.items() if accuracy < minima[split]]
    for split in below:
        message = f"accuracy on {split} is {accuracies[split]:.4g}, below the minimum of {minima[split]:g}"
        print(f"bio-facts score: {message}", file=sys.stderr)
    return int(bool(below))


def _lm_eval_path(arguments: argparse.Namespace) -> None:
    print(asset("lm_eval"))


def _plot(arguments: argparse.Namespace) -> None:
    print(plot(arguments.runs, arguments.output_file, arguments.splits))
    print(f"figure: {arguments.output_file}")


def _verify_run(arguments: argparse.Namespace) -> None:
    for line in verify_run(arguments.run_name, quick=arguments.quick):
        print(line, flush=True)


def _push_run(arguments: argparse.Namespace) -> None:
    print(push_run(arguments.repo_id, arguments.folder, private=arguments.private))


class _PrintCompletion(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: object, values: Any, option_string: str | None = None
    ) -> None:
        print(completion(parser, values, list(CONFIGS)))
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """The command line of bio-facts."""
    formatting: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    parser = Parser(prog="bio-facts", description=__doc__, **formatting)
    parser.add_argument("--version", action="version", version=f"bio-facts {__version__}, data {DATA_VERSION}")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=SHELLS,
        help="print what lets a shell complete commands, and exit",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(
        name: str, run: Callable[[argparse.Namespace], int | None], summary: str, description: str, examples: str
    ) -> Parser:
        command: Parser = commands.add_parser(
            name, help=summary, description=description, epilog=f"examples:\n{examples}", **formatting
        )
        command.set_defaults(run=run)
        return command

    configs = add("configs", _configs, "list the named configs", "List the named configs.", "  bio-facts configs --json")
    configs.add_argument("--json", action="store_true", help="print JSON, with parameters")

    sample = add(
        "sample",
        _sample,
        "print rows",
        "Generate and print rows of a split. On a terminal, names and values are in color, unless NO_COLOR is set.",
        "  bio-facts sample n64k --num 3\n  bio-facts sample n1k --split unseen --start 100 --num 2 --json\n"
        "  bio-facts sample individuals --split finetune",
    )
    sample.add_argument("config", metavar="CONFIG", help=_CONFIG_HELP)
    sample.add_argument("--split", help="split to print (default: the first one of the config)")
    sample.add_argument("--num", type=whole_number("num"), default=1, metavar="K", help="number of rows (default: 1)")
    sample.add_argument(
        "--start", type=whole_number("start"), default=0, metavar="I", help="index of the first row (default: 0)"
    )
    sample.add_argument("--json", action="store_true", help="print one JSON object per row, as in the dataset")

    build_command = add(
        "build",
        _build,
        "write configs as Parquet files, with a dataset card and a manifest",
        "Write configs to a folder in the layout of the Hugging Face Hub: data/<config>/<split>-*.parquet, README.md (the\n"
        "dataset card) and manifest.json (row counts and content digests). Until everything is written, the folder is named\n"
        "DIR.partial; the same command resumes an interrupted build.",
        "  bio-facts build n1k individuals templates --output-dir export\n"
        "  bio-facts build 'n64k*' --output-dir export\n"
        "  bio-facts build n64k-alpha0.6 --alpha 0.7 --num-biographies 100000 --output-dir export",
    )
    build_command.add_argument("config", metavar="CONFIG", nargs="+", help=f"{_CONFIG_HELP}; * matches anything")
    build_command.add_argument("--output-dir", type=_path, required=True, metavar="DIR", help="folder to write; must not exist")

    verify_command = add(
        "verify",
        _verify,
        "check every row of an export",
        "Generate every row of an export again and compare; reports the first file and row that differ. README.md, the\n"
        "dataset card, may be edited and is not compared.",
        "  bio-facts verify export",
    )
    verify_command.add_argument("folder", type=_path, metavar="DIR", help="folder written by bio-facts build")

    push_command = add(
        "push",
        _push,
        "publish an export on the Hub",
        f"Verify an export, upload it as a dataset, and set the tag v{DATA_VERSION} last. An existing tag is never moved.\n"
        f"In the uploaded dataset card, REPO_ID replaces {REPOSITORY}. Log in first (hf auth login).",
        "  bio-facts push you/bio_facts --from export",
    )
    push_command.add_argument("repo_id", metavar="REPO_ID", help="such as you/bio_facts; created if it does not exist")
    push_command.add_argument(
        "--from", dest="folder", type=_path, required=True, metavar="DIR", help="folder written by bio-facts build"
    )

    order_command = add(
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
        "--output-file", type=_path, required=True, metavar="FILE", help=".parquet or .csv file to write; must not exist"
    )

    score_command = add(
        "score",
        _score,
        "score a causal language model on biographies",
        "Print the attribute loss and accuracy of a model by attribute and split, and write all metrics as JSON. Whole texts\n"
        "are tokenized, by default with the model's tokenizer.",
        "  bio-facts score EleutherAI/pythia-70m --dataset n64k --num-rows 200 --output-file scores.json\n"
        "  bio-facts score model --dataset n1k --splits validation --min-accuracy validation=0.9 --json\n"
        "  bio-facts score runs/demo/checkpoint-6000 --dataset n1k --num-individuals 1600 \\\n"
        "      --pool-sizes cities=32,universities=32,majors=32,companies=32,years=4,months=4,days=4,"
        "first_names=105,middle_names=105,last_names=105",
    )
    score_command.add_argument("model", metavar="MODEL", help="folder with a model of transformers, or a Hub id")
    score_command.add_argument("--tokenizer", metavar="NAME", help="bio_facts, a folder or a Hub id (default: the model's)")
    score_command.add_argument("--dataset", default="n64k", metavar="CONFIG", help="a config of biographies (default: n64k)")
    score_command.add_argument(
        "--splits", nargs="+", default=["validation", "unseen"], metavar="SPLIT", help="default: validation unseen"
    )
    score_command.add_argument(
        "--num-rows", type=whole_number("num_rows", 1), default=1_000, metavar="K", help="of each split (default: 1000)"
    )
    score_command.add_argument("--batch-size", type=whole_number("batch_size", 1), default=64, metavar="B", help="default: 64")
    score_command.add_argument("--device", metavar="NAME", help="cpu, cuda, ... (default: cuda if there is one)")
    score_command.add_argument("--json", action="store_true", help="print JSON in place of the table")
    score_command.add_argument("--output-file", type=_path, metavar="FILE", help="JSON file to write; must not exist")
    score_command.add_argument(
        "--min-accuracy",
        type=_minimum,
        nargs="+",
        default=[],
        metavar="SPLIT=X",
        help="exit with code 1 if the accuracy on a split is below a number, as in validation=0.9",
    )

    add(
        "lm-eval-path",
        _lm_eval_path,
        "print the folder of the tasks for the lm-evaluation-harness",
        "Print the folder that has the tasks of bio_facts for the lm-evaluation-harness, which is what --include_path takes.",
        "  bio-facts lm-eval-path\n"
        '  lm_eval run --include_path "$(bio-facts lm-eval-path)" --tasks bio_facts_recall \\\n'
        "      --model hf --model_args pretrained=MODEL --metadata data=export,config=n1k",
    )

    plot_command = add(
        "plot",
        _plot,
        "draw the learning curves of runs",
        "Draw attribute loss and accuracy over the steps of runs of train/pretrain.py, finished or still running, in one\n"
        "figure, and print the last numbers of each. Colors are runs, line styles splits; the no-knowledge loss is dotted,\n"
        "and the ends of phase 1 and of the plateau are marked.",
        "  bio-facts plot runs/demo --output-file demo.png\n"
        "  bio-facts plot runs/first runs/second --splits validation --output-file curves.svg",
    )
    plot_command.add_argument("runs", type=_path, nargs="+", metavar="RUN", help="output folder of a run")
    plot_command.add_argument("--splits", nargs="+", metavar="SPLIT", help="splits to draw (default: all)")
    plot_command.add_argument(
        "--output-file", type=_path, required=True, metavar="FILE", help="PNG or SVG file; an existing one is replaced"
    )

    verify_run_command = add(
        "verify-run",
        _verify_run,
        "check the kept models of a run",
        "Check every model that a finished run has kept: its weight files have the SHA-256 that training recorded, and they\n"
        "give the loss of this step in metrics.jsonl, to 0.001 nats per value. Names the steps whose models are wrong.",
        "  bio-facts verify-run runs/demo\n  bio-facts verify-run you/bio_facts-n2k --quick",
    )
    verify_run_command.add_argument(
        "run_name", metavar="RUN", help="output folder of a run, or Hub id of one that push-run has published"
    )
    verify_run_command.add_argument(
        "--quick", action="store_true", help="compute the losses of three models only; all digests are checked"
    )

    push_run_command = add(
        "push-run",
        _push_run,
        "publish the kept models of a run on the Hub",
        "Check the weight files of a finished run, and upload them as a model repository: a branch stepN for each model, with\n"
        "its tokenizer, model card, recipe and metrics; the last model also on main. The tag of the data version is set last.\n"
        "Rerunning the command completes an interrupted push. Log in first (hf auth login).",
        "  bio-facts push-run you/bio_facts-n2k --from runs/demo",
    )
    push_run_command.add_argument("repo_id", metavar="REPO_ID", help="such as you/bio_facts-n2k; created if it does not exist")
    push_run_command.add_argument(
        "--from", dest="folder", type=_path, required=True, metavar="RUN", help="output folder of a finished run"
    )
    for command in (push_command, push_run_command):
        command.add_argument("--private", action="store_true", help="make the repository private if it is created")

    for command in (build_command, verify_command, push_command):
        command.add_argument(
            "--num-workers",
            type=whole_number("num_workers", 1),
            default=os.cpu_count() or 1,
            metavar="K",
            help="number of threads (default: one per core)",
        )
    for command in (sample, build_command, order_command, score_command):
        add_parameters(command)
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
    except BrokenPipeError:  # the reader, such as head, stopped reading
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        parser.error(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        hint = "; run the same command to resume" if arguments.command in _RESUMABLE else ""
        print(f"{parser.prog}: interrupted{hint}", file=sys.stderr)
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())

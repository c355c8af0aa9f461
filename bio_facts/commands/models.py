"""The commands about models and runs: bio-facts score, lm-eval-path, plot and verify-run."""

import argparse
import json
import sys
from pathlib import Path

from bio_facts.checks import check_number, did_you_mean, whole_number
from bio_facts.commands.parsers import Commands, path_argument
from bio_facts.files import asset, check_new_file, write_text
from bio_facts.generate.config import Config, check_biographies
from bio_facts.generate.flags import add_parameters, chosen_config, given_parameters
from bio_facts.measure.score_model import as_text, score_model
from bio_facts.runs.checkpoints import MODELS_FOLDER
from bio_facts.runs.folder import METRICS_FILE
from bio_facts.runs.kept_models import recorded_run, verify_run
from bio_facts.runs.plot import plot


def _minimum(text: str) -> tuple[str, float]:
    """A split and the accuracy that it must have, from SPLIT=X."""
    split, _, number = text.partition("=")
    try:
        return split, check_number("accuracy", float(number), 0, 1)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"it is {text!r}; it must be SPLIT=X with a number from 0 to 1, such as validation=0.9"
        ) from None


def _scored_data(arguments: argparse.Namespace) -> tuple[str, Config]:
    """The name of the config that a model is scored on, and the config with its parameters."""
    if arguments.data_of is None:
        name = arguments.dataset or "n64k"
        return name, check_biographies(chosen_config(name, arguments), "dataset", name)
    others = ["dataset"] * (arguments.dataset is not None) + list(given_parameters(arguments))
    if others:
        raise ValueError(f"data_of is {arguments.data_of!r}, whose config.json says what {others[0]} is; give only one of them")
    recorded, config = recorded_run(arguments.data_of)
    return recorded["recipe"]["dataset"], config


def _check_is_no_run(model: str) -> None:
    folder = Path(model)
    if (folder / METRICS_FILE).is_file():
        models = [*folder.glob("checkpoint-*[0-9]"), *folder.glob(f"{MODELS_FOLDER}/step-*[0-9]")]
        last = max(models, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
        example = f", such as {last}" if last else ""
        raise ValueError(f"model is {model!r}, the output folder of a run; it must be the folder of one of its models{example}")


def _score(arguments: argparse.Namespace) -> int:
    _check_is_no_run(arguments.model)
    dataset, config = _scored_data(arguments)
    minima: dict[str, float] = dict(arguments.min_accuracy)
    if unscored := [split for split in minima if split not in arguments.splits]:
        raise ValueError(
            f"min_accuracy has split {unscored[0]!r}; it must be one of the scored ones, {', '.join(arguments.splits)}"
            f"{did_you_mean(unscored[0], arguments.splits)}"
        )
    file: Path | None = arguments.output_file
    if file is not None:
        check_new_file("output_file", file)
    scores = {"model": arguments.model, "dataset": dataset} | score_model(
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


def add_model_commands(commands: Commands) -> None:
    """Add the commands about models and runs."""
    score_command = commands.add(
        "score",
        _score,
        "score a causal language model on biographies",
        "Print the attribute loss and accuracy of a model by attribute and split, and write all metrics as JSON. Whole texts\n"
        "are tokenized, by default with the model's tokenizer.",
        "  bio-facts score EleutherAI/pythia-70m --dataset n64k --num-rows 200 --output-file scores.json\n"
        "  bio-facts score model --dataset n1k --splits validation --min-accuracy validation=0.9 --json\n"
        "  bio-facts score runs/demo/checkpoint-6000 --data-of runs/demo",
    )
    score_command.add_argument("model", metavar="MODEL", help="folder with a model of transformers, or a Hub id")
    score_command.add_argument("--tokenizer", metavar="NAME", help="bio_facts, a folder or a Hub id (default: the model's)")
    score_command.add_argument("--dataset", metavar="CONFIG", help="a config of biographies (default: n64k)")
    score_command.add_argument(
        "--data-of", metavar="RUN",
        help="in place of --dataset and parameters: those of a run, from the config.json of its output folder (or of its Hub "
        "id, if push-run has published it)",
    )  # fmt: skip
    score_command.add_argument(
        "--splits", nargs="+", default=["validation", "unseen"], metavar="SPLIT", help="default: validation unseen"
    )
    score_command.add_argument(
        "--num-rows", type=whole_number("num_rows", 1), default=1_000, metavar="K", help="of each split (default: 1000)"
    )
    score_command.add_argument("--batch-size", type=whole_number("batch_size", 1), default=64, metavar="B", help="default: 64")
    score_command.add_argument("--device", metavar="NAME", help="cpu, cuda, ... (default: cuda if there is one)")
    score_command.add_argument("--json", action="store_true", help="print JSON in place of the table")
    score_command.add_argument("--output-file", type=path_argument, metavar="FILE", help="JSON file to write; must not exist")
    score_command.add_argument(
        "--min-accuracy",
        type=_minimum,
        nargs="+",
        default=[],
        metavar="SPLIT=X",
        help="exit with code 1 if the accuracy on a split is below a number, as in validation=0.9",
    )

    commands.add(
        "lm-eval-path",
        _lm_eval_path,
        "print the folder of the tasks for the lm-evaluation-harness",
        "Print the folder that has the tasks of bio_facts for the lm-evaluation-harness, which is what --include_path takes.",
        "  bio-facts lm-eval-path\n"
        '  lm_eval run --include_path "$(bio-facts lm-eval-path)" --tasks bio_facts_recall \\\n'
        "      --model hf --model_args pretrained=MODEL --metadata data=export,config=n1k",
    )

    plot_command = commands.add(
        "plot",
        _plot,
        "draw the learning curves of runs",
        "Draw attribute loss and accuracy over the steps of runs of train/pretrain.py, finished or still running, in one\n"
        "figure, and print the last numbers of each. Colors are runs, line styles splits; the no-knowledge loss is dotted,\n"
        "and the ends of phase 1 and of the plateau are marked.",
        "  bio-facts plot runs/demo --output-file demo.png\n"
        "  bio-facts plot runs/first runs/second --splits validation --output-file curves.svg",
    )
    plot_command.add_argument("runs", type=path_argument, nargs="+", metavar="RUN", help="output folder of a run")
    plot_command.add_argument("--splits", nargs="+", metavar="SPLIT", help="splits to draw (default: all)")
    plot_command.add_argument(
        "--output-file", type=path_argument, required=True, metavar="FILE", help="PNG or SVG file; an existing one is replaced"
    )

    verify_run_command = commands.add(
        "verify-run",
        _verify_run,
        "check the kept models of a run",
        "Check every model that a finished run has kept: its weight files have the SHA-256 that training recorded, and they\n"
        "give the loss of this step in metrics.jsonl, to 0.001 nats per value. Names the steps whose models are wrong.",
        "  bio-facts verify-run runs/demo\n  bio-facts verify-run you/bio_facts-demo --quick",
    )
    verify_run_command.add_argument(
        "run_name", metavar="RUN", help="output folder of a run, or Hub id of one that push-run has published"
    )
    verify_run_command.add_argument(
        "--quick", action="store_true", help="compute the losses of three models only; all digests are checked"
    )

    add_parameters(score_command)

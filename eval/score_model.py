"""Score any causal language model on biographies: attribute loss and accuracy, by attribute and split.

  python eval/score_model.py runs/demo/checkpoint-2300 --dataset n1k --num-individuals 900 \\
      --pool-sizes cities=32,universities=32,majors=32,companies=32,years=4,months=4,days=4
  python eval/score_model.py EleutherAI/pythia-70m --dataset n64k --num-rows 200 --output-file scores.json

MODEL is a folder, or the id of a Hub repository. The tokenizer is the model's own; texts are tokenized whole, as anyone would.
"""

import argparse
import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bio_facts.attributes import ATTRIBUTES
from bio_facts.baseline import no_knowledge_losses, pool_no_knowledge_losses
from bio_facts.cli import Parser, add_parameters, chosen_config, whole_number
from bio_facts.config import Config
from bio_facts.extras import needs
from bio_facts.records import record_batch
from bio_facts.splits import get_split
from bio_facts.tokenization import DEFAULT_TOKENIZER, load_tokenizer

_ROWS_AT_A_TIME = 1_000


def load(model: str, tokenizer: str, device: str | None) -> tuple[Any, Any]:
    """Model and tokenizer; ValueError if transformers cannot load one, or torch has no such device."""
    with needs("eval", "score_model.py"):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device is {chosen!r}, which torch cannot use ({_told(error)}); try cpu or cuda") from error
    try:
        own_tokenizer = (
            load_tokenizer(tokenizer) if tokenizer == DEFAULT_TOKENIZER else AutoTokenizer.from_pretrained(tokenizer)
        )
    except (OSError, ValueError) as error:
        what = "model" if tokenizer == model else "tokenizer"
        raise ValueError(f"{what} is {tokenizer!r}, whose tokenizer cannot be loaded: {_told(error)}") from error
    try:
        loaded = AutoModelForCausalLM.from_pretrained(model, dtype="auto")
    except (OSError, ValueError) as error:
        raise ValueError(f"model is {model!r}, which cannot be loaded: {_told(error)}") from error
    return loaded.to(chosen), own_tokenizer


def check_new_file(file: Path) -> None:
    """ValueError unless `file` can be made: it does not exist, and its folder does."""
    if file.exists():
        raise ValueError(f"output_file is {str(file)!r}, which exists; choose another name")
    if not file.absolute().parent.is_dir():
        raise ValueError(f"output_file is {str(file)!r}, but there is no folder {file.absolute().parent}; make it first")


def _told(error: Exception) -> str:
    return textwrap.shorten(str(error), 300)


def score_split(model: Any, tokenizer: Any, config: Config, split: str, num_rows: int, batch_size: int) -> dict[str, Any]:
    """Metrics of the first rows of a split, with the baselines and how the tokens came about."""
    from bio_facts.scoring import score

    cuts = (np.arange(start, min(start + _ROWS_AT_A_TIME, num_rows)) for start in range(0, num_rows, _ROWS_AT_A_TIME))
    rows = (row for indices in cuts for row in record_batch(config, split, indices).to_pylist())
    scores = score(model, tokenizer, tqdm(rows, split, num_rows, unit=" rows", disable=None), batch_size=batch_size)
    counts = {name: getattr(scores, name) for name in ("num_straddling_tokens", "num_truncated_values", "num_rows_apart")}
    return {"num_rows": num_rows} | scores.totals().detailed_summary(tuple(ATTRIBUTES)) | counts


def table(splits: dict[str, dict[str, Any]], baselines: dict[str, dict[str, float]]) -> str:
    """Attributes x splits: loss in nats per value, and accuracy; the baselines beside them."""
    columns = [f"{split} {what}" for split in splits for what in ("loss", "accuracy")]
    widths = [max(len(column), 8) for column in columns]
    lines = [
        f"{'nats per value':<17} {'pools':>8} {'people':>8}  "
        + "  ".join(f"{c:>{w}}" for c, w in zip(columns, widths, strict=True))
    ]
    for name in (*ATTRIBUTES, "all"):
        suffix = "" if name == "all" else f"/{name}"
        numbers = [
            found[f"{metric}{suffix}"] for found in splits.values() for metric in ("attribute_loss", "attribute_accuracy")
        ]
        lines.append(
            f"{name:<17} {baselines['pool_no_knowledge_loss'][name]:>8.3f} {baselines['no_knowledge_loss'][name]:>8.3f}  "
            + "  ".join(f"{number:>{width}.3f}" for number, width in zip(numbers, widths, strict=True))
        )
    return "\n".join(lines)


def main() -> None:
    """Score and print; exit code 2 and one line for input that cannot be used."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("model", metavar="MODEL", help="folder with a model of transformers, or a Hub id")
    parser.add_argument("--tokenizer", metavar="NAME", help="bio_facts, a folder or a Hub id (default: the model's)")
    parser.add_argument("--dataset", default="n64k", metavar="CONFIG", help="a config of biographies (default: n64k)")
    parser.add_argument(
        "--splits", nargs="+", default=["validation", "unseen"], metavar="SPLIT", help="default: validation unseen"
    )
    parser.add_argument(
        "--num-rows", type=whole_number("num_rows", 1), default=1_000, metavar="K", help="of each split (default: 1000)"
    )
    parser.add_argument("--batch-size", type=whole_number("batch_size", 1), default=64, metavar="B", help="default: 64")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, ... (default: cuda if there is one)")
    parser.add_argument("--output-file", type=Path, metavar="FILE", help="JSON file to write; must not exist")
    add_parameters(parser)
    arguments = parser.parse_args()
    try:
        config = chosen_config(arguments.dataset, arguments)
        if not isinstance(config, Config):
            raise ValueError(f"dataset is {arguments.dataset!r}, which has no biographies; it must be one such as n64k")
        for split in arguments.splits:
            rows = get_split(config, split).num_rows
            if arguments.num_rows > rows:
                raise ValueError(f"num_rows is {arguments.num_rows:,}; split {split} has {rows:,}")
        if arguments.output_file is not None:
            check_new_file(arguments.output_file)
        model, tokenizer = load(arguments.model, arguments.tokenizer or arguments.model, arguments.device)
        splits = {
            split: score_split(model, tokenizer, config, split, arguments.num_rows, arguments.batch_size)
            for split in dict.fromkeys(arguments.splits)
        }
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
    losses = {
        "pool_no_knowledge_loss": pool_no_knowledge_losses(config.pool_sizes),
        "no_knowledge_loss": no_knowledge_losses(config.population),
    }
    baselines = {name: found | {"all": sum(found.values()) / len(found)} for name, found in losses.items()}
    print(table(splits, baselines))
    for split, found in splits.items():
        print(
            f"{split}: {found['num_rows']:,} biographies, {found['num_values']:,} values; tokenized otherwise than by pieces: "
            f"{found['num_rows_apart']:,} biographies; tokens across a value's edge: {found['num_straddling_tokens']:,}"
        )
    if arguments.output_file is not None:
        described = {
            "model": arguments.model,
            "dataset": arguments.dataset,
            "parameters": config.parameters,
            "fingerprint": config.fingerprint,
        }
        text = json.dumps(described | baselines | {"splits": splits}, indent=1)
        arguments.output_file.write_text(text + "\n", encoding="utf-8")
        print(f"scores: {arguments.output_file}")


if __name__ == "__main__":
    main()

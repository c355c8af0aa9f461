"""Score any causal language model on biographies: attribute loss and accuracy, by attribute and split.

  python eval/score_model.py runs/demo/checkpoint-2300 --dataset n1k --num-individuals 900 \\
      --pool-sizes cities=32,universities=32,majors=32,companies=32,years=4,months=4,days=4
  python eval/score_model.py EleutherAI/pythia-70m --dataset n64k --num-rows 200 --output-file scores.json

MODEL is a folder, or the id of a Hub repository. The tokenizer is the model's own; texts are tokenized whole, as anyone would.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bio_facts.checks import Parser, needs, whole_number
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.config import Config, check_biographies
from bio_facts.generate.flags import add_parameters, chosen_config
from bio_facts.generate.splits import get_split
from bio_facts.measure.baseline import mean_over_attributes, pool_no_knowledge_losses, split_no_knowledge_losses
from bio_facts.measure.models import check_config, load_model, only_errors, reason
from bio_facts.measure.tokens import DEFAULT_TOKENIZER, load_tokenizer
from bio_facts.publish.tables import record_batch

_ROWS_AT_A_TIME = 1_000
_TABLE_COLUMNS = {"no knowledge": "no_knowledge_loss", "loss": "attribute_loss", "accuracy": "attribute_accuracy"}


def load(model: str, tokenizer: str, device: str | None) -> tuple[Any, Any]:
    """Model and tokenizer; ValueError if transformers cannot load one, or torch has no such device."""
    with needs("eval", "score_model.py"):
        import torch
        import transformers  # noqa: F401 - load_model and the tokenizer need it

    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device is None else device
    try:
        torch.zeros(1, device=chosen).item()
    except Exception as error:  # each backend has its own
        raise ValueError(f"device is {chosen!r}, which torch cannot use ({reason(error)}); try cpu or cuda") from error
    check_config(model)  # which the tokenizer would read too, and be blamed for
    loaded_tokenizer = _load_tokenizer(tokenizer, "model" if tokenizer == model else "tokenizer")
    loaded = load_model(model)
    try:
        return loaded.to(chosen), loaded_tokenizer
    except (RuntimeError, ValueError) as error:  # of torch; of transformers, for quantized weights
        raise ValueError(f"model is {model!r}, which cannot be moved to device {chosen!r}: {reason(error)}") from error


def _load_tokenizer(name: str, what: str) -> Any:
    """A tokenizer that makes tokens of text; ValueError that says of `what` it is."""
    from transformers import AutoTokenizer

    try:
        if name == DEFAULT_TOKENIZER:
            return load_tokenizer(name)
        with only_errors():
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        num_tokens = len(tokenizer("a b", add_special_tokens=False)["input_ids"])
    except Exception as error:  # tokenizers raises bare Exception
        raise ValueError(f"{what} is {name!r}, whose tokenizer cannot be loaded: {reason(error)}") from error
    if num_tokens == 0:  # what transformers makes of a folder without the files of a tokenizer
        raise ValueError(f"{what} is {name!r}, whose tokenizer makes no tokens of text; does it lack its tokenizer.json?")
    return tokenizer


def check_new_file(file: Path) -> None:
    """ValueError unless `file` can be made: it does not exist, and its folder does."""
    if file.exists():
        raise ValueError(f"output_file is {str(file)!r}, which exists; choose another name")
    if not file.absolute().parent.is_dir():
        raise ValueError(f"output_file is {str(file)!r}, but there is no folder {file.absolute().parent}; make it first")


def score_split(model: Any, tokenizer: Any, config: Config, split: str, num_rows: int, batch_size: int) -> dict[str, Any]:
    """Metrics of the first rows of a split, the no-knowledge losses of the whole split, and how the tokens came about.

    Raises:
        ValueError: as bio_facts.score; if memory is not enough, or the model does not run.
    """
    import torch

    from bio_facts.measure.scoring import score

    chunks = (np.arange(start, min(start + _ROWS_AT_A_TIME, num_rows)) for start in range(0, num_rows, _ROWS_AT_A_TIME))
    rows = (row for indices in chunks for row in record_batch(config, split, indices).to_pylist())
    try:
        scores = score(model, tokenizer, tqdm(rows, split, num_rows, unit=" rows", disable=None), batch_size=batch_size)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ValueError(
            f"batch_size is {batch_size}, for which memory is not enough ({reason(error)}); try a smaller --batch-size"
        ) from error
    except RuntimeError as error:  # of kernels; the CPU's allocator has no class of its own
        raise ValueError(f"model cannot score split {split} with batch_size {batch_size}: {reason(error)}") from error
    losses = split_no_knowledge_losses(config, split)
    baselines = {"no_knowledge_loss": mean_over_attributes(losses)}
    baselines |= {f"no_knowledge_loss/{name}": loss for name, loss in losses.items()}
    counts = {name: getattr(scores, name) for name in ("num_straddling_tokens", "num_truncated_values", "num_rows_apart")}
    return {"num_rows": num_rows} | scores.totals().detailed_summary(tuple(ATTRIBUTES)) | baselines | counts


def table(splits: dict[str, dict[str, Any]], pool_losses: dict[str, float]) -> str:
    """Attributes x splits: the no-knowledge loss of the split, the model's loss, both nats per value, and its accuracy."""
    columns = {f"{split} {title}": (metrics, key) for split, metrics in splits.items() for title, key in _TABLE_COLUMNS.items()}
    lines = [f"{'nats per value':<17} {'pools':>8}  " + "  ".join(f"{column:>8}" for column in columns)]
    for name in (*ATTRIBUTES, "all"):
        suffix = "" if name == "all" else f"/{name}"
        numbers = [f"{metrics[key + suffix]:>{max(len(column), 8)}.3f}" for column, (metrics, key) in columns.items()]
        lines.append(f"{name:<17} {pool_losses[name]:>8.3f}  " + "  ".join(numbers))
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
        config = check_biographies(chosen_config(arguments.dataset, arguments), "dataset", arguments.dataset)
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
    pool_losses = pool_no_knowledge_losses(config.pool_sizes)
    pool_losses |= {"all": mean_over_attributes(pool_losses)}
    print(table(splits, pool_losses))
    for split, metrics in splits.items():
        print(
            f"{split}: {metrics['num_rows']:,} biographies, {metrics['num_values']:,} values; "
            f"tokenized otherwise than by pieces: {metrics['num_rows_apart']:,} biographies; "
            f"tokens across a value's edge: {metrics['num_straddling_tokens']:,}"
        )
    if arguments.output_file is not None:
        settings = {
            "model": arguments.model,
            "dataset": arguments.dataset,
            "parameters": config.parameters,
            "fingerprint": config.fingerprint,
        }
        text = json.dumps(settings | {"pool_no_knowledge_loss": pool_losses, "splits": splits}, indent=1)
        arguments.output_file.write_text(text + "\n", encoding="utf-8")
        print(f"scores: {arguments.output_file}")


if __name__ == "__main__":
    main()

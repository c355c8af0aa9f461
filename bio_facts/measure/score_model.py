"""Load a causal language model by name and score it on splits of a config: what `bio-facts score` writes and prints.

Imports torch and transformers when it is called.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from bio_facts.checks import needs
from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import rows
from bio_facts.generate.config import Config
from bio_facts.generate.splits import draw, get_split
from bio_facts.measure.baseline import mean_over_attributes, pool_no_knowledge_losses, split_no_knowledge_losses
from bio_facts.measure.models import check_config, load_model, only_errors, reason
from bio_facts.measure.scoring import score
from bio_facts.measure.tokens import DEFAULT_TOKENIZER, as_saved, load_tokenizer

_ROWS_AT_A_TIME = 1_000
_TABLE_COLUMNS = {"no knowledge": "no_knowledge_loss", "loss": "attribute_loss", "accuracy": "attribute_accuracy"}


def score_model(
    model: str,
    config: Config,
    splits: Sequence[str],
    num_rows: int,
    *,
    tokenizer: str | None = None,
    batch_size: int = 64,
    device: str | None = None,
) -> dict[str, Any]:
    """Scores of a model on the first `num_rows` rows of each split, and what identifies the config.

    Args:
        model: folder, or the id of a Hub repository.
        tokenizer: "bio_facts", a folder or the id of a Hub repository; by default the model's.
        device: of torch; by default cuda if there is one, otherwise cpu.

    Returns:
        parameters, fingerprint: of the config. pool_no_knowledge_loss: attribute, and "all" for their mean -> nats per value.
        splits: split -> metrics, as score_split returns them.

    Raises:
        ValueError: if a split does not exist or has fewer rows, or the model cannot be loaded or scored.
    """
    for split in splits:
        available = get_split(config, split).num_rows
        if num_rows > available:
            raise ValueError(f"num_rows is {num_rows:,}; split {split} has {available:,}")
    loaded_model, loaded_tokenizer = load(model, tokenizer or model, device)
    metrics = {
        split: score_split(loaded_model, loaded_tokenizer, config, split, num_rows, batch_size)
        for split in dict.fromkeys(splits)
    }
    pool_losses = pool_no_knowledge_losses(config.pool_sizes)
    return {
        "parameters": config.parameters,
        "fingerprint": config.fingerprint,
        "pool_no_knowledge_loss": pool_losses | {"all": mean_over_attributes(pool_losses)},
        "splits": metrics,
    }


def load(model: str, tokenizer: str, device: str | None) -> tuple[Any, Any]:
    """Model and tokenizer; ValueError if transformers cannot load one, or torch has no such device."""
    with needs("eval", "bio-facts score"):
        import torch
        import transformers  # noqa: F401 - load_model and the tokenizer need it

    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device is None else device
    try:
        torch.zeros(1, device=chosen).item()
    except Exception as error:  # the exception type depends on the backend
        raise ValueError(f"device is {chosen!r}, which torch cannot use ({reason(error)}); try cpu or cuda") from error
    check_config(model)  # first: the tokenizer reads config.json too, and its error would blame the tokenizer
    loaded_tokenizer = _load_tokenizer(tokenizer, "model" if tokenizer == model else "tokenizer")
    loaded_model = load_model(model)
    try:
        return loaded_model.to(chosen), loaded_tokenizer
    except (RuntimeError, ValueError) as error:  # of torch; of transformers, for quantized weights
        raise ValueError(f"model is {model!r}, which cannot be moved to device {chosen!r}: {reason(error)}") from error


def _load_tokenizer(name: str, argument: str) -> Any:
    """A tokenizer that makes tokens of text; otherwise a ValueError that names the argument."""
    from transformers import AutoTokenizer

    try:
        if name == DEFAULT_TOKENIZER:
            return load_tokenizer(name)
        with only_errors():
            tokenizer = as_saved(AutoTokenizer.from_pretrained(name, trust_remote_code=False), name)
        num_tokens = len(tokenizer("a b", add_special_tokens=False)["input_ids"])
    except Exception as error:  # tokenizers raises bare Exception
        raise ValueError(f"{argument} is {name!r}, whose tokenizer cannot be loaded: {reason(error)}") from error
    if num_tokens == 0:  # what transformers makes of a folder without the files of a tokenizer
        raise ValueError(f"{argument} is {name!r}, whose tokenizer makes no tokens of text; does it lack its tokenizer.json?")
    return tokenizer


def score_split(model: Any, tokenizer: Any, config: Config, split: str, num_rows: int, batch_size: int) -> dict[str, Any]:
    """Metrics of the first rows of a split, the no-knowledge losses of the whole split, and counts of unusual tokens.

    Raises:
        ValueError: as bio_facts.score; if memory is not enough, or the model does not run.
    """
    import torch

    ranges = (range(start, min(start + _ROWS_AT_A_TIME, num_rows)) for start in range(0, num_rows, _ROWS_AT_A_TIME))
    biographies = (row for indices in ranges for row in rows(draw(config, split, np.asarray(indices))))
    progress = tqdm(biographies, split, num_rows, unit=" rows", disable=None)
    try:
        scores = score(model, tokenizer, progress, batch_size=batch_size)
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
    return {"num_rows": num_rows} | scores.summary() | baselines | counts


def as_text(scores: dict[str, Any]) -> str:
    """What score_model returns, for people: a table, and a line for each split."""
    lines = [
        f"{split}: {metrics['num_rows']:,} rows, {metrics['num_values']:,} values; "
        f"rows whose tokens differ from those of our training, where names and values are tokenized separately: "
        f"{metrics['num_rows_apart']:,}; tokens that are partly in a value: {metrics['num_straddling_tokens']:,}"
        for split, metrics in scores["splits"].items()
    ]
    return "\n".join([*_table_lines(scores["splits"], scores["pool_no_knowledge_loss"]), *lines])


def _table_lines(splits: dict[str, dict[str, Any]], pool_losses: dict[str, float]) -> list[str]:
    """Attributes x splits: the no-knowledge loss of the split, the model's loss, both nats per value, and its accuracy.

    Loss and accuracy are empty for attributes that no row is about: a row with a question is about one attribute alone.
    """
    columns = {f"{split} {title}": (metrics, key) for split, metrics in splits.items() for title, key in _TABLE_COLUMNS.items()}
    lines = [f"{'nats per value':<17} {'pools':>8}  " + "  ".join(f"{column:>8}" for column in columns)]
    for name in (*ATTRIBUTES, "all"):
        suffix = "" if name == "all" else f"/{name}"
        numbers = {column: metrics.get(key + suffix) for column, (metrics, key) in columns.items()}
        cells = ("" if number is None else f"{number:.3f}" for number in numbers.values())
        padded = (f"{cell:>{max(len(column), 8)}}" for column, cell in zip(columns, cells, strict=True))
        lines.append(f"{name:<17} {pool_losses[name]:>8.3f}  " + "  ".join(padded))
    return lines

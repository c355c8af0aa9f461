"""The data and the model of a training run."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bio_facts.checks import check_integer, needs
from bio_facts.generate.config import Config
from bio_facts.generate.splits import draw
from bio_facts.measure.attention import patch_attention
from bio_facts.measure.causality import check_causal
from bio_facts.measure.models import load_model
from bio_facts.measure.tokens import BiographyTokenizer, TokenBatch, load_tokenizer
from bio_facts.measure.word_tokenizer import WORD_TOKENIZER, word_tokenizer
from bio_facts.runs.checkpoints import kept_model
from bio_facts.runs.loss import IGNORED_LABEL
from bio_facts.runs.recipe import Recipe, plain

with needs("train", "training"):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, set_seed

_MIN_BLOCK_ROWS = 4_096


class BiographyDataset(torch.utils.data.Dataset[TokenBatch]):
    """Train rows 0..size-1 of a config as tokens, made on access in blocks, the next one while this one is in use.

    Made alone, a batch of 16 rows takes ten times as long a row as in a block of thousands.
    """

    def __init__(self, data: Config, tokenizer: BiographyTokenizer, size: int, batch_size: int = 1) -> None:
        self.data, self.tokenizer, self.size = data, tokenizer, size
        self._rows_of_block = batch_size * max(1, _MIN_BLOCK_ROWS // batch_size)  # whole batches
        self._blocks: dict[int, Future[TokenBatch]] = {}
        self._worker = ThreadPoolExecutor(1)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> TokenBatch:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> TokenBatch:
        number = indices[0] // self._rows_of_block
        rows = np.asarray(indices) - number * self._rows_of_block
        if rows.min() < 0 or rows.max() >= self._rows_of_block:
            return self.tokenizer(draw(self.data, "train", np.asarray(indices)))
        block = self._block(number)
        lengths = block.lengths[rows]
        longest = int(lengths.max())
        return TokenBatch(block.input_ids[rows, :longest], block.attribute_ids[rows, :longest], lengths)

    def num_tokens(self, start: int, stop: int) -> int:
        """How many tokens rows start..stop-1 have, padding not counted."""
        total, size = 0, self._rows_of_block
        for number in range(start // size, -(-stop // size)):
            lengths = self._block(number, with_next=False).lengths
            total += int(lengths[max(0, start - number * size) : stop - number * size].sum())
        return total

    def _block(self, number: int, with_next: bool = True) -> TokenBatch:
        wanted = [number, number + 1] if with_next else [number]
        for block in wanted:
            rows = range(block * self._rows_of_block, min((block + 1) * self._rows_of_block, self.size))
            if block not in self._blocks and rows:
                self._blocks[block] = self._worker.submit(lambda rows: self.tokenizer(draw(self.data, "train", rows)), rows)
        for old in [block for block in self._blocks if block < number - 1]:
            del self._blocks[old]
        return self._blocks[number].result()


@dataclass(frozen=True)
class Collator:
    """Batches for a causal model, which the Trainer saves the tokenizer of in every checkpoint.

    As the Trainer's processing_class, the tokenizer would give the model's config its pad token: in many models that sets a
    row of the embedding to zero and keeps it there, also when the checkpoint is loaded again.
    """

    tokenizer: Any

    def __call__(self, batch: TokenBatch) -> dict[str, torch.Tensor]:
        """input_ids and labels [B, L]; padding is on the right and in no loss, so a causal model needs no attention mask."""
        input_ids = torch.from_numpy(batch.input_ids)
        is_token = torch.arange(input_ids.shape[1]) < torch.from_numpy(batch.lengths)[:, None]
        return {"input_ids": input_ids, "labels": input_ids.masked_fill(~is_token, IGNORED_LABEL)}


def build_tokenizer(recipe: Recipe, source: Path | None = None) -> Any:
    """The tokenizer of a recipe. A run with a source takes the one saved with the source's model, which knows its token ids.

    Args:
        source: the folder that `source_model` gives for this recipe.

    Raises:
        ValueError: if it cannot be loaded.
    """
    if source is not None:
        return load_tokenizer(str(source))
    if recipe.tokenizer == WORD_TOKENIZER:
        return word_tokenizer(recipe.data.pool_sizes, recipe.data.formats)
    return load_tokenizer(recipe.tokenizer)


def build_dataset(recipe: Recipe, biographies: BiographyTokenizer) -> BiographyDataset:
    """The samples of all steps of a recipe, in their order."""
    return BiographyDataset(recipe.data, biographies, recipe.num_steps * recipe.batch_size, recipe.batch_size)


def build_model(recipe: Recipe, tokenizer: Any, max_length: int, source: Path | None = None) -> Any:
    """The model that a run starts from: a freshly initialized stock model of transformers, or that of its source.

    Args:
        max_length: tokens of the longest biography possible.
        source: the folder that `source_model` gives for this recipe.

    Raises:
        ValueError: if there is no such model, it lacks weights, or its sizes do not fit the tokenizer.
    """
    if source is None:
        model = _fresh_model(recipe, tokenizer, max_length)
    else:
        model = load_model(source, dtype=torch.float32)
        check_integer("vocab_size of source (for this tokenizer)", model.config.vocab_size, minimum=len(tokenizer))
    check_causal(model)
    if recipe.attention:
        reference = kept_model(Path(str(recipe.source)), recipe.attention["reference_step"])
        patch_attention(model, load_model(reference, dtype=torch.float32))
    return model


def _fresh_model(recipe: Recipe, tokenizer: Any, max_length: int) -> Any:
    fields = plain(recipe.model_config)
    model_type = fields.pop("model_type")
    try:
        default = AutoConfig.for_model(model_type)
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"model_config.model_type is {model_type!r}, which transformers does not know; try gpt_neox"
        ) from error
    standard_names = {name: standard for standard, name in default.attribute_map.items()}  # n_positions of GPT-2, say
    fields = {standard_names.get(key, key): value for key, value in fields.items()}
    for key in fields:
        if key not in default.to_dict() and key not in default.attribute_map:
            raise ValueError(f"model_config.{key} is no field of {type(default).__name__}; see its documentation")
    tokens = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None}
    fields = {"vocab_size": len(tokenizer), "max_position_embeddings": max_length} | tokens | fields
    for key, least in (("vocab_size", len(tokenizer)), ("max_position_embeddings", max_length)):
        check_integer(f"model_config.{key} (for this tokenizer)", fields[key], minimum=least)
    set_seed(recipe.seed)
    try:
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **fields))
    except Exception as error:  # each model checks its fields in its own way
        raise ValueError(f"model_config {plain(recipe.model_config)} is refused by transformers: {error}") from error

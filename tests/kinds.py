"""Tokenizers of four kinds and tiny random models of four families, all of which must be scored without special cases."""

import functools
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedTokenizerFast,
)

from bio_facts.generate.biography import rows
from bio_facts.generate.config import CONFIGS
from bio_facts.generate.pieces import piece_table
from bio_facts.generate.splits import draw
from bio_facts.measure.tokens import load_tokenizer

TEXTS = [row["text"] for row in rows(draw(CONFIGS["n64k"], "train", range(300)))]
# As in Llama 3: a number never takes the space before it, which is then a separate token.
NUMBERS_APART = Regex(r"[^\s\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+")


def byte_level_bpe(merging: bool = False, numbers_apart: bool = False, trim_offsets: bool = True) -> Any:
    """`merging`: tokens go across words and punctuation. `numbers_apart`: NUMBERS_APART."""
    tokenizer = Tokenizer(models.BPE())
    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not (merging or numbers_apart))
    split = [pre_tokenizers.Split(NUMBERS_APART, "isolated")] if numbers_apart else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*split, bytes_of])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=1_500, initial_alphabet=alphabet, show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def sentencepiece_32k() -> Any:
    """The Apache-2.0 vocabulary of 32k tokens in mistral-common."""
    return load_tokenizer(str(Path(str(find_spec("mistral_common").origin)).parent / "data" / "tokenizer.model.v1"))


def wordpiece() -> Any:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    texts = [*TEXTS, *piece_table().texts]
    trainer = trainers.WordPieceTrainer(
        vocab_size=1_500, special_tokens=["[UNK]"], initial_alphabet=sorted(set("".join(texts))), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")


TOKENIZERS = {
    "bio_facts": lambda: load_tokenizer("bio_facts"),
    "byte_level_bpe": byte_level_bpe,
    "sentencepiece_32k": sentencepiece_32k,
    "wordpiece": wordpiece,
    "merging_bpe": lambda: byte_level_bpe(merging=True),
    "numbers_apart": lambda: byte_level_bpe(numbers_apart=True),
    "numbers_apart_untrimmed": lambda: byte_level_bpe(numbers_apart=True, trim_offsets=False),
}
KINDS = ("bio_facts", "byte_level_bpe", "sentencepiece_32k", "wordpiece")


@functools.cache
def tokenizer_of(kind: str) -> Any:
    return TOKENIZERS[kind]()


def _sizes(vocab_size: int) -> dict[str, Any]:
    tokens = {"vocab_size": vocab_size, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    return tokens | {"hidden_size": 16, "num_hidden_layers": 2, "tie_word_embeddings": False}


_LAYER = {"intermediate_size": 16, "num_attention_heads": 2}
FAMILIES = {
    "llama": lambda size: LlamaForCausalLM(LlamaConfig(**_sizes(size), **_LAYER)),
    "gpt_neox": lambda size: GPTNeoXForCausalLM(GPTNeoXConfig(**_sizes(size), **_LAYER)),
    "gpt2": lambda size: GPT2LMHeadModel(GPT2Config(**_sizes(size), num_attention_heads=2)),
    "mamba": lambda size: MambaForCausalLM(MambaConfig(**_sizes(size), state_size=4, expand=2)),
}


def model_of(family: str, tokenizer: Any) -> Any:
    """Weights spread widely, so that predictions are not all nearly uniform."""
    torch.manual_seed(0)
    model = FAMILIES[family](len(tokenizer)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "embed" in name or "wte" in name or "head" in name:
                weight.normal_(0, 0.5)
    return model

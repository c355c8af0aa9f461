"""Rows of a few words, tokenizers for them, and their alignment."""

from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from bio_facts.measure.alignment import align


def row_of(text: str, **values: str) -> dict[str, Any]:
    """A row whose attributes have these values, at the first place where each occurs."""
    attributes = [
        {"attribute": name, "value": value, "start": text.index(value), "end": text.index(value) + len(value)}
        for name, value in values.items()
    ]
    return {"text": text, "attributes": attributes}


def words(*vocabulary: str, pre_tokenizer: Any = None) -> Any:
    """A tokenizer whose tokens are the words between spaces."""
    tokenizer = Tokenizer(models.WordLevel({word: k for k, word in enumerate(("[UNK]", *vocabulary))}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizer or pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")


def marked(tokenizer: Any, row: dict[str, Any]) -> list[tuple[str, int]]:
    """(token, attribute id) of each token of a row."""
    aligned = align(tokenizer, [row], 0)
    return list(zip(tokenizer.convert_ids_to_tokens(aligned.input_ids[0]), aligned.attribute_ids[0].tolist(), strict=True))

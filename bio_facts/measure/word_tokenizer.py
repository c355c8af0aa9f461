"""The tokenizer of the words that a config can produce: the smallest vocabulary, and so the smallest output layer.

Two thirds of the arithmetic of a small model are its output layer. A model that is trained on a config needs no token for a
word that none of its biographies can have.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from bio_facts.checks import needs
from bio_facts.generate.pieces import piece_table, pieces_in_use
from bio_facts.generate.templates import BIOGRAPHIES

WORD_TOKENIZER = "words"  # the recipe's name for it
END_OF_TEXT = "<|endoftext|>"  # pad, BOS and EOS, for batches and tools that need one; no text gets it
UNKNOWN = "<unk>"  # any word that is not in the vocabulary; scoring refuses texts with it


def word_tokenizer(pool_sizes: Mapping[str, int], formats: Collection[str] = (BIOGRAPHIES,)) -> Any:
    """A fast tokenizer with a token for each word of the templates and of the pool items in use; always the same.

    A word includes the space before it, and punctuation is a word, by the rules of byte-level tokenizers. The vocabulary
    depends on `pool_sizes` and the templates of `formats` alone: not on the population, number of individuals, seed,
    distribution or phases, so configs that differ in those share their token ids. Token 0 is <|endoftext|>, 1 is <unk>, then
    the words in the order of the pieces.

    Raises:
        MissingExtraError: if transformers is not installed.
    """
    with needs("train", "word_tokenizer"):
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast

    bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = piece_table().texts
    in_use = np.flatnonzero(pieces_in_use(pool_sizes, formats))
    words = (word for k in in_use for word, _ in bytewise.pre_tokenize_str(texts[k]))
    vocabulary = {token: token_id for token_id, token in enumerate(dict.fromkeys([END_OF_TEXT, UNKNOWN, *words]))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.pre_tokenizer = bytewise
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        unk_token=UNKNOWN,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        name_or_path=WORD_TOKENIZER,
    )

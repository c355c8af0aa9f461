"""Make the tokenizer of bio_facts from the words of its biographies; every time the same bytes.

  python train/train_tokenizer.py --output-file tokenizer.json

The result is bio_facts/data/tokenizer/tokenizer.json, with the special tokens named in tokenizer_config.json beside it; a
test compares both.
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

from bio_facts.checks import Parser, needs
from bio_facts.generate.pieces import piece_table, pieces_in_use
from bio_facts.generate.pools import full_pool_sizes

# Pad, BOS and EOS, for batches and tools that need one; no text gets it. It has the id of byte 0, which no text has.
SPECIAL_TOKEN = "<|endoftext|>"
NUL = "\u0100"  # how byte-level tokenizers spell byte 0; naming that special would swallow the letter in real text
CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": SPECIAL_TOKEN,
    "eos_token": SPECIAL_TOKEN,
    "pad_token": SPECIAL_TOKEN,
    "model_input_names": ["input_ids", "attention_mask"],
    "clean_up_tokenization_spaces": False,
}


def train_tokenizer() -> Any:
    """Byte-level BPE whose vocabulary is the 256 bytes and then every word of the pieces, in their order.

    A word of the vocabulary is one token (ignore_merges); there are no merges, so other words are spelt in bytes. The
    text is closed, and with it every name part, most values and every template word are one token: the output layer,
    which dominates the cost of small models, is as small as it can be at the shortest sequences.
    """
    with needs("train", "train_tokenizer.py"):
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = itertools.compress(piece_table().texts, pieces_in_use(full_pool_sizes()))
    words = (word for text in texts for word, _ in bytewise.pre_tokenize_str(text))
    vocabulary = dict.fromkeys([*sorted(pre_tokenizers.ByteLevel.alphabet()), *words])
    ids = {SPECIAL_TOKEN if word == NUL else word: token_id for token_id, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[], ignore_merges=True))
    tokenizer.add_special_tokens([AddedToken(SPECIAL_TOKEN, special=True, normalized=False)])
    tokenizer.pre_tokenizer = bytewise
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def main() -> None:
    """Make and save both files."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--output-file",
        type=Path,
        required=True,
        metavar="FILE",
        help="tokenizer.json to write; must not exist, nor tokenizer_config.json beside it",
    )
    output_file = parser.parse_args().output_file
    config_file = output_file.with_name("tokenizer_config.json")
    for file in (output_file, config_file):
        if file.exists():
            parser.error(f"--output-file is {str(output_file)!r}, but {file} exists; remove it first or choose another folder")
    try:
        tokenizer = train_tokenizer()
    except ValueError as error:
        parser.error(str(error))
    output_file.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(output_file))
    config_file.write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")
    print(f"{output_file}: {tokenizer.get_vocab_size():,} tokens")


if __name__ == "__main__":
    main()

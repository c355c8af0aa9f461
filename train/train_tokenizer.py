"""Train the tokenizer that bio_facts ships: byte-level BPE on biographies of its own, the same bytes every time.

  python train/train_tokenizer.py --output_file bio_facts/data/tokenizer/tokenizer.json
"""

import argparse
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from bio_facts.config import CONFIGS
from bio_facts.records import texts
from bio_facts.splits import draw

VOCAB_SIZE = 4096
CORPUS = ("n64k", "validation", 16_000)  # config, split, rows


def train_tokenizer() -> Tokenizer:
    """The tokenizer, from the first rows of CORPUS. All 256 bytes are tokens, so it can represent any text."""
    config, split, num_rows = CORPUS
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(texts(draw(CONFIGS[config], split, np.arange(num_rows))).strings(), trainer)
    return tokenizer


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_file", type=Path, required=True, metavar="FILE", help="tokenizer.json to write; must not exist")
    output_file = parser.parse_args().output_file
    if output_file.exists():
        parser.error(f"--output_file is {str(output_file)!r}, which exists; remove it first or choose another name")
    output_file.parent.mkdir(parents=True, exist_ok=True)
    train_tokenizer().save(str(output_file))
    print(f"{output_file}: {VOCAB_SIZE} tokens")


if __name__ == "__main__":
    main()

"""load_dataset with a tokenizer: the tokens of rows, with attributes and roles, from a cache and from a stream."""

from pathlib import Path
from typing import Any

import pytest
from conftest import ecosystem

import bio_facts
from bio_facts.generate.config import CONFIGS
from bio_facts.measure.tokens import BiographyTokenizer, load_tokenizer

pytestmark = ecosystem("datasets")

SIZE: dict[str, Any] = {"num_individuals": 30, "num_biographies": 200}
TOKENIZER = load_tokenizer("bio_facts")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def generated(split: str, indices: range) -> list[tuple[list[int], list[int], list[int]]]:
    """Tokens, attribute ids and roles as the generator makes them."""
    tokenize, batch = BiographyTokenizer(TOKENIZER), bio_facts.draw(CONFIGS["n1k"].replace(**SIZE), split, indices)
    ids, attributes, lengths = tokenize(batch)
    return [
        tuple(array[row, :length].tolist() for array in (ids, attributes, tokenize.roles(batch)))
        for row, length in enumerate(lengths)
    ]


@pytest.mark.parametrize("streaming", [False, True], ids=["cache", "stream"])
def test_tokens_are_those_of_the_generator_and_rows_stay(streaming: bool, cache: Path) -> None:
    given = {"split": "train", "streaming": streaming, "cache_dir": cache, **SIZE}
    plain = bio_facts.load_dataset("n1k", **given)
    tokenized = bio_facts.load_dataset("n1k", tokenizer=TOKENIZER, **given)
    rows = [row for row, _ in zip(tokenized, range(50), strict=False)]
    assert [(row["input_ids"], row["attribute_ids"], row["roles"]) for row in rows] == generated("train", range(50))
    for row, expected in zip(rows, plain, strict=False):
        assert {name: row[name] for name in expected} == expected


def test_all_splits_and_slices_have_tokens(cache: Path) -> None:
    splits = bio_facts.load_dataset("n1k", tokenizer=TOKENIZER, cache_dir=cache, **SIZE)
    assert splits["unseen"][7]["input_ids"] == generated("unseen", range(7, 8))[0][0]
    batch = bio_facts.load_dataset("n1k", split="train[10:14]", tokenizer=TOKENIZER, cache_dir=cache, **SIZE)[:]
    assert batch["roles"] == [roles for _, _, roles in generated("train", range(10, 14))]


def test_tables_without_texts_and_other_tokenizers_are_refused() -> None:
    with pytest.raises(ValueError, match="name is 'templates', which has no biographies"):
        bio_facts.load_dataset("templates", split="train", tokenizer=TOKENIZER)
    with pytest.raises(ValueError, match="tokenizer is a str; it must be a fast tokenizer of transformers"):
        bio_facts.load_dataset("n1k", split="train", tokenizer="gpt2", **SIZE)

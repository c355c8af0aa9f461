"""Spaces that a tokenizer puts into the text, and characters that it drops."""

import functools
from typing import Any

import pytest
from aligned_words import marked, row_of
from kinds import TEXTS, tokenizer_of
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from bio_facts.measure.alignment import align

KINDS_APART = ("numbers_apart", "numbers_apart_untrimmed")


@functools.cache
def byte_level_tokenizer(vocab_size: int, trim_offsets: bool, post_processor: str) -> Any:
    """As GPT-2 with add_prefix_space, or as RoBERTa, with added tokens for the edges of values."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([*TEXTS, "Rome R Rome R Rome"], trainer)
    start = ("<s>", tokenizer.get_vocab_size())
    byte_level = processors.ByteLevel(trim_offsets=trim_offsets, add_prefix_space=post_processor != "no prefix")
    tokenizer.post_processor = {
        "byte level": byte_level,
        "no prefix": byte_level,
        "sequence": processors.Sequence([byte_level, processors.TemplateProcessing(single="<s> $A", special_tokens=[start])]),
        "roberta": processors.RobertaProcessing(start, start, trim_offsets, True),
    }[post_processor]
    tokenizer.add_special_tokens(["<s>", "<v>"])
    tokenizer.add_tokens(["</v>", *"0123456789"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.mark.parametrize("post_processor", ["byte level", "no prefix", "sequence", "roberta"])
@pytest.mark.parametrize("trim_offsets", [True, False])
@pytest.mark.parametrize("vocab_size", [258, 1_500])
@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("born in <v>Rome</v>.", "Rome", "ĠRome"),
        ("born in <v>R</v>.", "R", "ĠR"),
        ("born in <v>État</v>.", "État", "ĠÃītat"),
        ("born in <v> Rome</v>.", "Rome", "ĠRome"),
        ("born in <v>Ro me</v>.", "Ro me", "ĠRoĠme"),
        ("born in </v>Rome", "Rome", "ĠRome"),
        ("it was 1990. Then", "1990", "1990"),
        ("it was 1990Rome", "Rome", "ĠRome"),
    ],
)
def test_space_that_a_tokenizer_puts_before_a_value_belongs_to_it(
    text: str, value: str, expected: str, vocab_size: int, trim_offsets: bool, post_processor: str
) -> None:
    tokenizer = byte_level_tokenizer(vocab_size, trim_offsets, post_processor)
    tokens = "".join(token for token, attribute_id in marked(tokenizer, row_of(text, birth_place=value)) if attribute_id)
    assert tokens in (expected, f"Ġ{expected}") if value == "1990" else tokens == expected


def test_value_at_the_beginning_of_a_text_holds_the_space_put_before_it() -> None:
    for trim_offsets in (True, False):
        tokenizer = byte_level_tokenizer(258, trim_offsets, "sequence")
        aligned = align(tokenizer, [row_of("Rome is it", birth_place="Rome")], 0)
        tokens = tokenizer.convert_ids_to_tokens(aligned.input_ids[0])
        assert [token for token, number in zip(tokens, aligned.attribute_ids[0], strict=True) if number] == ["Ġ", *"Rome"]


@functools.cache
def accent_stripping_tokenizer(trim_offsets: bool, kind: str) -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if kind == "byte level":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.mark.parametrize(("trim_offsets", "kind"), [(True, "byte level"), (False, "byte level"), (False, "words")])
@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("in Rome\u0301, x", "Rome\u0301", "ĠRome"),
        ("in Rome\u0301 x", "Rome\u0301", "ĠRome"),
        ("in Rom\u0301e, x", "Rom\u0301e", "ĠRome"),
        ("Rome\u0301, x", "Rome\u0301", "Rome"),
        ("in\u0301 Rome, x", "Rome", "ĠRome"),
        ("x, Rome\u0301", "Rome\u0301", "ĠRome"),
    ],
)
def test_character_that_the_tokenizer_drops_moves_no_token_into_a_value(
    text: str, value: str, expected: str, trim_offsets: bool, kind: str
) -> None:
    tokenizer = accent_stripping_tokenizer(trim_offsets, kind)
    tokens = "".join(token for token, attribute_id in marked(tokenizer, row_of(text, birth_place=value)) if attribute_id)
    assert tokens == (expected if kind == "byte level" else expected.removeprefix("Ġ"))


@pytest.mark.parametrize("text", ["of  35, so", "of   35, so", "of 35, so", "35, so"])
def test_tokens_of_several_spaces_are_the_same_trimmed_or_not(text: str) -> None:
    trimmed, whole = (marked(tokenizer_of(kind), row_of(text, birth_date="35")) for kind in KINDS_APART)
    assert trimmed == whole

import itertools
import re
from typing import Any

import numpy as np
import pytest
from aligned_words import marked, row_of, words
from kinds import KINDS, TOKENIZERS, tokenizer_of
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import rows
from bio_facts.generate.config import CONFIGS
from bio_facts.generate.splits import draw
from bio_facts.measure.alignment import AlignedRows, align
from bio_facts.measure.tokens import BiographyTokenizer

BIOGRAPHIES = draw(CONFIGS["n1k"], "validation", range(200))
ROWS = rows(BIOGRAPHIES)
KINDS_APART = ("numbers_apart", "numbers_apart_untrimmed")
OTHER_SCRIPTS = "Ada was born in 東京 on March 16, 1990. Now  Évora is home; she works at “Ærø Ω-Lab” 🌍."


def runs(aligned: AlignedRows, row: int = 0) -> list[tuple[int, list[int]]]:
    """(attribute id, tokens) of each value of a row."""
    ids, attributes = aligned.input_ids[row], aligned.attribute_ids[row]
    edges = [0, *(np.flatnonzero(np.diff(attributes)) + 1), len(ids)]
    return [(int(attributes[start]), ids[start:end].tolist()) for start, end in itertools.pairwise(edges) if attributes[start]]


def token_bytes(token: str, kind: str) -> int:
    """How many bytes of the text a token stands for."""
    if kind == "sentencepiece_32k":
        return 1 if re.fullmatch("<0x..>", token) else len(token.replace("▁", " ").encode())
    return len(token)  # one character stands for one byte


def plain_alignment(kind: str, row: dict[str, Any]) -> list[int]:
    """Attribute ids from the lengths of tokens in bytes alone, without the tokenizer's offsets."""
    tokenizer, text = tokenizer_of(kind), row["text"]
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False).input_ids)
    position = -1 if kind == "sentencepiece_32k" else 0  # which puts a space before the text
    attribute_ids = []
    for token in tokens:
        covered = range(position, position + token_bytes(token, kind))
        position = covered.stop
        attribute_id = 0
        for value in row["attributes"]:
            start, end = (len(text[:k].encode()) for k in (value["start"], value["end"]))
            if set(covered) & set(range(start, end)) or (list(covered) == [start - 1] and text[value["start"] - 1] == " "):
                attribute_id = ATTRIBUTES[value["attribute"]].attribute_id
        attribute_ids.append(attribute_id)
    assert position == len(text.encode())
    return attribute_ids


@pytest.mark.parametrize("kind", [kind for kind in TOKENIZERS if kind != "wordpiece"])
def test_value_tokens_agree_with_plain_counting_of_bytes(kind: str) -> None:
    other = row_of(
        OTHER_SCRIPTS, birth_place="東京", birth_date="March 16, 1990", current_location="Évora", company="Ærø Ω-Lab"
    )
    aligned = align(tokenizer_of(kind), [*ROWS[:60], other], 0)
    for row, attribute_ids in zip([*ROWS[:60], other], aligned.attribute_ids, strict=True):
        assert attribute_ids.tolist() == plain_alignment(kind, row)


@pytest.mark.parametrize("kind", [kind for kind in TOKENIZERS if kind != "merging_bpe"])
def test_tokens_of_each_value_decode_to_it(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    aligned = align(tokenizer, ROWS, 0)
    assert aligned.num_straddling_tokens == aligned.num_truncated_values == 0
    for k, row in enumerate(ROWS):
        decoded = [(number, tokenizer.decode(ids).replace(" ", "")) for number, ids in runs(aligned, k)]
        expected = [(ATTRIBUTES[span["attribute"]].attribute_id, span["value"].replace(" ", "")) for span in row["attributes"]]
        assert decoded == expected


@pytest.mark.parametrize("kind", KINDS_APART)
def test_space_that_is_a_token_belongs_to_the_value_after_it(kind: str) -> None:
    marks = marked(tokenizer_of(kind), row_of("She is 35 now, on March 16, 1990.", birth_date="March 16, 1990"))
    tokens = [token for token, attribute_id in marks if attribute_id]
    assert "".join(tokens) == "ĠMarchĠ16,Ġ1990"
    assert tokens.count("Ġ") == 3  # otherwise the test would show nothing


def test_token_that_ends_in_the_space_before_a_value_is_not_the_values() -> None:
    split = pre_tokenizers.Split("|", "removed")
    tokenizer = words("in ", "London", pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.Split("in ", "isolated"), split]))
    aligned = align(tokenizer, [row_of("in London", birth_place="London")], 0)
    assert (aligned.attribute_ids[0].tolist(), aligned.num_straddling_tokens) == ([0, 1], 0)


@pytest.mark.parametrize(
    ("text", "num_straddling"),
    [
        ("is London .", 0),
        ("is London.", 1),
        ("is “London .", 1),
        ("is (London).", 1),
        ("is “ New London .", 0),
        ("is xNew London.", 2),
    ],
)
def test_tokens_across_the_edge_of_a_value_belong_to_it_and_are_counted(text: str, num_straddling: int) -> None:
    value = "New London" if "New" in text else "London"
    aligned = align(words(), [row_of(text, birth_place=value)], 0)
    assert aligned.num_straddling_tokens == num_straddling
    assert aligned.attribute_ids[0].tolist() == [int("London" in word or "New" in word) for word in text.split()]


def test_straddling_tokens_of_all_rows_are_added_up() -> None:
    rows_with_two = [row_of("is London.", birth_place="London"), row_of("is “Rome .", birth_place="Rome")]
    assert align(words(), rows_with_two, 0).num_straddling_tokens == 2


@pytest.mark.parametrize("kind", ["bio_facts", "byte_level_bpe", "wordpiece"])
def test_special_tokens_of_a_tokenizer_are_kept_and_belong_to_no_value(kind: str) -> None:
    backend = Tokenizer.from_str(tokenizer_of(kind).backend_tokenizer.to_str())
    backend.add_special_tokens(["<s>", "</s>"])
    pairs = [(token, backend.token_to_id(token)) for token in ("<s>", "</s>")]
    backend.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=pairs)
    with_both = align(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]"), ROWS[:20], 0)
    without = align(tokenizer_of(kind), ROWS[:20], 0)
    for k in range(20):
        assert with_both.input_ids[k].tolist() == [pairs[0][1], *without.input_ids[k], pairs[1][1]]
        assert with_both.attribute_ids[k].tolist() == [0, *without.attribute_ids[k], 0]
    assert with_both.num_rows_apart == without.num_rows_apart == 0


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_rows_apart_are_those_whose_tokens_differ_from_the_generators(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    batch = BiographyTokenizer(tokenizer)(BIOGRAPHIES)
    whole = [tokenizer(row["text"], add_special_tokens=False).input_ids for row in ROWS]
    pieces = [ids[:length].tolist() for ids, length in zip(batch.input_ids, batch.lengths, strict=True)]
    expected = sum(of_text != of_pieces for of_text, of_pieces in zip(whole, pieces, strict=True))
    assert (expected > 0) == (kind == "merging_bpe")  # otherwise the test would show little
    assert align(tokenizer, ROWS, 0).num_rows_apart == expected


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_of_rows_that_are_not_apart_are_the_generators(kind: str) -> None:
    batch, aligned = BiographyTokenizer(tokenizer_of(kind))(BIOGRAPHIES), align(tokenizer_of(kind), ROWS, 0)
    for ids, attribute_ids, k in zip(batch.input_ids, batch.attribute_ids, range(len(ROWS)), strict=True):
        length = batch.lengths[k]
        assert aligned.input_ids[k].tolist() == ids[:length].tolist()
        assert aligned.attribute_ids[k].tolist() == attribute_ids[:length].tolist()


def test_row_that_cannot_be_tokenized_by_pieces_counts_as_apart() -> None:
    all_in_one = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]")))
    assert align(all_in_one, [row_of("x London", birth_place="London")], 0).num_rows_apart == 1


def test_padding_side_and_truncation_of_the_tokenizer_change_nothing() -> None:
    plain = tokenizer_of("bio_facts")
    backend = Tokenizer.from_str(plain.backend_tokenizer.to_str())
    backend.enable_truncation(7)
    backend.enable_padding(length=300, direction="left")
    other = PreTrainedTokenizerFast(tokenizer_object=backend, padding_side="left", truncation_side="left", model_max_length=7)
    actual, expected = align(other, ROWS[:5], 0), align(plain, ROWS[:5], 0)
    for k in range(5):
        assert actual.input_ids[k].tolist() == expected.input_ids[k].tolist()
        assert actual.attribute_ids[k].tolist() == expected.attribute_ids[k].tolist()


def test_attributes_of_other_names_have_their_own_ids() -> None:
    row = {"text": "x is red", "attributes": [{"attribute": "colour", "start": 5, "end": 8}]}
    assert align(words(), [row], 0, attribute_names=("size", "colour")).attribute_ids[0].tolist() == [0, 0, 2]


def test_values_may_stand_in_any_order_and_touch_if_their_attributes_differ() -> None:
    row = row_of("x Rome London", current_location="London", birth_place="Rome")
    assert align(words(), [row], 0).attribute_ids[0].tolist() == [0, 1, 2]


def test_text_without_tokens_or_values_is_accepted() -> None:
    aligned = align(words(), [{"text": "", "attributes": []}, {"text": "x y", "attributes": []}], 0)
    assert [ids.tolist() for ids in aligned.attribute_ids] == [[], [0, 0]]


TRUNCATED = row_of("a b London Bridge c Rome d", birth_place="London Bridge", current_location="Rome")  # tokens 2, 3 and 5


@pytest.mark.parametrize(
    ("max_length", "ids", "lost"),
    [
        (8, [0, 0, 1, 1, 0, 2, 0], 0),
        (6, [0, 0, 1, 1, 0, 2], 0),
        (5, [0, 0, 1, 1, 0], 1),
        (4, [0, 0, 1, 1], 1),
        (3, [0, 0, 0], 2),
        (1, [0], 2),
    ],
)
def test_truncation_leaves_out_values_that_do_not_fit(max_length: int, ids: list[int], lost: int) -> None:
    aligned = align(words(), [TRUNCATED], 0, max_length=max_length, allow_truncation=True)
    assert aligned.attribute_ids[0].tolist() == ids
    assert len(aligned.input_ids[0]) == len(ids)
    assert aligned.num_truncated_values == lost


def test_values_lost_in_all_rows_are_added_up() -> None:
    assert align(words(), [TRUNCATED, TRUNCATED], 0, max_length=3, allow_truncation=True).num_truncated_values == 4


@pytest.mark.parametrize(("max_length", "lost"), [(5, 1), (3, 2)])
def test_truncation_of_a_value_is_refused(max_length: int, lost: int) -> None:
    message = (
        f"row 7 has 7 tokens, and max_length {max_length} truncates {lost} of its values; "
        "raise max_length, or set allow_truncation to leave such values out"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        align(words(), [TRUNCATED], 7, max_length=max_length)


def test_truncation_after_the_last_value_is_accepted() -> None:
    assert align(words(), [TRUNCATED], 0, max_length=6).num_truncated_values == 0


LONDON = {"attribute": "birth_place", "value": "London", "start": 5, "end": 11}


NAMES = ", ".join(ATTRIBUTES)


@pytest.mark.parametrize(
    ("text", "attributes", "message"),
    [
        (
            "x is London",
            [LONDON | {"attribute": "hobby"}],
            "attribute is 'hobby'; it must be one of attribute_names, birth_place, current_location,",
        ),
        (
            "x is London",
            [LONDON | {"attribute": "birthplace"}],
            f"attribute is 'birthplace'; it must be one of attribute_names, {NAMES}; did you mean 'birth_place'?",
        ),
        ("x is London", [LONDON | {"end": 12}], "birth_place has span 5..12; it must be within its text of 11 characters"),
        ("x is London", [LONDON | {"start": -6}], "birth_place has span -6..11; it must be within"),
        ("x is London", [LONDON | {"end": 5}], "birth_place has span 5..5; it must be within"),
        ("x is Rome, IT", [LONDON], "birth_place is 'London', but its span 5..11 holds 'Rome, '"),
        ("x is London", [LONDON, LONDON], "birth_place has span 5..11, which overlaps another value's; values must be apart"),
        (
            "x is London",
            [LONDON, LONDON | {"attribute": "major", "value": "on", "start": 9}],
            "major has span 9..11, which overlaps another value's; values must be apart",
        ),
        (
            "x is London/Rome",
            [LONDON, LONDON | {"attribute": "major", "value": "Rome", "start": 12, "end": 16}],
            "one token holds parts of two values, 'Rome' and another",
        ),
        (
            "x is London Rome",
            [LONDON, LONDON | {"value": "Rome", "start": 12, "end": 16}],
            "two values of one attribute have no token between them; they would count as one",
        ),
    ],
)
def test_row_that_does_not_fit_its_spans_is_refused(text: str, attributes: list[dict], message: str) -> None:
    with pytest.raises(ValueError, match=f"^row 4: {re.escape(message)}"):
        align(words(), [row_of("x"), {"text": text, "attributes": attributes}], 3)


def test_value_without_tokens_is_refused() -> None:
    letters = words(pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.Split("#", "removed")]))
    row = {"text": "x ###", "attributes": [{"attribute": "birth_place", "start": 2, "end": 5}]}
    with pytest.raises(ValueError, match=r"^row 0: birth_place '###' has no token of this tokenizer$"):
        align(letters, [row], 0)


@pytest.mark.parametrize("row", ["text", {"text": "x"}, {"attributes": []}, None])
def test_row_of_another_form_is_refused(row: object) -> None:
    with pytest.raises(ValueError, match=r"^row 2 is .*; it must be a mapping with text and attributes$"):
        align(words(), [row], 2)

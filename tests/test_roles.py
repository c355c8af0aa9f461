"""Roles of tokens: name, cue, value and text, of generated batches and of rows with spans."""

from itertools import groupby
from typing import Any

import numpy as np
import pytest
from aligned_words import row_of, words

from bio_facts import CONFIGS, draw, rows
from bio_facts.generate.templates import questions, templates
from bio_facts.measure.alignment import align, token_roles
from bio_facts.measure.tokens import ROLES, BiographyTokenizer, load_tokenizer

CONFIG = CONFIGS["n1k-questions"]
TOKENIZER = load_tokenizer("bio_facts")


def parts(ids: list[int], roles: list[int]) -> list[tuple[str, str]]:
    """(role, text) of each run of tokens of one role."""
    runs = groupby(zip(roles, ids, strict=True), key=lambda pair: pair[0])
    return [(ROLES[role], TOKENIZER.decode([token for _, token in run]).strip()) for role, run in runs]


def expected_parts(row: dict[str, Any]) -> list[tuple[str, str]]:
    """The same from the templates of a row: the parts of its sentences, tails and heads joined."""
    name = row["text"][row["name_spans"][0]["start"] : row["name_spans"][0]["end"]]
    found: list[tuple[str, str]] = []
    for entry in row["attributes"]:
        number = entry["template_id"]
        template = questions()[entry["attribute"]][number - 25] if number >= 25 else templates()[entry["attribute"]][number]
        sentence = [("text", template.head), ("name", name), ("cue", template.cue.strip()), ("value", entry["value"])]
        for role, text in [*sentence, ("text", template.tail)]:
            if found and found[-1][0] == role == "text":
                found[-1] = (role, f"{found[-1][1]} {text}".strip())
            elif text:
                found.append((role, text))
    return found


@pytest.mark.parametrize("split", ["train", "validation", "questions_not_asked"])
def test_roles_of_generated_rows_follow_the_templates(split: str) -> None:
    tokenize = BiographyTokenizer(TOKENIZER, formats=CONFIG.formats)
    for index in range(30):
        batch = draw(CONFIG, split, [index])
        tokens, roles = tokenize(batch), tokenize.roles(batch)
        assert parts(tokens.input_ids[0].tolist(), roles[0].tolist()) == expected_parts(rows(batch)[0])


def test_roles_of_rows_are_those_of_the_generator() -> None:
    batch = draw(CONFIG, "train", range(40))
    tokenize = BiographyTokenizer(TOKENIZER, formats=CONFIG.formats)
    tokens, generated = tokenize(batch), tokenize.roles(batch)
    aligned = align(TOKENIZER, rows(batch), 0)
    for number, roles in enumerate(token_roles(TOKENIZER, rows(batch))):
        length = int(tokens.lengths[number])
        assert aligned.input_ids[number].tolist() == tokens.input_ids[number, :length].tolist()
        assert roles.tolist() == generated[number, :length].tolist()
        assert not generated[number, length:].any()


def test_a_token_of_several_spans_has_the_first_of_value_name_cue() -> None:
    row = row_of("Then Ada Roe lives in Oslo .", current_location="Oslo") | {"name_spans": [{"start": 5, "end": 12}]}
    tokenizer = words("Then", "Ada", "Roe", "lives", "in", "Oslo", ".")
    assert token_roles(tokenizer, [row])[0].tolist() == [
        ROLES.index(role) for role in ["text", "name", "name", "cue", "cue", "value", "text"]
    ]
    row = row_of("AdaRoe'slives inOslo .", current_location="Oslo") | {"name_spans": [{"start": 0, "end": 6}]}
    assert [ROLES[role] for role in token_roles(words("AdaRoe'slives", "inOslo", "."), [row])[0]] == ["name", "value", "text"]


def test_values_before_any_name_have_no_cue() -> None:
    row = row_of("In Oslo lives Ada .", current_location="Oslo") | {"name_spans": [{"start": 14, "end": 17}]}
    roles = token_roles(words("In", "Oslo", "lives", "Ada", "."), [row])[0]
    assert [ROLES[role] for role in roles] == ["text", "value", "text", "name", "text"]


def test_rows_without_names_are_refused() -> None:
    with pytest.raises(ValueError, match="row 0 has no name_spans; expected those of the rows of bio_facts"):
        token_roles(words("lives", "in", "Oslo"), [row_of("lives in Oslo", current_location="Oslo")])


def test_roles_are_positions_in_a_documented_order() -> None:
    assert ROLES == ("text", "name", "cue", "value")
    tokens = BiographyTokenizer(TOKENIZER)(draw(CONFIGS["n1k"], "train", range(5)))
    roles = BiographyTokenizer(TOKENIZER).roles(draw(CONFIGS["n1k"], "train", range(5)))
    np.testing.assert_array_equal(roles == ROLES.index("value"), tokens.attribute_ids > 0)

import functools
import itertools
import re
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from kinds import KINDS, TEXTS, TOKENIZERS, tokenizer_of
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
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


def row_of(text: str, **values: str) -> dict[str, Any]:
    """A row whose attributes have these values, at the first place where each occurs."""
    found = [
        {"attribute": name, "value": value, "start": text.index(value), "end": text.index(value) + len(value)}
        for name, value in values.items()
    ]
    return {"text": text, "attributes": found}


def words(*vocabulary: str, pre_tokenizer: Any = None) -> Any:
    """A tokenizer whose tokens are what stands between spaces."""
    tokenizer = Tokenizer(models.WordLevel({word: k for k, word in enumerate(("[UNK]", *vocabulary))}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizer or pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")


def runs(aligned: AlignedRows, row: int = 0) -> list[tuple[int, list[int]]]:
    """(attribute id, tokens) of each value of a row."""
    ids, attributes = aligned.input_ids[row], aligned.attribute_ids[row]
    edges = [0, *(np.flatnonzero(np.diff(attributes)) + 1), len(ids)]
    return [(int(attributes[start]), ids[start:end].tolist()) for start, end in itertools.pairwise(edges) if attributes[start]]


def marked(tokenizer: Any, row: dict[str, Any]) -> list[tuple[str, int]]:
    aligned = align(tokenizer, [row], 0)
    return list(zip(tokenizer.convert_ids_to_tokens(aligned.input_ids[0]), aligned.attribute_ids[0].tolist(), strict=True))


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
    found = []
    for token in tokens:
        held = range(position, position + token_bytes(token, kind))
        position = held.stop
        own = 0
        for value in row["attributes"]:
            start, end = (len(text[:k].encode()) for k in (value["start"], value["end"]))
            if set(held) & set(range(start, end)) or (list(held) == [start - 1] and text[value["start"] - 1] == " "):
                own = ATTRIBUTES[value["attribute"]].attribute_id
        found.append(own)
    assert position == len(text.encode())
    return found


@pytest.mark.parametrize("kind", [kind for kind in TOKENIZERS if kind != "wordpiece"])
def test_value_tokens_are_those_that_plain_counting_of_bytes_finds(kind: str) -> None:
    other = row_of(
        OTHER_SCRIPTS, birth_place="東京", birth_date="March 16, 1990", current_location="Évora", company="Ærø Ω-Lab"
    )
    aligned = align(tokenizer_of(kind), [*ROWS[:60], other], 0)
    for row, found in zip([*ROWS[:60], other], aligned.attribute_ids, strict=True):
        assert found.tolist() == plain_alignment(kind, row)


@pytest.mark.parametrize("kind", [kind for kind in TOKENIZERS if kind != "merging_bpe"])
def test_tokens_of_each_value_decode_to_it(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    aligned = align(tokenizer, ROWS, 0)
    assert aligned.num_straddling_tokens == aligned.num_truncated_values == 0
    for k, row in enumerate(ROWS):
        decoded = [(number, tokenizer.decode(ids).replace(" ", "")) for number, ids in runs(aligned, k)]
        expected = [(ATTRIBUTES[one["attribute"]].attribute_id, one["value"].replace(" ", "")) for one in row["attributes"]]
        assert decoded == expected


@pytest.mark.parametrize("kind", KINDS_APART)
def test_space_that_is_a_token_belongs_to_the_value_after_it(kind: str) -> None:
    found = marked(tokenizer_of(kind), row_of("She is 35 now, on March 16, 1990.", birth_date="March 16, 1990"))
    tokens = [token for token, attribute_id in found if attribute_id]
    assert "".join(tokens) == "ĠMarchĠ16,Ġ1990"
    assert tokens.count("Ġ") == 3  # else the test shows nothing


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
def test_tokens_across_the_edge_of_a_value_are_its_own_and_counted(text: str, num_straddling: int) -> None:
    value = "New London" if "New" in text else "London"
    aligned = align(words(), [row_of(text, birth_place=value)], 0)
    assert aligned.num_straddling_tokens == num_straddling
    assert aligned.attribute_ids[0].tolist() == [int("London" in word or "New" in word) for word in text.split()]


def test_straddling_tokens_of_all_rows_are_added_up() -> None:
    rows_with_two = [row_of("is London.", birth_place="London"), row_of("is “Rome .", birth_place="Rome")]
    assert align(words(), rows_with_two, 0).num_straddling_tokens == 2


@pytest.mark.parametrize("kind", ["own", "byte_level_bpe", "wordpiece"])
def test_special_tokens_that_a_tokenizer_adds_are_there_and_no_values(kind: str) -> None:
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
def test_rows_apart_are_those_whose_tokens_the_generator_makes_otherwise(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    batch = BiographyTokenizer(tokenizer)(BIOGRAPHIES)
    whole = [tokenizer(row["text"], add_special_tokens=False).input_ids for row in ROWS]
    pieces = [ids[:length].tolist() for ids, length in zip(batch.input_ids, batch.lengths, strict=True)]
    expected = sum(one != other for one, other in zip(whole, pieces, strict=True))
    assert (expected > 0) == (kind == "merging_bpe")  # else the test shows little
    assert align(tokenizer, ROWS, 0).num_rows_apart == expected


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_of_rows_that_are_not_apart_are_the_generators(kind: str) -> None:
    batch, aligned = BiographyTokenizer(tokenizer_of(kind))(BIOGRAPHIES), align(tokenizer_of(kind), ROWS, 0)
    for ids, attribute_ids, k in zip(batch.input_ids, batch.attribute_ids, range(len(ROWS)), strict=True):
        length = batch.lengths[k]
        assert aligned.input_ids[k].tolist() == ids[:length].tolist()
        assert aligned.attribute_ids[k].tolist() == attribute_ids[:length].tolist()


def test_row_that_cannot_be_tokenised_by_pieces_counts_as_apart() -> None:
    all_in_one = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]")))
    assert align(all_in_one, [row_of("x London", birth_place="London")], 0).num_rows_apart == 1


def test_padding_side_and_truncation_of_the_tokenizer_change_nothing() -> None:
    plain = tokenizer_of("own")
    backend = Tokenizer.from_str(plain.backend_tokenizer.to_str())
    backend.enable_truncation(7)
    backend.enable_padding(length=300, direction="left")
    other = PreTrainedTokenizerFast(tokenizer_object=backend, padding_side="left", truncation_side="left", model_max_length=7)
    one, two = align(other, ROWS[:5], 0), align(plain, ROWS[:5], 0)
    for k in range(5):
        assert one.input_ids[k].tolist() == two.input_ids[k].tolist()
        assert one.attribute_ids[k].tolist() == two.attribute_ids[k].tolist()


def test_attributes_of_other_names_have_their_own_ids() -> None:
    row = {"text": "x is red", "attributes": [{"attribute": "colour", "start": 5, "end": 8}]}
    assert align(words(), [row], 0, attribute_names=("size", "colour")).attribute_ids[0].tolist() == [0, 0, 2]


def test_values_may_stand_in_any_order_and_touch_if_their_attributes_differ() -> None:
    row = row_of("x Rome London", current_location="London", birth_place="Rome")
    assert align(words(), [row], 0).attribute_ids[0].tolist() == [0, 1, 2]


def test_text_without_tokens_or_values_is_fine() -> None:
    aligned = align(words(), [{"text": "", "attributes": []}, {"text": "x y", "attributes": []}], 0)
    assert [ids.tolist() for ids in aligned.attribute_ids] == [[], [0, 0]]


CUT = row_of("a b London Bridge c Rome d", birth_place="London Bridge", current_location="Rome")  # tokens 2, 3 and 5


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
def test_truncation_leaves_out_the_values_that_it_cuts(max_length: int, ids: list[int], lost: int) -> None:
    aligned = align(words(), [CUT], 0, max_length=max_length, allow_truncation=True)
    assert aligned.attribute_ids[0].tolist() == ids
    assert len(aligned.input_ids[0]) == len(ids)
    assert aligned.num_truncated_values == lost


def test_values_lost_in_all_rows_are_added_up() -> None:
    assert align(words(), [CUT, CUT], 0, max_length=3, allow_truncation=True).num_truncated_values == 4


@pytest.mark.parametrize(("max_length", "lost"), [(5, 1), (3, 2)])
def test_truncation_of_a_value_is_refused(max_length: int, lost: int) -> None:
    message = (
        f"row 7 has 7 tokens, and max_length {max_length} truncates {lost} of its values; "
        "raise max_length, or set allow_truncation to leave such values out"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        align(words(), [CUT], 7, max_length=max_length)


def test_truncation_behind_the_last_value_is_fine() -> None:
    assert align(words(), [CUT], 0, max_length=6).num_truncated_values == 0


LONDON = {"attribute": "birth_place", "value": "London", "start": 5, "end": 11}


@pytest.mark.parametrize(
    ("text", "attributes", "message"),
    [
        (
            "x is London",
            [LONDON | {"attribute": "hobby"}],
            "attribute is 'hobby'; it must be one of birth_place, current_location,",
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


# Rows of other kinds


def from_pandas(given: list[dict], path: Path) -> Any:
    return pd.read_parquet(path).to_dict("records")


def from_duckdb(given: list[dict], path: Path) -> Any:
    import duckdb

    return duckdb.sql(f"select * from '{path}'").df().to_dict("records")


def from_polars(given: list[dict], path: Path) -> Any:
    import polars

    return polars.read_parquet(path).to_dicts()


def in_format(name: str) -> Callable[[list[dict], Path], Any]:
    def rows_of_datasets(given: list[dict], path: Path) -> Any:
        import datasets

        return list(datasets.Dataset.from_list(given).with_format(name))

    return rows_of_datasets


def with_scalars(scalar: Callable[[int], Any], collection: Callable[[list], Any]) -> Callable[[list[dict], Path], Any]:
    def of_span(span: dict) -> dict:
        return {key: scalar(item) if isinstance(item, int) else item for key, item in span.items()}

    return lambda given, path: [
        row | {name: collection([of_span(span) for span in row[name]]) for name in ("attributes", "name_spans")}
        for row in given
    ]


@pytest.mark.parametrize(
    "make",
    [
        *(
            pytest.param(make, marks=pytest.mark.ecosystem)
            for make in (from_pandas, from_duckdb, from_polars, in_format("numpy"), in_format("torch"))
        ),
        with_scalars(np.uint16, tuple),
        with_scalars(np.array, lambda items: np.array(items, dtype=object)),
        with_scalars(torch.tensor, deque),
        with_scalars(int, iter),
    ],
    ids=["pandas", "duckdb", "polars", "numpy", "torch", "NumPy scalars", "arrays", "PyTorch scalars", "iterators"],
)
def test_rows_of_other_libraries_have_the_tokens_of_plain_ones(make: Callable[[list[dict], Path], Any], tmp_path: Path) -> None:
    given = [dict(row) for row in ROWS[:4]]
    pq.write_table(pa.Table.from_pylist(given), tmp_path / "rows.parquet")
    found, expected = (
        align(tokenizer_of("own"), make(given, tmp_path / "rows.parquet"), 0),
        align(tokenizer_of("own"), given, 0),
    )
    for name in ("input_ids", "attribute_ids"):
        assert [ids.tolist() for ids in getattr(found, name)] == [ids.tolist() for ids in getattr(expected, name)]
    assert found.num_rows_apart == expected.num_rows_apart == 0


@pytest.mark.parametrize(
    "attributes",
    [
        None,
        "London",
        5,
        {"start": [2], "end": [8]},
        ["London"],
        [{"attribute": "major", "start": 2}],
        float("nan"),
        np.array(5),
    ],
)
def test_attributes_that_are_no_list_of_spans_are_refused(attributes: object) -> None:
    with pytest.raises(
        ValueError, match=r"^row 0: attributes is .*; it must be a list of mappings with attribute, start and end"
    ):
        align(words(), [{"text": "x London", "attributes": attributes}], 0)


@pytest.mark.parametrize("start", [2.0, "2", True, None, np.bool_(True), np.float64(2), torch.tensor(2.0), torch.tensor(True)])
def test_edges_that_are_no_integers_are_refused(start: object) -> None:
    row = {"text": "x London", "attributes": [{"attribute": "major", "start": start, "end": 8}]}
    with pytest.raises(ValueError, match=r"^row 0: attributes is "):
        align(words(), [row], 0)


def test_names_that_are_no_list_of_spans_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^row 0: name_spans is 'Ada'; it must be a list of mappings with start and end"):
        align(words(), [row_of("x London", major="London") | {"name_spans": "Ada"}], 0)
    assert align(words(), [row_of("x London", major="London") | {"name_spans": None}], 0).input_ids[0].tolist()


def test_text_with_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^row 0: text has a NUL at character 1; it must be text without NUL characters$"):
        align(tokenizer_of("own"), [row_of("x\0 London", major="London")], 0)


# Spaces that a tokenizer puts into the text


@functools.cache
def byte_level_tokenizer(vocab_size: int, trim_offsets: bool, post_processor: str) -> Any:
    """GPT-2's way with add_prefix_space, as RoBERTa has it, and tokens added for the edges of values."""
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
def test_space_that_a_tokenizer_puts_before_a_value_is_the_values(
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


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT])
def test_values_and_names_that_pandas_filled_are_not_compared(missing: Any) -> None:
    row = row_of("x London", major="London") | {"name_spans": missing}
    row["attributes"][0]["value"] = missing
    assert marked(tokenizer_of("own"), row) == marked(tokenizer_of("own"), row_of("x London", major="London"))
    row["attributes"][0]["value"] = 3.0
    with pytest.raises(ValueError, match=r"^row 0: major is 3\.0, but its span 2\.\.8 holds 'London'$"):
        align(tokenizer_of("own"), [row], 0)


def test_values_missing_in_a_data_frame_are_not_compared() -> None:
    spans = [{"attribute": "major", "start": 2, "end": 8, "value": "London"}, {"attribute": "company", "start": 9, "end": 12}]
    filled = pd.DataFrame(spans).to_dict("records")
    assert filled[1]["value"] != filled[1]["value"]  # NaN; else the test shows nothing
    aligned = align(tokenizer_of("own"), [{"text": "x London IBM", "attributes": filled}], 0)
    assert set(aligned.attribute_ids[0].tolist()) == {0, *(ATTRIBUTES[name].attribute_id for name in ("major", "company"))}

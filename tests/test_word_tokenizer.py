"""The tokenizer of the words that a config can produce."""

import hashlib
import re

import numpy as np
import pytest
from conftest import SMOKE, load_recipe
from hypothesis import given, settings
from hypothesis import strategies as st

from bio_facts import CONFIGS, draw
from bio_facts.generate.biography import Biographies, rows
from bio_facts.generate.pools import PoolSizes, full_pool_sizes, pools
from bio_facts.generate.templates import BIOGRAPHIES, FORMATS, questions, templates
from bio_facts.measure.scoring import score
from bio_facts.measure.tokens import BiographyTokenizer
from bio_facts.measure.word_tokenizer import END_OF_TEXT, UNKNOWN, word_tokenizer

SMALL_VALUES = {"cities": 32, "universities": 32, "majors": 32, "companies": 32, "years": 4, "months": 4, "days": 4}
LEAST = dict.fromkeys(("first_names", "middle_names", "last_names"), 45)  # names for all unseen individuals
SMALL_NAMES = {"first_names": 60, "middle_names": 60, "last_names": 60}


@pytest.mark.parametrize(
    ("pool_sizes", "num_tokens", "digest"),
    [
        ({}, 5787, "f9b06f13f77aaada"),
        (SMALL_VALUES, 4025, "3eebba98d88286c3"),
        (SMALL_VALUES | SMALL_NAMES, 771, "3fcc004c3a3133a3"),
    ],
    ids=["all", "small values", "small values and names"],
)
def test_is_the_same_every_time(pool_sizes, num_tokens, digest):
    tokenizer = word_tokenizer(PoolSizes(pool_sizes))
    content = tokenizer.backend_tokenizer.to_str()
    assert (len(tokenizer), hashlib.sha256(content.encode()).hexdigest()[:16]) == (num_tokens, digest)


@settings(max_examples=20, deadline=None)
@given(
    pool_sizes=st.fixed_dictionaries(
        {}, optional={pool: st.integers(LEAST.get(pool, 1), min(size, 70)) for pool, size in full_pool_sizes().items()}
    ),
    split=st.sampled_from(["train", "validation", "unseen"]),
    seed=st.integers(0, 100),
)
def test_every_text_of_the_config_comes_back_from_its_tokens(pool_sizes, split, seed):
    config = CONFIGS["n1k"].replace(num_individuals=1, pool_sizes=pool_sizes, seed=seed)
    tokenizer = word_tokenizer(config.pool_sizes)
    biographies = draw(config, split, np.arange(8))
    texts = [row["text"] for row in rows(biographies)]
    token_ids = tokenizer(texts)["input_ids"]
    assert tokenizer.batch_decode(token_ids) == texts
    assert not any(tokenizer.unk_token_id in ids for ids in token_ids)
    batch = BiographyTokenizer(tokenizer, config.pool_sizes)(biographies)
    assert [ids[:length].tolist() for ids, length in zip(batch.input_ids, batch.lengths, strict=True)] == token_ids


def test_has_a_token_for_each_word_in_use_and_no_other():
    sizes = PoolSizes(SMALL_VALUES | SMALL_NAMES)
    item = " ".join(text for pool, items in pools().items() for text in items[: sizes[pool]])
    text = " ".join(f"{template.head}{template.cue}{template.tail}" for of in templates().values() for template in of)
    words = set(re.findall(r"\w+", f"{item} {text}"))
    tokens = set(word_tokenizer(sizes).get_vocab()) - {END_OF_TEXT, UNKNOWN}
    decode = word_tokenizer(sizes).backend_tokenizer.decoder.decode
    assert {word for token in tokens for word in re.findall(r"\w+", decode([token]))} == words


def test_knows_the_words_of_questions_where_rows_have_them():
    sizes = PoolSizes(SMALL_VALUES | SMALL_NAMES)
    plain, asking = word_tokenizer(sizes).get_vocab(), word_tokenizer(sizes, FORMATS).get_vocab()
    assert {token: asking[token] for token in plain if asking[token] < len(plain)} == plain
    questioning = " ".join(f"{question.head}{question.cue}{question.tail}" for of in questions().values() for question in of)
    further = {token.removeprefix("Ġ") for token in asking.keys() - plain.keys()}
    assert {"Answer", "When", "?", ":"} <= further <= {"?", ":", *re.findall(r"\w+", questioning)}


def test_biography_tokenizer_knows_questions_where_rows_have_them():
    tokenizer = word_tokenizer(PoolSizes(SMALL_NAMES), FORMATS)
    plain, asking = (BiographyTokenizer(tokenizer, PoolSizes(SMALL_NAMES), formats) for formats in ([BIOGRAPHIES], FORMATS))
    population = CONFIGS["n1k"].replace(pool_sizes=SMALL_NAMES).population
    order, template_ids = np.arange(6)[None], np.full((1, 6), 25)
    batch = Biographies.assemble(np.array([0]), np.array([3]), population, order, template_ids)
    (row,) = rows(batch)
    assert tokenizer.decode(asking(batch).input_ids[0]) == row["text"]
    assert asking.lengths(batch).max() <= asking.max_length
    with pytest.raises(ValueError, match=r"a biography has 'Where was', which is beyond the pool_sizes and formats of this "):
        plain(batch)


def test_depends_on_pool_sizes_and_formats_alone():
    from bio_facts.runs.training import build_tokenizer

    def vocabulary(overrides):
        return build_tokenizer(load_recipe(SMOKE, {"tokenizer": "words", **overrides})).get_vocab()

    expected = vocabulary({})
    assert len(expected) > 100
    for overrides in (
        {"dataset_parameters.num_individuals": 40},
        {"seed": 3},
        {"dataset_parameters.population_seed": 5},
        {"dataset": "n1k-alpha0.6"},
        {"dataset": "n1k-celebrities", "dataset_parameters.num_celebrities": 4},
        {"dataset_parameters.phases": [[128_000, {"biographies": 1}]]},
    ):
        assert vocabulary(overrides) == expected
    assert vocabulary({"dataset_parameters.pool_sizes.cities": 5}) != expected
    asking = vocabulary({"dataset": "n1k-questions"})
    assert asking.keys() > expected.keys()
    other_phases = {"dataset": "n1k-questions", "dataset_parameters.phases": [[256_000, {"questions": 1}]]}
    assert vocabulary(other_phases) == asking


def test_loads_with_auto_tokenizer(tmp_path):
    from transformers import AutoTokenizer

    tokenizer = word_tokenizer(PoolSizes(SMALL_VALUES | SMALL_NAMES))
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = rows(draw(CONFIGS["n1k"].replace(pool_sizes=SMALL_VALUES | SMALL_NAMES), "train", [0]))[0]["text"]
    assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert (loaded.pad_token, loaded.bos_token, loaded.eos_token, loaded.unk_token) == (END_OF_TEXT,) * 3 + (UNKNOWN,)


def test_scoring_and_harness_refuse_a_text_with_an_unknown_word():
    from kinds import model_of

    sizes = SMALL_VALUES | SMALL_NAMES
    tokenizer = word_tokenizer(PoolSizes(sizes))
    (row,) = rows(draw(CONFIGS["n1k"].replace(pool_sizes=sizes), "train", [0]))
    for addition in (" Zebras", "\n", " <unk>"):
        with pytest.raises(ValueError, match=r"^row 1: the text has characters unknown to the tokenizer"):
            score(model_of("llama", tokenizer), tokenizer, [row, row | {"text": row["text"] + addition}])
    first, *others = row["attributes"]
    unknown = "Z" * len(first["value"])
    renamed = row | {
        "text": row["text"].replace(first["value"], unknown),
        "attributes": [first | {"value": unknown}, *others],
    }
    with pytest.raises(ValueError, match=r"^row 0: the value of \w+ has characters unknown to the tokenizer"):
        score(model_of("llama", tokenizer), tokenizer, [renamed])


def test_callback_refuses_a_config_with_unknown_words():
    from kinds import model_of
    from transformers import TrainerState

    from bio_facts.measure.callbacks import AttributeEvaluation

    tokenizer = word_tokenizer(PoolSizes(SMALL_NAMES))
    callback = AttributeEvaluation(tokenizer, "n1k", num_biographies=50)
    with pytest.raises(ValueError, match="has characters unknown to the tokenizer"):
        callback.evaluate(TrainerState(), model_of("llama", tokenizer))


def test_biography_with_other_pool_items_is_refused():
    tokenize = BiographyTokenizer(word_tokenizer(PoolSizes(SMALL_NAMES)), PoolSizes(SMALL_NAMES))
    for method in (tokenize, tokenize.lengths, tokenize.roles):
        with pytest.raises(ValueError, match="beyond the pool_sizes"):
            method(draw(CONFIGS["n1k"], "train", range(20)))


def test_tokenizer_that_lacks_a_piece_names_the_first():
    with pytest.raises(ValueError, match=r"cannot represent '.+'"):
        BiographyTokenizer(word_tokenizer(PoolSizes(SMALL_NAMES)))

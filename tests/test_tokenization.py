import filecmp
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from conftest import ROOT, assert_refused, run_script
from kinds import TEXTS, byte_level_bpe, tokenizer_of
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import Biographies, rows
from bio_facts.generate.config import CONFIGS, Config
from bio_facts.generate.pools import NAME_POOLS, pools
from bio_facts.generate.splits import draw
from bio_facts.generate.templates import templates
from bio_facts.measure.tokens import TOKENIZER_FILE, BiographyTokenizer, check_tokenizer, encode_pieces, load_tokenizer

BIOGRAPHIES = draw(CONFIGS["n1k"], "validation", range(300))
ROWS = rows(BIOGRAPHIES)


def encoded(tokenize: BiographyTokenizer, biographies: Biographies = BIOGRAPHIES) -> list[list[int]]:
    """Tokens of each biography from its pieces, without padding."""
    batch = tokenize(biographies)
    return [ids[:length].tolist() for ids, length in zip(batch.input_ids, batch.lengths, strict=True)]


def whole_texts(tokenizer: Any) -> list[list[int]]:
    """Tokens of each biography from its text, as the tokenizer splits it."""
    return tokenizer([row["text"] for row in ROWS], add_special_tokens=False).input_ids


def value_tokens(tokenizer: Any, biographies: Biographies) -> set[tuple[str, tuple[int, ...]]]:
    """(value, its tokens) as they occur, over all sentences."""
    batch, values = BiographyTokenizer(tokenizer)(biographies), set()
    for row, ids, attribute_ids in zip(rows(biographies), batch.input_ids, batch.attribute_ids, strict=True):
        for entry in row["attributes"]:
            mask = attribute_ids == ATTRIBUTES[entry["attribute"]].attribute_id
            values.add((entry["value"], tuple(ids[mask].tolist())))
    return values


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokenizers")


@pytest.fixture(scope="session")
def default() -> PreTrainedTokenizerFast:
    return load_tokenizer("bio_facts")


@pytest.fixture(scope="session")
def tokenize(default: PreTrainedTokenizerFast) -> BiographyTokenizer:
    return BiographyTokenizer(default)


@pytest.fixture(scope="session", params=["unigram", "bpe"])
def sentencepiece_file(request: pytest.FixtureRequest, folder: Path) -> Path:
    """Each digit is a token, so no token reaches from a year to the period after it."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_prefix=str(folder / request.param),
        model_type=request.param,
        vocab_size=1_500,
        byte_fallback=True,
        split_digits=True,
        minloglevel=2,
    )
    return folder / f"{request.param}.model"


def saved(tokenizer: Tokenizer, path: Path) -> str:
    tokenizer.save(str(path))
    return str(path)


@pytest.fixture(scope="session")
def shipped_file() -> str:
    return str(TOKENIZER_FILE)


@pytest.fixture(scope="session")
def byte_level_file(folder: Path) -> str:
    return saved(tokenizer_of("byte_level_bpe").backend_tokenizer, folder / "byte_level.json")


@pytest.fixture(scope="session")
def merging_file(folder: Path) -> str:
    return saved(byte_level_bpe(merging=True, trim_offsets=False).backend_tokenizer, folder / "merging.json")


@pytest.fixture(scope="session")
def wordpiece_file(folder: Path) -> str:
    return saved(tokenizer_of("wordpiece").backend_tokenizer, folder / "wordpiece.json")


def test_default_tokens_decode_to_the_text(default: PreTrainedTokenizerFast, tokenize: BiographyTokenizer) -> None:
    assert default.batch_decode(encoded(tokenize)) == [row["text"] for row in ROWS]


def test_default_tokens_are_those_of_the_whole_text(default: PreTrainedTokenizerFast, tokenize: BiographyTokenizer) -> None:
    assert encoded(tokenize) == whole_texts(default)


def test_tokens_with_an_attribute_id_decode_to_its_value(
    default: PreTrainedTokenizerFast, tokenize: BiographyTokenizer
) -> None:
    batch = tokenize(BIOGRAPHIES)
    for row, ids, attribute_ids in zip(ROWS, batch.input_ids, batch.attribute_ids, strict=True):
        for value in row["attributes"]:
            mask = attribute_ids == ATTRIBUTES[value["attribute"]].attribute_id
            assert default.decode(ids[mask]) == f" {value['value']}"


def test_attribute_ids_are_in_the_order_of_the_text(tokenize: BiographyTokenizer) -> None:
    for row, attribute_ids in zip(ROWS, tokenize(BIOGRAPHIES).attribute_ids, strict=True):
        runs = attribute_ids[np.flatnonzero(np.diff(attribute_ids, prepend=0))]
        assert runs[runs > 0].tolist() == [ATTRIBUTES[value["attribute"]].attribute_id for value in row["attributes"]]


def test_lengths_count_the_tokens(default: PreTrainedTokenizerFast, tokenize: BiographyTokenizer) -> None:
    expected = [len(ids) for ids in whole_texts(default)]
    assert tokenize.lengths(BIOGRAPHIES).tolist() == tokenize(BIOGRAPHIES).lengths.tolist() == expected


def test_batch_is_as_long_as_its_longest_biography(default: PreTrainedTokenizerFast, tokenize: BiographyTokenizer) -> None:
    assert tokenize(BIOGRAPHIES).input_ids.shape == (300, max(map(len, whole_texts(default))))


def test_padding_is_zero_and_no_value(tokenize: BiographyTokenizer) -> None:
    batch = tokenize(BIOGRAPHIES)
    is_padding = np.array([np.arange(batch.input_ids.shape[1]) >= length for length in batch.lengths])
    assert is_padding.any()
    assert not batch.input_ids[is_padding].any()
    assert not batch.attribute_ids[is_padding].any()


def test_biography_has_the_same_tokens_in_any_batch(tokenize: BiographyTokenizer) -> None:
    whole = encoded(tokenize)
    assert encoded(tokenize, draw(CONFIGS["n1k"], "validation", [299, 7])) == [whole[299], whole[7]]


@pytest.mark.parametrize("file", ["byte_level_file", "wordpiece_file", "shipped_file"])
def test_no_biography_is_longer_than_max_length(file: str, request: pytest.FixtureRequest) -> None:
    tokenize = BiographyTokenizer(load_tokenizer(request.getfixturevalue(file)))
    assert tokenize.lengths(draw(CONFIGS["n64k"], "train", range(5_000))).max() <= tokenize.max_length


def test_max_length_is_that_of_the_longest_sentences_name_and_values(
    default: PreTrainedTokenizerFast, tokenize: BiographyTokenizer
) -> None:
    def num_tokens(texts: list[str]) -> int:
        return max(map(len, default([f" {text}" for text in texts]).input_ids))

    values = [num_tokens(list(pools()[pool])) for attribute in ATTRIBUTES.values() for pool in attribute.pools]
    name = sum(num_tokens(list(pools()[pool])) for pool in NAME_POOLS)
    two_words = num_tokens(["James"]) + num_tokens(["Shanghai"])
    sentences = [
        num_tokens([template.fill("James", "Shanghai") for template in by_id]) - two_words for by_id in templates().values()
    ]
    assert tokenize.max_length == sum(sentences) + sum(values) + len(ATTRIBUTES) * name


@pytest.mark.parametrize("file", ["byte_level_file", "wordpiece_file"])
def test_tokens_are_those_of_the_whole_text_if_none_reaches_across_pieces(file: str, request: pytest.FixtureRequest) -> None:
    tokenizer = load_tokenizer(request.getfixturevalue(file))
    assert encoded(BiographyTokenizer(tokenizer)) == whole_texts(tokenizer)


def test_sentencepiece_model_splits_as_sentencepiece_does(sentencepiece_file: Path) -> None:
    original = sentencepiece.SentencePieceProcessor(model_file=str(sentencepiece_file))
    expected = original.encode([row["text"] for row in ROWS])
    tokenizer = load_tokenizer(str(sentencepiece_file))
    assert whole_texts(tokenizer) == expected
    assert encoded(BiographyTokenizer(tokenizer)) == expected


def test_merging_tokenizer_would_join_a_value_and_its_surroundings(merging_file: str) -> None:
    tokenizer = load_tokenizer(merging_file)
    assert encoded(BiographyTokenizer(tokenizer)) != whole_texts(tokenizer)


@pytest.mark.parametrize("file", ["merging_file", "byte_level_file", "wordpiece_file"])
def test_value_has_the_same_tokens_in_every_sentence(file: str, request: pytest.FixtureRequest) -> None:
    samples = draw(Config(num_individuals=20), "train", range(400))
    values = value_tokens(load_tokenizer(request.getfixturevalue(file)), samples)
    assert len(values) == len({value for value, _ in values})


def test_value_of_a_sentencepiece_model_has_the_same_tokens_in_every_sentence(sentencepiece_file: Path) -> None:
    values = value_tokens(load_tokenizer(str(sentencepiece_file)), draw(Config(num_individuals=20), "train", range(400)))
    assert len(values) == len({value for value, _ in values})


@pytest.mark.parametrize("trim_offsets", [True, False])
def test_merged_tokens_still_decode_to_the_text(trim_offsets: bool) -> None:
    """Trimmed offsets leave out spaces, also of a token that joins the end of a word and the space after it."""
    tokenizer = byte_level_bpe(merging=True, trim_offsets=trim_offsets)
    assert tokenizer.batch_decode(encoded(BiographyTokenizer(tokenizer))) == [row["text"] for row in ROWS]


def test_tokenizer_that_adds_special_tokens_adds_none_here(byte_level_file: str) -> None:
    backend = Tokenizer.from_file(byte_level_file)
    backend.add_special_tokens(["<s>"])
    backend.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))])
    with_start = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert with_start("A").input_ids[0] == backend.token_to_id("<s>")
    without = load_tokenizer(byte_level_file)
    assert encoded(BiographyTokenizer(with_start)) == encoded(BiographyTokenizer(without))


def almost_empty_vocabulary() -> Tokenizer:
    """A vocabulary that lacks almost all words of the templates and values."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "James": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def test_tokenizer_that_lacks_a_piece_is_refused() -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=almost_empty_vocabulary(), unk_token="[UNK]")
    tokenizer.name_or_path = "tiny"
    with pytest.raises(ValueError) as error:
        BiographyTokenizer(tokenizer)
    assert str(error.value) == (
        "tokenizer 'tiny' cannot represent 'John': its tokens are ['[UNK]']; it must cover all names, values and templates"
    )


def test_tokenizer_file_that_lacks_a_piece_is_refused(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(saved(almost_empty_vocabulary(), tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match="cannot represent 'John'"):
        BiographyTokenizer(tokenizer)


def test_slow_tokenizer_is_refused() -> None:
    class Slow:
        is_fast = False
        name_or_path = "snail"

    with pytest.raises(ValueError, match=r"^tokenizer 'snail' is a slow one; it must be a fast one, with offsets$"):
        BiographyTokenizer(Slow())


@pytest.mark.parametrize("name", ["./no/such/tokenizer.json", "no-such-owner/no-such-tokenizer", "no such: thing"])
def test_missing_tokenizer_is_refused_with_the_names_that_are_accepted(name: str) -> None:
    for check in (check_tokenizer, load_tokenizer):
        with pytest.raises(ValueError) as error:
            check(name)
        assert str(error.value).startswith(f"tokenizer is {name!r}, which is no file or folder and not in the local")
        assert "must be 'bio_facts', a path, PACKAGE:FILE, or the id of a Hub repository" in str(error.value)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model"])
def test_file_without_a_tokenizer_is_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text("not a tokenizer", encoding="utf-8")
    with pytest.raises(ValueError) as error:
        load_tokenizer(str(file))
    assert str(error.value).startswith(f"tokenizer is {str(file)!r}, which cannot be loaded")
    assert str(error.value).endswith("it must be a folder, a tokenizer.json or a SentencePiece model")


def test_empty_model_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").touch()
    with pytest.raises(ValueError, match=r"which cannot be loaded \(.+\); it must be a folder, a tokenizer.json or a Sent"):
        load_tokenizer(str(tmp_path))


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as error:
        load_tokenizer(str(tmp_path))
    assert str(error.value).startswith(f"tokenizer is {str(tmp_path)!r}, which cannot be loaded")


@pytest.mark.parametrize("name", ["bio_facts", str(TOKENIZER_FILE)])
def test_existing_tokenizer_passes_the_check(name: str) -> None:
    check_tokenizer(name)


def test_loaded_tokenizer_has_the_name_that_was_given(default: PreTrainedTokenizerFast, byte_level_file: str) -> None:
    assert default.name_or_path == "bio_facts"
    assert load_tokenizer(byte_level_file).name_or_path == byte_level_file


def test_folder_of_save_pretrained_gives_the_same_tokens(default: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    default.save_pretrained(tmp_path)
    assert whole_texts(load_tokenizer(str(tmp_path))) == whole_texts(default)


def test_shipped_tokenizer_is_the_output_of_its_script(tmp_path: Path) -> None:
    made = tmp_path / "tokenizer.json"
    command = [sys.executable, str(ROOT / "train" / "train_tokenizer.py"), "--output_file", str(made)]
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=True)
    names = {path.name for path in TOKENIZER_FILE.parent.iterdir()}
    assert names == {path.name for path in tmp_path.iterdir()} == {"tokenizer.json", "tokenizer_config.json"}
    for name in names:
        assert filecmp.cmp(tmp_path / name, str(TOKENIZER_FILE.with_name(name)), shallow=False)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_script_of_the_tokenizer_overwrites_neither_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine", encoding="utf-8")
    assert_refused(run_script("train/train_tokenizer.py", "--output_file", tmp_path / "tokenizer.json"), name, "exists")
    assert [(path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()] == [(name, "mine")]


# The special token of the shipped tokenizer


def first_release() -> PreTrainedTokenizerFast:
    """The shipped tokenizer as it was before it had a special token: all bytes, id 188 for byte 0."""
    content = json.loads(TOKENIZER_FILE.read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    vocabulary["\u0100"] = vocabulary.pop("<|endoftext|>")
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(content | {"added_tokens": []})))


def as_loaded(way: str, folder: Path) -> Any:
    if way == "load_tokenizer":
        return load_tokenizer("bio_facts")
    if way == "shipped folder":
        return AutoTokenizer.from_pretrained(TOKENIZER_FILE.parent)
    load_tokenizer("bio_facts").save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder) if way == "saved folder" else load_tokenizer(str(folder))


@pytest.mark.parametrize("way", ["load_tokenizer", "shipped folder", "saved folder", "load_tokenizer of saved folder"])
def test_shipped_tokenizer_pads(way: str, tmp_path: Path) -> None:
    tokenizer = as_loaded(way, tmp_path)
    assert tokenizer.pad_token_id == tokenizer.bos_token_id == tokenizer.eos_token_id == 188
    assert tokenizer.pad_token == "<|endoftext|>" and tokenizer.unk_token is None
    short, long = (first_release()(text).input_ids for text in ("James", "James Smith was born"))
    batch = tokenizer(["James", "James Smith was born"], padding=True, return_tensors="np")
    assert batch.input_ids.tolist() == [short + [188] * (len(long) - len(short)), long]
    assert batch.attention_mask.tolist() == [[1] * len(short) + [0] * (len(long) - len(short)), [1] * len(long)]
    assert set(batch) == {"input_ids", "attention_mask"}  # what every causal model takes
    assert tokenizer.decode(batch.input_ids[0], skip_special_tokens=True) == "James"


def test_special_token_changes_no_other_id_and_is_added_to_no_text(default: PreTrainedTokenizerFast) -> None:
    before, after = first_release().get_vocab(), default.get_vocab()
    assert {id_ for word, id_ in before.items() if after.get(word) != id_} == {188} and len(before) == len(after)
    texts = [row["text"] for row in ROWS] + ["\u0100ris", "d\u0100", "\u0100 \u0100", "", "Ünïcode 中 🙂"]
    assert default(texts).input_ids == default(texts, add_special_tokens=False).input_ids == first_release()(texts).input_ids
    assert len(default("\u0100").input_ids) == 2
    assert default.decode(default("\u0100ris").input_ids) == "\u0100ris"


def all_in_one() -> PreTrainedTokenizerFast:
    """A whole text is one token."""
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"[UNK]": 0, "James": 1}, unk_token="[UNK]")))


def test_pieces_are_encoded_as_they_stand_inside_a_text_or_at_its_beginning(sentencepiece_file: Path) -> None:
    tokenizer = load_tokenizer(str(sentencepiece_file))
    inside, initial = (encode_pieces(tokenizer, ["James", " James"], initial=initial) for initial in (False, True))
    assert inside[1] == initial[0]  # SentencePiece puts a space before a text
    assert inside[0] != initial[0]
    assert encode_pieces(tokenizer, [], initial=True) == encode_pieces(tokenizer, [], initial=False) == []


def test_piece_that_merges_with_all_that_may_stand_before_it_has_no_tokens() -> None:
    assert encode_pieces(all_in_one(), ["James", "."], initial=False) == [None, None]
    assert encode_pieces(all_in_one(), ["James", "."], initial=True) == [[1], [0]]


def test_tokenizer_that_merges_pieces_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"merges '.+' with whatever stands before it; it must be able to tokenize names, values"
    ):
        BiographyTokenizer(all_in_one())


@pytest.mark.parametrize(
    "model_type", ["gpt_neox", "gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma", "phi3", "opt", "bloom"]
)
def test_tokenizer_beside_a_model_of_any_type_is_the_one_that_was_saved(model_type: str, tmp_path: Path) -> None:
    """AutoTokenizer replaces it by another class for some types."""
    saved = load_tokenizer("bio_facts")
    saved.save_pretrained(tmp_path)
    AutoConfig.for_model(model_type).save_pretrained(tmp_path)
    loaded, text = load_tokenizer(str(tmp_path)), ROWS[0]["text"]
    assert loaded(text).input_ids == saved(text).input_ids
    assert (loaded.eos_token_id, loaded.pad_token_id, len(loaded)) == (saved.eos_token_id, saved.pad_token_id, len(saved))


@pytest.mark.parametrize("formats", [["biographys"], "questions"])
def test_formats_that_do_not_exist_are_named(formats: Any) -> None:
    with pytest.raises(ValueError, match=r"formats is .*; it must be a list of biographies, questions, such as config.formats"):
        BiographyTokenizer(load_tokenizer("bio_facts"), formats=formats)

"""A SentencePiece model file gives SentencePiece's own ids, whatever its options, or is refused."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from transformers import AutoTokenizer

from bio_facts.generate.attributes import ATTRIBUTES
from bio_facts.generate.biography import rows
from bio_facts.generate.config import CONFIGS
from bio_facts.generate.splits import draw
from bio_facts.measure.alignment import align
from bio_facts.measure.sentencepiece_models import _checked_texts
from bio_facts.measure.tokens import BiographyTokenizer, check_tokenizer, load_tokenizer, unknown_id

TRAINING_TEXTS = [row["text"] for row in rows(draw(CONFIGS["n64k"], "train", range(120)))]
TRAINING_TEXTS += ["a < b > c / 0x41 s unk control sep"] * 10  # so that all characters of the texts below are known
BIOGRAPHIES = draw(CONFIGS["n1k"], "validation", range(200))
ROWS = rows(BIOGRAPHIES)
TEXTS = [row["text"] for row in ROWS]
DIGITS = list("0123456789")
SYMBOLS: dict[str, dict[str, list[str]]] = {
    "no symbols": {},
    "digits": {"user_defined_symbols": DIGITS},
    "words": {"user_defined_symbols": ["<sep>", "University", "19", "."], "control_symbols": ["<control>"]},
}


class Options(NamedTuple):
    model_type: str
    add_dummy_prefix: bool
    treat_whitespace_as_suffix: bool
    remove_extra_whitespaces: bool
    symbols: str
    byte_fallback: bool
    normalization_rule_name: str


CHOICES: list[list[Any]] = [
    ["unigram", "bpe", "word", "char"],
    [True, False],
    [False, True],
    [True, False],
    list(SYMBOLS),
    [False, True],
    ["nmt_nfkc", "identity", "nfkc", "nmt_nfkc_cf"],
]
CASES = [Options(*case) for case in itertools.product(*CHOICES)][::41]


def trained(folder: Path, texts: Sequence[str] = TRAINING_TEXTS, **options: Any) -> Path:
    """A model file, trained on a few biographies, or other texts."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(folder / "small"),
        hard_vocab_limit=False,
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
        **{"vocab_size": 700, "model_type": "unigram"} | options,
    )
    return folder / "small.model"


def expected_ids(file: Path, texts: list[str]) -> list[list[int]]:
    ids: list[list[int]] = sentencepiece.SentencePieceProcessor(model_file=str(file)).encode(texts)
    return ids


def ids_of(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False).input_ids
    return ids


def test_every_pair_of_options_is_tried() -> None:
    for first, second in itertools.combinations(range(len(CHOICES)), 2):
        tried = {(case[first], case[second]) for case in CASES}
        assert tried == set(itertools.product(CHOICES[first], CHOICES[second]))


@pytest.mark.parametrize("options", CASES, ids=lambda case: "-".join(map(str, case)))
def test_ids_are_those_of_sentencepiece_or_the_model_is_refused(options: Options, tmp_path: Path) -> None:
    fields = options._asdict()
    file = trained(tmp_path, **SYMBOLS[fields.pop("symbols")], **fields)
    by_words = options.model_type == "word"
    refused = {
        "byte_fallback with model_type word": by_words and options.byte_fallback,
        "model_type word with unknown words, which SentencePiece makes one token where they stand together": (
            by_words and not options.byte_fallback
        ),
        "normalization_rule_name nmt_nfkc_cf with user-defined symbol 'University', which it changes": (
            options.symbols == "words" and options.normalization_rule_name == "nmt_nfkc_cf"
        ),
    }
    if any(refused.values()):
        with pytest.raises(ValueError) as error:
            load_tokenizer(str(file))
        reasons = ", ".join(reason for reason, is_met in refused.items() if is_met)
        assert str(error.value).startswith(
            f"{file} cannot be represented as a fast tokenizer; not supported: {reasons}; expect"
        )
        text = str(error.value).partition("SentencePiece gives '")[2].partition("'")[0]
        assert f"'{text}', {expected_ids(file, [text])[0]}, got [" in str(error.value)
        return
    tokenizer = load_tokenizer(str(file))
    texts = [*TEXTS, "  two  spaces\u00a0 ", " ", "", "中文 Ünïcode 🙂🙂", "<sep>9 <sep>", "a <control> <s></s><unk><0x41> b"]
    assert ids_of(tokenizer, texts) == expected_ids(file, texts)
    original = sentencepiece.SentencePieceProcessor(model_file=str(file))
    for ids in expected_ids(file, [*TEXTS[:20], "  two  spaces ", " born", ""]):
        if original.unk_id() not in ids:  # which SentencePiece spells otherwise
            assert tokenizer.decode(ids) == original.decode(ids)


@pytest.mark.parametrize("suffix", [False, True])
@pytest.mark.parametrize("dummy_prefix", [False, True])
def test_word_model_that_knows_all_words_is_supported(suffix: bool, dummy_prefix: bool, tmp_path: Path) -> None:
    words = {word for texts in _checked_texts(1) for word in "".join(texts).split()}
    words |= {word for text in TEXTS for word in text.split()}
    lines = [f"x {word}\n{word}" for word in sorted(words)]
    file = trained(
        tmp_path,
        [line for pair in lines for line in pair.split("\n")],
        model_type="word",
        vocab_size=60_000,
        add_dummy_prefix=dummy_prefix,
        treat_whitespace_as_suffix=suffix,
    )
    tokenizer = load_tokenizer(str(file))
    assert ids_of(tokenizer, TEXTS) == expected_ids(file, TEXTS)
    assert unknown_id(tokenizer) not in tokenizer(TEXTS[0]).input_ids
    offsets = tokenizer(TEXTS[0], return_offsets_mapping=True).offset_mapping
    assert [TEXTS[0][start:end].strip() for start, end in offsets if start < end][: len(TEXTS[0].split())] == TEXTS[0].split()


@pytest.mark.parametrize("model_type", ["unigram", "bpe", "char"])
def test_values_stand_where_they_are_with_whitespace_as_suffix(model_type: str, tmp_path: Path) -> None:
    """The space before a value is of the token before it, and the space behind a value of the value's last token."""
    file = trained(tmp_path, model_type=model_type, treat_whitespace_as_suffix=True)
    tokenizer = load_tokenizer(str(file))
    aligned = align(tokenizer, ROWS, 0)
    straddling = 0
    for ids, attribute_ids, row in zip(aligned.input_ids, aligned.attribute_ids, ROWS, strict=True):
        assert tokenizer.convert_ids_to_tokens(ids)[-1].endswith("▁")
        for value in row["attributes"]:
            tokens = ids[attribute_ids == ATTRIBUTES[value["attribute"]].attribute_id]
            spelled = "".join(tokenizer.convert_ids_to_tokens(tokens)).replace("▁", " ")
            behind = spelled.removeprefix(" ").removeprefix(value["value"])  # a space before it may be a separate token
            assert spelled.removeprefix(" ").startswith(value["value"])
            assert f"{row['text']} "[value["end"] :].startswith(behind)
            straddling += behind != ""
    assert aligned.num_straddling_tokens == straddling


COMMON = {
    "bpe": {"model_type": "bpe", "split_digits": True, "byte_fallback": True},
    "unigram": {"split_digits": True, "byte_fallback": True},
    "bpe with digits": {"model_type": "bpe", "user_defined_symbols": DIGITS, "byte_fallback": True},
    "unigram with digits": {"user_defined_symbols": DIGITS, "byte_fallback": True},
    "unigram as in T5": {"unk_id": 2, "bos_id": -1, "eos_id": 1, "pad_id": 0, "split_digits": True},
    "bpe as in Gemma": {
        "model_type": "bpe",
        "pad_id": 0,
        "eos_id": 1,
        "bos_id": 2,
        "unk_id": 3,
        "split_digits": True,
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "control_symbols": ["<mask>"],
        "user_defined_symbols": ["<start_of_turn>", "▁▁", "\t", "[@]"],
    },
}
MISTRAL = "mistral_common:data/tokenizer.model.v1"


@pytest.fixture(params=[*COMMON, MISTRAL])
def common(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A model file, and what load_tokenizer calls it."""
    if request.param == MISTRAL:
        return check_tokenizer(MISTRAL), MISTRAL
    file = trained(tmp_path, **COMMON[request.param])
    return file, str(file)


def test_common_models_are_supported_with_values_where_they_stand(
    common: tuple[Path, str], request: pytest.FixtureRequest
) -> None:
    file, name = common
    tokenizer = load_tokenizer(name)
    assert tokenizer.name_or_path == name
    expected = expected_ids(file, TEXTS)
    assert ids_of(tokenizer, TEXTS) == expected
    batch = BiographyTokenizer(tokenizer)(BIOGRAPHIES)
    aligned = align(tokenizer, ROWS, 0)
    for k, row in enumerate(ROWS):
        length = int(batch.lengths[k])
        assert batch.input_ids[k, :length].tolist() == expected[k] == aligned.input_ids[k].tolist()
        assert batch.attribute_ids[k, :length].tolist() == aligned.attribute_ids[k].tolist()
        for value in row["attributes"]:
            tokens = aligned.attribute_ids[k] == ATTRIBUTES[value["attribute"]].attribute_id
            spelled = "".join(tokenizer.convert_ids_to_tokens(aligned.input_ids[k][tokens]))
            assert spelled == f" {value['value']}".replace(" ", "▁") or "<0x" in spelled
            has_dropped_space = name == MISTRAL or "Gemma" not in request.node.callspec.id
            assert tokenizer.decode(aligned.input_ids[k][tokens]) == f"{' ' * (not has_dropped_space)}{value['value']}"
    assert aligned.num_rows_apart == aligned.num_straddling_tokens == 0


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("unigram with digits", "tokenizer.model"),
        ("unigram as in T5", "spiece.model"),
        ("bpe as in Gemma", "spm.model"),
        ("bpe with digits", "sentencepiece.bpe.model"),
    ],
)
def test_folder_and_checkpoint_give_the_same_ids(kind: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    file = trained(tmp_path, **COMMON[kind]).rename(tmp_path / "folder" / name)
    load_tokenizer(str(tmp_path / "folder")).save_pretrained(tmp_path / "saved")
    texts = [*TEXTS[:20], "born </s> <s>", "<s>James", "19 23,"]
    for tokenizer in (
        load_tokenizer(str(tmp_path / "folder")),
        load_tokenizer(str(tmp_path / "saved")),
        AutoTokenizer.from_pretrained(tmp_path / "saved"),
    ):
        assert ids_of(tokenizer, texts) == tokenizer(texts).input_ids == expected_ids(file, texts)
        original = sentencepiece.SentencePieceProcessor(model_file=str(file))
        for text in texts[:-2]:
            ids = tokenizer(text, add_special_tokens=True).input_ids
            assert tokenizer.decode(ids) == original.decode(ids)
        for special in ("unk", "bos", "eos", "pad"):
            token_id = getattr(original, f"{special}_id")()
            assert getattr(tokenizer, f"{special}_token_id") == (None if token_id < 0 else token_id)
        assert unknown_id(tokenizer) == original.unk_id()
        assert len(tokenizer) == original.vocab_size()
        assert tokenizer.convert_ids_to_tokens(range(len(tokenizer))) == original.id_to_piece(list(range(len(tokenizer))))


def test_file_with_unused_pieces_is_refused(tmp_path: Path) -> None:
    """SentencePiece merges into such a piece and takes it apart again."""
    file = trained(tmp_path, model_type="bpe")
    model = sentencepiece_model_pb2.ModelProto.FromString(file.read_bytes())
    for piece in model.pieces:
        if piece.type == piece.NORMAL and len(piece.piece) in (2, 3):
            piece.type = piece.UNUSED
    file.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"not supported: unused pieces; expected the ids that SentencePiece gives '.+', \["):
        load_tokenizer(str(file))


def test_symbol_that_sentencepiece_takes_apart_is_named(tmp_path: Path) -> None:
    """In a unigram model, SentencePiece prefers other pieces to such a symbol where they are likelier."""
    file = trained(tmp_path, user_defined_symbols=["er"], vocab_size=400)
    with pytest.raises(ValueError, match=r"not supported: user_defined_symbols with 'er', .*; expected the ids"):
        load_tokenizer(str(file))
